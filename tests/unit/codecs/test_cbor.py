"""CBOR from devices: the shapes of JSON, and nothing that a hostile message can make of them."""

import json
import math
import struct
import time
import tracemalloc
from contextlib import suppress
from typing import Any

import cbor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ohmwatch.codecs import json as json_codec
from ohmwatch.codecs.cbor import _NO_TAGS, SELF_DESCRIBED, decode, looks_like_cbor
from ohmwatch.readings import MESSAGE_BYTES_LIMIT
from ohmwatch.refusals import Reason, Refused

T = 1_795_420_800_000


def said(document: Any) -> json_codec.Decoded:
    return decode(cbor2.dumps(document))


def refusal(payload: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        decode(payload)
    return caught.value


def reasons(document: Any) -> list[tuple[int, Reason, str]]:
    return [(one.row, one.reason, one.field) for one in said(document).refused]


SHAPES: list[dict[str, Any]] = [
    {"time": T, "channel": 3, "current_a": 182.4, "interlock": True, "mating_cycles": 7},
    {"channel": 1, "readings": [{"time": T, "current_a": 1.5}, {"time": T + 1, "ambient_c": 2}]},
    {"start": T, "step_ms": 1000, "columns": {"current_a": [1, None, 3.5], "x_own": [1, 2, 3]}},
    {"time": ["2026-11-23T08:00:00Z", T + 7], "columns": {"current_a": [1, 2]}, "fw": {"v": [1]}},
    {"time": T, "readings": [{"current_a": "much"}, {"current_a": 1e9}, 17]},
]


@pytest.mark.parametrize("document", SHAPES)
def test_it_says_what_json_says(document: dict[str, Any]) -> None:
    ours, theirs = said(document), json_codec.decode(json.dumps(document).encode())
    assert ours.columns.time_ms.tolist() == theirs.columns.time_ms.tolist()
    assert ours.columns.channel.tolist() == theirs.columns.channel.tolist()
    assert repr(ours.columns.values) == repr(theirs.columns.values)
    assert (ours.refused, ours.unknown_fields) == (theirs.refused, theirs.unknown_fields)


def test_single_and_half_precision_and_the_tag_for_cbor() -> None:
    key = cbor2.dumps("current_a")
    for number in (b"\xf9\x3e\x00", b"\xfa\x3f\xc0\x00\x00", cbor2.dumps(1.5)):
        payload = b"\xa2" + cbor2.dumps("time") + cbor2.dumps(T) + key + number
        assert decode(SELF_DESCRIBED + payload).columns.values["current_a"].tolist() == [1.5]


@pytest.mark.parametrize("none", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("width", ["half", "single", "double"])
def test_no_number_refuses_its_reading_only(none: float, width: str) -> None:
    letter, head = {"half": ("e", 0xF9), "single": ("f", 0xFA), "double": ("d", 0xFB)}[width]
    item = bytes([head]) + struct.pack(f">{letter}", none)
    column = b"\x82" + item + b"\x01"
    columns = b"\xa1" + cbor2.dumps("current_a") + column
    payload = b"\xa2" + cbor2.dumps("time") + cbor2.dumps([T, T + 1]) + cbor2.dumps("columns")
    decoded = decode(payload + columns)
    assert decoded.columns.time_ms.tolist() == [T + 1]
    assert [one.reason for one in decoded.refused] == [Reason.OUT_OF_RANGE]


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"", "premature end"),
        (b"\xff", "break"),
        (b"\x81" * 200_000, "depth"),
        (SELF_DESCRIBED * 80_000, "depth"),
        (b"\x9b\x3f" + b"\xff" * 7, "premature"),
        (b"\xbb\x00\x00\x01" + b"\x00" * 5, "premature"),
        (b"\x7b\x00\x00\x01" + b"\x00" * 5 + b"abc", "premature"),
        (b"\x5b\x3f" + b"\xff" * 7 + b"abc", "premature"),
        (b"\x9f" + b"\x01" * 200_000 + b"\xff", "indefinite"),
        (b"\xbf\x61a\x01\xff", "indefinite"),
        (b"\x7f" + b"\x61a" * 100_000 + b"\xff", "indefinite"),
        (bytes.fromhex("a2616101616102"), "Duplicate"),
        (b"\xa1\x01\x02", "key"),
        (b"\xa1\x41a\x02", "key"),
        (b"\x63\xed\xa0\x80", "utf-8"),
        (b"\x61\xff", "utf-8"),
        (bytes.fromhex("a0a0"), "1 bytes behind"),
        (b"\x1c", ""),
        (bytes.fromhex("d81c81d81d00"), "tag"),
        (bytes.fromhex("c4821b7fffffffffffffff01"), "tag"),
        (b"\xc2\x5a\x00\x03\x00\x00" + b"\xff" * 0x30000, "tag"),
        (b"\xd8\x23\x78\x10" + b"(" * 16, "tag"),
    ],
)
def test_what_is_not_our_cbor_is_undecodable(payload: bytes, says: str) -> None:
    found = refusal(payload)
    assert found.reason == Reason.UNDECODABLE
    assert says in found.detail
    assert "\n" not in found.detail


