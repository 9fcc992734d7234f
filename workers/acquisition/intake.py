"""The bounded place between the socket and the pipeline: messages wait here and become batches.

`has_room` is the worker's back-pressure: the session reads its socket only while it is true, so
that TCP holds the broker. Counting the broker's receive maximum is not enough, because Mosquitto
2.0 forgets about it after the first acknowledgement. A message counts until it is acknowledged.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from workers.acquisition.batches import MESSAGE_BYTES, Batch, Message, arrival_ms, first_number
from workers.acquisition.weighing import weight


@dataclass(frozen=True)
class Limits:
    """How much the worker holds, and when a batch is closed."""

    high_water_messages: int = 20_000
    high_water_bytes: int = 16 * 1024 * 1024
    low_water: float = 0.75
    """Reading goes on when what is held is below this part of the high-water mark."""
    batch_messages: int = 2_000
    batch_bytes: int = 256 * 1024
    """Of payloads by columns, which become documents several times as large: some 4,000 readings
    of 12 quantities. What becomes less weighs less, and a thin reading no less than that: see
    weighing.py. In half the batch each reading is a fifth dearer."""
    wait_s: float = 0.1
    """An open batch is closed after this time if the pipeline has a hand free ..."""
    wait_busy_s: float = 1.0
    """... and after this one in any case, so that its time of arrival stays near the truth."""


class Intake:
    """Messages in, closed batches out. One thread puts, any number take and settle."""

    def __init__(self, *, slot: int, above: int, limits: Limits) -> None:
        """`above`: the last batch number that the slot's former lives may have used."""
        self.limits = limits
        self._closed_messages = 0
        self._closed_bytes = 0
        self._slot = slot
        self._number = above
        self._turn = 0
        self._open: list[Message] = []
        self._open_bytes = 0
        self._open_weight = 0
        self._opened_at = 0.0
        self._closed: deque[Batch] = deque()
        self._is_full = False
        self._idle = 0
        self._ended = False
        self._changed = threading.Condition()

    # --- the session's side -------------------------------------------------------------------

    def put(self, messages: Sequence[Message], *, now_ms: int, tick: float) -> None:
        """Take messages in. `tick` is a monotonic clock in seconds."""
        most, most_weight = self.limits.batch_messages, self.limits.batch_bytes
        with self._changed:
            for message in messages:
                payload = message.payload
                if not self._open:
                    self._opened_at = tick
                self._open.append(message)
                self._open_bytes += len(payload) + MESSAGE_BYTES
                self._open_weight += weight(payload)
                if self._open_weight >= most_weight or len(self._open) >= most:
                    self._close(now_ms)

    def room(self) -> tuple[int, int]:
        """How many messages, and about how many bytes of them, go in up to the high-water mark;
        at least one of each."""
        limits = self.limits
        return (
            max(limits.high_water_messages - self.held_messages, 1),
            max(limits.high_water_bytes - self.held_bytes, 1),
        )

    @property
    def held_messages(self) -> int:
        """Messages taken in and not yet acknowledged."""
        return self._closed_messages + len(self._open)

    @property
    def held_bytes(self) -> int:
        """What they take in memory, about."""
        return self._closed_bytes + self._open_bytes

    def has_room(self) -> bool:
        """Whether the socket may be read: false from the high-water mark to the low one."""
        limits, factor = self.limits, self.limits.low_water if self._is_full else 1.0
        self._is_full = (
            self.held_messages >= limits.high_water_messages * factor
            or self.held_bytes >= limits.high_water_bytes * factor
        )
        return not self._is_full

    def close_when_due(self, *, now_ms: int, tick: float) -> float | None:
        """Close the open batch if it waited long enough; else say how long it still may, in s."""
        with self._changed:
            if not self._open:
                return None
            has_hand = self._idle > len(self._closed)
            wait_s = self.limits.wait_s if has_hand else self.limits.wait_busy_s
            left_s = self._opened_at + wait_s - tick
            if left_s <= 0:
                self._close(now_ms)
                return None
            return min(left_s, self.limits.wait_s)

    def end(self, *, now_ms: int) -> None:
        """Nothing comes any more: what is there is given out, then `take` returns None."""
        with self._changed:
            if self._open:
                self._close(now_ms)
            self._ended = True
            self._changed.notify_all()

    def _close(self, now_ms: int) -> None:
        # Numbers follow the clock, so that a later life of the slot begins above all of them.
        self._number = max(self._number + 1, first_number(self._slot, now_ms))
        arrived_ms = arrival_ms(now_ms)
        batch = Batch(self._number, self._turn, arrived_ms, self._open, self._open_bytes)
        self._closed.append(batch)
        self._closed_messages += len(batch.messages)
        self._closed_bytes += batch.bytes_held
        self._turn += 1
        self._open, self._open_bytes, self._open_weight = [], 0, 0
        self._changed.notify()

    # --- the pipeline's side ------------------------------------------------------------------

    def take(self) -> Batch | None:
        """The next batch, waiting for it; None when there will be none."""
        with self._changed, self._idling():
            while not self._closed and not self._ended:
                self._changed.wait()
            return self._closed.popleft() if self._closed else None

    @contextmanager
    def _idling(self) -> Iterator[None]:
        self._idle += 1
        try:
            yield
        finally:
            self._idle -= 1

    def settle(self, batch: Batch) -> None:
        """A batch is done with: it holds no memory any more."""
        with self._changed:
            self._closed_messages -= len(batch.messages)
            self._closed_bytes -= batch.bytes_held

    @property
    def waiting_batches(self) -> int:
        return len(self._closed)

    def oldest_ms(self) -> int | None:
        """When the oldest batch that waits was closed."""
        with self._changed:
            return self._closed[0].arrived_ms if self._closed else None
