"""A set as a recording (docs/devices/readings.md) with the truth beside it, for any other engine.

    python -m benchmarks.warning.recording --profile nominal --seed 1 --connectors 50 --out DIR

writes DIR/readings/ (a file for each day of arrival, in order of arrival, CSV or Parquet),
DIR/connectors.csv and DIR/truth.csv. A set for a laboratory has a seed of its own.
"""

import argparse
import csv
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np

from benchmarks.warning.profiles import PROFILES
from benchmarks.warning.scenarios import Scenario, generate
from benchmarks.warning.truth import write_truth
from benchmarks.warning.units import QUANTITIES
from ohmwatch.backtest.installed import Installed
from ohmwatch.detector import Batch, Ratings
from ohmwatch.instants import text_of

HOURS = 24
READINGS, CONNECTORS, TRUTH = "readings", "connectors.csv", "truth.csv"
_COLUMNS = ("connector", "time", "arrived", *QUANTITIES)
_RATINGS = tuple(field.name for field in fields(Ratings) if field.name != "model")


def write_recording(scenario: Scenario, folder: Path, *, parquet: bool = False) -> None:
    """Writes the set into `folder`, which is made; files there are overwritten."""
    (folder / READINGS).mkdir(parents=True, exist_ok=True)
    write = write_parquet if parquet else _write_csv
    suffix = "parquet" if parquet else "csv"
    for day, batch in enumerate(scenario.batches(HOURS)):
        order = np.argsort(batch.arrived_ms, kind="stable")
        write(folder / READINGS / f"day-{day + 1:03d}.{suffix}", batch, order)
    write_connectors(folder / CONNECTORS, scenario)
    write_truth(folder / TRUTH, scenario.truth())


def _write_csv(path: Path, batch: Batch, order: np.ndarray) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(_rows(batch, order))


def _rows(batch: Batch, order: np.ndarray) -> Iterator[list[str]]:
    columns = [batch.column(name)[order].tolist() for name in QUANTITIES]
    owners = batch.connector[order].tolist()
    times, arrivals = batch.time_ms[order].tolist(), batch.arrived_ms[order].tolist()
    for at, owner in enumerate(owners):
        cells = [f"{column[at]:.10g}" if column[at] == column[at] else "" for column in columns]
        yield [batch.connectors[owner], text_of(times[at]), text_of(arrivals[at]), *cells]


def write_parquet(path: Path, batch: Batch, order: np.ndarray) -> None:
    """The batch's readings as one file, in this order."""
    import pyarrow as pa
    from pyarrow import parquet

    instant = pa.timestamp("ms", tz="UTC")
    columns = {
        "connector": pa.DictionaryArray.from_arrays(
            pa.array(batch.connector[order]), pa.array(list(batch.connectors))
        ),
        "time": pa.array(batch.time_ms[order], type=instant),
        "arrived": pa.array(batch.arrived_ms[order], type=instant),
    }
    for name in QUANTITIES:
        columns[name] = pa.array(batch.column(name)[order], from_pandas=True)
    parquet.write_table(pa.table(columns), path)


def write_connectors(path: Path, scenario: Scenario) -> None:
    """The set's connectors.csv."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("connector", "model", "batch", "vehicle", *_RATINGS))
        writer.writerows(_described(each) for each in scenario.installed.values())


def _described(one: Installed) -> list[str]:
    cells = [_cell(getattr(one.ratings, name)) for name in _RATINGS]
    return [one.connector, one.model, one.batch, one.vehicle, *cells]


def _cell(rating: object) -> str:
    """A rating as connectors.csv writes it; empty where the model doesn't say."""
    if isinstance(rating, float):
        return "" if rating != rating else f"{rating:.10g}"
    if isinstance(rating, tuple):
        pairs = (":".join(f"{x:g}" for x in each) for each in rating if isinstance(each, tuple))
        return " ".join(pairs) or " ".join(
            f"{x:g}" if isinstance(x, float | int) else str(x) for x in rating
        )
    return str(rating)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profile", choices=sorted(PROFILES), default="nominal")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--connectors", type=int, default=50)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parquet", action="store_true", help="needs pyarrow")
    asked = parser.parse_args()
    scenario = generate(asked.profile, asked.seed, asked.connectors)
    write_recording(scenario, asked.out, parquet=asked.parquet)
    print(f"{asked.connectors} connectors, {scenario.profile.days:g} days: {asked.out}")


if __name__ == "__main__":
    main()
