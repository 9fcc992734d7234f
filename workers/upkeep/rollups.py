"""Takes what has arrived into minutes, hours and days.

Queue `upkeep`, every 20 s; a run ends by itself after 15 s, and, where its worker is told to stop,
after the search in hand; limit 180 s, prefetch 1. One run at a time, by a turn in Redis; should
two overlap all the same, the store refuses the older one's work, and one whose turn is over writes
nothing. Ended: what a step has done is noted, and the next run goes on behind it. Killed: the step
is done again, once its turn has run out.

Readings come first. Each request is followed by a rest as long as itself, and nine times as long
while an acquisition slot says that more waits for it than it can take. What is not built
meanwhile is answered from readings, and caught up with later; how much that is stands on the
notice board, for `/metrics`.
"""

import threading
import time
from collections.abc import Callable

import redis
import structlog
from celery.signals import worker_shutting_down
from django.utils import timezone

from apps.telemetry.board import RollupLag, is_acquisition_pressed, put_rollup_lag
from apps.telemetry.building import LEASE_S, Turn, free_turn
from apps.telemetry.errors import TelemetryError
from apps.telemetry.rollups import Builder, Lag, Pace
from apps.telemetry.slices import to_ms
from apps.telemetry.store import the_store
from apps.tenants.tasks import public_task

log = structlog.get_logger(__name__)

BUDGET_S = 15
SHARE, PRESSED_SHARE = 0.5, 0.1
"""Of a run's time that it may work: while acquisition keeps up, and while it doesn't."""
_LOOK_S = 1.0
_stopping = threading.Event()


@worker_shutting_down.connect
def _end_soon(**_: object) -> None:
    _stopping.set()


@public_task(name="upkeep.rollups", queue="upkeep", time_limit=LEASE_S)
def rollups(**later: object) -> None:
    """All tenants', as far as a minute reaches."""
    with free_turn() as turn:
        if turn is None:
            return
        ends_at = time.monotonic() + BUDGET_S
        pace = Pace(share_for(is_acquisition_pressed), _resting(turn))
        builder = Builder(the_store(), pace=pace, may_write=turn.go_on)
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


def _resting(turn: Turn) -> Callable[[float], None]:
    def rest(seconds: float) -> None:
        turn.go_on(seconds)
        _stopping.wait(seconds)

    return rest


def _tell(lag: dict[str, Lag], *, at_ms: int) -> None:
    documents = {level: each.documents for level, each in lag.items()}
    seconds = {level: each.seconds for level, each in lag.items()}
    try:
        put_rollup_lag(RollupLag(at_ms, documents, seconds))
    except redis.RedisError as error:
        log.warning("rollup_lag_not_told", error=str(error))
