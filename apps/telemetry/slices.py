"""Slices of time: which index a document belongs to, which indices must exist, which expire.

A slice is an index for a range of time and a retention class, named after the day it begins:
`readings-30d-20261123`. Slices begin on Mondays (widths are whole weeks) or any day (width 1),
in UTC, so every process finds the same name without asking.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from django.utils.dateparse import parse_datetime

from apps.telemetry.spans import ALWAYS, Span

DAY_MS = 86_400_000
AHEAD = timedelta(minutes=5)  # READINGS.md: how far a device's clock may be ahead
EXPIRY_MARGIN = timedelta(hours=1)
"""What expires within that is taken as gone: nothing vanishes between two questions."""
_AHEAD_MS = int(AHEAD.total_seconds() * 1000)
FIRST_MONDAY_MS = 4 * DAY_MS  # 1970-01-05: widths of 7 days count from here


@dataclass(frozen=True)
class RetentionClass:
    """How long readings stay, and what was made of them.

    `keep_days` counts from arrival: a slice goes when it ended keep_days + open_days ago, because
    its last reading may have come open_days after it was measured. `rollup_days`: the same for
    each level of rollups, by its name.
    """

    name: str
    keep_days: int
    rollup_days: Mapping[str, int]
    slice_days: int = 7


def _rollups(minutes: int, hours: int, days: int) -> Mapping[str, int]:
    return MappingProxyType({"1m": minutes, "1h": hours, "1d": days})


CLASSES = {
    known.name: known
    for known in (
        RetentionClass("30d", 30, _rollups(90, 400, 1830)),
        RetentionClass("90d", 90, _rollups(180, 800, 1830)),
        RetentionClass("1y", 366, _rollups(366, 1830, 3660), slice_days=28),
    )
}
DEFAULT_CLASS = "30d"
CLASS_LENGTH = 20
"""So long a class's name can be: it is a column of the tenant's record."""
_OWN_CLASS = re.compile(rf"({'|'.join(CLASSES)})[a-z][a-z0-9]*")
MOVE_LEAD = timedelta(hours=1)
"""A tenant is moved from a midnight on that lies so far ahead: every worker knows of it by then,
and no reading of after it is taken in before (AHEAD)."""


@lru_cache(maxsize=4096)
def class_of(name: str) -> RetentionClass | None:
    """The class of that name: one of CLASSES, or one of a tenant's own, which is kept as its base.

    >>> class_of("90dkunlun").keep_days
    90
    """
    own = _OWN_CLASS.fullmatch(name)
    if own is None or len(name) > CLASS_LENGTH:
        return CLASSES.get(name)
    return replace(CLASSES[own[1]], name=name)


def own_class(base: str, slug: str) -> str:
    """The name of a tenant's own class; two whose slugs begin alike for long share one.

    >>> own_class("30d", "kunlun-motors-of-the-north")
    '30dkunlunmotorsofthe'
    """
    return f"{base}{slug.replace('-', '')}"[:CLASS_LENGTH]


class Retention(NamedTuple):
    """The class that a tenant's readings are in, by when they were measured (decision 0007).

    `former`: the classes before `latest`, oldest first, each with the instant in ms that its time
    ended before. So the index of a reading never changes, and a repeat meets the first.
    """

    latest: str
    former: tuple[tuple[str, int], ...] = ()

    def at(self, time_ms: int) -> str:
        """The class of what was measured then."""
        for name, end_ms in self.former:
            if time_ms < end_ms:
                return name
        return self.latest

    def between(self, first_ms: int, last_ms: int) -> set[str]:
        """The classes of what was measured from first_ms to last_ms, both included."""
        ends = [end_ms for _name, end_ms in self.former if first_ms < end_ms <= last_ms]
        return {self.at(time_ms) for time_ms in (first_ms, *ends)}

    def stretches(self) -> Iterator[tuple[str, Span]]:
        """Each class with the time whose measurements are in it, oldest first."""
        start_ms, ever_ms = ALWAYS
        for name, end_ms in (*self.former, (self.latest, ever_ms)):
            yield (name if class_of(name) else DEFAULT_CLASS), (start_ms, end_ms)
            start_ms = end_ms

    def moved(self, to: str, start_ms: int) -> "Retention":
        """The same up to start_ms, and `to` from then on; what would have come later never does."""
        before = self.at(start_ms - 1)
        former = tuple(each for each in self.former if each[1] < start_ms)
        return Retention(to, former if before == to else (*former, (before, start_ms)))

    @property
    def names(self) -> set[str]:
        """All classes that anything of the tenant is in."""
        return {self.latest, *(name for name, _ in self.former)}


def move_begins(now: datetime) -> datetime:
    """The midnight, UTC, from which a move that is decided now holds.

    A midnight, so that no rollup's bucket is in two classes.
    """
    return from_ms(-(-to_ms(now + MOVE_LEAD) // DAY_MS) * DAY_MS)


@dataclass(frozen=True)
class Slice:
    """A range of time, `start_ms` ≤ t < `end_ms` since 1970 UTC, and the index that holds it."""

    family: str  # "readings-30d", "quarantine", "account"
    start_ms: int
    end_ms: int

    @property
    def name(self) -> str:
        """The index, without the installation's prefix."""
        return f"{self.family}-{datetime.fromtimestamp(self.start_ms / 1000, UTC):%Y%m%d}"


