"""The levels of telemetry, from readings to days, and which of them a question is answered from.

A rollup of a level is one document for each connector and bucket (a minute, an hour, a day). A
chart asks for a number of points; the widest bucket that is no wider than a point gives the same
picture from a fraction of the documents, as each keeps minimum and maximum.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apps.telemetry.slices import DAY_MS, Retention
from apps.telemetry.spans import ALWAYS, Span, joined, within, without

MINUTE_MS = 60_000
HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Level:
    """`width_ms`: of a bucket; 1 for readings themselves.

    `slice_days`: how wide its indices are, whole weeks. `grace_ms`: how long after its end a bucket
    is still taken to be filling; what comes later redoes it. `chunk`: connector-buckets that are
    built by one search at most, small enough to hold up nobody. `binned`: it keeps distributions.
    """

    name: str
    width_ms: int
    slice_days: int = 7
    grace_ms: int = 0
    chunk: int = 0
    binned: bool = False

    def start_of(self, time_ms: int) -> int:
        """The beginning of the bucket that time_ms lies in."""
        return time_ms // self.width_ms * self.width_ms


RAW = Level("raw", 1)
MINUTE = Level("1m", MINUTE_MS, slice_days=28, grace_ms=30_000, chunk=1_000)
HOUR = Level("1h", HOUR_MS, slice_days=112, grace_ms=120_000, chunk=500, binned=True)
DAY = Level("1d", DAY_MS, slice_days=364, chunk=200, binned=True)
ROLLUPS = (MINUTE, HOUR, DAY)
BELOW: Mapping[str, Level] = {"1m": RAW, "1h": RAW, "1d": HOUR}
"""What each is built from. Hours come from readings, as their distributions can't from minutes."""

RAW_RANGE_MS = 6 * HOUR_MS
"""Up to this range a connector's readings themselves are quick enough at one a second."""


@dataclass(frozen=True)
class Kept:
    """What a retention class has by now.

    `since_ms`: of each level that has indices, by its name, when the oldest of them begins; what it
    knew of before is dropped. `first_ms`: when the oldest begins of all that is held on any level.
    An index begins long before its first document does, so only the two together tell that
    something was dropped.
    """

    since_ms: Mapping[str, int]
    first_ms: int


class Held:
    """Of which time each level can still tell of a tenant, and of which any can.

    Classes let go at different times, and a tenant may have been in several.
    """

    def __init__(self, kept: Mapping[str, Kept], retention: Retention | None = None) -> None:
        """`kept` is by class; a tenant of which no retention is known may be in any of them."""
        known: list[Span] = []
        held: defaultdict[str, list[Span]] = defaultdict(list)
        stretches = retention.stretches() if retention else ((name, ALWAYS) for name in kept)
        for name, (start_ms, end_ms) in stretches:
            if name not in kept:
                continue
            known.append((max(start_ms, kept[name].first_ms), end_ms))
            for level, since_ms in kept[name].since_ms.items():
                held[level].append((max(start_ms, since_ms), end_ms))
        self._known = joined(known)
        self._held = held

    def suffices(self, levels: Sequence[Level], span: Span) -> bool:
        """Whether these levels together tell all that is known of the span."""
        return not without(within(self._known, [span]), self._told_by(levels))

    def finest(self, levels: Sequence[Level], at_ms: int) -> Level:
        """The finest of these levels that tells of that instant; readings where none does."""
        for level in sorted(levels, key=_width):
            if any(start_ms <= at_ms < end_ms for start_ms, end_ms in self._held[level.name]):
                return level
        return RAW

    def _told_by(self, levels: Sequence[Level]) -> list[Span]:
        return joined(span for level in levels for span in self._held[level.name])


def level_for(start_ms: int, end_ms: int, width_ms: int, held: Held) -> Level:
    """The level that answers a question for points of width_ms over start_ms … end_ms."""
    wanted = RAW
    if end_ms - start_ms > RAW_RANGE_MS:
        wanted = max((each for each in (RAW, *ROLLUPS) if each.width_ms <= width_ms), key=_width)
    return still_held(wanted, (start_ms, end_ms), held)


def still_held(wanted: Level, span: Span, held: Held, *, binned: bool = False) -> Level:
    """The wanted level, or where that has let go, the next wider one that has all of the span."""
    for level in chain(DAY, binned=binned)[::-1]:
        if level.width_ms >= wanted.width_ms and held.suffices(chain(level, binned=binned), span):
            return level
    return wanted


def chain(level: Level, *, binned: bool = False) -> list[Level]:
    """The levels that fill in for one another where one has no answer yet, ending with readings."""
    finer = [each for each in reversed(ROLLUPS) if each.width_ms <= level.width_ms]
    return [*(each for each in finer if each.binned or not binned), RAW]


def _width(level: Level) -> int:
    return level.width_ms
