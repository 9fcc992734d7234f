"""Readings as files: a recording, as docs/devices/readings.md describes it, CSV or Parquet.

A file for each UTC day of arrival, in order of arrival, so that a back-test on it sees what the
product saw. A page at a time: memory does not grow with the recording. A file gets its name when it
is whole; who asks the same again into the same folder gets the days that are missing. A day that
was cut off begins anew, and so does one whose file was written before it was over.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Protocol, Self

from apps.telemetry.answers import Reading
from apps.telemetry.slices import DAY_MS, from_ms
from apps.telemetry.store import TenantTelemetry
from ohmwatch.readings import QUANTITIES

PARTIAL = ".part"
STRAGGLERS_MS = 3_600_000
"""What came in a day's last moments may be stored a while later, where the store was busy."""


class ParquetMissing(Exception):
    """The extra `parquet` is not installed."""


@dataclass(frozen=True)
class Wanted:
    """Which readings: measured within start ≤ t < end; `connectors` None is all of them."""

    start: datetime
    end: datetime
    connectors: Sequence[str] | None = None


@dataclass(frozen=True)
class Written:
    """A day's file; `readings` is None where an earlier run had written it."""

    path: Path
    readings: int | None


class Pages(Protocol):
    """Takes pages of readings into a file."""

    def write(self, page: Sequence[Reading]) -> None: ...


def export(
    telemetry: TenantTelemetry, wanted: Wanted, folder: Path, *, form: str
) -> Iterator[Written]:
    """Write `readings-<day>.<form>` for each day on which any arrived; form: csv or parquet.

    Raises ParquetMissing.
    """
    names = [*QUANTITIES, *telemetry.own_quantities(start=wanted.start, end=wanted.end)]
    folder.mkdir(parents=True, exist_ok=True)
    for day_ms in telemetry.days_of_arrival(
        start=wanted.start, end=wanted.end, connectors=wanted.connectors
    ):
        path = folder / f"readings-{from_ms(day_ms):%Y%m%d}.{form}"
        if _is_whole(path, day_ms + DAY_MS):
            yield Written(path, None)
            continue
        pages = telemetry.arrivals(
            arrived_from_ms=day_ms,
            arrived_before_ms=day_ms + DAY_MS,
            start=wanted.start,
            end=wanted.end,
            connectors=wanted.connectors,
        )
        yield Written(path, _write(path, pages, names))


def _is_whole(path: Path, day_end_ms: int) -> bool:
    """Whether the day was over, and all of it stored, when its file was written."""
    return path.exists() and path.stat().st_mtime * 1000 >= day_end_ms + STRAGGLERS_MS


def _write(path: Path, pages: Iterable[Sequence[Reading]], names: Sequence[str]) -> int:
    partial = path.with_name(path.name + PARTIAL)
    count = 0
    opened: AbstractContextManager[Pages] = (
        ParquetPages(partial, names) if path.suffix == ".parquet" else CsvPages(partial, names)
    )
    with opened as file:
        for page in pages:
            file.write(page)
            count += len(page)
    partial.replace(path)
    return count


class CsvPages:
    """RFC 4180 with a header; an empty cell is no value; times in ms since 1970 UTC."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._names = names
        self._file: IO[str] = path.open("w", newline="")
        self._rows = csv.writer(self._file)
        self._rows.writerow(["connector", "time", "arrived", *names])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, page: Sequence[Reading]) -> None:
        """A row a reading."""
        self._rows.writerows(
            [each.connector, each.measured_ms, each.arrived_ms]
            + [each.values.get(name, "") for name in self._names]
            for each in page
        )


class ParquetPages:
    """The same columns: text, two whole numbers, doubles; a row group a page."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        try:
            self._arrow: Any = import_module("pyarrow")
            parquet: Any = import_module("pyarrow.parquet")
        except ImportError as error:
            raise ParquetMissing("pip install 'ohmwatch[parquet]' brings it") from error
        arrow, self._names = self._arrow, names
        head = [("connector", arrow.string()), ("time", arrow.int64()), ("arrived", arrow.int64())]
        self._schema = arrow.schema([*head, *((name, arrow.float64()) for name in names)])
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, page: Sequence[Reading]) -> None:
        """A row group."""
        columns: dict[str, list[Any]] = {
            "connector": [each.connector for each in page],
            "time": [each.measured_ms for each in page],
            "arrived": [each.arrived_ms for each in page],
            **{name: [each.values.get(name) for each in page] for name in self._names},
        }
        self._writer.write_table(self._arrow.table(columns, schema=self._schema))
