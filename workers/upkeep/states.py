"""Keeps the part of each connector's state that people make: what it is, whose, and its health.

Queue `upkeep`, asked every 5 s whether a fleet has changed, and once an hour for all; limit 120 s,
prefetch 1. What has changed is written as far as the changes name it, the whole fleet where they
don't. While a tenant's task waits or runs no second one is sent for its changes: the round after it
sees what has changed meanwhile. Killed: the tenant's counter is not noted as seen, so the next
round after LIMIT_S does it again; writing it once more changes nothing. The live part (values,
times, margin) belongs to detection.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import redis
import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q

from apps.alarms.queries import Health, health_of
from apps.devices.models import Channel
from apps.fleet.documents import connector_document
from apps.fleet.models import Connector
from apps.telemetry.answers import HEALTH_RANKS
from apps.telemetry.errors import TelemetryError
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.changes import Rows, read_changes, read_counters
from apps.tenants.queries import current_tenant, ready_tenants
from apps.tenants.schema import current_schema
from apps.tenants.tasks import public_task, tenant_task

log = structlog.get_logger(__name__)

BATCH = 500
LIMIT_S = 120
SEEN_KEY = "ow:states-seen"
"""A hash: slug → the counter of changes up to which its states are written."""
SENT_KEY = "ow:states-sent:"
"""With a slug: there while a task for its changes waits or runs; it ends LIMIT_S after both."""


@public_task(name="upkeep.sync_changed_states", queue="upkeep", time_limit=LIMIT_S)
def sync_changed_states(**later: object) -> None:
    """Wakes a task for each tenant whose fleet, devices or catalogue have changed."""
    with _log_database() as client:
        counters = read_counters(client)
        seen = {slug.decode(): int(number) for slug, number in client.hgetall(SEEN_KEY).items()}
    for tenant in ready_tenants():
        counter = counters.get(tenant.slug, 0)
        if counter != seen.get(tenant.slug) and _claim(tenant.slug):
            _send(tenant.schema_name, counter)


@public_task(name="upkeep.sync_all_states", queue="upkeep", time_limit=LIMIT_S)
def sync_all_states(**later: object) -> None:
    """Wakes a task for every tenant: puts right what a lost counter or a lost index left wrong."""
    for tenant in ready_tenants():
        _send(tenant.schema_name, None)


@tenant_task(name="upkeep.sync_states", queue="upkeep", time_limit=LIMIT_S)
def sync_states(*, schema: str, counter: int | None = None, **later: object) -> None:
    """Writes the tenant's states: those that have changed up to a counter, which it then notes as
    seen, or without one all."""
    slug = current_tenant().slug
    telemetry = TenantTelemetry(slug)
    try:
        written = write_fleet(telemetry) if counter is None else _write_up_to(counter, telemetry)
    except TelemetryError as error:
        log.warning("states_wait_for_the_store", tenant=slug, code=error.code, **error.data)
        return
    log.info("states_synced", tenant=slug, connectors=written)


def _write_up_to(counter: int, telemetry: TenantTelemetry) -> int:
    slug = telemetry.tenant
    with _log_database() as client:

        def goes_on() -> None:
            client.set(SENT_KEY + slug, 1, ex=LIMIT_S)

        goes_on()
        try:
            rows = _changed_since_seen(client, slug, counter)
            written = write_fleet(telemetry, rows, after_batch=goes_on)
            client.hset(SEEN_KEY, slug, counter)
        finally:
            client.delete(SENT_KEY + slug)
    return written


def _changed_since_seen(client: redis.Redis, slug: str, counter: int) -> Rows | None:
    """Which rows have changed; None where that can't be told."""
    seen: Any = client.hget(SEEN_KEY, slug)
    return None if seen is None else read_changes(client, slug, after=int(seen), upto=counter)


def write_fleet(
    telemetry: TenantTelemetry,
    rows: Rows | None = None,
    *,
    after_batch: Callable[[], object] = lambda: None,
) -> int:
    """Writes what Postgres knows of the current tenant's connectors, of those alone in which a
    change of `rows` is seen where they are given; how many those are."""
    wanted = Connector.objects.order_by("pk")
    if rows is not None:
        seen_in = Q(vehicle__in=rows.vehicles) | Q(channel__device__in=rows.devices)
        wanted = wanted.filter(Q(pk__in=rows.connectors) | seen_in)
    keys = list(wanted.values_list("pk", flat=True))
    for start in range(0, len(keys), BATCH):
        _write_batch(telemetry, keys[start : start + BATCH])
        after_batch()
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


def _claim(slug: str) -> bool:
    """Whether no task for the tenant's changes is on its way."""
    with _log_database() as client:
        return bool(client.set(SENT_KEY + slug, 1, nx=True, ex=LIMIT_S))


def _send(schema: str, counter: int | None) -> None:
    sync_states.apply_async(kwargs={"schema": schema, "counter": counter}, expires=LIMIT_S)


def _log_database() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_LOG_URL, socket_timeout=5)
