"""Compares each connector with its batch and model: which ages ahead of its like.

Queue `upkeep`, once an hour; limit 300 s, prefetch 1. One statement a fleet, in one transaction.
Killed: the next run says the same; the same estimates once more change nothing.
"""

import structlog
from django.utils import timezone

from apps.alarms.ageing import judge_ageing
from apps.telemetry.answers import Aged
from apps.telemetry.errors import TelemetryError
from apps.telemetry.slices import DAY_MS
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.queries import current_tenant, ready_tenants
from apps.tenants.tasks import public_task, tenant_task
from ohmwatch.fleet import Standing

log = structlog.get_logger(__name__)

LIMIT_S = 300


@public_task(name="upkeep.ageing", queue="upkeep", time_limit=LIMIT_S)
def ageing(**later: object) -> None:
    """Wakes a task for each tenant."""
    for tenant in ready_tenants():
        tenant_ageing.apply_async(kwargs={"schema": tenant.schema_name}, expires=LIMIT_S)


@tenant_task(name="upkeep.tenant_ageing", queue="upkeep", time_limit=LIMIT_S)
def tenant_ageing(*, schema: str, **later: object) -> None:
    """Judges the tenant's fleet by what is known of it now."""
    slug = current_tenant().slug
    try:
        aged = [each for page in TenantTelemetry(slug).aged() for each in page]
    except TelemetryError as error:
        log.warning("ageing_waits_for_the_store", tenant=slug, code=error.code, **error.data)
        return
    events = judge_ageing([_standing(each) for each in aged], now=timezone.now())
    if events:
        log.info("ageing_judged", tenant=slug, connectors=len(aged), events=len(events))


def _age_ms(aged: Aged) -> int:
    """For how long it has been watched under load: who is parked since learns nothing, ages or not,
    and would seem to age more slowly than its like."""
    newest_ms = aged.learnt_ms or aged.measured_ms
    return max(newest_ms - aged.base_ms, 0) if aged.base_ms else 0


def _standing(aged: Aged) -> Standing:
    return Standing(
        connector=aged.connector,
        model=aged.model,
        batch=aged.batch,
        change=aged.change,
        change_sd=aged.change_sd,
        age_days=_age_ms(aged) / DAY_MS,
        measured_ms=aged.measured_ms,
        arrived_ms=aged.arrived_ms,
    )
