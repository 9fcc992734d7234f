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

from ohmwatch.compiled import compiled, inlined
from ohmwatch.conditions import Pole
from ohmwatch.detector import Batch, Detector, Floats, Indices, Ratings, State, Times
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
    """The state of a connector: the time last seen, and of each level its latch and durations."""
    level = np.dtype(
        [
            ("latched", "?"),
            ("holds", "?"),
            ("held_ms", "<i4"),
            ("flip_ms", "<i8"),
            ("since_ms", "<i8"),
        ]
    )
    return np.dtype([("last_ms", "<i8"), ("levels", level, (len(levels),))])


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
    own = state["levels"]
    carried = [np.array(own[name]) for name in ("latched", "holds")]
    carried_ms = [np.array(own[name], np.int64) for name in ("held_ms", "flip_ms", "since_ms")]
    last_ms = np.array(state["last_ms"])
    said = np.empty((3, len(time_ms)), dtype=np.int64)
    count = _judge(
        connector.copy(),
        time_ms.copy(),
        np.array(excess, dtype=np.float64),
        np.array([[level.on, level.off] for level in levels]),
        np.array([_whole_ms(level) for level in levels], dtype=np.int64),
        gap_limits_ms(ratings),
        last_ms,
        carried[0],
        carried[1],
        carried_ms[0],
        carried_ms[1],
        carried_ms[2],
        said,
    )
    state["last_ms"] = last_ms
    for name, values in zip(_FIELDS, [*carried, *carried_ms], strict=True):
        own[name] = values
    return [
        Statement(index, Severity(severity) if severity else None, since_ms)
        for index, severity, since_ms in said[:, :count].T.tolist()
    ]


_FIELDS = ("latched", "holds", "held_ms", "flip_ms", "since_ms")


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
    count, levels = 0, len(edges)
    for at in range(len(time_ms)):
        owner, now_ms = connector[at], time_ms[at]
        elapsed = now_ms - last_ms[owner]
        counted = 0 if last_ms[owner] <= 0 or elapsed > gap_ms[owner] else elapsed
        before, now, since = 0, 0, 0
        for k in range(levels - 1, -1, -1):
            if holds[owner, k]:
                before = max(before, times[k, 2])
            _turn(
                owner, k, now_ms, counted, excess[k, at], edges, times,
                latched, holds, held_ms, flip_ms, since_ms,
            )  # fmt: skip
            if holds[owner, k]:
                # Levels are walked downwards, so the lowest one that holds says since when.
                now, since = max(now, times[k, 2]), since_ms[owner, k]
        if now == 0:
            since = flip_ms[owner, 0]
        again = now > 0 and now_ms // REFRESH_MS != last_ms[owner] // REFRESH_MS
        if now != before or again:
            said[0, count], said[1, count], said[2, count] = at, now, since
            count += 1
        last_ms[owner] = now_ms
    return count


@inlined
def _turn(  # type: ignore[no-untyped-def]
    owner, k, now_ms, counted_ms, excess, edges, times, latched, holds, held_ms, flip_ms, since_ms
):
    """One level at one reading."""
    over = excess >= edges[k, 0]
    held_ms[owner, k] = min(held_ms[owner, k] + counted_ms, LONGEST_HELD_MS)
    if (over or excess < edges[k, 1]) and over != latched[owner, k]:
        latched[owner, k] = over
        flip_ms[owner, k] = now_ms
        held_ms[owner, k] = 0
    if held_ms[owner, k] >= (times[k, 0] if latched[owner, k] else times[k, 1]):
        if latched[owner, k] and not holds[owner, k]:
            since_ms[owner, k] = flip_ms[owner, k]
        holds[owner, k] = latched[owner, k]


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
