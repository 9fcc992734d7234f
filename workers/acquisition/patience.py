"""Holding on while a store is away: the same call again, with growing pauses and jitter."""

import random
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import structlog

from workers.acquisition.turnstile import Stopping

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0

T = TypeVar("T")
log = structlog.get_logger(__name__)


def pauses() -> Iterator[float]:
    """Seconds to wait: doubling up to a limit, half of it by chance, so that workers spread."""
    ceiling_s = FIRST_PAUSE_S
    while True:
        yield ceiling_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
        ceiling_s = min(ceiling_s * 2, LONGEST_PAUSE_S)


def patiently(
    action: Callable[[], T],
    *,
    store: str,
    away: tuple[type[Exception], ...],
    stopping: threading.Event,
) -> T:
    """The answer of `action`, however long its store is away.

    `away` are the exceptions that mean "not now"; any other is a fault of ours and goes through.
    Raises Stopping when the worker is told to stop while it waits.
    """
    for attempt, pause_s in enumerate(pauses(), start=1):
        try:
            return action()
        except away as error:
            log.warning("store_away", store=store, attempt=attempt, error=str(error)[:300])
        if stopping.wait(pause_s):
            raise Stopping
    raise AssertionError("pauses() never ends")
