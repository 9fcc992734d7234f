"""Readings of many connectors as runs in time: what came before, and for how long.

All functions take readings sorted by connector, then time, as `Batch` holds them, and answer
the same for one long batch as for many short ones: durations are whole milliseconds, and
recursions run in order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ohmwatch.compiled import compiled
from ohmwatch.detector import Flags, Floats, Indices, Ratings, Times
from ohmwatch.physics.heat import column
from ohmwatch.rated import once

DEFAULT_GAP_S = 60.0
"""Where the model does not say how often its devices report."""

GAP_INTERVALS = 3.5
"""Reporting intervals without a reading that make a gap: three lost in a row."""

SHORTEST_GAP_S = 15.0
"""A mobile network's ordinary pauses are no gap."""


def gap_limits_ms(ratings: Sequence[Ratings]) -> Times:
    """The time between two readings from which on it is a gap, ms, int64[connectors]."""

    def of_each() -> Times:
        interval_s = column(ratings, "interval_s")
        by_interval = np.fmax(interval_s * GAP_INTERVALS, SHORTEST_GAP_S)
        limits_s = np.where(np.isnan(interval_s), DEFAULT_GAP_S, by_interval)
        return (limits_s * 1000).astype(np.int64)

    return once(ratings, "gap_limits_ms", of_each)


@dataclass(frozen=True, slots=True)
class Runs:
    """Where each connector's readings start in a batch.

    `first[i]` is the index of the first reading of the run that reading i belongs to; `starts`
    and `ends` (inclusive) have an entry a run, `owner` its connector.
    """

    first: Times
    starts: Times
    ends: Times
    owner: Indices

    @classmethod
    def of(cls, connector: Indices) -> "Runs":
        """The runs of a column that is sorted by connector."""
        begins = np.ones(len(connector), dtype=np.bool_)
        np.not_equal(connector[1:], connector[:-1], out=begins[1:])
        starts = np.flatnonzero(begins)
        ends = np.empty_like(starts)
        ends[:-1] = starts[1:] - 1
        ends[-1:] = len(connector) - 1
        first = np.repeat(starts, ends - starts + 1)
        return cls(first=first, starts=starts, ends=ends, owner=connector[starts])

    def previous(self, values: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Each reading's predecessor in its run; at a run's start `before[connector]`."""
        shifted = np.empty_like(values)
        shifted[1:] = values[:-1]
        shifted[self.starts] = before[self.owner]
        return shifted

    def latest(self, marked: Flags) -> Times:
        """The index of the newest marked reading of the run up to each reading, or −1."""
        index = np.arange(len(marked), dtype=np.int64)
        newest = np.maximum.accumulate(np.where(marked, index, -1))
        return np.where(newest >= self.first, newest, -1)

    def since(self, amounts: Times, origin: Times, carried: Times) -> Times:
        """The sum of `amounts` after reading `origin`; from −1 on: `carried[connector]` + all."""
        total = np.cumsum(amounts)
        before_run = (total - amounts)[self.first]
        carried_here = np.repeat(carried[self.owner], self.ends - self.starts + 1)
        return np.where(origin >= 0, total - total[origin], carried_here + total - before_run)


def elapsed_ms(runs: Runs, time_ms: Times, last_ms: Times, connector: Indices) -> Times:
    """Milliseconds since the connector's reading before; −1 where there was none."""
    before = runs.previous(time_ms, last_ms)
    return np.where(before > 0, time_ms - before, -1)


def first_order(runs: Runs, before: Floats, gain: Floats, target: Floats) -> Floats:
    """y ← y + gain·(target − y), reading by reading, from y = `before[connector]`; float64[n].

    One compiled pass in order: cutting a batch elsewhere changes no bit.
    """
    result = np.empty(len(target))
    _first_order(runs.starts, runs.ends, before[runs.owner], gain, target, result)
    return result


@compiled
def _first_order(starts, ends, values, gain, target, result):  # type: ignore[no-untyped-def]
    for run in range(len(starts)):
        value = values[run]
        for at in range(starts[run], ends[run] + 1):
            value = value + gain[at] * (target[at] - value)
            result[at] = value
