"""From a noisy excess over a limit to a severity: hysteresis and minimum durations.

Each level latches when the excess reaches `on` and lets go below `off`; between the two it
keeps what it was. A latch counts only after it has held for `hold_s` of the device's time (to
come) or `release_s` (to go). Time between two readings is counted where there is no gap between
them: a gap ends no duration, starts none, and adds nothing to one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ohmwatch.compiled import compiled
from ohmwatch.conditions import Pole
from ohmwatch.detector import Batch, Detector, Flags, Floats, Indices, Ratings, State, Times
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.sequence import gap_limits_ms

REFRESH_MS = 300_000
"""A condition that goes on is stated again when device time passes a multiple of this."""


LONGEST_HELD_MS = 20 * 86_400_000
"""Durations are counted up to this: no level holds or releases later."""


@dataclass(frozen=True, slots=True)
class Level:
    """A severity and when it holds: `on` and `off` in the unit of the excess, times in s."""

    severity: Severity
    on: float
    off: float
    hold_s: float
    release_s: float


@dataclass(frozen=True, slots=True)
class Statement:
    """A reading at which something is to be said: its index, the severity, since when."""

    index: int
    severity: Severity | None
    since_ms: int


def hold_dtype(levels: Sequence[Level]) -> np.dtype[Any]:
    """The state of a connector: the time last seen, and of each level its latch and durations.

    Fields are left out where they can't matter, and instants have six bytes: see `_Kept`.
    """
    waits = _waits(levels)
    level = np.dtype([*_INSTANT, ("held_ms", "<i4")] if waits else _INSTANT)
    flip = [("flip", np.dtype(_INSTANT))] if waits else []
    return np.dtype([("last_ms", "<i8"), *flip, ("levels", level, (len(levels),))])


_INSTANT = [("low", "<u4"), ("high", "<i2")]


def _waits(levels: Sequence[Level]) -> bool:
    """Whether any level takes time: else none is ever between its latch and what counts."""
    return any(level.hold_s > 0 or level.release_s > 0 for level in levels)


@dataclass(frozen=True, slots=True)
class _Kept:
    """The state of all connectors as columns, [connectors, levels]; times in ms, int64.

    A level that counts is asked since when, any other when its latch turned: one instant is
    kept for both, times four, with the two flags. Only of the lowest level the turn is told
    (where all is over) while it may still count; it is kept beside. A duration is asked for
    while latch and flag differ, which without waiting they never do between two readings.
    """

    latched: Flags
    holds: Flags
    held_ms: Times
    flip_ms: Times
    since_ms: Times

    @classmethod
    def of(cls, state: State) -> "_Kept":
        own = state["levels"]
        marks = _whole(own)
        since_ms, flip_ms = marks >> 2, marks >> 2
        held_ms = np.zeros_like(marks)
        if "flip" in (state.dtype.names or ()):
            flip_ms[:, 0] = _whole(state["flip"])
            held_ms[:] = own["held_ms"]
        return cls((marks & 1) != 0, (marks & 2) != 0, held_ms, flip_ms, since_ms)

    def into(self, state: State) -> None:
        """Writes the columns back."""
        own = state["levels"]
        at_ms = np.where(self.holds, self.since_ms, self.flip_ms)
        _part((at_ms << 2) | (self.holds * 2) | self.latched, own)
        if "flip" in (state.dtype.names or ()):
            _part(self.flip_ms[:, 0], state["flip"])
            own["held_ms"] = self.held_ms


def is_stated(state: State) -> Flags:
    """Of whom something is said that has not ended, bool[connectors]; `state` is of hold_dtype."""
    return np.any(_Kept.of(state).holds, axis=1)


def state_lowest(state: State, chosen: Times, since_ms: Times) -> None:
    """Lets the lowest level hold for the connectors `chosen`, by their positions, since then.

    For what is stated by something else than readings: `judge` ends it, as what it said itself.
    """
    kept = _Kept.of(state)
    kept.latched[chosen, 0] = kept.holds[chosen, 0] = True
    kept.held_ms[chosen, 0] = 0
    kept.flip_ms[chosen, 0] = kept.since_ms[chosen, 0] = since_ms
    kept.into(state)


def _whole(parts: State) -> Times:
    """Six bytes as a number, int64."""
    whole: Times = parts["high"].astype(np.int64) << 32 | parts["low"]
    return whole


def _part(whole: Times, parts: State) -> None:
    parts["low"], parts["high"] = whole & 0xFFFFFFFF, whole >> 32


def judge(
    connector: Indices,
    time_ms: Times,
    excess: Sequence[Floats],
    levels: Sequence[Level],
    ratings: Sequence[Ratings],
    state: State,
) -> list[Statement]:
    """What is to be said at which readings; carries `state` (hold_dtype) forward.

    `excess[k]` (float64[n], no NaN) is what level k compares; levels rise in severity. Says
    something where the severity changes, and again each REFRESH_MS while it lasts.
    """
    if not len(time_ms):
        return []
    kept, last_ms = _Kept.of(state), np.array(state["last_ms"])
    said = np.empty((3, len(time_ms)), dtype=np.int64)
    count = _judge(
        connector.copy(),
        time_ms.copy(),
        np.array(excess, dtype=np.float64),
        np.array([[level.on, level.off] for level in levels]),
        np.array([_whole_ms(level) for level in levels], dtype=np.int64),
        gap_limits_ms(ratings),
        last_ms,
        kept.latched,
        kept.holds,
        kept.held_ms,
        kept.flip_ms,
        kept.since_ms,
        said,
    )
    state["last_ms"] = last_ms
    kept.into(state)
    return [
        Statement(index, Severity(severity) if severity else None, since_ms)
        for index, severity, since_ms in said[:, :count].T.tolist()
    ]


def _whole_ms(level: Level) -> tuple[int, int, int]:
    return int(level.hold_s * 1000), int(level.release_s * 1000), int(level.severity)


@compiled
def _judge(  # type: ignore[no-untyped-def]
    connector,
    time_ms,
    excess,
    edges,
    times,
    gap_ms,
    last_ms,
    latched,
    holds,
    held_ms,
    flip_ms,
    since_ms,
    said,
):
    """All readings in order; fills `said` with index, severity (0: over), since; how many."""
    size, count, end = len(time_ms), 0, 0
    counted, now, since = np.empty((3, size), dtype=np.int64)
    while end < size:
        start, owner = end, connector[end]
        seen_ms = last_ms[owner]
        while end < size and connector[end] == owner:
            elapsed = time_ms[end] - seen_ms
            counted[end] = 0 if seen_ms <= 0 or elapsed > gap_ms[owner] else elapsed
            now[end] = 0
            seen_ms = time_ms[end]
            end += 1
        before = 0
        # Levels are walked downwards, so the lowest one that holds says since when. One level
        # after the other keeps what is known of it in registers: three times as fast.
        for k in range(len(edges) - 1, -1, -1):
            on, off = edges[k]
            hold_ms, release_ms, severity = times[k]
            is_latched, does_hold = latched[owner, k], holds[owner, k]
            held, flip, begun = held_ms[owner, k], flip_ms[owner, k], since_ms[owner, k]
            if does_hold:
                before = max(before, severity)
            for at in range(start, end):
                value = excess[k, at]
                over = value >= on
                held = min(held + counted[at], LONGEST_HELD_MS)
                if (over or value < off) and over != is_latched:
                    is_latched, flip, held = over, time_ms[at], 0
                if held >= (hold_ms if is_latched else release_ms):
                    if is_latched and not does_hold:
                        begun = flip
                    does_hold = is_latched
                if does_hold:
                    now[at], since[at] = max(now[at], severity), begun
                elif k == 0 and now[at] == 0:
                    since[at] = flip
            latched[owner, k], holds[owner, k] = is_latched, does_hold
            held_ms[owner, k], flip_ms[owner, k], since_ms[owner, k] = held, flip, begun
        seen_ms = last_ms[owner]
        for at in range(start, end):
            again = now[at] > 0 and time_ms[at] // REFRESH_MS != seen_ms // REFRESH_MS
            if now[at] != before or again:
                said[0, count], said[1, count], said[2, count] = at, now[at], since[at]
                count += 1
            before, seen_ms = now[at], time_ms[at]
        last_ms[owner] = seen_ms
    return count


def as_findings(
    detector: Detector,
    batch: Batch,
    statements: Sequence[Statement],
    *,
    pole: Callable[[int], Pole],
    evidence: Mapping[str, Floats],
) -> list[Finding]:
    """The statements as findings; the evidence is each column's number at that reading."""
    return [
        Finding(
            connector=batch.connectors[int(batch.connector[at.index])],
            condition=detector.condition,
            severity=at.severity,
            since_ms=at.since_ms,
            measured_ms=int(batch.time_ms[at.index]),
            arrived_ms=int(batch.arrived_ms[at.index]),
            detector=detector.name,
            detector_version=detector.version,
            pole=pole(at.index),
            evidence=_numbers(evidence, at.index),
        )
        for at in statements
    ]


def hotter_pole(hold_pos: Floats, hold_neg: Floats, limit: float) -> Callable[[int], Pole]:
    """Which pole the reading accuses: both where both excesses reach `limit`, else the larger."""

    def pole(index: int) -> Pole:
        positive, negative = float(hold_pos[index]), float(hold_neg[index])
        if positive >= limit and negative >= limit:
            return Pole.BOTH
        return Pole.NEGATIVE if not positive >= negative and negative == negative else Pole.POSITIVE

    return pole


def _numbers(evidence: Mapping[str, Floats], index: int) -> dict[str, float | str]:
    """What is known of the evidence at a reading, rounded to what an instrument can show."""
    numbers = {name: round(float(column[index]), 3) for name, column in evidence.items()}
    return {name: number for name, number in numbers.items() if math.isfinite(number)}
