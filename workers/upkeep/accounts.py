"""Closes the account of the last day, every hour, and says so loudly where it is open.

Queue `upkeep`; limit 120 s, prefetch 1. Killed: the next hour's run covers the same stretch.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import redis
import structlog
from django.conf import settings
from django.utils import timezone

from apps.telemetry.answers import AccountLine, total_of
from apps.telemetry.slices import to_ms
from apps.telemetry.store import the_store
from apps.tenants.tasks import public_task

log = structlog.get_logger(__name__)

STRETCH = timedelta(hours=25)
SETTLING = timedelta(minutes=2)
"""Batches younger than this may still be on their way into the ledger."""
REPORT_KEY = "ow:account"
"""JSON {closed, apart, from_ms, to_ms, at_ms, received, open: [tenants]}: for metrics and pages."""


@public_task(name="upkeep.close_account", queue="upkeep", time_limit=120)
def close_account(**later: object) -> None:
    """All tenants over STRETCH, up to what has settled."""
    now = timezone.now()
    end = now - SETTLING
    start = end - STRETCH
    report(the_store().account(to_ms(start), to_ms(end)), start=start, end=end, now=now)


def report(lines: Sequence[AccountLine], *, start: datetime, end: datetime, now: datetime) -> None:
    """Logs each open line as an error, and leaves the outcome where metrics and pages find it."""
    for line in lines:
        if not line.is_closed:
            log.error("account_open", tenant=line.tenant, apart=line.apart, start=str(start))
    outcome = {
        "closed": all(line.is_closed for line in lines),
        "apart": sum(line.apart for line in lines),
        "from_ms": to_ms(start),
        "to_ms": to_ms(end),
        "at_ms": to_ms(now),
        "received": total_of(lines).received,
        "open": [line.tenant for line in lines if not line.is_closed],
    }
    with redis.Redis.from_url(settings.REDIS_LOG_URL, socket_timeout=5) as client:
        client.set(REPORT_KEY, json.dumps(outcome))
