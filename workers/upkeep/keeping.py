"""Makes the slices of tomorrow, puts those of yesterday into one piece, drops those that are over.

Queue `upkeep`, every 10 min; limit 120 s, prefetch 1. Killed: the next run does the rest; a slice
is there a day before it is needed, and who finds it missing makes it.
"""

import structlog
from django.utils import timezone

from apps.telemetry.store import the_store
from apps.tenants.queries import classes_in_use
from apps.tenants.tasks import public_task

log = structlog.get_logger(__name__)


@public_task(name="upkeep.slices", queue="upkeep", time_limit=120)
def slices(**later: object) -> None:
    """For the classes that tenants are in, and for quarantine and account."""
    now = timezone.now()
    for name in the_store().ensure_slices(now, classes=classes_in_use()):
        log.info("slice_made", index=name)
    for name in the_store().drop_expired(now):
        log.info("slice_dropped", index=name)
    if merged := the_store().merge_closed(now):
        log.info("slice_merged", index=merged)
