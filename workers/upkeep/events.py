"""Carries alarm events from the outbox to Elasticsearch, and the health that follows from them.

Queue `upkeep`, asked every 2 s; limit 60 s, prefetch 1. One statement asks all tenants' schemas;
those with work get a task each. Killed: what was claimed is free again after the outbox's lease
(60 s); writing an event or a health once more changes nothing.
"""

import structlog
from django.utils import timezone

from apps.alarms import outbox
from apps.alarms.documents import event_document
from apps.alarms.models import Consumer
from apps.telemetry.errors import TelemetryError
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.queries import current_tenant, ready_tenants
from apps.tenants.tasks import public_task, tenant_task
from workers.upkeep.states import write_health

log = structlog.get_logger(__name__)

BATCH = 500
LIMIT_S = 60


@public_task(name="upkeep.index_events", queue="upkeep", time_limit=LIMIT_S)
def index_events(**later: object) -> None:
    """Wakes a task for each tenant that has events to index."""
    schemas = [tenant.schema_name for tenant in ready_tenants()]
    now = timezone.now()
    for schema in outbox.schemas_with_work([Consumer.INDEX], schemas=schemas, now=now):
        index_tenant_events.apply_async(kwargs={"schema": schema}, expires=LIMIT_S)


@tenant_task(name="upkeep.index_tenant_events", queue="upkeep", time_limit=LIMIT_S)
def index_tenant_events(*, schema: str, **later: object) -> None:
    """Indexes the tenant's events until none is due."""
    try:
        while index_batch():
            pass
    except TelemetryError as error:
        # What is claimed comes due again by itself: nothing is lost while the store is away.
        log.warning("events_wait_for_the_store", schema=schema, code=error.code, **error.data)


def index_batch() -> int:
    """Takes up to BATCH events of the current tenant to the store; how many there were."""
    entries = outbox.claim(consumer=Consumer.INDEX, now=timezone.now(), size=BATCH)
    if not entries:
        return 0
    slug = current_tenant().slug
    telemetry = TenantTelemetry(slug)
    telemetry.index_events([event_document(entry.event, tenant=slug) for entry in entries])
    write_health(telemetry, {entry.event.alarm.connector_id for entry in entries})
    outbox.settle(entries)
    return len(entries)
