"""Takes what has arrived into minutes, hours and days.

Queue `upkeep`, every 20 s; a run ends by itself after 15 s, well before a worker that is told to
stop would be killed; limit 180 s, prefetch 1. One run at a time, by a lease in Redis; should two
overlap all the same, the store refuses the older one's work. Killed: the mark stands where the
last whole step left it, and the next run goes on from there. Each request is followed by a rest
as long as itself, so that readings come in meanwhile.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import redis
import structlog
from django.conf import settings
from django.utils import timezone

from apps.telemetry.errors import TelemetryError
from apps.telemetry.rollups import Builder
from apps.telemetry.store import the_store
from apps.tenants.tasks import public_task

log = structlog.get_logger(__name__)

BUDGET_S = 15
LIMIT_S = 180
LEASE_KEY = "ow:rollups"


@public_task(name="upkeep.rollups", queue="upkeep", time_limit=LIMIT_S)
def rollups(**later: object) -> None:
    """All tenants', as far as a minute reaches."""
    with only_run() as alone:
        if not alone:
            return
        ends_at = time.monotonic() + BUDGET_S
        try:
            written = Builder(the_store()).advance(
                timezone.now(), until=lambda: time.monotonic() > ends_at
            )
        except TelemetryError as error:
            log.warning("rollups_wait_for_the_store", code=error.code, **error.data)
            return
        if written:
            log.info("rollups_built", documents=written)


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
