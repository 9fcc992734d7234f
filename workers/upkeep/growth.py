"""Writes indices anew that outgrow their shards, with more of them, and tells how full all are.

Queue `upkeep`, every 240 s; a run ends by itself after 200 s, or where its worker is told to stop,
and the next one goes on behind it; then come at most a minute in which rollups may catch up, and
the switch, while which writes wait. Limit 290 s, prefetch 1. Killed: the next run goes on behind
what was noted last, every 10 s; should two overlap, the older one finds out and leaves all to the
newer one.

Readings come first: while all that was there is copied, each page is followed by a rest as long as
itself. What comes meanwhile is copied without one, or that would have no end.
"""

import threading
import time

import redis
import structlog
from celery.signals import worker_shutting_down
from django.utils import timezone

from apps.telemetry.board import put_fullest
from apps.telemetry.errors import TelemetryError
from apps.telemetry.growth import Growth, too_full
from apps.telemetry.rollups import Pace
from apps.telemetry.sizing import Extent
from apps.telemetry.store import the_store
from apps.tenants.tasks import public_task

log = structlog.get_logger(__name__)

BUDGET_S = 200
LIMIT_S = 290
_stopping = threading.Event()


@worker_shutting_down.connect
def _end_soon(**_: object) -> None:
    _stopping.set()


@public_task(name="upkeep.growth", queue="upkeep", time_limit=LIMIT_S)
def growth(**later: object) -> None:
    """One index at a time, the fullest first."""
    ends_at = time.monotonic() + BUDGET_S
    pace = Pace(sleep=_stopping.wait)
    pace.begin()
    run = Growth(the_store(), say=_say, pace=pace)
    try:
        extents = the_store().extents(timezone.now())
        _tell(extents)
        done = run.go_on(extents, lambda: _stopping.is_set() or time.monotonic() > ends_at)
    except TelemetryError as error:
        log.warning("growth_waits_for_the_store", code=error.code, **error.data)
        return
    if done:
        log.info("index_written_anew", index=done.old, documents=done.documents,
                 writes_waited_s=round(done.waited_s, 2))  # fmt: skip


def _say(said: str) -> None:
    log.info("index_is_written_anew", said=said)


def _tell(extents: list[Extent]) -> None:
    for each in too_full(extents):
        log.warning("shard_too_full", index=each.index, shards=each.shards,
                    documents=each.documents, bytes=each.bytes)  # fmt: skip
    try:
        put_fullest({each.index: each.used for each in extents})
    except redis.RedisError as error:
        log.warning("fullest_not_told", error=str(error))
