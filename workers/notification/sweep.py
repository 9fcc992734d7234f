"""Finds what a crash, a lost wake-up or a failed transport left unsaid, in all tenants.

Queue `notification`, every 10 s; limit 60 s. One statement asks all tenants' schemas; only those
with work get a task of their own. Killed: the next one asks again, nothing is held here.
"""

from django.utils import timezone

from apps.alarms import outbox
from apps.alarms.models import Consumer
from apps.live import relay
from apps.notifications import queries, wake
from apps.tenants.queries import ready_tenants
from apps.tenants.tasks import public_task


@public_task(name="notification.sweep", queue="notification", time_limit=60)
def sweep(**later: object) -> None:
    """Wakes deliveries that are due, and repeats live hints that were not sent."""
    now = timezone.now()
    schemas = [tenant.schema_name for tenant in ready_tenants()]
    for schema in schemas_to_wake(schemas):
        wake.deliver_soon(schema)
    for schema in outbox.schemas_with_work([Consumer.LIVE], schemas=schemas, now=now):
        relay.catch_up(schema=schema, now=now)


def schemas_to_wake(schemas: list[str]) -> list[str]:
    """The tenants where somebody waits to be told."""
    now = timezone.now()
    planned = queries.schemas_with_deliveries(schemas=schemas, now=now)
    unplanned = outbox.schemas_with_work([Consumer.NOTIFY], schemas=schemas, now=now)
    return sorted({*planned, *unplanned})