@lru_cache(maxsize=4096)
def _slice_number(family: str, slice_days: int, number: int) -> Slice:
    width_ms = slice_days * DAY_MS
    start_ms = FIRST_MONDAY_MS + number * width_ms
    return Slice(family, start_ms, start_ms + width_ms)


def slice_of(family: str, slice_days: int, time_ms: int) -> Slice:
    """The slice that `time_ms` lies in."""
    return _slice_number(family, slice_days, (time_ms - FIRST_MONDAY_MS) // (slice_days * DAY_MS))


def slices_between(family: str, slice_days: int, start_ms: int, end_ms: int) -> Iterator[Slice]:
    """Every slice that holds a part of start_ms … end_ms, both included."""
    current = slice_of(family, slice_days, start_ms)
    while current.start_ms <= end_ms:
        yield current
        current = slice_of(family, slice_days, current.end_ms)


def open_range_ms(now: datetime, open_days: int) -> tuple[int, int]:
    """The oldest and the newest instant of measurement that is accepted, both included."""
    now_ms = to_ms(now)
    return now_ms - open_days * DAY_MS, now_ms + _AHEAD_MS


def wanted(family: str, slice_days: int, now: datetime, open_days: int) -> list[Slice]:
    """The slices that must be there: the open range, and tomorrow's.

    Not sooner: how many shards the next one gets is told from the size that this one has come to.
    """
    oldest_ms, newest_ms = open_range_ms(now, open_days)
    return list(slices_between(family, slice_days, oldest_ms, newest_ms + DAY_MS))


def begin_of(index: str) -> datetime | None:
    """When the slice of that index name begins; None where the name is not a slice's."""
    day = index.rsplit("-", 1)[-1].partition(".")[0]  # .2 and on: it was written anew
    try:
        return datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def family_of(index: str) -> str:
    """The family of a slice, by its name without the installation's prefix."""
    return index.rsplit("-", 1)[0]


def elapsed(start_ms: int, width_days: int, now: datetime) -> float:
    """The share of a slice's time that is over, 0 … 1; 0 also where it has not begun."""
    return min(1.0, max(0.0, (to_ms(now) - start_ms) / (width_days * DAY_MS)))


def is_expired(
    index: str, *, slice_days: int, keep_days: int, open_days: int, now: datetime
) -> bool:
    """Whether all that the slice can hold came more than keep_days ago."""
    begin = begin_of(index)
    return begin is not None and begin + timedelta(days=slice_days + keep_days + open_days) < now


def held_since_ms(retention: Retention, *, now: datetime, open_days: int) -> int:
    """All of a tenant's readings that came from then on are held; of earlier ones some may be gone.

    A reading that came at A was measured between A − open_days and A + AHEAD, and stays for the
    time of its class since A, at the least. So it is the latest end of the times of arrival at
    which something may have come that has expired since.
    """
    since_ms = 0
    begin_ms: int | None = None
    for name, end_ms in (*retention.former, (retention.latest, None)):
        kept = class_of(name) or CLASSES[DEFAULT_CLASS]
        kept_from_ms = to_ms(now - timedelta(days=kept.keep_days) + EXPIRY_MARGIN)
        may_be_gone = begin_ms is None or begin_ms - _AHEAD_MS < kept_from_ms
        if may_be_gone:
            last_ms = kept_from_ms if end_ms is None else end_ms + open_days * DAY_MS
            since_ms = max(since_ms, min(kept_from_ms, last_ms))
        begin_ms = end_ms
    return since_ms


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970 UTC; the moment must say its zone."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone means nothing here")
    return int(moment.timestamp() * 1000)


def moment_of(text: str) -> datetime | None:
    """2026-11-24T10:00Z, with any offset, or a day alone; without an offset it is UTC. None: no
    time."""
    found = parse_datetime(text) or parse_datetime(f"{text}T00:00:00")
    if found is None:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def from_ms(time_ms: int | float | str) -> datetime:
    """The moment, in UTC."""
    return datetime.fromtimestamp(int(time_ms) / 1000, UTC)
