"""Takes what has arrived into minutes, hours and days.

Queue `upkeep`, every 20 s; a run ends by itself after 15 s, and, where its worker is told to stop,
after the search in hand; limit 180 s, prefetch 1. One run at a time, by a lease in Redis; should
two overlap all the same, the store refuses the older one's work. Ended: what a step has done is
noted, and the next run goes on behind it. Killed: the step is done again.

Readings come first. Each request is followed by a rest as long as itself, and nine times as long
while an acquisition slot says that more waits for it than it can take. What is not built
meanwhile is answered from readings, and caught up with later; how much that is stands on the
notice board, for `/metrics`.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import redis
import structlog
from celery.signals import worker_shutting_down
from django.conf import settings
from django.utils import timezone

from apps.telemetry.board import RollupLag, is_acquisition_pressed, put_rollup_lag
from apps.telemetry.errors import TelemetryError
from apps.telemetry.rollups import Builder, Lag, Pace
from apps.telemetry.slices import to_ms
from apps.telemetry.store import the_store
from apps.tenants.tasks import public_task

log = structlog.get_logger(__name__)

BUDGET_S = 15
LIMIT_S = 180
LEASE_KEY = "ow:rollups"
SHARE, PRESSED_SHARE = 0.5, 0.1
"""Of a run's time that it may work: while acquisition keeps up, and while it doesn't."""
_LOOK_S = 1.0
_stopping = threading.Event()


@worker_shutting_down.connect
def _end_soon(**_: object) -> None:
    _stopping.set()


@public_task(name="upkeep.rollups", queue="upkeep", time_limit=LIMIT_S)
def rollups(**later: object) -> None:
    """All tenants', as far as a minute reaches."""
    with only_run() as alone:
        if not alone:
            return
        ends_at = time.monotonic() + BUDGET_S
        builder = Builder(the_store(), pace=Pace(share_for(is_acquisition_pressed), _rest))
        now = timezone.now()
        try:
            written = builder.advance(
                now, until=lambda: _stopping.is_set() or time.monotonic() > ends_at
            )
            _tell(builder.lag(now), at_ms=to_ms(now))
        except TelemetryError as error:
            log.warning("rollups_wait_for_the_store", code=error.code, **error.data)
            return
        if written:
            log.info("rollups_built", documents=written)


def share_for(is_pressed: Callable[[], bool]) -> Callable[[], float]:
    """Which share of its time a run may work now; looked up once in _LOOK_S."""
    looked_at, share = -_LOOK_S, SHARE

    def look() -> float:
        nonlocal looked_at, share
        if time.monotonic() - looked_at >= _LOOK_S:
            looked_at = time.monotonic()
            share = PRESSED_SHARE if is_pressed() else SHARE
        return share

    return look


def _rest(seconds: float) -> None:
    _stopping.wait(seconds)


def _tell(lag: dict[str, Lag], *, at_ms: int) -> None:
    documents = {level: each.documents for level, each in lag.items()}
    seconds = {level: each.seconds for level, each in lag.items()}
    try:
        put_rollup_lag(RollupLag(at_ms, documents, seconds))
    except redis.RedisError as error:
        log.warning("rollup_lag_not_told", error=str(error))


@contextmanager
def only_run() -> Iterator[bool]:
    """Whether this is the only run now, for at most LIMIT_S."""
    token = uuid4().hex
    with redis.Redis.from_url(settings.REDIS_LOG_URL, socket_timeout=5) as client:
        alone = bool(client.set(LEASE_KEY, token, nx=True, ex=LIMIT_S))
        try:
            yield alone
        finally:
            if alone and client.get(LEASE_KEY) == token.encode():
                client.delete(LEASE_KEY)
