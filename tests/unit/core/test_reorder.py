"""The reorder window: what is judged is a matter of the readings, not of the looking."""

import numpy as np
import pytest

from ohmwatch.detector import Batch
from ohmwatch.reorder import in_order

WINDOW_MS = 300


def readings(*rows: tuple[int, int, int]) -> Batch:
    """Rows of (connector, measured, arrived), ms after an instant of 2026."""
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    start = 1_795_420_800_000
    return Batch(
        connectors=["a", "b"],
        connector=table[:, 0].astype(np.int32),
        time_ms=start + table[:, 1],
        arrived_ms=start + table[:, 2],
        values={},
    )


def choose(batch: Batch, mature: list[bool]) -> tuple[list[bool], list[bool]]:
    choice = in_order(batch, mature=np.array(mature, dtype=np.bool_), window_ms=WINDOW_MS)
    return choice.released.tolist(), choice.late.tolist()


def test_older_reading_within_the_window_goes_first() -> None:
    batch = readings((0, 10, 1000), (0, 9, 1300))
    assert choose(batch, [True, False]) == ([True, True], [False, False])


def test_older_reading_after_the_window_is_late() -> None:
    batch = readings((0, 10, 1000), (0, 9, 1301))
    assert choose(batch, [True, True]) == ([True, False], [False, True])


def test_newer_reading_waits_until_it_is_mature() -> None:
    batch = readings((0, 10, 1000), (0, 11, 1200))
    assert choose(batch, [True, False]) == ([True, False], [False, False])


def test_repeat_after_the_window_is_late() -> None:
    batch = readings((0, 10, 1000), (0, 10, 5000))
    assert choose(batch, [True, True])[1] == [False, True]


def test_connectors_do_not_hold_up_each_other() -> None:
    batch = readings((0, 500, 1000), (1, 9, 5000), (1, 8, 5100))
    assert choose(batch, [True, True, True]) == ([True] * 3, [False] * 3)


def test_nothing_mature_releases_nothing() -> None:
    assert choose(readings((0, 1, 1), (1, 2, 2)), [False, False])[0] == [False, False]


def test_no_readings() -> None:
    assert choose(readings(), [])[0] == []


@pytest.mark.parametrize("seed", range(5))
def test_looking_more_often_chooses_the_same(seed: int) -> None:
    chance = np.random.default_rng(seed)
    rows = [
        (int(chance.integers(2)), measured := int(chance.integers(20_000)), measured + int(delay))
        for delay in chance.exponential(200, 400)
    ]
    batch = readings(*sorted(rows, key=lambda row: row[2]))
    at_once = in_order(batch, mature=np.ones(400, bool), window_ms=WINDOW_MS)
    judged: set[int] = set()
    for now in range(0, 30_000, 70):
        seen = batch.arrived_ms <= 1_795_420_800_000 + now
        mature = batch.arrived_ms <= 1_795_420_800_000 + now - WINDOW_MS
        choice = in_order(batch.rows(seen), mature=mature[seen], window_ms=WINDOW_MS)
        judged |= set(np.flatnonzero(seen)[choice.released].tolist())
    assert judged == set(np.flatnonzero(at_once.released).tolist())
    assert 0 < at_once.late.sum() < 200
