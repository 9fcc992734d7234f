"""JSON from devices: three shapes, every reason, and nothing that escapes as another error."""

import json
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ohmwatch.codecs.json import Decoded, decode
from ohmwatch.readings import MESSAGE_BYTES_LIMIT, QUANTITIES, READINGS_LIMIT, Kind
from ohmwatch.refusals import Reason, Refused

T = 1_795_420_800_000


def said(document: Any) -> Decoded:
    return decode(json.dumps(document).encode())


def refusal(payload: Any) -> Refused:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    with pytest.raises(Refused) as caught:
        decode(raw)
    return caught.value


def row_reasons(decoded: Decoded) -> list[tuple[int, Reason, str]]:
    return [(one.row, one.reason, one.field) for one in decoded.refused]


# --- the shapes ---------------------------------------------------------------------------------


def test_one_reading() -> None:
    decoded = said({"time": T, "channel": 3, "current_a": 182.4, "interlock": True})
    assert decoded.columns.time_ms.tolist() == [T]
    assert decoded.columns.channel.tolist() == [3]
    assert {name: column.tolist() for name, column in decoded.columns.values.items()} == {
        "current_a": [182.4],
        "interlock": [1.0],
    }
    assert decoded.received == 1


def test_the_channel_is_0_if_left_out() -> None:
    assert said({"time": T, "current_a": 1}).columns.channel.tolist() == [0]


def test_rows_inherit_what_stands_outside_and_may_say_otherwise() -> None:
    rows = [{"time": T, "current_a": 1}, {"time": T + 1, "current_a": 2, "ambient_c": 30}]
    decoded = said({"channel": 1, "ambient_c": 20, "readings": rows})
    assert decoded.columns.channel.tolist() == [1, 1]
    assert decoded.columns.values["ambient_c"].tolist() == [20.0, 30.0]


def test_columns_with_start_and_step() -> None:
    columns = {"current_a": [182.4, 182.9, None], "temperature_pos_c": [61.2, 61.2, 61.3]}
    decoded = said({"start": T, "step_ms": 1000, "columns": columns})
    assert decoded.columns.time_ms.tolist() == [T, T + 1000, T + 2000]
    assert decoded.columns.values["current_a"].tolist()[:2] == [182.4, 182.9]
    assert math.isnan(decoded.columns.values["current_a"][2])


def test_columns_with_a_list_of_times() -> None:
    decoded = said({"time": [T, T + 7], "columns": {"current_a": [1, 2]}})
    assert decoded.columns.time_ms.tolist() == [T, T + 7]


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("2026-11-23T08:00:00Z", T),
        ("2026-11-23T09:00:00+01:00", T),
        ("2026-11-23t08:00:00.1239z", T + 123),
    ],
)
def test_times_as_rfc_3339(text: str, time_ms: int) -> None:
    assert said({"time": text, "current_a": 1}).columns.time_ms.tolist() == [time_ms]


def test_own_quantities_are_taken() -> None:
    assert said({"time": T, "x_torque": 3.5}).columns.values["x_torque"].tolist() == [3.5]


def test_unknown_fields_are_counted_and_harmless() -> None:
    rows = [{"time": T, "current_a": 1, "gps": {"lat": 1}}, {"time": T + 1, "current_a": 1}]
    decoded = said({"readings": rows, "x_Upper": 1})
    assert len(decoded.columns) == 2
    assert decoded.unknown_fields == {"gps": 1, "x_Upper": 1}


def test_of_unknown_fields_without_end_the_first_are_counted() -> None:
    decoded = said({"time": T, "current_a": 1} | {f"unknown{n}": 1 for n in range(10_000)})
    assert len(decoded.columns) == 1
    assert list(decoded.unknown_fields) == [f"unknown{n}" for n in range(200)]


