"""Holding on while a store is away: the same call again, with growing pauses and jitter."""

import gc
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


class Patience:
    """A worker's: it waits for stores, knows for which and since when, and ends when told to stop.

    Threads share one.
    """

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._waits: dict[int, tuple[str, int]] = {}

    def hold(self, action: Callable[[], T], *, store: str, away: tuple[type[Exception], ...]) -> T:
        """The answer of `action`, however long its store is away.

        `away` are the exceptions that mean "not now"; any other is a fault of ours and goes
        through. Raises Stopping when the worker is told to stop while it waits.
        """
        try:
            return action()
        except away as error:
            log.warning("store_away", store=store, attempt=1, error=str(error)[:300])
        with self.waiting_for(store):
            for attempt, pause_s in enumerate(pauses(), start=2):
                # A failed request is a cycle of errors and frames, with the request's bytes in it.
                gc.collect()
                self.pause(pause_s)
                try:
                    return action()
                except away as error:
                    log.warning("store_away", store=store, attempt=attempt, error=str(error)[:300])
        raise AssertionError("pauses() never ends")

    def pause(self, seconds: float) -> None:
        """Wait so long. Raises Stopping when told to stop."""
        if self.stopping.wait(seconds):
            raise Stopping

    @contextmanager
    def waiting_for(self, store: str) -> Iterator[None]:
        """While this thread waits, the worker is holding."""
        me = threading.get_ident()
        outer = self._waits.get(me)
        self._waits[me] = outer or (store, time.time_ns() // 1_000_000)
        try:
            yield
        finally:
            if outer is None:
                del self._waits[me]

    def holding(self) -> dict[str, int]:
        """The stores that are waited for, each with the moment (ms) since when."""
        found: dict[str, int] = {}
        for store, since_ms in list(self._waits.values()):
            found[store] = min(since_ms, found.get(store, since_ms))
        return found
