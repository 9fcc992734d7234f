"""Clears alarms that were held open because they flapped, once they have stayed quiet.

Queue `upkeep`, every 60 s; limit 60 s, prefetch 1. Killed: the next run does the rest; an alarm is
cleared, and its event written, in one transaction.
"""

import structlog
from django.utils import timezone

from apps.alarms.operations import settle_held
from apps.tenants.queries import ready_tenants
from apps.tenants.tasks import public_task, tenant_task

log = structlog.get_logger(__name__)
LIMIT_S = 60


@public_task(name="upkeep.held_alarms", queue="upkeep", time_limit=LIMIT_S)
def held_alarms(**later: object) -> None:
    """Wakes a task for each tenant."""
    for tenant in ready_tenants():
        tenant_held_alarms.apply_async(kwargs={"schema": tenant.schema_name}, expires=LIMIT_S)


@tenant_task(name="upkeep.tenant_held_alarms", queue="upkeep", time_limit=LIMIT_S)
def tenant_held_alarms(*, schema: str, **later: object) -> None:
    """Clears what has stayed quiet."""
    cleared = settle_held(now=timezone.now())
    if cleared:
        log.info("held_alarms_cleared", schema=schema, number=len(cleared))
