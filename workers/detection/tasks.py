"""The detection worker: queue `detection`, `celery -A config.celery worker -Q detection -P solo`.

A task only wakes: it carries a partition's number, and may come late, twice, out of order or
never. A visit takes 2 s at most, or a replay as long as it needs. Prefetch is 1. The work in hand
of a killed worker is done again from the checkpoint by whoever comes next, once its lease has
run out (10 s).

Two tasks are of detection and not of its worker: what came late is judged again in the back-test
worker, each minute for at most AGAIN_S, and checkpoints are copied in the upkeep worker.
"""

import os
import random
import time
from functools import cache

import redis
import structlog
from celery import Task
from django.conf import settings
from django.db import Error as DatabaseError
from django.utils import timezone

from apps.devices.directory import Directory
from apps.partitions.arrears import partitions_in_arrears
from apps.partitions.log import PartitionLog
from apps.partitions.operations import Fenced
from apps.partitions.queries import partitions_with_late
from apps.partitions.snapshots import take_snapshots
from apps.telemetry.errors import TelemetryError
from apps.telemetry.store import the_store
from apps.tenants.tasks import public_task
from ohmwatch.watch import warm_up
from workers.detection import again, passes
from workers.detection.desk import Desk
from workers.detection.panel import DETECTORS, Panel
from workers.detection.plugins import Agency
from workers.detection.telling import begin_to_tell

logger = structlog.get_logger(__name__)

NICENESS = 5
"""Taking in comes first: what waits for detection lies safe in the log, and costs less in larger
pieces."""

AGAIN_S = 20.0
"""Of a minute: back-tests share the process."""

FORGET_AGAIN_S, FORGET_TRIES = 10, 1_000
"""A lease lasts 10 s; stores may be away for hours, and what is erased has to go all the same."""
STORES_AWAY = (redis.RedisError, DatabaseError, TelemetryError)


@public_task(name="detection.wake", queue="detection")
def wake(*, partition: int, **later: object) -> None:
    """Judge what lies ripe in a partition. Where a store is away, the sweep asks again."""
    try:
        if not passes.is_early(partition, desk=the_desk()):
            passes.visit(partition, desk=the_desk())
    except STORES_AWAY as error:
        logger.warning("visit_failed", partition=partition, error=repr(error))


@public_task(name="detection.sweep", queue="detection")
def sweep(**later: object) -> None:
    """Wake each partition with something unread: whose wake-up was lost, or whose log is."""
    try:
        passes.wake_unread(desk=the_desk())
    except STORES_AWAY as error:
        logger.warning("sweep_failed", error=repr(error))


@public_task(name="detection.clock", queue="detection")
def clock(**later: object) -> None:
    """Have a look at each partition for those who have fallen silent."""
    try:
        passes.wake_for_the_clock(desk=the_desk())
    except STORES_AWAY as error:
        logger.warning("clock_failed", error=repr(error))


@public_task(name="detection.forget", queue="detection", bind=True, max_retries=FORGET_TRIES)
def forget(self: Task, *, partition: int, slug: str, **later: object) -> None:
    """Drop what detection keeps of an erased tenant; asked again while it can't be done."""
    try:
        left = passes.forget(partition, slug, desk=the_desk())
    except (*STORES_AWAY, Fenced, passes.LeaseLost) as error:
        raise self.retry(countdown=FORGET_AGAIN_S, exc=error) from error
    if left is None:
        raise self.retry(countdown=FORGET_AGAIN_S)


@public_task(name="detection.judge_again", queue="backtest")
def judge_again(**later: object) -> None:
    """Judge connectors again of which readings came late; all partitions get their turn."""
    desk, ends_at = the_bench(), time.monotonic() + AGAIN_S
    desk.admit_plugins()
    if desk.agency.is_waiting:  # without it, its half of the story would count as judged
        return
    try:
        waiting = list({*partitions_with_late(), *partitions_in_arrears(now=timezone.now())})
        for partition in random.sample(waiting, len(waiting)):
            again.judge_again(partition, desk=desk, is_time_up=lambda: time.monotonic() >= ends_at)
            if time.monotonic() >= ends_at:
                return
    except STORES_AWAY as error:
        logger.warning("judging_again_failed", error=repr(error))


@public_task(name="detection.snapshots", queue="upkeep")
def snapshots(**later: object) -> None:
    """Copy the checkpoints that were not copied within the hour."""
    take_snapshots(now=timezone.now())


@cache
def the_bench() -> Desk:
    """Where late readings are judged, with processes of their own for the plug-ins."""
    desk = _desk()
    desk.agency = Agency(desk.client, desk.clock, is_beside=True)
    desk.agency.call()
    warm_up(DETECTORS)
    return desk


@cache
def the_desk() -> Desk:
    """This process's own; made at its first task, after any fork."""
    os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    desk = _desk()
    desk.board.begin()
    begin_to_tell()
    desk.agency.call()
    # Compiling takes longer than a detector's turn may; plug-ins load their models meanwhile.
    warm_up(DETECTORS)
    return desk


def _desk() -> Desk:
    client = redis.Redis.from_url(
        settings.REDIS_LOG_URL, socket_timeout=10, socket_connect_timeout=5
    )
    return Desk(
        client=client,
        log=PartitionLog(client),
        directory=Directory(),
        telemetry=the_store(),
        panel=Panel(DETECTORS),
        clock=timezone.now,
    )
