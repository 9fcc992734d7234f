"""What a message weighs before it is decoded: never less than its readings, however written."""

import json
from typing import Any

import cbor2
import pytest

from ohmwatch.codecs import cbor
from ohmwatch.codecs import json as text
from ohmwatch.readings import READINGS_LIMIT
from ohmwatch.refusals import Refused
from workers.acquisition.weighing import READING, weight

T = 1_795_420_800_000
N = 1_000
ROWS = [{"time": T + n, "x_a": 1} for n in range(50)]
THIN = {"start": T, "step_ms": 1, "columns": {"x_a": [1] * N}}
TIMED = {"time": [T + n for n in range(N)], "columns": {"x_a": [1] * N}}
WIDE = {"start": T, "step_ms": 1, "columns": {f"x_{n}": [182.4] * 50 for n in range(12)}}
HONEST: dict[str, dict[str, Any]] = {
    "columns": THIN,
    "columns first": {"columns": THIN["columns"], "start": T, "step_ms": 1},
    "columns behind their times": TIMED,
    "columns behind a text, a list and an object": {
        "name": 'a "[b]", {c}', "seen": ["x", 1, None], "of": {"y": "]"}, **THIN
    },
    "wide columns": WIDE,
    "rows": {"channel": 1, "readings": ROWS},
    "one": {"time": T, "x_a": 1},
}  # fmt: skip
SLY: dict[str, dict[str, Any]] = {
    "a column of texts that look like an end": {**THIN, "columns": {"x_a": ["]"] * N}},
    "a column of lists": {**THIN, "columns": {"x_a": [[]] * N}},
    "a short list before": {"columns ": {"x_a": [1]}, **THIN},
    "a text that looks like short columns": {"x": '"columns":{"x_a":[1]', **THIN},
    "deep things before": {"x": [[{"y": [1]}]], **THIN},
    "rows before columns": {"readings": [{}], **THIN},
    "empty rows with quantities of all": {"time": T, "x_a": 1, "readings": [{}] * N},
}


def as_text(document: object) -> bytes:
    return json.dumps(document).encode()


def spaced(document: object) -> bytes:
    return b" \n" + json.dumps(document, indent=1, separators=(" , ", " : ")).encode()


def escaped(document: object) -> bytes:
    return as_text(document).replace(b'"columns"', b'"c\\u006flumns"')


def readings_in(payload: bytes) -> int:
    codec = cbor if cbor.looks_like_cbor(payload) else text
    try:
        return codec.decode(payload).received
    except Refused:
        return 1


@pytest.mark.parametrize("write", [as_text, spaced, escaped, cbor2.dumps])
@pytest.mark.parametrize("name", [*HONEST, *SLY])
def test_no_reading_weighs_less_than_its_part_of_a_batch(name: str, write: Any) -> None:
    payload = write((HONEST | SLY)[name])
    readings = readings_in(payload)
    assert weight(payload) >= READING * readings or (name, readings) == ("one", 1)


@pytest.mark.parametrize("write", [as_text, spaced, cbor2.dumps])
@pytest.mark.parametrize("name", HONEST)
def test_what_devices_send_weighs_no_more(name: str, write: Any) -> None:
    payload = write(HONEST[name])
    assert weight(payload) <= max(READING * (readings_in(payload) + 2), len(payload))


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b" ", b"[", b"{", b'{"columns"', b'{"columns":{"a":[1,', b"\xa1", b"\xbf\xff"),
        *(b"\xa1\x67columns", b"\xa1\x67columns\xa1\x61a\x9b" + b"\xff" * 8, b"\xd9\xd9\xf7"),
        b"\xa2\x64time\x9b" + b"\xff" * 8 + b"\x67columns",
    ],
)  # fmt: skip
def test_what_is_broken_off_weighs_something(payload: bytes) -> None:
    assert 0 <= weight(payload) <= READING * READINGS_LIMIT
