"""The slot's MQTT session: one thread that reads, acknowledges, reconnects, hides no fault.

The socket is read only while the intake has room. Acknowledgements come from the pipeline in order
of arrival and leave from this thread, because paho belongs to one.
"""

import random
import select
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

import structlog

from workers.acquisition import faults
from workers.acquisition.batches import Batch, Message
from workers.acquisition.connection import Broker, Connection, ConnectionEnded, TakenOver
from workers.acquisition.intake import Intake

RECONNECT_S = (1.0, 5.0)
SHORT_LIVED_S = 10.0
PUSHED_OUT = 5
"""So many short-lived connections in a row, accepted and then closed without a word, are another
process with our client id: Mosquitto 2.0.11 closes, where MQTT 5 has a reason (0x8E) for it."""
_READS_AT_ONCE, _AT_ONCE = 8, 128
"""Takes between looks at what else is to do, and messages in a take."""
_BUSY_S, _REST_S = 0.01, 0.003
"""Where the socket is empty again so soon after the last time, it is left alone for a moment: a
broker sends message by message, and waking up for each takes longer than taking it."""
_TICK_S = 1.0

log = structlog.get_logger(__name__)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Session:
    """Runs in a thread of its own: `run` returns after `stop`, and raises only what is fatal."""

    def __init__(
        self, *, broker: Broker, client_id: str, intake: Intake, retiring: bool = False
    ) -> None:
        """`retiring`: take what waits for the slot and nothing new, then end the session."""
        self._broker = broker
        self._retiring = retiring
        self._client_id = client_id
        self._intake = intake
        self._connection: Connection | None = None
        self._connect_at = 0.0
        self._connected_at = 0.0
        self._short_lived = 0
        self._misc_at = 0.0
        self._confirmed: dict[int, list[Message]] = {}
        self._next_turn = 0
        self._is_draining = False
        self._is_leaving = False
        self._ends_session = False
        self._took_at = time.monotonic()
        self._emptied_at = self._reads_again_at = 0.0
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self.connections = 0
        self.ticked_at = time.monotonic()
        """When the loop last went round; the watchdog's evidence."""

    # --- from other threads -------------------------------------------------------------------

    def confirm(self, batch: Batch) -> None:
        """A batch is safe: acknowledge it as soon as all before it are acknowledged."""
        self._confirmed[batch.turn] = batch.messages
        self._wake()

    def drain(self) -> None:
        """Read no more, and close what is open; acknowledgements still leave."""
        self._is_draining = True
        self._wake()

    def leave(self, *, end_session: bool = False) -> None:
        """Send what is confirmed, disconnect, return."""
        self._ends_session = end_session
        self._is_leaving = True
        self._wake()

    @property
    def is_connected(self) -> bool:
        return self._connection is not None and self._connection.is_ready

    @property
    def address(self) -> str:
        """The broker's."""
        return self._broker.address

    @property
    def quiet_s(self) -> float:
        """Seconds since a message came or the connection was made; 0 without one."""
        if not self.is_connected:
            return 0.0
        return time.monotonic() - max(self._took_at, self._connected_at)

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # then it is awake
            self._wake_writer.send(b"\0")

    # --- the loop -----------------------------------------------------------------------------

    def run(self) -> None:
        while not self._is_leaving:
            self.ticked_at = time.monotonic()
            self._close_due_batch()
            try:
                self._turn()
            except (ConnectionEnded, OSError) as ended:
                self._lose(ended)
        self._say_goodbye()

    def _turn(self) -> None:
        connection = self._connection
        if connection is None:
            self._connect_or_wait()
            return
        may_read = not self._is_draining and not self._rests() and self._intake.has_room()
        readable, writable = self._wait(connection, may_read)
        if readable:
            self._read(connection)
        self._acknowledge()
        if writable or connection.wants_write():
            connection.write()
        if time.monotonic() >= self._misc_at:
            self._misc_at = time.monotonic() + _TICK_S
            connection.keep_alive()

    def _wait(self, connection: Connection, may_read: bool) -> tuple[bool, bool]:
        poll = select.poll()
        poll.register(self._wake_reader, select.POLLIN)
        wanted = (select.POLLIN if may_read else 0) | (
            select.POLLOUT if connection.wants_write() else 0
        )
        sock = connection.socket
        if wanted:
            poll.register(sock, wanted)
        events = dict(poll.poll(self._timeout_s() * 1000))
        if self._wake_reader.fileno() in events:
            self._wake_reader.recv(4096)
        seen = events.get(sock.fileno(), 0)
        ended = seen & (select.POLLHUP | select.POLLERR)
        readable = bool(seen & select.POLLIN or ended) or connection.has_more()
        return may_read and readable, bool(seen & select.POLLOUT)

    def _has_more(self) -> bool:
        """Whether packets lie here, read already, and may be taken."""
        if self._connection is None or self._is_draining or not self._intake.has_room():
            return False
        return self._connection.has_more()

    def _timeout_s(self) -> float:
        if self._has_more():
            return 0.0
        tick = time.monotonic()
        rest_s = self._reads_again_at - tick
        most_s = rest_s if 0 < rest_s < _TICK_S else _TICK_S
        due_s = self._intake.close_when_due(now_ms=now_ms(), tick=tick)
        return most_s if due_s is None else min(max(due_s, 0.001), most_s)

    def _read(self, connection: Connection) -> None:
        """Packets as they lie in the socket, but not one beyond the high-water mark."""
        for _ in range(_READS_AT_ONCE):
            messages, held_bytes = self._intake.room()
            if not connection.read(min(messages, _AT_ONCE), held_bytes):
                self._rest()
                return
            if not self._intake.has_room():
                return

    def _rest(self) -> None:
        """The socket is empty now."""
        tick = time.monotonic()
        if tick - self._emptied_at < _BUSY_S:
            self._reads_again_at = tick + _REST_S
        self._emptied_at = tick

    def _rests(self) -> bool:
        return time.monotonic() < self._reads_again_at

    def _take(self, messages: list[Message]) -> None:
        self._took_at = time.monotonic()
        faults.point("after_receive", len(messages))
        self._intake.put(messages, now_ms=now_ms(), tick=self._took_at)

    def _acknowledge(self) -> None:
        """Of each batch the messages that came over this connection: others are another session's,
        or came before a reconnect, and will come again."""
        while (messages := self._confirmed.pop(self._next_turn, None)) is not None:
            self._next_turn += 1
            half = len(messages) // 2
            self._confirm_to_broker(messages[:half])
            faults.point("half_pubacks")
            self._confirm_to_broker(messages[half:])

    def _confirm_to_broker(self, messages: Sequence[Message]) -> None:
        connection = self._connection
        if connection is None:
            return
        ids = [each.packet_id for each in messages if each.packet_id and each.origin is connection]
        if ids:
            connection.acknowledge_all(ids)

    def _close_due_batch(self) -> None:
        if self._is_draining:
            self._intake.end(now_ms=now_ms())
        else:
            self._intake.close_when_due(now_ms=now_ms(), tick=time.monotonic())

    # --- connections --------------------------------------------------------------------------

    def _connect_or_wait(self) -> None:
        """A full worker does not reconnect: the broker would send all of it once more."""
        may_connect = self._intake.has_room() and not self._is_draining
        wait_s = self._connect_at - time.monotonic()
        if not may_connect or wait_s > 0:
            poll = select.poll()
            poll.register(self._wake_reader, select.POLLIN)
            if poll.poll(min(max(wait_s, 0.1), self._timeout_s()) * 1000):
                self._wake_reader.recv(4096)
            self._acknowledge()
            return
        self.connections += 1
        connection = Connection(self._broker, self._client_id, self._take, retiring=self._retiring)
        connection.open()
        self._connection = connection
        self._connected_at = time.monotonic()

    def _lose(self, reason: Exception) -> None:
        self._count_short_lives()
        pause_s = random.uniform(*RECONNECT_S)  # noqa: S311 - spreads load, guards nothing
        log.warning("mqtt_lost", reason=str(reason), again_in_s=round(pause_s, 1))
        self._connection = None
        self._connect_at = time.monotonic() + pause_s

    def _count_short_lives(self) -> None:
        if self._connection is None or not self._connection.is_ready:
            return
        is_short = time.monotonic() - self._connected_at < SHORT_LIVED_S
        self._short_lived = self._short_lived + 1 if is_short else 0
        if self._short_lived >= PUSHED_OUT:
            raise TakenOver

    def _say_goodbye(self) -> None:
        try:
            self._acknowledge()
            if self._connection is not None:
                self._connection.close(end_session=self._ends_session)
        except (ConnectionEnded, OSError) as ended:
            log.info("mqtt_ended_early", reason=str(ended))
