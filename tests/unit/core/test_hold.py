"""What is kept of a level between readings is enough, wherever the readings are cut."""

import numpy as np
import pytest

from ohmwatch.detector import Ratings
from ohmwatch.findings import Severity
from ohmwatch.physics.hold import Level, Statement, hold_dtype, judge

START_MS = 1_795_420_800_000
MODEL = Ratings(interval_s=10.0)
WAITING = (
    Level(Severity.NOTICE, 1.0, 0.5, 30.0, 120.0),
    Level(Severity.WARNING, 1.0, 0.5, 60.0, 20.0),
    Level(Severity.CRITICAL, 2.0, 1.0, 0.0, 0.0),
)
AT_ONCE = tuple(Level(each.severity, each.on, each.off, 0.0, 0.0) for each in WAITING)


def said(
    levels: tuple[Level, ...], steps: np.ndarray, excess: np.ndarray, *, cut: int
) -> list[Statement]:
    """What is stated of one connector, its readings shown `cut` at a time."""
    state = np.zeros(1, dtype=hold_dtype(levels))
    times = START_MS + 10_000 * steps
    statements = []
    for first in range(0, len(times), cut):
        piece = slice(first, first + cut)
        shown = [each[piece] for each in excess]
        owner = np.zeros(len(times[piece]), dtype=np.int32)
        for each in judge(owner, times[piece], shown, levels, [MODEL], state):
            statements.append(Statement(first + each.index, each.severity, each.since_ms))
    return statements


@pytest.mark.parametrize("levels", [WAITING, AT_ONCE], ids=["waiting", "at once"])
def test_cut_anywhere_the_same_is_said(levels: tuple[Level, ...]) -> None:
    chance = np.random.default_rng(7)
    steps = np.cumsum(chance.choice([1, 1, 1, 1, 30], 4_000))
    wandering = np.cumsum(chance.normal(0.0, 0.3, (3, 4_000)), axis=1) % 3.0
    whole = said(levels, steps, wandering, cut=4_000)
    assert {each.severity for each in whole} == {None, *(level.severity for level in levels)}
    assert said(levels, steps, wandering, cut=1) == whole
    assert said(levels, steps, wandering, cut=7) == whole


def test_end_is_dated_when_the_lowest_level_was_left() -> None:
    excess = np.array([[1.5] * 10 + [0.0] * 20] * 3)
    ended = said(WAITING, np.arange(30), excess, cut=1)[-1]
    assert (ended.severity, ended.since_ms) == (None, START_MS + 100_000)