def test_cbor2_carries_out_no_tag_unasked() -> None:
    """A tag that a later cbor2 learns would be carried out behind our back."""

    def hook(*_: object) -> None:
        raise cbor2.CBORDecodeError("asked")

    known = set()
    for tag in [*range(65_536), 65_536, 2**32, 2**64 - 1]:
        try:
            cbor2.loads(_tag(tag) + b"\x01", tag_hook=hook)
            known.add(tag)
        except cbor2.CBORDecodeError as error:
            if "asked" not in f"{error} {error.__cause__}":
                known.add(tag)
    assert known == set(_NO_TAGS)
    for tag in known:
        assert refusal(_tag(tag) + cbor2.dumps({"time": T})).reason == Reason.UNDECODABLE


def _tag(number: int) -> bytes:
    return b"\xdb" + struct.pack(">Q", number)


def test_too_large_and_too_many() -> None:
    assert refusal(b" " * (MESSAGE_BYTES_LIMIT + 1)).reason == Reason.TOO_LARGE
    many = {"start": T, "step_ms": 1, "columns": {"current_a": [0] * 5_001}}
    assert refusal(cbor2.dumps(many)).reason == Reason.TOO_MANY_READINGS
    assert refusal(cbor2.dumps([])).reason == Reason.WRONG_SHAPE
    assert refusal(b"\xf7").reason == Reason.WRONG_SHAPE


def test_values_that_json_does_not_have_are_of_the_wrong_type() -> None:
    for odd in (cbor2.undefined, b"7", cbor2.CBORSimpleValue(99), [1], {"a": 1}):
        assert reasons({"time": T, "current_a": odd}) == [(0, Reason.WRONG_TYPE, "current_a")]
        assert reasons({"time": odd, "current_a": 1}) == [(0, Reason.TIME_INVALID, "time")]


def test_the_largest_integers() -> None:
    for huge in (2**64 - 1, -(2**64)):
        assert reasons({"time": T, "current_a": huge})[0][1] == Reason.OUT_OF_RANGE
        assert reasons({"time": huge, "current_a": 1})[0][1] == Reason.TIME_INVALID


def test_guessed_by_the_first_byte() -> None:
    assert all(looks_like_cbor(cbor2.dumps(document)) for document in SHAPES)
    assert looks_like_cbor(SELF_DESCRIBED + b"\xa0")
    assert not any(map(looks_like_cbor, (b"", b"{}", b" {}", b"[", b"\xef\xbb\xbf{}", b"\xd9")))


@given(st.binary(max_size=400))
def test_nothing_but_refused_escapes(payload: bytes) -> None:
    with suppress(Refused):
        decode(b"\xa1" + payload)


_leaves = st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats() | st.text()
_values = st.recursive(
    _leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
_fields = st.sampled_from(["time", "channel", "start", "step_ms", "current_a", "columns", "x"])


# Making documents is slow on a busy machine, and that is no finding about the codec.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(_fields, _values), st.lists(st.dictionaries(_fields, _values), max_size=3))
def test_every_reading_is_taken_or_refused(document: dict[str, Any], rows: list[Any]) -> None:
    for shape in (document, document | {"readings": rows}, document | {"columns": {"x_a": [1]}}):
        try:
            decoded = said(shape)
        except Refused:
            continue
        assert decoded.received == len(decoded.columns) + len(decoded.refused) >= 1
        assert len({one.row for one in decoded.refused} | set(decoded.rows.tolist())) == (
            decoded.received
        )


def test_bombs_take_neither_memory_nor_time() -> None:
    bombs = [
        b"\x9b\x3f" + b"\xff" * 7,
        b"\x98\xff" * 100_000,
        b"\xa1\x61a" * 80_000,
        b"\x9a\x00\x03\x00\x00" + b"\xf7" * 200_000,
        b"\xa1\x67readings\x9a\x00\x03\xe8\x00" + b"\xa0" * 256_000,
    ]
    tracemalloc.start()
    began = time.process_time()
    for bomb in bombs:
        with pytest.raises(Refused):
            decode(bomb[:MESSAGE_BYTES_LIMIT])
    took_s = time.process_time() - began
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 * 1024 * 1024
    assert took_s < 10, "an order of magnitude over what it takes under tracemalloc"
