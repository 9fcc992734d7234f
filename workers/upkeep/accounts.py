"""Closes the account of the last day, every hour, and says so loudly where it is open.

Queue `upkeep`; limit 120 s, prefetch 1. Killed: the next hour's run covers the same stretch. What
is open stands on the operator's pages, in /metrics and in the log until a run finds it closed.
"""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from django.utils import timezone

from apps.telemetry.answers import AccountLine, total_of
from apps.telemetry.board import AccountReport, put_account
from apps.telemetry.slices import to_ms
from apps.telemetry.store import the_store
from apps.tenants.tasks import public_task

log = structlog.get_logger(__name__)

STRETCH = timedelta(hours=25)
SETTLING = timedelta(minutes=2)
"""Batches younger than this may still be on their way into the ledger."""
PATIENCE_S = 30.0
"""How long an open account is asked again: a replay may be moving readings within the stretch."""
_AGAIN_S = 2.0


@public_task(name="upkeep.close_account", queue="upkeep", time_limit=120)
def close_account(**later: object) -> None:
    """All tenants over STRETCH, up to what has settled."""
    now = timezone.now()
    end = now - SETTLING
    start = end - STRETCH
    report(lines_of(start, end), start=start, end=end, now=now)


def lines_of(start: datetime, end: datetime) -> list[AccountLine]:
    """The account; where it is open, as it stands after a while."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        lines = the_store().account(to_ms(start), to_ms(end))
        if all(line.is_closed for line in lines) or time.monotonic() >= deadline:
            return lines
        time.sleep(_AGAIN_S)


def report(lines: Sequence[AccountLine], *, start: datetime, end: datetime, now: datetime) -> None:
    """Logs each open line as an error, and leaves the outcome where metrics and pages find it."""
    still_open = {line.tenant: line.apart for line in lines if not line.is_closed}
    for tenant, apart in still_open.items():
        log.error("account_open", tenant=tenant, apart=apart, start=str(start), end=str(end))
    put_account(
        AccountReport(
            closed=not still_open,
            apart=sum(still_open.values()),
            from_ms=to_ms(start),
            to_ms=to_ms(end),
            at_ms=to_ms(now),
            received=total_of(lines).received,
            open=still_open,
        )
    )
