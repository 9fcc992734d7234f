"""Whether a device's clock is right, told from how late its readings come.

A sample is the time of arrival less the newest instant in what arrived together: delay of transport
less error of the clock. Delay is never negative and mostly small, so the lower quartile of samples
of some twenty minutes is the clock's error, nearly; a burst of old readings, or a row with a wild
time, moves a quartile little. A clock that is behind looks like readings that are always late: it
is called behind only where the samples agree with one another, for delays vary and clocks don't.

A wrong clock is a state of the device with a notice, not an alarm of its connectors: all of them
share it, and `sensor_implausible` would blame a sensor that measures well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from django.db.models import Q, QuerySet

from apps.devices.models import ClockState, Device

LIMIT_MS = 5_000
"""How far a clock may be off: what GB/T 32960 asks of a terminal."""
SAMPLES_NEEDED = 3
SPREAD_MS = 2_000
"""Samples of one clock lie this near together, or within a tenth of what they say."""
MOVED_MS = 1_000
"""A change of the offset smaller than this is not worth a row's update."""


@dataclass(frozen=True)
class Clock:
    """`offset_ms`: the device's clock less ours, positive where it is ahead. `delay_ms`: how much
    later than its best its readings come, half of the time."""

    state: str
    offset_ms: int
    delay_ms: int


def judge(samples_ms: Sequence[int]) -> Clock | None:
    """What the samples say; None while there are too few."""
    if len(samples_ms) < SAMPLES_NEEDED:
        return None
    low, middle, high = (
        round(float(each)) for each in np.percentile(np.array(samples_ms), (25, 50, 75))
    )
    return Clock(_state(low, high), offset_ms=-low, delay_ms=middle - low)


def _state(low_ms: int, high_ms: int) -> str:
    if low_ms < -LIMIT_MS:
        return ClockState.AHEAD
    if low_ms <= LIMIT_MS:
        return ClockState.RIGHT
    steady = high_ms - low_ms <= max(SPREAD_MS, low_ms // 10)
    return ClockState.BEHIND if steady else ClockState.UNCLEAR


def note_clock(*, device: Device, clock: Clock, now: datetime) -> bool:
    """Write it down where it is news; whether it was."""
    known_ms = device.clock_offset_ms
    moved = known_ms is None or abs(known_ms - clock.offset_ms) >= max(
        MOVED_MS, abs(known_ms) // 100
    )
    if device.clock_state == clock.state and not moved:
        return False
    Device.objects.filter(pk=device.pk).update(
        clock_state=clock.state,
        clock_offset_ms=clock.offset_ms,
        clock_delay_ms=clock.delay_ms,
        clock_judged_at=now,
    )
    return True


def with_wrong_clock(devices: QuerySet[Device]) -> QuerySet[Device]:
    """Those whose clock is ahead or behind."""
    return devices.filter(Q(clock_state__in=[ClockState.AHEAD, ClockState.BEHIND]))