# --- whole messages refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "reason", "field"),
    [
        (b"", Reason.UNDECODABLE, ""),
        (b"rubbish", Reason.UNDECODABLE, ""),
        (b'{"time":1', Reason.UNDECODABLE, ""),
        (b"\xef\xbb\xbf{}", Reason.UNDECODABLE, ""),
        (b'{"time":1,"a":"\xff"}', Reason.UNDECODABLE, ""),
        (b'{"time":1,"a":"\\ud800"}', Reason.UNDECODABLE, ""),
        (b"[" * 100_000, Reason.UNDECODABLE, ""),
        (b'{"a":' * 40_000 + b"1" + b"}" * 40_000, Reason.UNDECODABLE, ""),
        (b'{"time":1,"current_a":1,"current_a":2}', Reason.UNDECODABLE, "current_a"),
        (b'{"time":"2026-11-23T08:00:00Z","time":2,"current_a":1}', Reason.UNDECODABLE, "time"),
        (b'{"time":1,"current_a":1,"u":{"k":1,"k":2}}', Reason.UNDECODABLE, "k"),
        (b'{"time":"a\\u003ab","current_a":1,"current_a":2}', Reason.UNDECODABLE, "current_a"),
        (b"[]", Reason.WRONG_SHAPE, ""),
        (b"17", Reason.WRONG_SHAPE, ""),
        ({"readings": []}, Reason.WRONG_SHAPE, "readings"),
        ({"readings": {"time": T}}, Reason.WRONG_SHAPE, "readings"),
        ({"start": T, "step_ms": 1, "columns": []}, Reason.WRONG_SHAPE, "columns"),
        ({"start": T, "step_ms": 1, "columns": {}}, Reason.WRONG_SHAPE, "columns"),
        ({"start": T, "step_ms": 1, "columns": {"current_a": 1}}, Reason.WRONG_SHAPE, "current_a"),
        ({"start": T, "step_ms": 1, "columns": {"current_a": []}}, Reason.WRONG_SHAPE, ""),
        (
            {"start": T, "step_ms": 1, "columns": {"current_a": [1], "voltage_v": [1, 2]}},
            Reason.WRONG_SHAPE,
            "columns",
        ),
        ({"time": [T], "columns": {"current_a": [1, 2]}}, Reason.WRONG_SHAPE, "time"),
        ({"columns": {"current_a": [1]}}, Reason.TIME_MISSING, "time"),
        (
            {"start": "now", "step_ms": 1, "columns": {"current_a": [1]}},
            Reason.TIME_INVALID,
            "start",
        ),
        ({"start": T, "step_ms": 0, "columns": {"current_a": [1]}}, Reason.TIME_INVALID, "step_ms"),
        ({"start": T, "columns": {"current_a": [1]}}, Reason.TIME_INVALID, "step_ms"),
        (
            {"time": T, **{f"x_{n}": 1 for n in range(17)}},
            Reason.WRONG_SHAPE,
            "x_",
        ),
    ],
)
def test_whole_messages_are_refused(payload: Any, reason: Reason, field: str) -> None:
    refused = refusal(payload)
    assert (refused.reason, refused.field) == (reason, field)


def test_limits_of_a_message() -> None:
    assert refusal(b" " * (MESSAGE_BYTES_LIMIT + 1)).reason is Reason.TOO_LARGE
    many = {"start": T, "step_ms": 1, "columns": {"current_a": [1] * (READINGS_LIMIT + 1)}}
    assert refusal(many).reason is Reason.TOO_MANY_READINGS
    many["columns"] = {"current_a": [1] * READINGS_LIMIT}
    assert len(said(many).columns) == READINGS_LIMIT


