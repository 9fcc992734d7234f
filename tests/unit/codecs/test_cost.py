"""What a message costs grows with its size and no faster, so the limit of size is one of time.

There is no clock beside it: the codecs are ours. The shapes are the dearest that are known.
"""

import json as text
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import cbor2
import pytest

from ohmwatch.codecs import cbor, json
from ohmwatch.codecs.together import decode_together
from ohmwatch.readings import MESSAGE_BYTES_LIMIT
from ohmwatch.refusals import Refused

T = 1_795_420_800_000
GROWS = 4
"""Times as many parts, up to about the limit. Linear work costs as many times more, quadratic work
sixteen times."""
AT_MOST = 10
SHAPES: dict[str, tuple[int, Callable[[int], object]]] = {
    "columns of unknown names": (
        14_000,
        lambda n: {"start": T, "step_ms": 1, "columns": {f"x_{i}": [1] for i in range(n)}},
    ),
    "unknown fields": (14_000, lambda n: {"time": T} | {f"unknown{i}": 1 for i in range(n)}),
    "empty rows": (60_000, lambda n: {"readings": [{}] * n}),
    "times as text": (
        3_500,
        lambda n: {"readings": [{"time": "2026-11-23T08:00:00.123+08:00", "current_a": 1}] * n},
    ),
    "depth": (100_000, lambda n: {"a": "[" * n}),
}


def _cost(decode: Callable[[bytes], object], payload: bytes) -> float:
    """The least processor time of several tries, in s."""
    found = []
    for _ in range(5):
        began = time.process_time()
        with suppress(Refused):
            decode(payload)
        found.append(time.process_time() - began)
    return min(found)


def _as_json(document: object) -> bytes:
    return text.dumps(document).encode()


def _json_in_both_ways(payload: bytes) -> None:
    decode_together([payload])
    json.decode(payload)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("dump", "decode"), [(_as_json, _json_in_both_ways), (cbor2.dumps, cbor.decode)],
    ids=["json", "cbor"],
)  # fmt: skip
def test_four_times_as_much_costs_about_four_times_as_much(
    shape: str, dump: Callable[[object], bytes], decode: Callable[[bytes], object]
) -> None:
    parts, made = SHAPES[shape]
    large, small = dump(made(parts)), dump(made(parts // GROWS))
    assert len(large) <= MESSAGE_BYTES_LIMIT
    assert _cost(decode, large) <= AT_MOST * _cost(decode, small) + 1e-3


def test_names_that_come_again_and_again_cost_no_more() -> None:
    def repeated(times: int) -> bytes:
        return b"{" + b",".join([b'"a":1'] * times) + b"}"

    large, small = _cost(_json_in_both_ways, repeated(43_000)), repeated(43_000 // GROWS)
    assert large <= AT_MOST * _cost(_json_in_both_ways, small) + 1e-3


def test_names_that_are_as_many_as_rows_take_no_memory_for_each_pair() -> None:
    """A column for each name, as long as the message has rows, was a thousand times the message."""
    names = {f"x_{number}": 1 for number in range(14_000)}
    for document in (
        {"time": T, "readings": [{}] * 4_999 + [names]},
        {"time": T, "readings": [{}] * 5_000, **names},
        {"start": T, "step_ms": 1, "columns": {"current_a": [1] * 5_000}, **names},
    ):
        payload = _as_json(document)
        assert len(payload) <= MESSAGE_BYTES_LIMIT
        tracemalloc.start()
        try:
            with pytest.raises(Refused, match="wrong_shape"):
                json.decode(payload)
            assert tracemalloc.get_traced_memory()[1] < 40 * MESSAGE_BYTES_LIMIT
        finally:
            tracemalloc.stop()
