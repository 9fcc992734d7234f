"""Replays of refused messages, in the background.

Queue `upkeep`: the work is acquisition's, but not in its processes, whose hot path it would slow.
Limit 200 s, prefetch 1. A run is worked at in pages and hands itself on after TURN_S. Killed: what
was claimed and not settled is finished by the next who works at the run, which `resume_replays`
finds within two minutes.
"""

import time
from datetime import timedelta

import redis
import structlog
from django.conf import settings
from django.utils import timezone

from apps.devices.directory import Directory
from apps.partitions.log import PartitionLog
from apps.quarantine import operations
from apps.quarantine.models import Replay, ReplayState
from apps.quarantine.queries import unattended
from apps.telemetry.documents import PLATFORM
from apps.telemetry.errors import TelemetryError
from apps.telemetry.quarantine import Held, TenantQuarantine
from apps.telemetry.slices import to_ms
from apps.telemetry.store import the_store
from apps.tenants.queries import current_tenant, ready_tenants
from apps.tenants.tasks import public_task, tenant_task
from workers.acquisition.board import Board
from workers.acquisition.replaying import Desk, batch_number, replay_page

log = structlog.get_logger(__name__)

PAGE = 50
TURN_S = 20.0
LIMIT_S = 200
IDLE = timedelta(seconds=60)


@public_task(name="acquisition.resume_replays", queue="upkeep", time_limit=LIMIT_S)
def resume_replays(**later: object) -> None:
    """Wakes a task for each tenant."""
    for tenant in ready_tenants():
        resume_tenant_replays.apply_async(kwargs={"schema": tenant.schema_name}, expires=60)


@tenant_task(name="acquisition.resume_tenant_replays", queue="upkeep", time_limit=LIMIT_S)
def resume_tenant_replays(*, schema: str, **later: object) -> None:
    """Sends on what nobody works at: its worker was killed, or its store was away."""
    for run in unattended(before=timezone.now() - IDLE):
        replay.apply_async(kwargs={"schema": schema, "run": str(run.pk)}, expires=60)


@tenant_task(name="acquisition.replay", queue="upkeep", time_limit=LIMIT_S)
def replay(*, schema: str, run: str, **later: object) -> None:
    """Works at a run for a while, then hands it on until it is done."""
    found = Replay.objects.filter(pk=run).first()
    if found is None or found.is_over:
        return
    try:
        is_left = work_at(found, limit_s=TURN_S)
    except (TelemetryError, redis.RedisError) as error:
        log.warning("replay_waits_for_a_store", schema=schema, run=found.number, error=str(error))
        return
    if is_left:
        replay.apply_async(kwargs={"schema": schema, "run": run})


def work_at(run: Replay, *, limit_s: float) -> bool:
    """Replays pages for about limit_s; whether more is to do. Raises what the stores raise."""
    with redis.Redis.from_url(settings.REDIS_LOG_URL, socket_timeout=10) as client:
        desk = _desk(client, run)
        total = desk.quarantine.count(operations.filters_of(run))
        operations.begin(pk=run.pk, total=total, now=timezone.now())
        deadline = time.monotonic() + limit_s
        while _next_page(run, desk):
            if time.monotonic() >= deadline:
                return True
    return False


def _desk(client: redis.Redis, run: Replay) -> Desk:
    tenant = current_tenant()
    directory = Directory()
    directory.load_only(tenant)
    store = the_store()
    return Desk(
        tenant=tenant.slug,
        directory=directory,
        store=store,
        quarantine=TenantQuarantine(
            tenant.slug if run.unclaimed is None else PLATFORM, store=store
        ),
        partition_log=PartitionLog(client),
        board=Board(client),
    )


def _next_page(run: Replay, desk: Desk) -> bool:
    """One page; False where the run is over, or it is another's turn."""
    first = operations.reserve_batches(pk=run.pk, wanted=PAGE)
    with operations.turn() as is_ours:
        run.refresh_from_db()
        if not is_ours or run.is_over:
            return False
        held = desk.quarantine.claimed_by(run.claim, PAGE)
        fresh = [] if held else _fresh(run, first, desk)
        if not held and not fresh:
            outcome = desk.quarantine.outcome(run.claim)
            operations.finish(run=run, outcome=outcome, now=timezone.now())
            return False
        if fresh and first is not None:
            number = batch_number(run.claim, first, unclaimed=run.unclaimed is not None)
            held = desk.quarantine.claim(fresh, run=run.claim, first_batch=number)
        if held:
            now = timezone.now()
            page = replay_page(held, desk=desk, now_ms=to_ms(now))
            operations.note_page(pk=run.pk, page=page, now=now)
    return True


def _fresh(run: Replay, first: int | None, desk: Desk) -> list[Held]:
    """What the run has not tried, unless it was cancelled or has no numbers left."""
    if first is None or run.state == ReplayState.CANCELLING:
        return []
    filters = operations.filters_of(run)
    return desk.quarantine.to_replay(filters, run=run.claim, size=PAGE)