# --- single readings refused --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "reason", "field"),
    [
        ({"current_a": 1}, Reason.TIME_MISSING, "time"),
        ({"time": None, "current_a": 1}, Reason.TIME_MISSING, "time"),
        ({"time": "yesterday", "current_a": 1}, Reason.TIME_INVALID, "time"),
        ({"time": "2026-11-23T08:00:00", "current_a": 1}, Reason.TIME_INVALID, "time"),
        ({"time": "2026-13-23T08:00:00Z", "current_a": 1}, Reason.TIME_INVALID, "time"),
        ({"time": 1.5, "current_a": 1}, Reason.TIME_INVALID, "time"),
        ({"time": True, "current_a": 1}, Reason.TIME_INVALID, "time"),
        ({"time": 10**30, "current_a": 1}, Reason.TIME_INVALID, "time"),
        ({"time": T}, Reason.NO_QUANTITY, ""),
        ({"time": T, "current_a": None}, Reason.NO_QUANTITY, ""),
        ({"time": T, "nonsense": 1}, Reason.NO_QUANTITY, ""),
        ({"time": T, "current_a": "1"}, Reason.WRONG_TYPE, "current_a"),
        ({"time": T, "current_a": True}, Reason.WRONG_TYPE, "current_a"),
        ({"time": T, "current_a": [1]}, Reason.WRONG_TYPE, "current_a"),
        ({"time": T, "interlock": 0.5}, Reason.WRONG_TYPE, "interlock"),
        ({"time": T, "mating_cycles": 1.5}, Reason.WRONG_TYPE, "mating_cycles"),
        ({"time": T, "channel": "0", "current_a": 1}, Reason.WRONG_TYPE, "channel"),
        ({"time": T, "channel": 1.0, "current_a": 1}, Reason.WRONG_TYPE, "channel"),
        ({"time": T, "channel": 64, "current_a": 1}, Reason.OUT_OF_RANGE, "channel"),
        ({"time": T, "channel": -1, "current_a": 1}, Reason.OUT_OF_RANGE, "channel"),
        ({"time": T, "interlock": 2}, Reason.OUT_OF_RANGE, "interlock"),
        ({"time": T, "current_a": 10**400}, Reason.OUT_OF_RANGE, "current_a"),
        ({"time": T, "x_own": math.inf}, Reason.OUT_OF_RANGE, "x_own"),
        (17, Reason.WRONG_SHAPE, ""),
    ],
)
def test_a_bad_reading_is_refused_and_the_good_ones_are_kept(
    row: Any, reason: Reason, field: str
) -> None:
    good = {"time": T + 5, "current_a": 7}
    decoded = said({"readings": [good, row, {**good, "time": T + 6}]})
    assert row_reasons(decoded) == [(1, reason, field)]
    assert decoded.rows.tolist() == [0, 2]
    assert decoded.columns.time_ms.tolist() == [T + 5, T + 6]
    assert decoded.received == 3


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "9" * 5000])
def test_what_no_double_holds_is_out_of_range(number: str) -> None:
    payload = f'{{"start":{T},"step_ms":1,"columns":{{"current_a":[1,{number},3]}}}}'.encode()
    decoded = decode(payload)
    assert row_reasons(decoded) == [(1, Reason.OUT_OF_RANGE, "current_a")]
    assert decoded.columns.values["current_a"].tolist() == [1.0, 3.0]


@pytest.mark.parametrize("name", QUANTITIES)
def test_the_bounds_of_each_quantity(name: str) -> None:
    quantity = QUANTITIES[name]
    step = 1 if quantity.kind is not Kind.NUMBER else 0.001
    inside = said({"readings": [{"time": T, name: v} for v in (quantity.low, quantity.high)]})
    assert inside.refused == []
    outside = [quantity.low - step, quantity.high + step]
    decoded = said({"readings": [{"time": T, name: value} for value in outside]})
    assert row_reasons(decoded) == [(n, Reason.OUT_OF_RANGE, name) for n in (0, 1)]


# --- properties ---------------------------------------------------------------------------------

_names = st.sampled_from([*QUANTITIES, "x_own", "time", "channel", "readings", "columns", "start"])
_odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(_names | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=25,
)


def outcome(payload: bytes) -> Decoded | Refused:
    """Whatever comes, it is one of the two."""
    try:
        return decode(payload)
    except Refused as refused:
        return refused


@given(_odd)
@example({"readings": [{}]})
@example({"columns": {"current_a": [[]]}, "time": [{}]})
@example({"columns": {"time": [1]}, "time": [1]})
def test_nothing_but_refused_escapes_whatever_the_document(document: Any) -> None:
    decoded = outcome(json.dumps(document).encode(errors="surrogatepass"))
    if isinstance(decoded, Decoded):
        assert len(decoded.rows) + len(decoded.refused) == decoded.received > 0
        for name, column in decoded.columns.values.items():
            assert len(column) == len(decoded.rows), name


@given(st.binary(max_size=200))
def test_nothing_but_refused_escapes_whatever_the_bytes(payload: bytes) -> None:
    outcome(payload)


@given(st.lists(st.floats(-2000, 2000), min_size=1, max_size=50), st.integers(1, 10_000))
def test_a_number_comes_out_as_it_went_in(currents: list[float], step_ms: int) -> None:
    decoded = said({"start": T, "step_ms": step_ms, "columns": {"current_a": currents}})
    assert decoded.columns.values["current_a"].tolist() == currents


@pytest.mark.parametrize(
    "hostile",
    [
        lambda: b'{"a":1,' * 30_000,
        lambda: b'{"readings":[' + b"{}," * 4_999 + b"{}]}",
        lambda: b'{"time":' + b"9" * 200_000 + b"}",
        lambda: b'{"time":1,"u":[' + b"0," * 120_000 + b"0]}",
        lambda: json.dumps({f"x_{n}": n for n in range(15_000)}).encode(),
    ],
)
def test_hostile_messages_cost_little(hostile: Callable[[], bytes]) -> None:
    payload = hostile()
    began = time.process_time()
    outcome(payload)
    assert time.process_time() - began < 0.5
