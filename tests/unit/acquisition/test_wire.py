"""PUBLISH packets are read as the standard writes them, however the bytes are cut."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mqtt import _number, _text
from workers.acquisition.batches import Message
from workers.acquisition.wire import Malformed, Packet, Stream, pubacks


def publish(
    topic: bytes, payload: bytes, packet_id: int = 0, properties: bytes = b"", flags: int = 0
) -> bytes:
    identifier = struct.pack("!H", packet_id) if packet_id else b""
    body = _text(topic) + identifier + _number(len(properties)) + properties + payload
    first = 0x30 | flags | (2 if packet_id else 0)
    return bytes([first]) + _number(len(body)) + body


def packets(stream: Stream) -> list[Packet | Message]:
    """All that is whole, as the connection takes it."""
    found: list[Packet | Message] = []
    while True:
        said = stream.take_messages(3, 1_000)
        packet = None if said else stream.take()
        if packet is not None:
            found.append(packet)
        elif not said:
            return found
        found += said


MESSAGES = st.lists(
    st.tuples(st.text(max_size=9), st.binary(max_size=300), st.integers(0, 65_535)), max_size=6
)


@given(MESSAGES, st.lists(st.integers(1, 400), min_size=1, max_size=8))
def test_packets_are_whole_however_they_come(
    messages: list[tuple[str, bytes, int]], cuts: list[int]
) -> None:
    left = b"".join(publish(topic.encode(), body, number) for topic, body, number in messages)
    stream, found = Stream(), []
    while left:
        for cut in cuts:
            stream.put(left[:cut])
            left = left[cut:]
            found += packets(stream)
    assert found == [Message(topic, body, number, "") for topic, body, number in messages]


def test_a_packet_of_another_kind_is_no_message() -> None:
    stream = Stream()
    stream.put(b"\xd0\x00" + publish(b"a/b", b"x", 7) + b"\x40\x02\x00\x07")
    assert packets(stream) == [
        Packet(b"\xd0\x00"),
        Message("a/b", b"x", 7, ""),
        Packet(b"\x40\x02\x00\x07"),
    ]


def test_qos_2_is_left_to_paho() -> None:
    stream = Stream()
    stream.put(b"\x34\x00")
    assert packets(stream) == [Packet(b"\x34\x00")]


def test_no_more_messages_than_there_is_room_for() -> None:
    stream = Stream()
    stream.put(publish(b"a", b"x" * 90, 7) * 5)
    assert len(stream.take_messages(2, 10_000)) == 2
    assert len(stream.take_messages(10, 101)) == 2, "the second one is beyond the limit, and last"
    assert len(stream.take_messages(10, 1)) == 1
    assert stream.take_messages(10, 1) == []


def test_a_topic_that_is_no_text_is_nobodys() -> None:
    stream = Stream()
    stream.put(publish(b"ow/\xff", b"x", 7))
    assert packets(stream) == [Message("", b"x", 7, "")]


CONTENT_TYPE = b"\x03" + _text("application/json")


@pytest.mark.parametrize(
    "properties",
    [
        CONTENT_TYPE,
        b"\x01\x01" + CONTENT_TYPE,
        CONTENT_TYPE + b"\x26" + _text("name") + _text("value"),
        b"\x02\x00\x00\x00\x3c\x23\x00\x01\x08" + _text("answer/here") + CONTENT_TYPE,
        b"\x0b\x80\x01\x09" + _text(b"\x00\xff") + CONTENT_TYPE,
    ],
)
def test_the_content_type_is_found_among_the_properties(properties: bytes) -> None:
    stream = Stream()
    stream.put(publish(b"t", b"x", 7, properties))
    assert packets(stream) == [Message("t", b"x", 7, "application/json")]


@pytest.mark.parametrize(
    "packet",
    [
        b"\x32\xff\xff\xff\xff\x01",  # a length of five bytes
        b"\x32\x01\x00",  # no topic
        b"\x32\x03\x00\x01a",  # no packet id
        b"\x32\x05\x00\x01a\x00\x07",  # no properties
        publish(b"a", b"", 7)[:-1] + b"\x05",  # properties that are not there
        publish(b"a", b"x", 7, b"\x03\x00"),
        publish(b"a", b"x", 7, b"\x03\x00\x09ab"),
        publish(b"a", b"x", 7, b"\x01"),
        publish(b"a", b"x", 7, b"\x7f\x00"),  # a property that no PUBLISH has
    ],
)
def test_what_is_no_mqtt_is_said(packet: bytes) -> None:
    stream = Stream()
    stream.put(packet)
    with pytest.raises(Malformed):
        packets(stream)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_malformed(data: bytes) -> None:
    stream = Stream()
    stream.put(b"\x32" + data)
    with suppress(Malformed):
        packets(stream)


def test_a_puback_is_four_bytes() -> None:
    assert pubacks([0x1234, 7]) == b"\x40\x02\x12\x34\x40\x02\x00\x07"
