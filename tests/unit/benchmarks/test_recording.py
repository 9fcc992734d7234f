"""A set written as a recording is read by a back-test as the same set."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.warning.contenders.ours import ohmwatch
from benchmarks.warning.profiles import HARD
from benchmarks.warning.recording import write_recording
from benchmarks.warning.scenarios import generate
from benchmarks.warning.truth import read_truth
from benchmarks.warning.units import QUANTITIES
from ohmwatch.backtest.recording import connectors, read
from ohmwatch.backtest.run import AlarmEvent, in_order_of_arrival

FOUR_DAYS = replace(HARD, days=4.0, onset_from_days=0.2, onset_to_days=0.5)


def ordered(events: Iterable[AlarmEvent]) -> list[AlarmEvent]:
    return sorted(events, key=in_order_of_arrival)


@pytest.mark.parametrize("parquet", [False, True], ids=["csv", "parquet"])
def test_a_back_test_of_the_files_says_what_one_of_the_set_says(
    tmp_path: Path, parquet: bool
) -> None:
    write_recording(generate(FOUR_DAYS, 3, 12), tmp_path, parquet=parquet)
    scenario = generate(FOUR_DAYS, 3, 12)
    installed = connectors(tmp_path / "connectors.csv")
    assert installed == scenario.installed
    assert list(read_truth(tmp_path / "truth.csv")) == scenario.truth()
    from_files = ordered(ohmwatch(read(tmp_path / "readings"), installed))
    assert from_files == ordered(ohmwatch(scenario.batches(), scenario.installed))
    assert from_files


def test_the_files_are_in_order_of_arrival_and_whole(tmp_path: Path) -> None:
    write_recording(generate(FOUR_DAYS, 3, 6), tmp_path)
    newest_ms, rows = 0, 0
    for batch in read(tmp_path / "readings"):
        assert batch.arrived_ms.min() >= newest_ms
        newest_ms, rows = int(batch.arrived_ms.max()), rows + len(batch)
    direct = list(generate(FOUR_DAYS, 3, 6).batches())
    assert rows == sum(len(batch) for batch in direct)
    current_a = np.concatenate([batch.values[QUANTITIES[0]] for batch in direct])
    assert np.isfinite(current_a).any()
