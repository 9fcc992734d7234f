"""Telling detection that a partition has something to judge.

A wake-up is a Celery task that carries nothing but the partition's number. It may come late,
twice, out of order or never: order and position are in the log, and a sweep finds what lies
unread.
"""

from collections.abc import Iterable

import structlog
from celery import current_app
from django.conf import settings
from kombu.exceptions import OperationalError
from redis import RedisError

logger = structlog.get_logger(__name__)

REORDER_WINDOW_MS = 300
"""How long a reading waits for others of its connector that came by another way.

A device's messages are spread over two slots, whose batches take some 100 ms each; what lies
further apart is late."""

SOONEST_MS, LATEST_MS = 100, 600
"""Between a pass that left something unripe and the next one."""

PATIENCE_MS = 1_000
"""How long after it was due a wake-up is still waited for, before another one is sent."""

EXPIRES_S = 60
"""A wake-up that waited longer than some sweeps is not worth taking."""


def wake_key(partition: int) -> str:
    """In Redis while a wake-up is on its way; it ends PATIENCE_MS after that was due."""
    return f"ow:wake:{partition}"


def send_farewell(slug: str) -> None:
    """Asks every partition to forget a tenant that was erased. Raises OperationalError."""
    for partition in range(settings.ENVIRONMENT.partitions):
        current_app.send_task(
            "detection.forget",
            kwargs={"partition": partition, "slug": slug},
            queue="detection",
        )


def send_wakeups(partitions: Iterable[int], delay_ms: int) -> None:
    """Asks for a pass over each partition after `delay_ms`; raises nothing."""
    try:
        for partition in partitions:
            current_app.send_task(
                "detection.wake",
                kwargs={"partition": partition},
                queue="detection",
                countdown=delay_ms / 1000,
                expires=EXPIRES_S,
                retry=False,
            )
    except (OperationalError, RedisError, OSError) as error:
        logger.warning("wake_up_not_sent", error=repr(error))
