"""A raw MQTT 5 client and a Mosquitto of the tests' own, with the shipped configuration.

The client is written for the tests, so that what they say about a broker or about the worker does
not rest on the library that the worker uses.
"""

import os
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from apps.devices.passwords import hash_password
from deploy.stack import mosquitto as shipped

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP, DISCONNECT = 2, 3, 4, 9, 13, 14


@dataclass(frozen=True)
class Packet:
    """One packet: its type, the flags of its first byte, the rest."""

    kind: int
    flags: int
    body: bytes


@dataclass(frozen=True)
class Received:
    """A PUBLISH that came."""

    topic: str
    payload: bytes
    packet_id: int
    duplicate: bool


class MqttError(Exception):
    """The broker said no, or nothing."""


def _number(value: int) -> bytes:
    """A variable byte integer."""
    out = bytearray()
    while True:
        value, digit = divmod(value, 128)
        out.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(out)


def _text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(raw)) + raw


def _read_number(body: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        digit = body[at]
        at += 1
        value |= (digit & 127) << shift
        shift += 7
        if not digit & 128:
            return value, at


@dataclass
class MqttClient:
    """One connection. Nothing happens by itself: no acknowledgement, no ping, no reconnect."""

    port: int
    name: str
    password: str
    host: str = "127.0.0.1"
    session_present: bool = False
    _socket: socket.socket | None = None
    _buffer: bytearray = field(default_factory=bytearray)

    def connect(
        self,
        *,
        clean_start: bool = True,
        session_expiry_s: int = 0,
        receive_maximum: int = 65_535,
        receive_buffer: int = 0,
    ) -> "MqttClient":
        self._socket = socket.socket()
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(10)
        self._socket.connect((self.host, self.port))
        properties = struct.pack("!BIBH", 0x11, session_expiry_s, 0x21, receive_maximum)
        body = _text("MQTT") + bytes([5, 0xC0 | (2 if clean_start else 0)]) + struct.pack("!H", 300)
        body += _number(len(properties)) + properties
        body += _text(self.name) + _text(self.name) + _text(self.password)
        self.send(0x10, body)
        answer = self.expect(CONNACK)
        if answer.body[1]:
            raise MqttError(f"CONNACK 0x{answer.body[1]:02x}")
        self.session_present = bool(answer.body[0])
        return self

    def subscribe(self, topic: str, *, qos: int = 1) -> None:
        self.send(0x82, struct.pack("!HB", 1, 0) + _text(topic) + bytes([qos]))
        if (reason := self.expect(SUBACK).body[-1]) > 2:
            raise MqttError(f"SUBACK 0x{reason:02x}")

    def publish(
        self, topic: str, payload: bytes, packet_id: int = 1, *, retain: bool = False
    ) -> None:
        """Send a PUBLISH of QoS 1; its PUBACK is read by whoever reads."""
        body = _text(topic) + struct.pack("!HB", packet_id, 0) + payload
        self.send(0x33 if retain else 0x32, body)

    def deliver(self, topic: str, payloads: Iterable[bytes], *, window: int = 200) -> int:
        """Publish all and wait for each PUBACK; returns how many were accepted (0x00).

        Raises where one is answered otherwise: 0x10 is a message that the broker threw away.
        """
        waiting: set[int] = set()
        accepted = 0
        for number, payload in enumerate(payloads):
            packet_id = number % 60_000 + 1
            while len(waiting) >= window:
                accepted += self._accept(waiting)
            self.publish(topic, payload, packet_id)
            waiting.add(packet_id)
        while waiting:
            accepted += self._accept(waiting)
        return accepted

    def _accept(self, waiting: set[int]) -> int:
        answer = self.expect(PUBACK)
        packet_id = struct.unpack_from("!H", answer.body)[0]
        reason = answer.body[2] if len(answer.body) > 2 else 0
        if reason:
            raise MqttError(f"PUBACK 0x{reason:02x}")
        waiting.remove(packet_id)
        return 1

    def acknowledge(self, packet_id: int) -> None:
        self.send(0x40, struct.pack("!H", packet_id))

    def receive(self, *, wait_s: float = 5.0) -> Received | None:
        """The next PUBLISH, or None if none comes in time."""
        deadline = time.monotonic() + wait_s
        while (packet := self.read(wait_s=deadline - time.monotonic())) is not None:
            if packet.kind == DISCONNECT:
                raise MqttError(f"DISCONNECT 0x{packet.body[0] if packet.body else 0:02x}")
            if packet.kind == PUBLISH:
                return _received(packet)
        return None

    def receive_all(self, *, quiet_s: float = 1.0) -> Iterator[Received]:
        """Every PUBLISH until none came for quiet_s."""
        while (message := self.receive(wait_s=quiet_s)) is not None:
            yield message

    def expect(self, kind: int, *, wait_s: float = 10.0) -> Packet:
        packet = self.read(wait_s=wait_s)
        if packet is None or packet.kind != kind:
            raise MqttError(f"waited for packet type {kind}, got {packet}")
        return packet

    def read(self, *, wait_s: float) -> Packet | None:
        """The next packet, or None if none comes in time."""
        deadline = time.monotonic() + wait_s
        while (packet := self._parse()) is None:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return None
            self.socket.settimeout(left_s)
            try:
                chunk = self.socket.recv(65_536)
            except TimeoutError:
                return None
            if not chunk:
                raise MqttError("the broker closed the connection")
            self._buffer += chunk
        return packet

    def _parse(self) -> Packet | None:
        try:
            length, at = _read_number(self._buffer, 1)
        except IndexError:
            return None
        if len(self._buffer) < at + length:
            return None
        packet = Packet(
            self._buffer[0] >> 4, self._buffer[0] & 15, bytes(self._buffer[at : at + length])
        )
        del self._buffer[: at + length]
        return packet

    def send(self, first: int, body: bytes) -> None:
        self.socket.settimeout(30)
        self.socket.sendall(bytes([first]) + _number(len(body)) + body)

    @property
    def socket(self) -> socket.socket:
        assert self._socket is not None, "not connected"
        return self._socket

    def disconnect(self) -> None:
        with suppress(OSError):
            self.send(0xE0, b"")
        self.abort()

    def abort(self) -> None:
        """Gone without a word, as when the power is cut."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> "MqttClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()


def _received(packet: Packet) -> Received:
    size = struct.unpack_from("!H", packet.body)[0]
    topic, at = packet.body[2 : 2 + size].decode(), 2 + size
    packet_id = 0
    if packet.flags & 6:
        packet_id = struct.unpack_from("!H", packet.body, at)[0]
        at += 2
    length, at = _read_number(packet.body, at)
    return Received(topic, packet.body[at + length :], packet_id, bool(packet.flags & 8))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


SLOTS = tuple(f"ohmwatch-acq-{slot}" for slot in range(4))
SLOT_PASSWORD = "slots-of-the-tests"


class Mosquitto:
    """A broker with the configuration that Ohmwatch ships, on ports and data of its own."""

    def __init__(self, devices: dict[str, str], *, more: str = "", conf: str | None = None) -> None:
        """`devices`: password by identity. `more`: lines that are added to the configuration."""
        self._made = tempfile.TemporaryDirectory(prefix="ohmwatch-mosquitto-")
        self._folder = Path(self._made.name)
        self.port, self.worker_port = free_port(), free_port()
        acl, passwords = self._folder / "acl", self._folder / "passwords"
        slots = "".join(shipped._SLOT.format(name=name) for name in SLOTS)
        acl.write_text(slots + shipped._PATTERNS)
        known = dict.fromkeys(SLOTS, SLOT_PASSWORD) | devices
        lines = [f"{name}:{hash_password(password)}\n" for name, password in known.items()]
        passwords.write_text("".join(lines))
        text = (conf or shipped.CONF).format(
            folder=self._folder,
            acl=acl,
            host="127.0.0.1",
            devices=self.port,
            workers=self.worker_port,
        )
        as_root = "user root\n" if os.getuid() == 0 else ""
        self._conf = self._folder / "mosquitto.conf"
        self._conf.write_text(as_root + more + text)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Mosquitto":
        self._process = subprocess.Popen(
            ["/usr/sbin/mosquitto", "-c", str(self._conf)],
            stdout=(self._folder / "log").open("ab"),
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                for port in (self.port, self.worker_port):
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return self
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise MqttError((self._folder / "log").read_text()[-2000:]) from None
                time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def forget(self) -> None:
        """End it, and leave nothing of what it held."""
        self.stop()
        self._made.cleanup()

    def save(self) -> None:
        """What it holds is on its disk when this returns; by itself it writes more seldom."""
        assert self._process is not None
        saved, before = self._folder / "mosquitto.db", 0
        if saved.exists():
            before = saved.stat().st_ino
        self._process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 10
        while not saved.exists() or saved.stat().st_ino == before:
            if time.monotonic() > deadline:
                raise MqttError("the broker did not save")
            time.sleep(0.02)

    def slot(self, number: int) -> MqttClient:
        """A raw client in the place of an acquisition worker."""
        return MqttClient(self.worker_port, SLOTS[number], SLOT_PASSWORD)


@contextmanager
def running(
    devices: dict[str, str], *, more: str = "", conf: str | None = None
) -> Iterator[Mosquitto]:
    broker = Mosquitto(devices, more=more, conf=conf).start()
    try:
        yield broker
    finally:
        broker.forget()
