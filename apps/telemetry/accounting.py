"""Closing the account over any stretch of arrival: of each side only what both still hold.

Three sides expire at different times. Readings stay for the time of their class since they came
(`slices.held_since_ms`), refused messages for KEEP_REFUSED_DAYS, the ledger as long as the longest
class. A stretch is compared from where all of a tenant's readings are held; before the quarantine's
time readings alone are compared, and what was refused then is told as expired. What is left out is
told, never called open and never called closed.

Slices of the ledger older than the quarantine know whole hours only (`ledger_hours`), so a stretch
that begins or ends there is narrowed to whole hours.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from apps.telemetry.answers import AccountLine, total_of
from apps.telemetry.documents import ACCOUNT, PLATFORM, QUARANTINE, READINGS
from apps.telemetry.levels import HOUR_MS
from apps.telemetry.slices import (
    DAY_MS,
    DEFAULT_CLASS,
    EXPIRY_MARGIN,
    Retention,
    held_since_ms,
    to_ms,
)
from apps.telemetry.store import KEEP_REFUSED_DAYS, TelemetryStore

AT_ONCE_MS = 7 * DAY_MS
"""So long a stretch is asked in one search."""
SEARCH_LIMIT_S = 60.0
_UNKNOWN = Retention(DEFAULT_CLASS)
"""Of whom no tenant's record tells: the platform's own, and tenants that were erased."""


@dataclass(frozen=True)
class Limits:
    """From when on, by arrival in ms, each side holds everything. `readings`: by tenant."""

    ledger_ms: int
    refused_ms: int
    readings_ms: Mapping[str, int]
    unknown_ms: int

    def since_ms(self, tenant: str, start_ms: int) -> int:
        """The first arrival at or after start_ms from which the tenant's account is compared."""
        held_ms = self.readings_ms.get(tenant, self.unknown_ms)
        since_ms = max(start_ms, self.ledger_ms, held_ms)
        return -(-since_ms // HOUR_MS) * HOUR_MS if since_ms < self.refused_ms else since_ms

    def until_ms(self, end_ms: int) -> int:
        """The last instant up to which it is: end_ms, or the whole hour before."""
        return end_ms // HOUR_MS * HOUR_MS if end_ms < self.refused_ms else end_ms


@dataclass(frozen=True)
class Account:
    """The account over start_ms ≤ arrival < end_ms, as far as it can be told.

    `lines`: of each tenant that has anything in it, or that it can't be told of from start_ms on.
    `since_ms`: from when on a tenant is compared; at or after end_ms: not at all.
    """

    start_ms: int
    end_ms: int
    lines: Sequence[AccountLine]
    since_ms: Mapping[str, int]
    limits: Limits

    @property
    def open(self) -> dict[str, int]:
        """Tenants whose account is open, and by how many readings."""
        return {line.tenant: line.apart for line in self.lines if not line.is_closed}

    @property
    def later(self) -> dict[str, int]:
        """Tenants whose account is told from a later instant on than was asked, and from which."""
        return {
            tenant: since_ms
            for tenant, since_ms in self.since_ms.items()
            if since_ms > self.start_ms
        }

    @property
    def tells_something(self) -> bool:
        """Whether anybody's account could be compared over any part of the stretch."""
        return any(since_ms < self.end_ms for since_ms in self.since_ms.values())


def limits(store: TelemetryStore, retentions: Mapping[str, Retention], *, now: datetime) -> Limits:
    """What each side holds now. Raises TelemetryError."""

    def held_ms(retention: Retention) -> int:
        return held_since_ms(retention, now=now, open_days=store.open_days)

    return Limits(
        ledger_ms=store.ledger_begins_ms(now),
        refused_ms=to_ms(now - timedelta(days=KEEP_REFUSED_DAYS) + EXPIRY_MARGIN),
        readings_ms={tenant: held_ms(each) for tenant, each in retentions.items()},
        unknown_ms=held_ms(_UNKNOWN),
    )


def account(
    store: TelemetryStore,
    start_ms: int | None,
    end_ms: int,
    *,
    retentions: Mapping[str, Retention],
    now: datetime,
    tenant: str | None = None,
) -> Account:
    """Close the account of all tenants, or of one, over start_ms ≤ arrival < end_ms.

    start_ms None is the first instant from which everybody's is held. `retentions` are those of all
    tenants' records, by slug. It closes for batches that are done: give the newest a moment, or
    ask again. Raises TelemetryError.
    """
    held = limits(store, retentions, now=now)
    start_ms = max(held.ledger_ms, held.unknown_ms) if start_ms is None else start_ms
    end_ms = held.until_ms(end_ms)
    asked = [tenant] if tenant else [*retentions, PLATFORM]
    since_ms = {each: held.since_ms(each, start_ms) for each in asked}
    unknown_ms = held.since_ms("", start_ms)
    store.refresh(ACCOUNT, READINGS, QUARANTINE)
    found: defaultdict[str, list[AccountLine]] = defaultdict(list)
    cuts = {*since_ms.values(), *(() if tenant else (unknown_ms,)), held.refused_ms}
    for first_ms, last_ms in _stretches(cuts, min(since_ms.values()), end_ms):
        for line in store.account_lines(first_ms, last_ms, tenant=tenant, limit_s=SEARCH_LIMIT_S):
            if since_ms.setdefault(line.tenant, unknown_ms) <= first_ms:
                is_expired = last_ms <= held.refused_ms
                found[line.tenant].append(_without_refused(line) if is_expired else line)
    told = {each for each, at_ms in since_ms.items() if at_ms > start_ms} | found.keys()
    lines = [total_of(found[each], each) for each in sorted(told)]
    return Account(start_ms, end_ms, lines, since_ms, held)


def _stretches(cuts: set[int], start_ms: int, end_ms: int) -> Iterator[tuple[int, int]]:
    """start_ms to end_ms in pieces that end at each cut, none longer than AT_ONCE_MS."""
    ends = {start_ms, *range(start_ms, end_ms, AT_ONCE_MS), *cuts, end_ms}
    yield from pairwise(sorted(each for each in ends if start_ms <= each <= end_ms))


def _without_refused(line: AccountLine) -> AccountLine:
    """Of a time before the quarantine's: what of it is still held may be a part."""
    return replace(line, expired=line.quarantined, held_quarantined={})
