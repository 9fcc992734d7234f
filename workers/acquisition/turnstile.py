"""Batches are stored several at a time, but committed one after the other, in order of arrival."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stopping(Exception):
    """The worker is told to stop: what is in hand stays unacknowledged and comes again."""


class Turnstile:
    """Lets turn 0, 1, 2, … through, one at a time and in this order."""

    def __init__(self) -> None:
        self._next = 0
        self._stopped = False
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """Wait until all turns before this one are over. Raises Stopping when it never comes."""
        with self._changed:
            self._changed.wait_for(lambda: self._next == number or self._stopped)
            if self._next != number:
                raise Stopping
        yield
        with self._changed:
            self._next = number + 1
            self._changed.notify_all()

    def stop(self) -> None:
        """A turn that raised never ends: those behind it give up instead of waiting for ever."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
