"""Which readings are judged now, in order of measurement, though they came by several ways.

A reading waits `window_ms` for others of its connector that were measured before it but came
after it. What comes later still is late. The rule looks at what was measured and when it
arrived, never at when somebody looked: a pass that runs late, or runs again over the same
readings, or over readings that were stored meanwhile, chooses the same ones.
"""

from dataclasses import dataclass

import numpy as np

from ohmwatch.detector import Batch, Flags, Times

_TIME_BITS = 42  # milliseconds until the year 2109
_LARGEST = 1 << (63 - _TIME_BITS)


@dataclass(frozen=True, slots=True)
class Choice:
    """Per reading (bool[n]): `released` is judged now; `late` came too late and never is."""

    released: Flags
    late: Flags


def in_order(batch: Batch, *, mature: Flags, window_ms: int) -> Choice:
    """Which readings of a batch (in any order) to judge.

    `mature` (bool[n]) are the readings behind which everything that arrived within the window
    has been seen. Late is a reading that came more than the window after one of its connector
    that is as new or newer. Released is every reading that is not late and not newer than its
    connector's newest mature one: some of them are not mature yet, but precede one that is.
    Raises ValueError for more than two million connectors.
    """
    if len(batch.connectors) >= _LARGEST:
        raise ValueError(f"at most {_LARGEST - 1} connectors a batch")
    late = _late(batch, window_ms)
    newest_ms = np.full(len(batch.connectors), -1, dtype=np.int64)
    due = mature & ~late
    np.maximum.at(newest_ms, batch.connector[due], batch.time_ms[due])
    released = ~late & (batch.time_ms <= newest_ms[batch.connector])
    return Choice(released=released, late=late)


def _late(batch: Batch, window_ms: int) -> Flags:
    """Whether a reading came more than the window after one of its connector as new or newer."""
    connector = batch.connector.astype(np.int64) << _TIME_BITS
    order = np.argsort(connector + batch.arrived_ms, kind="stable")
    arrived: Times = (connector + batch.arrived_ms)[order]
    newest: Times = np.maximum.accumulate((connector + batch.time_ms)[order])
    before = np.searchsorted(arrived, arrived - window_ms, side="left") - 1
    late = np.zeros(len(batch), dtype=np.bool_)
    # A newest of another connector is smaller, for it stands lower in the upper bits.
    late[order] = (before >= 0) & (newest[before] >= (connector + batch.time_ms)[order])
    return late


def in_time(batch: Batch, *, window_ms: int) -> Times:
    """When each reading (int64[n]) would have come at the latest, had none been overtaken by more
    than the window: when the first of those came that are as new or newer. The others' arrival is
    their own.

    What a late reading is judged by: that it alone came late says nothing of its device's clock.
    """
    connector = batch.connector.astype(np.int64) << _TIME_BITS
    order = np.lexsort((batch.time_ms, batch.connector))
    arrived: Times = (connector + batch.arrived_ms)[order]
    # From the newest back; an earlier connector's are smaller, for it stands in the upper bits.
    first = np.minimum.accumulate(arrived[::-1])[::-1]
    came = np.empty(len(batch), dtype=np.int64)
    came[order] = np.where(arrived - first > window_ms, first, arrived) - connector[order]
    return came
