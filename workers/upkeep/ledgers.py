"""Puts slices of the account's ledger together that nothing writes to any more, a slice a run.

Queue `upkeep`, every hour; limit 240 s, prefetch 1. It stops by itself after 150 s and goes on with
the next run; killed, the next run goes on where it was.
"""

import structlog
from django.utils import timezone

from apps.telemetry.ledger_hours import put_together
from apps.telemetry.store import the_store
from apps.tenants.tasks import public_task

log = structlog.get_logger(__name__)

LIMIT_S = 150.0


@public_task(name="upkeep.put_ledger_together", queue="upkeep", time_limit=240)
def put_ledger_together(**later: object) -> None:
    """The oldest slice that is due, into hours."""
    done = put_together(the_store(), timezone.now(), limit_s=LIMIT_S)
    if done is not None:
        log.info(
            "ledger_put_together",
            index=done.old,
            entries=done.entries,
            documents=done.documents,
        )
