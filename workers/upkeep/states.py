"""Keeps the part of each connector's state that people make: what it is, whose, and its health.

Queue `upkeep`, asked every 5 s whether a fleet has changed, and once an hour for all; limit 120 s,
prefetch 1. Killed: the tenant's counter is not noted as seen, so the next round does it again;
writing it once more changes nothing. The live part (values, times, margin) belongs to detection.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import redis
import structlog
from django.conf import settings
from django.db import connection, transaction

from apps.alarms.queries import Health, health_of
from apps.devices.models import Channel
from apps.fleet.documents import connector_document
from apps.fleet.models import Connector
from apps.telemetry.answers import HEALTH_RANKS
from apps.telemetry.errors import TelemetryError
from apps.telemetry.store import TenantTelemetry
from apps.tenants.changes import read_counters
from apps.tenants.queries import current_tenant, ready_tenants
from apps.tenants.schema import current_schema
from apps.tenants.tasks import public_task, tenant_task

log = structlog.get_logger(__name__)

BATCH = 500
LIMIT_S = 120
SEEN_KEY = "ow:states-seen"
"""A hash: slug → the counter of changes up to which its states are written."""


@public_task(name="upkeep.sync_changed_states", queue="upkeep", time_limit=LIMIT_S)
def sync_changed_states(**later: object) -> None:
    """Wakes a task for each tenant whose fleet, devices or catalogue have changed."""
    with _log_database() as client:
        counters = read_counters(client)
        seen = {slug.decode(): int(number) for slug, number in client.hgetall(SEEN_KEY).items()}
    for tenant in ready_tenants():
        counter = counters.get(tenant.slug, 0)
        if counter != seen.get(tenant.slug):
            _send(tenant.schema_name, counter)


@public_task(name="upkeep.sync_all_states", queue="upkeep", time_limit=LIMIT_S)
def sync_all_states(**later: object) -> None:
    """Wakes a task for every tenant: puts right what a lost counter or a lost index left wrong."""
    for tenant in ready_tenants():
        _send(tenant.schema_name, None)


@tenant_task(name="upkeep.sync_states", queue="upkeep", time_limit=LIMIT_S)
def sync_states(*, schema: str, counter: int | None = None, **later: object) -> None:
    """Writes all of a tenant's states; then notes the counter of changes it had seen before."""
    slug = current_tenant().slug
    try:
        written = write_fleet(TenantTelemetry(slug))
    except TelemetryError as error:
        log.warning("states_wait_for_the_store", tenant=slug, code=error.code, **error.data)
        return
    if counter is not None:
        with _log_database() as client:
            client.hset(SEEN_KEY, slug, counter)
    log.info("states_synced", tenant=slug, connectors=written)


def write_fleet(telemetry: TenantTelemetry) -> int:
    """Writes what Postgres knows of every connector of the current tenant; how many there are."""
    keys = list(Connector.objects.order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(keys), BATCH):
        _write_batch(telemetry, keys[start : start + BATCH])
    return len(keys)


def write_health(telemetry: TenantTelemetry, connectors: Collection[UUID]) -> None:
    """Writes the health of these connectors, as their open alarms say now."""
    with _one_writer():
        _written(telemetry, list(_health_rows(health_of(connectors))))


def _write_batch(telemetry: TenantTelemetry, keys: Sequence[UUID]) -> None:
    with _one_writer():
        rows = Connector.objects.select_related("model", "vehicle__organisation")
        devices = dict(
            Channel.objects.filter(connector__in=keys).values_list(
                "connector", "device__identifier"
            )
        )
        health = {row["connector"]: row for row in _health_rows(health_of(keys))}
        _written(
            telemetry,
            [
                {
                    **connector_document(connector, tenant=telemetry.tenant),
                    **health[str(connector.pk)],
                    "device": devices.get(connector.pk),
                }
                for connector in rows.filter(pk__in=keys)
            ],
        )


def _health_rows(found: Mapping[UUID, Health]) -> Iterator[dict[str, Any]]:
    for connector, health in found.items():
        yield {
            "connector": str(connector),
            "health": health.health,
            "severity_rank": HEALTH_RANKS[health.health],
            "open_alarms": health.open_alarms,
            "worst_condition": health.worst_condition or None,
        }


def _written(telemetry: TenantTelemetry, rows: Sequence[dict[str, Any]]) -> None:
    for row, result in zip(rows, telemetry.update_states(rows), strict=True):
        if not result.is_stored:
            log.error(
                "state_refused",
                tenant=telemetry.tenant,
                connector=row["connector"],
                reason=result.error_reason,
            )


@contextmanager
def _one_writer() -> Iterator[None]:
    """Who reads the health and then writes it does so alone, for a tenant.

    Two tasks that overlapped could else write the older answer last.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtext('ohmwatch.states'), hashtext(%s))",
            [current_schema()],
        )
        yield


def _send(schema: str, counter: int | None) -> None:
    sync_states.apply_async(kwargs={"schema": schema, "counter": counter}, expires=LIMIT_S)


def _log_database() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_LOG_URL, socket_timeout=5)
