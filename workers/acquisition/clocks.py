"""Samples of devices' clocks: how much later than measured a device's newest reading arrives.

Taken before any reading is refused for its time: a clock that is an hour ahead is just what is
looked for. One sample a device in SAMPLE_EVERY_MS and worker, the least of that time, goes to the
notice board; what they mean is judged by upkeep (`apps.devices.clocks`).
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from workers.acquisition.parcels import Parcel
from workers.acquisition.sorting import Sorted

SAMPLE_EVERY_MS = 30_000
DEVICES_LIMIT = 50_000
"""Devices remembered at a time by one worker; beyond it, all begin anew."""

Key = tuple[str, str]
"""Tenant and device."""


@dataclass
class _Sample:
    least_ms: int
    since_ms: int


class Clocks:
    """What has been seen of each device since its last sample. Threads may share one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[Key, _Sample] = {}

    def due(self, newest: dict[Key, int], *, arrived_ms: int) -> list[tuple[Key, int]]:
        """Takes a batch in; the samples (ms) that are due now."""
        with self._lock:
            if len(self._of) + len(newest) > DEVICES_LIMIT:
                self._of.clear()
            return list(self._due(newest, arrived_ms))

    def _due(self, newest: dict[Key, int], arrived_ms: int) -> Iterator[tuple[Key, int]]:
        for key, measured_ms in newest.items():
            late_ms = arrived_ms - measured_ms
            known = self._of.get(key)
            if known is None:  # its first word is a sample at once
                self._of[key] = _Sample(_NONE, arrived_ms)
                yield key, late_ms
                continue
            known.least_ms = min(known.least_ms, late_ms)
            if arrived_ms - known.since_ms >= SAMPLE_EVERY_MS:
                yield key, known.least_ms
                self._of[key] = _Sample(_NONE, arrived_ms)


_NONE = 1 << 62


def newest_measured(work: Sorted) -> dict[Key, int]:
    """The newest instant that each device of a batch speaks of, believable or not."""
    newest: dict[Key, int] = {}
    for parcel, measured_ms in _newest_of(work.parcels):
        key = _key(parcel)
        if measured_ms > newest.get(key, measured_ms - 1):
            newest[key] = measured_ms
    for singles in work.singles:
        for device, measured_ms in zip(
            singles.devices, singles.columns.time_ms.tolist(), strict=True
        ):
            key = (device.tenant, device.identifier)
            if measured_ms > newest.get(key, measured_ms - 1):
                newest[key] = measured_ms
    return newest


def _newest_of(parcels: Sequence[Parcel]) -> Iterable[tuple[Parcel, int]]:
    """Of each with readings the newest instant, found for all at once."""
    parcels = [parcel for parcel in parcels if len(parcel.decoded.columns)]
    if not parcels:
        return ()
    times = [parcel.decoded.columns.time_ms for parcel in parcels]
    begins = np.cumsum([0, *map(len, times[:-1])])
    return zip(parcels, np.maximum.reduceat(np.concatenate(times), begins).tolist(), strict=True)


def _key(parcel: Parcel) -> Key:
    return (parcel.device.tenant, parcel.device.identifier)
