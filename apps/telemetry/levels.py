"""The levels of telemetry, from readings to days, and which of them a question is answered from.

A rollup of a level is one document for each connector and bucket (a minute, an hour, a day). A
chart asks for a number of points; the widest bucket that is no wider than a point gives the same
picture from a fraction of the documents, as each keeps minimum and maximum.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from apps.telemetry.slices import DAY_MS

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


def level_for(start_ms: int, end_ms: int, width_ms: int, oldest_ms: Mapping[str, int]) -> Level:
    """The level that answers a question for points of width_ms over start_ms … end_ms.

    `oldest_ms` says how far back each level reaches; where readings have expired, wider buckets
    that are still kept answer instead.
    """
    wanted = RAW
    if end_ms - start_ms > RAW_RANGE_MS:
        wanted = max((each for each in (RAW, *ROLLUPS) if each.width_ms <= width_ms), key=_width)
    # Nobody knows of anything from before the oldest of all.
    start_ms = max(start_ms, min(oldest_ms.values(), default=start_ms))
    for level in (each for each in (RAW, *ROLLUPS) if each.width_ms >= wanted.width_ms):
        if oldest_ms.get(level.name, end_ms) <= start_ms:
            return level
    return wanted


def chain(level: Level, *, binned: bool = False) -> list[Level]:
    """The levels that fill in for one another where one has no answer yet, ending with readings."""
    finer = [each for each in reversed(ROLLUPS) if each.width_ms <= level.width_ms]
    return [*(each for each in finer if each.binned or not binned), RAW]


def _width(level: Level) -> int:
    return level.width_ms
