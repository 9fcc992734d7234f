"""The back-test worker: queue `backtest`, `celery -A config.celery worker -Q backtest -P solo`.

A process of its own, for it computes for minutes. A task works for SLICE_S, a group of connectors
at a time, and then asks for the next; prefetch is 1. The group in hand of a killed worker is done
again, after its lease of 60 s, by whoever the sweep wakes; what was through before it stays.
"""

import time

import structlog
from django.utils import timezone

from apps.telemetry.errors import TelemetryError
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.queries import current_tenant, ready_tenants
from apps.tenants.tasks import public_task, tenant_task
from apps.warning import backtests
from workers.backtest.plugins import PluginAway
from workers.backtest.running import DetectorFailed, DetectorGone, Runner

logger = structlog.get_logger(__name__)

SLICE_S = 60.0


@tenant_task(name="backtest.work", queue="backtest")
def work(*, schema: str, back_test: str, **later: object) -> None:
    """Carry a back-test on, unless somebody else does."""
    row = backtests.claim(back_test, now=timezone.now())
    if row is None:
        return
    runner = Runner(TenantTelemetry(current_tenant().slug), clock=timezone.now)
    until = time.monotonic() + SLICE_S
    try:
        runner.carry_on(row, is_time_up=lambda: time.monotonic() > until)
    except backtests.Overtaken:
        logger.info("back_test_let_go", back_test=back_test)
    except TelemetryError as error:
        # Its lease runs out, and the sweep tries again; after some tries it has failed.
        logger.warning("back_test_waits_for_the_store", back_test=back_test, error=str(error))
    except (DetectorFailed, DetectorGone, PluginAway) as error:
        backtests.fail(row, f"{type(error).__name__}: {error}", now=timezone.now())
    else:
        if row.is_undone:
            backtests.work_soon(schema, row.pk)


@public_task(name="backtest.sweep", queue="backtest")
def sweep(**later: object) -> None:
    """Every 30 s: wake what waits for nobody, in all tenants."""
    schemas = [tenant.schema_name for tenant in ready_tenants()]
    for schema, key in backtests.to_wake(schemas, now=timezone.now()):
        backtests.work_soon(schema, key)
