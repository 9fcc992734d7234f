"""One MQTT connection of a slot, from CONNECT to its end. paho parses; the session drives.

paho's own loop is not used: an exception in a callback would end its thread unseen, and it reads
as fast as the broker sends. Its `ack` knows nothing of connections either: an acknowledgement meant
for the last connection would confirm another message of this one, which nobody has stored. So a
message holds the connection that it came over, and only a living one acknowledges.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from workers.acquisition.batches import Message

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


class ConnectionEnded(Exception):
    """The connection is over; a new one may be made."""


class TakenOver(Exception):
    """Another process uses this slot's client id. Two would push each other out for ever."""


class Connection:
    """A connection and what came over it. One thread uses it, the session's."""

    def __init__(self, broker: Broker, client_id: str, take: Callable[[Message], None]) -> None:
        self._take = take
        self._fault: BaseException | None = None
        self.received = 0
        self.is_ready = False
        """Whether the broker has accepted us and our subscriptions."""
        self._client = self._client_of(broker, client_id)
        self._broker = broker

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

    def wants_write(self) -> bool:
        return self._client.want_write()

    def read(self) -> bool:
        """Read one packet's worth; whether a message came of it."""
        before = self.received
        self._must(self._client.loop_read())
        return self.received > before

    def write(self) -> None:
        self._must(self._client.loop_write())

    def keep_alive(self) -> None:
        """What has to happen each second or so."""
        self._must(self._client.loop_misc())

    def acknowledge(self, packet_id: int) -> None:
        """PUBACK, if this connection still is; else the broker will send the message again."""
        if self._client.socket() is not None:
            self._client.ack(packet_id, 1)

    def close(self) -> None:
        """Leave in peace; the broker keeps the session."""
        self._client.disconnect()
        while self._client.socket() is not None and self._client.want_write():
            self.write()

    # --- paho's side --------------------------------------------------------------------------

    def _client_of(self, broker: Broker, client_id: str) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
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
        client.on_message = self._guarded(self._on_message)
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
        client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in TOPICS])

    def _on_subscribe(self, _: Client, __: Any, ___: int, reasons: list[Any], ____: Any) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            raise ConnectionEnded(f"subscription refused: {refused}")
        self.is_ready = True

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        self.received += 1
        self._take(self._message_of(message))

    def _message_of(self, message: MQTTMessage) -> Message:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # nobody's; its bytes are kept all the same
        content_type = getattr(message.properties, "ContentType", "")
        return Message(
            topic=topic,
            payload=bytes(message.payload),
            packet_id=message.mid if message.qos else 0,
            origin=self,
            content_type=str(content_type)[:128],
        )

    def _on_disconnect(self, _: Client, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        if reason.value == _TAKEN_OVER:
            raise TakenOver
        log.info("mqtt_disconnected", reason=str(reason))


def _watch_peer(connected: socket.socket) -> None:
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _TCP_IDLE_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _TCP_INTERVAL_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _TCP_PROBES)
