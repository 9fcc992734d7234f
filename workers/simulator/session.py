"""A device's MQTT session: it keeps what it sent until the broker has truly taken it.

One thread drives all sessions from one `select`; paho's own threads are not used, because an
exception in one of them ends it unseen.
"""

import logging
import select
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import orjson
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike

log = logging.getLogger("workers.simulator")

TAKEN = 0x00
INFLIGHT = 16
"""Messages of one device that wait for their PUBACK."""
KEPT_MESSAGES = 2_000
"""What a device stores while the broker is away; then the oldest go."""
RETRY_S = 1.0
RECONNECT_S = 2.0
KEEPALIVE_S = 30


@dataclass(frozen=True)
class Broker:
    """Where devices connect."""

    host: str
    port: int

    @classmethod
    def at(cls, url: str) -> "Broker":
        parts = urlsplit(url)
        if parts.scheme != "mqtt":
            raise ValueError(f"the simulator speaks plain mqtt://, not {parts.scheme}://")
        return cls(parts.hostname or "127.0.0.1", parts.port or 1883)


@dataclass(frozen=True)
class Message:
    """What is to be delivered; `taken` is called once, after a PUBACK with reason 0x00."""

    payload: bytes
    taken: Callable[[], None] | None = None


class Session:
    """One identity at the broker."""

    def __init__(
        self, broker: Broker, *, identity: str, password: str, status: dict[str, object]
    ) -> None:
        self.identity = identity
        self._broker = broker
        self._password = password
        self._status = orjson.dumps({"online": True, **status})
        self._client: Client | None = None
        self._connected = False
        self._waiting: deque[Message] = deque()
        self._inflight: dict[int, Message] = {}
        self._not_before = 0.0
        self.dropped = 0

    @property
    def connected(self) -> bool:
        return self._connected

    @property
    def undelivered(self) -> int:
        """Messages offered and not yet taken."""
        return len(self._waiting) + len(self._inflight)

    def offer(self, message: Message) -> None:
        """Deliver this when possible. Beyond the device's memory the oldest are lost."""
        self._waiting.append(message)
        while len(self._waiting) > KEPT_MESSAGES:
            self._waiting.popleft()
            self.dropped += 1

    def work(self, now_s: float) -> None:
        """Connect, send, keep alive: whatever is due at this monotonic instant."""
        if self._client is None:
            if now_s >= self._not_before:
                self._connect(now_s)
            return
        if self._client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._lost(now_s)
            return
        if self._connected and now_s >= self._not_before:
            self._send()

    def connection(self) -> "SocketLike | None":
        """The open connection, to wait on."""
        return self._client.socket() if self._client is not None else None

    def wants_write(self) -> bool:
        return self._client is not None and self._client.want_write()

    def read(self) -> None:
        """The socket has something for us."""
        if self._client is not None and self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._lost(time.monotonic())

    def write(self) -> None:
        """The socket has room again."""
        if self._client is not None and self._client.loop_write() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._lost(time.monotonic())

    def say_goodbye(self) -> None:
        """Tell that the device goes offline on purpose, and disconnect."""
        if self._client is not None and self._connected:
            self._publish_status(orjson.dumps({"online": False}))
            self._client.disconnect()
        self._connected = False

    def _connect(self, now_s: float) -> None:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.identity,
            protocol=MQTTProtocolVersion.MQTTv5,
        )
        client.username_pw_set(self.identity, self._password)
        client.will_set(self._topic("status"), orjson.dumps({"online": False}), qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        client.max_inflight_messages_set(INFLIGHT + 4)
        try:
            client.connect(self._broker.host, self._broker.port, keepalive=KEEPALIVE_S)
        except OSError:
            self._not_before = now_s + RECONNECT_S
            return
        self._client = client

    def _on_connect(
        self,
        client: Client,
        userdata: object,
        flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            log.warning("%s: the broker refused the connection: %s", self.identity, reason)
            return
        self._connected = True
        self._publish_status(self._status)

    def _on_disconnect(
        self,
        client: Client,
        userdata: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._connected = False

    def _on_publish(
        self,
        client: Client,
        userdata: object,
        mid: int,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        message = self._inflight.pop(mid, None)
        if message is None:
            return
        if reason.value == TAKEN:
            if message.taken is not None:
                message.taken()
            return
        # 0x10 counts as success in MQTT, yet nobody got the message; the rest are refusals.
        self._waiting.appendleft(message)
        self._not_before = time.monotonic() + RETRY_S

    def _send(self) -> None:
        while self._waiting and len(self._inflight) < INFLIGHT and self._client is not None:
            message = self._waiting.popleft()
            info = self._client.publish(self._topic("readings"), message.payload, qos=1)
            self._inflight[info.mid] = message

    def _publish_status(self, payload: bytes) -> None:
        if self._client is not None:
            self._client.publish(self._topic("status"), payload, qos=1, retain=True)

    def _lost(self, now_s: float) -> None:
        """The connection is gone; what it had not confirmed is sent again on the next one."""
        client, self._client, self._connected = self._client, None, False
        self._waiting.extendleft(reversed(self._inflight.values()))
        self._inflight.clear()
        self._not_before = now_s + RECONNECT_S
        if client is not None and (left := client.socket()) is not None:
            left.close()

    def _topic(self, leaf: str) -> str:
        return f"ow/v1/{self.identity}/{leaf}"


def drive(sessions: Iterable[Session], *, seconds: float) -> None:
    """Let all sessions read and write for at most this long, or until one has had news."""
    now_s = time.monotonic()
    by_socket: dict[SocketLike, Session] = {}
    for session in sessions:
        session.work(now_s)
        if (open_socket := session.connection()) is not None:
            by_socket[open_socket] = session
    if not by_socket:
        time.sleep(seconds)
        return
    writers = [each for each, session in by_socket.items() if session.wants_write()]
    readable, writable, _ = select.select(list(by_socket), writers, [], seconds)
    for each in writable:
        by_socket[each].write()
    for each in readable:
        by_socket[each].read()
