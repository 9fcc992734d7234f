"""From a noisy excess over a limit to a severity: hysteresis and minimum durations.

Each level latches when the excess reaches `on` and lets go below `off`; between the two it
keeps what it was. A latch counts only after it has held for `hold_s` of the device's time (to
come) or `release_s` (to go). Time between two readings is counted where there is no gap between
them: a gap ends no duration, starts none, and adds nothing to one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ohmwatch.compiled import compiled, inlined
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

    A level that counts is asked since when, any other when its latch turned: one instant is kept
    for both, times four, with the two flags (COUNTS, LATCHED), in six bytes. Only of the lowest
    level the turn is told (where all is over) while it may still count; it is kept beside. A
    duration is asked for while latch and flag differ, which without waiting they never do between
    two readings: then neither is kept.
    """
    waits = _waits(levels)
    level = np.dtype([*_INSTANT, ("held_ms", "<i4")] if waits else _INSTANT)
    flip = [("flip", np.dtype(_INSTANT))] if waits else []
    return np.dtype([("last_ms", "<i8"), *flip, ("levels", level, (len(levels),))])


_INSTANT = [("low", "<u4"), ("high", "<i2")]
_INSTANT_BYTES = 6
LATCHED, COUNTS = 1, 2


def _waits(levels: Sequence[Level]) -> bool:
    """Whether any level takes time: else none is ever between its latch and what counts."""
    return any(level.hold_s > 0 or level.release_s > 0 for level in levels)


def is_stated(state: State) -> Flags:
    """Of whom something is said that has not ended, bool[connectors]; `state` is of hold_dtype."""
    return np.any(state["levels"]["low"] & COUNTS, axis=1)


def state_lowest(state: State, chosen: Times, since_ms: Times) -> None:
    """Lets the lowest level hold for the connectors `chosen`, by their positions, since then.

    For what is stated by something else than readings: `judge` ends it, as what it said itself.
    """
    lowest = state["levels"][:, 0]
    _note(lowest, chosen, since_ms << 2 | COUNTS | LATCHED)
    if "flip" in (state.dtype.names or ()):
        _note(state["flip"], chosen, since_ms)
        lowest["held_ms"][chosen] = 0


def _note(instants: State, chosen: Times, whole: Times) -> None:
    instants["low"][chosen], instants["high"][chosen] = whole & 0xFFFFFFFF, whole >> 32


@dataclass(frozen=True, slots=True)
class _Shape:
    """Where things lie in a record of hold_dtype: `memory` is all of it as bytes, `places` are of
    the flip (−1: none), of the first level, and from there to its duration and to the next."""

    memory: np.dtype[Any]
    places: Times

    @staticmethod
    @lru_cache(maxsize=256)
    def of(dtype: np.dtype[Any]) -> "_Shape":
        fields = dict(dtype.fields or {})
        flip = fields["flip"][1] if "flip" in fields else -1
        levels, first = fields["levels"][:2]
        places = [flip, first, _INSTANT_BYTES, levels.base.itemsize]
        memory = np.dtype((np.uint8, (dtype.itemsize,)))
        return _Shape(memory, np.array(places, dtype=np.int64))


@lru_cache(maxsize=1_024)
def _limits(levels: tuple[Level, ...]) -> tuple[Floats, Times]:
    """On and off of each level; how long to hold and to release, ms, and its severity."""
    edges = np.array([[level.on, level.off] for level in levels])
    return edges, np.array([_whole_ms(level) for level in levels], dtype=np.int64)


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
    shape = _Shape.of(state.dtype)
    edges, times = _limits(tuple(levels))
    said = np.empty((3, len(time_ms)), dtype=np.int64)
    count = _judge(
        connector.copy(),
        time_ms.copy(),
        np.array(excess, dtype=np.float64),
        edges,
        times,
        gap_limits_ms(ratings),
        state.getfield(shape.memory),
        shape.places,
        said,
    )
    return [
        Statement(index, Severity(severity) if severity else None, since_ms)
        for index, severity, since_ms in said[:, :count].T.tolist()
    ]


def _whole_ms(level: Level) -> tuple[int, int, int]:
    return int(level.hold_s * 1000), int(level.release_s * 1000), int(level.severity)


@inlined
def _read(kept, owner, at, size):  # type: ignore[no-untyped-def]
    """A whole number of so many bytes, little-endian."""
    whole = np.int64(0)
    for byte in range(size):
        whole |= np.int64(kept[owner, at + byte]) << (8 * byte)
    if size < 8 and whole >> (8 * size - 1):
        whole -= np.int64(1) << (8 * size)
    return whole


@inlined
def _write(kept, owner, at, size, whole):  # type: ignore[no-untyped-def]
    for byte in range(size):
        kept[owner, at + byte] = np.uint8((whole >> (8 * byte)) & 0xFF)


@inlined
def _recall(kept, places, owner, k):  # type: ignore[no-untyped-def]
    """Latch, flag, how long, when the latch turned, since when: of a connector's level."""
    at = places[1] + k * places[3]
    mark = _read(kept, owner, at, 6)
    begun, held, flip = mark >> 2, np.int64(0), mark >> 2
    if places[0] >= 0:
        held = _read(kept, owner, at + places[2], 4)
        if k == 0:
            flip = _read(kept, owner, places[0], 6)
    return mark & 1 != 0, mark & 2 != 0, held, flip, begun


@inlined
def _keep(kept, places, owner, k, is_latched, does_hold, held, flip, begun):  # type: ignore[no-untyped-def]
    at = places[1] + k * places[3]
    mark = (begun if does_hold else flip) << 2
    if does_hold:
        mark |= 2
    if is_latched:
        mark |= 1
    _write(kept, owner, at, 6, mark)
    if places[0] >= 0:
        _write(kept, owner, at + places[2], 4, held)
        if k == 0:
            _write(kept, owner, places[0], 6, flip)


@compiled
def _judge(connector, time_ms, excess, edges, times, gap_ms, kept, places, said):  # type: ignore[no-untyped-def]
    """All readings in order; fills `said` with index, severity (0: over), since; how many."""
    size, count, end = len(time_ms), 0, 0
    counted, now, since = np.empty((3, size), dtype=np.int64)
    while end < size:
        start, owner = end, connector[end]
        last_ms = _read(kept, owner, 0, 8)
        seen_ms = last_ms
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
            is_latched, does_hold, held, flip, begun = _recall(kept, places, owner, k)
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
            _keep(kept, places, owner, k, is_latched, does_hold, held, flip, begun)
        seen_ms = last_ms
        for at in range(start, end):
            again = now[at] > 0 and time_ms[at] // REFRESH_MS != seen_ms // REFRESH_MS
            if now[at] != before or again:
                said[0, count], said[1, count], said[2, count] = at, now[at], since[at]
                count += 1
            before, seen_ms = now[at], time_ms[at]
        _write(kept, owner, 0, 8, seen_ms)
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
