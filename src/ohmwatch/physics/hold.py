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

from ohmwatch.conditions import Pole
from ohmwatch.detector import Batch, Detector, Flags, Floats, Indices, Ratings, State, Times
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.sequence import Runs, elapsed_ms, gap_limits_ms

REFRESH_MS = 300_000
"""A condition that goes on is stated again when device time passes a multiple of this."""


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
            ("held_ms", "<i8"),
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
    runs = Runs.of(connector)
    elapsed = elapsed_ms(runs, time_ms, state["last_ms"], connector)
    counted = np.where((elapsed < 0) | (elapsed > gap_limits_ms(ratings)[connector]), 0, elapsed)
    before = np.zeros(len(state), dtype=np.int8)
    now = np.zeros(len(time_ms), dtype=np.int8)
    since_ms = np.zeros(len(time_ms), dtype=np.int64)
    for position, level in reversed(list(enumerate(levels))):
        own = state["levels"][:, position]
        before = np.maximum(before, np.where(own["holds"], level.severity, 0)).astype(np.int8)
        course = _level(runs, time_ms, counted, excess[position], level, own)
        now = np.maximum(now, np.where(course.holds, level.severity, 0)).astype(np.int8)
        # Levels are walked downwards, so the lowest one that holds says since when.
        since_ms = np.where(course.holds, course.since_ms, since_ms)
    since_ms = np.where(now == 0, course.flip_ms, since_ms)
    previous = runs.previous(now, before)
    last_ms = runs.previous(time_ms, state["last_ms"])
    state["last_ms"][runs.owner] = time_ms[runs.ends]
    said = (now != previous) | ((now > 0) & (time_ms // REFRESH_MS != last_ms // REFRESH_MS))
    return [
        Statement(index, Severity(int(now[index])) if now[index] else None, int(since_ms[index]))
        for index in np.flatnonzero(said).tolist()
    ]


@dataclass(frozen=True, slots=True)
class _Course:
    """One level at each reading: whether it holds, since when, when its latch last flipped."""

    holds: Flags
    since_ms: Times
    flip_ms: Times


def _level(
    runs: Runs, time_ms: Times, counted_ms: Times, excess: Floats, level: Level, own: State
) -> _Course:
    over = excess >= level.on
    touched = runs.latest(over | (excess < level.off))
    latched = np.where(touched >= 0, over[touched], _spread(runs, own["latched"]))
    flipped = runs.latest(latched != runs.previous(latched, own["latched"]))
    held_ms = runs.since(counted_ms, flipped, own["held_ms"])
    flip_ms = np.where(flipped >= 0, time_ms[flipped], _spread(runs, own["flip_ms"]))
    needed_ms = np.where(latched, int(level.hold_s * 1000), int(level.release_s * 1000))
    confirmed = runs.latest(held_ms >= needed_ms)
    holds = np.where(confirmed >= 0, latched[confirmed], _spread(runs, own["holds"]))
    began = runs.latest(holds & ~runs.previous(holds, own["holds"]))
    since_ms = np.where(began >= 0, flip_ms[began], _spread(runs, own["since_ms"]))
    course = {"latched": latched, "holds": holds, "held_ms": held_ms, "flip_ms": flip_ms}
    for name, values in {**course, "since_ms": since_ms}.items():
        own[name][runs.owner] = values[runs.ends]
    return _Course(holds=holds, since_ms=since_ms, flip_ms=flip_ms)


def _spread(runs: Runs, per_connector: np.ndarray) -> np.ndarray:
    return np.repeat(per_connector[runs.owner], runs.ends - runs.starts + 1)


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
