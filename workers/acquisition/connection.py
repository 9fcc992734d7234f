"""One MQTT connection of a slot, from CONNECT to its end. paho leads it; the session drives.

Messages and their acknowledgements don't go through paho but through wire.py: many of them to a
system call. paho gets every other packet as if it had read it itself.

paho's own loop is not used: an exception in a callback would end its thread unseen, and it reads
as fast as the broker sends. Its `ack` knows nothing of connections either: an acknowledgement meant
for the last connection would confirm another message of this one, which nobody has stored. So a
message holds the connection that it came over, and only a living one acknowledges.
"""

import select
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from workers.acquisition.batches import Message
from workers.acquisition.wire import (
    PUBACK_BYTES,
    READ_BYTES,
    Malformed,
    Stream,
    pubacks,
)

SESSION_EXPIRY_S = 24 * 3600
"""How long the broker keeps what waits for a slot that is away."""
RECEIVE_MAXIMUM = 4_000
"""Two batches. Mosquitto 2.0 keeps to it only until the first PUBACK: see intake.py."""
KEEPALIVE_S = 600
"""Generous, because PINGRESP stays unread while the worker holds the broker back; a dead peer is
noticed sooner by TCP's own keepalive."""
CONNECT_LIMIT_S = 5.0
GROUP = "ohmwatch"
TOPICS = tuple(f"$share/{GROUP}/ow/v1/+/{kind}" for kind in ("readings", "status", "events"))

_TAKEN_OVER = 0x8E
_TCP_IDLE_S, _TCP_INTERVAL_S, _TCP_PROBES = 30, 10, 3

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Broker:
    """Where the workers' listener is, and the slot's password."""

    host: str
    port: int
    password: str
    tls: bool = False

    @property
    def address(self) -> str:
        """For people: host and port."""
        return f"{self.host}:{self.port}"


class ConnectionEnded(Exception):
    """The connection is over; a new one may be made."""


class TakenOver(Exception):
    """Another process uses this slot's client id. Two would push each other out for ever."""


