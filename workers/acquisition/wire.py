"""MQTT 5 as bytes, for the two packets that come by the ten thousand: PUBLISH and PUBACK.

paho connects, signs in, subscribes, pings and ends; it would also read these, but with some system
calls and dozens of Python calls for each. Here a read brings many packets, and a write takes many
acknowledgements. Numbers in headings are those of the MQTT 5.0 standard.
"""

import struct
from dataclasses import dataclass

READ_BYTES = 256 * 1024
_PUBLISH = 3
_CONTENT_TYPE = 0x03
_LENGTH_DIGITS = 4
_short = struct.Struct("!H")
_puback = struct.Struct("!BBH")


class Malformed(Exception):
    """Bytes that are no MQTT; the connection they came over is of no use any more."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet: its first byte, and where it lies in the stream's bytes."""

    first: int
    whole: bytes
    body_at: int

    @property
    def is_message(self) -> bool:
        """A PUBLISH of QoS 0 or 1. QoS 2 is never asked for."""
        return self.first >> 4 == _PUBLISH and not self.first & 0x04


@dataclass(frozen=True, slots=True)
class Publish:
    """What a PUBLISH (3.3) says. `topic` is empty where it is no UTF-8: nobody's."""

    topic: str
    payload: bytes
    packet_id: int
    content_type: str


class Stream:
    """Bytes as they come, packets as they are whole."""

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0

    def put(self, chunk: bytes) -> None:
        """More bytes of the stream."""
        self._bytes = self._bytes[self._at :] + chunk
        self._at = 0

    def take(self) -> Packet | None:
        """The next whole packet, if there is one. Raises Malformed."""
        body = self._body()
        if body is None:
            return None
        start, (body_at, end) = self._at, body
        self._at = end
        return Packet(self._bytes[start], self._bytes[start:end], body_at - start)

    def has_packet(self) -> bool:
        """Whether `take` would give one. Raises Malformed."""
        return self._body() is not None

    def _body(self) -> tuple[int, int] | None:
        """Where the next packet's body begins and ends (2.1.4: remaining length)."""
        if len(self._bytes) - self._at < 2:
            return None
        found = _number(self._bytes, self._at + 1)
        if found is None:
            return None
        length, at = found
        return (at, at + length) if at + length <= len(self._bytes) else None


def _number(data: bytes, at: int) -> tuple[int, int] | None:
    """A variable byte integer (1.5.5) and where it ends; None where it is cut off."""
    value = 0
    for digit in range(_LENGTH_DIGITS):
        if at >= len(data):
            return None
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << (7 * digit)
        if byte < 0x80:
            return value, at
    raise Malformed("a length of more than four bytes")


def read_publish(packet: Packet) -> Publish:
    """Raises Malformed."""
    data, at = packet.whole, packet.body_at
    try:
        size = _short.unpack_from(data, at)[0]
        topic, at = data[at + 2 : at + 2 + size], at + 2 + size
        packet_id = 0
        if packet.first & 0x06:
            packet_id = _short.unpack_from(data, at)[0]
            at += 2
    except struct.error:
        raise Malformed("a PUBLISH that is cut off") from None
    found = _number(data, at)
    if found is None or found[1] + found[0] > len(data):
        raise Malformed("properties that are cut off")
    length, at = found
    content_type = _content_type(data[at : at + length]) if length else ""
    return Publish(_text(topic), data[at + length :], packet_id, content_type)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return ""


def _content_type(properties: bytes) -> str:
    """The content type among a PUBLISH's properties (3.3.2.3); empty where there is none."""
    found, at = "", 0
    try:
        while at < len(properties):
            name = properties[at]
            end = _end_of_value(properties, name, at + 1)
            if name == _CONTENT_TYPE:
                found = _text(properties[at + 3 : end])[:128]
            at = end
    except (IndexError, struct.error):
        raise Malformed("a property that is cut off") from None
    if at != len(properties):
        raise Malformed("a property that is cut off")
    return found


def _end_of_value(data: bytes, name: int, at: int) -> int:
    """Where the value of a property that begins at `at` ends."""
    if name in _FIXED:
        return at + _FIXED[name]
    if name in _TEXTS:
        for _ in range(_TEXTS[name]):
            at += 2 + int(_short.unpack_from(data, at)[0])
        return at
    if name == _SUBSCRIPTION:
        found = _number(data, at)
        if found is not None:
            return found[1]
    raise Malformed(f"property 0x{name:02x} in a PUBLISH")


_FIXED = {0x01: 1, 0x02: 4, 0x23: 2}
"""Payload format, expiry, topic alias: bytes of the value."""
_TEXTS = {_CONTENT_TYPE: 1, 0x08: 1, 0x09: 1, 0x26: 2}
"""Content type, response topic, correlation data, user property: texts with their lengths."""
_SUBSCRIPTION = 0x0B


def puback(packet_id: int) -> bytes:
    """A PUBACK (3.4) with reason 0x00, which needs no byte of its own."""
    return _puback.pack(0x40, 2, packet_id)


PUBACK_BYTES = _puback.size
