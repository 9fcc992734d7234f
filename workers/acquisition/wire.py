"""MQTT 5 as bytes, for the two packets that come by the ten thousand: PUBLISH and PUBACK.

paho connects, signs in, subscribes, pings and ends; it would also read these, but with some system
calls and dozens of Python calls for each. Here a read brings many packets, and a write takes many
acknowledgements. Numbers in headings are those of the MQTT 5.0 standard.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from workers.acquisition.batches import Message, Origin

READ_BYTES = 256 * 1024
_MESSAGE, _MESSAGE_MASK = 0x30, 0xF4
"""A PUBLISH of QoS 0 or 1, whatever its other flags. QoS 2 is never asked for."""
_PUBACKS = np.dtype([("kind", "u1"), ("length", "u1"), ("packet_id", ">u2")])
_CONTENT_TYPE = 0x03
_LENGTH_DIGITS = 4
_LEAST = 5
"""Bytes of a PUBLISH with a packet id: two lengths, of topic and properties, and the id."""
_short = struct.Struct("!H")


class Malformed(Exception):
    """Bytes that are no MQTT; the connection they came over is of no use any more."""


class Packet(NamedTuple):
    """A packet that is no message of QoS 0 or 1, for paho."""

    whole: bytes


class Stream:
    """Bytes as they come, packets as they are whole."""

    def __init__(self, origin: Origin | None = None) -> None:
        """`origin`: the connection that messages say they came over."""
        self._origin = origin
        self._bytes = b""
        self._at = 0

    def put(self, chunk: bytes) -> None:
        """More bytes of the stream."""
        self._bytes = self._bytes[self._at :] + chunk
        self._at = 0

    def take(self) -> Packet | None:
        """The next whole packet, whatever it is. Raises Malformed."""
        body = self._body()
        if body is None:
            return None
        start, self._at = self._at, body[1]
        return Packet(self._bytes[start : self._at])

    def take_messages(self, most: int, most_bytes: int) -> list[Message]:
        """The whole messages that come next: at most so many, and none after so many bytes of the
        stream. Empty where something else comes first, or nothing whole. Raises Malformed."""
        data, at, end = self._bytes, self._at, len(self._bytes)
        origin = self._origin
        found: list[Message] = []
        until = at + most_bytes
        while len(found) < most and at < until and end - at >= 2:
            first, digit = data[at], data[at + 1]
            if first & _MESSAGE_MASK != _MESSAGE:
                break
            if digit < 0x80:
                body, stop = at + 2, at + 2 + digit
            else:
                number = _number(data, at + 1)
                if number is None:
                    break
                body, stop = number[1], number[1] + number[0]
            if stop > end:
                break
            at = stop
            # As nearly all are: with a packet id, without properties.
            if first & 0x06 and stop - body >= _LEAST:
                topic = body + 2 + (data[body] << 8 | data[body + 1])
                if topic + 3 <= stop and data[topic + 2] == 0:
                    packet_id = data[topic] << 8 | data[topic + 1]
                    name = _topic(data[body + 2 : topic])
                    found.append(Message(name, data[topic + 3 : stop], packet_id, "", origin))
                    continue
            found.append(_publish(data, first, body, stop, origin))
        self._at = at
        return found

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


def _publish(data: bytes, first: int, at: int, end: int, origin: Origin | None) -> Message:
    """The PUBLISH whose body is data[at:end]."""
    try:
        topic_at = at + 2
        at = topic_at + (data[at] << 8 | data[at + 1])
        topic = data[topic_at:at]
        packet_id = 0
        if first & 0x06:
            packet_id = data[at] << 8 | data[at + 1]
            at += 2
        length = data[at]
    except IndexError:
        raise Malformed("a PUBLISH that is cut off") from None
    if at >= end:
        raise Malformed("a PUBLISH that is cut off")
    if length == 0:
        return Message(_topic(topic), data[at + 1 : end], packet_id, "", origin)
    found = _number(data, at)
    if found is None or found[1] + found[0] > end:
        raise Malformed("properties that are cut off")
    length, at = found
    content_type = _content_type(data[at : at + length])
    return Message(_topic(topic), data[at + length : end], packet_id, content_type, origin)


@lru_cache(maxsize=16_384)
def _topic(raw: bytes) -> str:
    """One text for all messages of a topic, as long as it is remembered."""
    return _text(raw)


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


def pubacks(packet_ids: Sequence[int]) -> bytes:
    """A PUBACK (3.4) for each, in this order, with reason 0x00, which needs no byte of its own."""
    acks = np.empty(len(packet_ids), dtype=_PUBACKS)
    acks["kind"], acks["length"], acks["packet_id"] = 0x40, 2, packet_ids
    return acks.tobytes()


PUBACK_BYTES = _PUBACKS.itemsize