class _Client(Client):
    """paho, fed with the packets that are its own. Nothing else of it is changed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, **options)
        self._food = b""

    def feed(self, packet: bytes) -> MQTTErrorCode:
        """Let it read one packet."""
        self._food += packet
        return self.loop_read()

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self._food:
            raise BlockingIOError
        given, self._food = self._food[:bufsize], self._food[bufsize:]
        return given


class Connection:
    """A connection and what came over it. One thread uses it, the session's."""

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        take: Callable[[list[Message]], None],
        *,
        retiring: bool = False,
    ) -> None:
        """`retiring`: what waits for the slot still comes, but nothing new."""
        self._take = take
        self._retiring = retiring
        self._fault: BaseException | None = None
        self.received = 0
        self.is_ready = False
        """Whether the broker has accepted us and our subscriptions."""
        self._client = self._client_of(broker, client_id)
        self._broker = broker
        self._stream = Stream(self)
        self._acks = bytearray()
        self._acks_sent = 0

    def open(self) -> None:
        """Connect and send CONNECT. Raises OSError where the broker can't be reached."""
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        self._client.connect(
            self._broker.host,
            self._broker.port,
            keepalive=KEEPALIVE_S,
            clean_start=False,
            properties=properties,
        )
        _watch_peer(self.socket)

    @property
    def socket(self) -> socket.socket:
        found = self._client.socket()
        if found is None:
            raise ConnectionEnded("no socket")
        return found  # type: ignore[return-value]

    def has_more(self) -> bool:
        """Whether there is something to read that the socket's readiness doesn't show."""
        sock = self.socket
        return self._stream.has_packet() or (isinstance(sock, ssl.SSLSocket) and sock.pending() > 0)

    def wants_write(self) -> bool:
        return bool(self._acks) or self._client.want_write()

    def read(self, most: int = 1, most_bytes: int = 1) -> bool:
        """Take packets: messages up to the first beyond so many or so many bytes, or one of
        another kind. False when none is there yet. Raises ConnectionEnded."""
        try:
            return self._take_next(most, most_bytes) or (
                self._fetch() and self._take_next(most, most_bytes)
            )
        except Malformed as error:
            raise ConnectionEnded(f"the broker sent {error}") from error

    def write(self) -> None:
        """Send what waits: acknowledgements and paho's packets, none in the middle of another."""
        if self._acks_sent % PUBACK_BYTES == 0:
            self._must(self._client.loop_write())
            if self._client.want_write():
                return
        if self._acks:
            self._send_acks()

    def keep_alive(self) -> None:
        """What has to happen each second or so."""
        self._must(self._client.loop_misc())

    def acknowledge(self, packet_id: int) -> None:
        """PUBACK, if this connection still is; else the broker will send the message again."""
        self.acknowledge_all([packet_id])

    def acknowledge_all(self, packet_ids: Sequence[int]) -> None:
        """The same for many, in this order."""
        if self._client.socket() is not None:
            self._acks += pubacks(packet_ids)

    def _send_acks(self) -> None:
        try:
            sent = self.socket.send(self._acks)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        del self._acks[:sent]
        self._acks_sent += sent

    def _fetch(self) -> bool:
        """Read what the socket has; False when it has nothing."""
        try:
            chunk = self.socket.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        if not chunk:
            raise ConnectionEnded("closed by the broker")
        self._stream.put(chunk)
        return True

    def _take_next(self, most: int, most_bytes: int) -> bool:
        return self._take_messages(most, most_bytes) or self._take_packet()

    def _take_messages(self, most: int, most_bytes: int) -> bool:
        said = self._stream.take_messages(most, most_bytes)
        if not said:
            return False
        self.received += len(said)
        self._take(said)
        return True

    def _take_packet(self) -> bool:
        """One for paho, if that is what comes next and it is whole."""
        packet = self._stream.take()
        if packet is None:
            return False
        self._must(self._client.feed(packet.whole))
        return True

    def close(self, *, end_session: bool = False) -> None:
        """Leave in peace; the broker keeps the session unless it is to end."""
        while self._acks:
            self._wait_writable()
            self.write()
        properties = Properties(PacketTypes.DISCONNECT)
        if end_session:
            properties.SessionExpiryInterval = 0
        self._client.disconnect(properties=properties)
        while self._client.socket() is not None and self._client.want_write():
            self._wait_writable()
            self.write()

    def _wait_writable(self) -> None:
        if not select.select([], [self.socket], [], CONNECT_LIMIT_S)[1]:
            raise ConnectionEnded("the broker doesn't read")

    # --- paho's side --------------------------------------------------------------------------

    def _client_of(self, broker: Broker, client_id: str) -> _Client:
        client = _Client(
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.username_pw_set(client_id, broker.password)
        client.connect_timeout = CONNECT_LIMIT_S
        if broker.tls:
            client.tls_set()
        client.on_connect = self._guarded(self._on_connect)
        client.on_subscribe = self._guarded(self._on_subscribe)
        client.on_unsubscribe = self._guarded(self._on_unsubscribe)
        client.on_disconnect = self._guarded(self._on_disconnect)
        # With a writer registered, paho only queues: the session's loop writes.
        client.on_socket_register_write = lambda *_: None
        return client

    def _guarded(self, callback: Callable[..., None]) -> Callable[..., None]:
        """Nothing escapes into paho, which would go on as if nothing had happened."""

        def call(*args: Any) -> None:
            try:
                callback(*args)
            except BaseException as fault:  # handed to the session, which ends the process
                self._fault = self._fault or fault

        return call

    def _must(self, code: MQTTErrorCode) -> None:
        if self._fault is not None:
            raise self._fault
        if code not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN):
            raise ConnectionEnded(str(code))

    def _on_connect(self, client: Client, _: Any, flags: Any, reason: Any, __: Any) -> None:
        if reason.is_failure:
            raise ConnectionEnded(f"refused: {reason}")
        log.info("mqtt_connected", session_present=flags.session_present)
        if self._retiring:
            client.unsubscribe(list(TOPICS))
        else:
            client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in TOPICS])

    def _on_unsubscribe(self, _: Client, __: Any, ___: int, reasons: list[Any], ____: Any) -> None:
        # "No subscription existed" (0x11) is as good: it is no failure, so it doesn't show here.
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            raise ConnectionEnded(f"not unsubscribed: {refused}")
        self.is_ready = True

    def _on_subscribe(self, _: Client, __: Any, ___: int, reasons: list[Any], ____: Any) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            raise ConnectionEnded(f"subscription refused: {refused}")
        self.is_ready = True

    def _on_disconnect(self, _: Client, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        if reason.value == _TAKEN_OVER:
            raise TakenOver
        log.info("mqtt_disconnected", reason=str(reason))


def _watch_peer(connected: socket.socket) -> None:
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _TCP_IDLE_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _TCP_INTERVAL_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _TCP_PROBES)
