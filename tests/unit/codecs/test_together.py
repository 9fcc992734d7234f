"""Messages decoded together are answered as if each had come alone."""

import gc
import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ohmwatch.codecs import together
from ohmwatch.codecs.json import Decoded, decode
from ohmwatch.codecs.together import TABLE_LEAST, decode_together, tables_of_singles
from ohmwatch.readings import MESSAGE_BYTES_LIMIT, READINGS_LIMIT, Columns
from ohmwatch.refusals import Reason, Refused
from tests.faults.rubbish import hostile

T = 1_795_420_800_000


def plain(answer: Decoded | Refused) -> Any:
    """An answer as values that compare; NaN as None."""
    if isinstance(answer, Refused):
        return (answer.reason, answer.field, answer.detail)
    columns = answer.columns
    return (
        columns.time_ms.tolist(),
        columns.channel.tolist(),
        {
            name: [None if np.isnan(value) else value for value in column.tolist()]
            for name, column in columns.values.items()
        },
        answer.rows.tolist(),
        answer.refused,
        answer.unknown_fields,
    )


def alone(payload: bytes) -> Any:
    try:
        return plain(decode(payload))
    except Refused as refused:
        return plain(refused)


def assert_the_same(payloads: Sequence[bytes]) -> int:
    """How many messages have their text kept."""
    answers = decode_together(payloads)
    assert list(map(plain, answers)) == [alone(payload) for payload in payloads]
    with_text = [one for one in answers if isinstance(one, Decoded) and one.texts is not None]
    for answer in with_text:
        assert_texts_say(answer.texts, answer.columns)
        assert answer.channel is None or set(answer.columns.channel.tolist()) == {answer.channel}
    return len(with_text)


def assert_texts_say(texts: Sequence[bytes] | None, columns: Columns) -> None:
    """Each text is a line that says just what its reading does, in numbers and nulls."""
    assert texts is not None
    assert len(texts) == len(columns)
    for row, text in enumerate(texts):
        said = json.loads(b'{"time":%b}' % text)
        assert b"\n" not in text
        assert {type(value) for value in said.values()} <= {int, float, type(None)}
        values = {n: c[row] for n, c in columns.values.items() if not np.isnan(c[row])}
        assert {n: v for n, v in said.items() if v is not None} == {
            "time": columns.time_ms[row],
            **values,
        }


def assert_tables_the_same(payloads: Sequence[bytes]) -> int:
    """Each row of each table is what its message is alone; how many messages are in one."""
    taken: list[int] = []
    for table in tables_of_singles(payloads):
        taken += table.places
        assert len(table.columns) == len(table.places)
        if table.texts is not None:
            assert_texts_say(table.texts, table.columns)
        for row, place in enumerate(table.places):
            one = decode(payloads[place])
            assert table.columns.time_ms[row : row + 1].tolist() == one.columns.time_ms.tolist()
            assert table.columns.channel[row : row + 1].tolist() == one.columns.channel.tolist()
            said = {n: c[row] for n, c in table.columns.values.items() if not np.isnan(c[row])}
            known = {n: c[0] for n, c in one.columns.values.items() if not np.isnan(c[0])}
            assert said == known
            assert not one.refused
            assert not one.unknown_fields
    assert len(taken) == len(set(taken))
    return len(taken)


NAMES = ("current_a", "ambient_c", "interlock", "mating_cycles", "x_own", "nonsense")
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(-300, 300),
    st.sampled_from([10**400, 5000, -61, "1", 1.5]),
)
TIMES = st.one_of(
    st.integers(T, T + 5),
    st.sampled_from([None, "2026-11-23T08:00:00Z", "yesterday", 1.5, True, 10**18]),
)
CHANNELS = st.sampled_from([0, 1, 63, 64, -1, True, 1.0, "0", None])


def readings(good: bool) -> st.SearchStrategy[dict[str, Any]]:
    values = st.integers(0, 1) if good else VALUES
    times = st.integers(T, T + 5) if good else TIMES
    fields = st.dictionaries(st.sampled_from(NAMES[: 4 if good else 6]), values, max_size=4)
    return st.builds(lambda time, more: {"time": time, **more}, times, fields)


def messages(good: bool) -> st.SearchStrategy[dict[str, Any]]:
    channel = st.fixed_dictionaries({}, optional={"channel": st.just(2) if good else CHANNELS})
    by_rows = st.builds(
        lambda more, rows: {**more, "readings": rows},
        channel,
        st.lists(readings(good), min_size=0 if not good else 1, max_size=4),
    )
    one = st.builds(lambda more, reading: {**more, **reading}, channel, readings(good))
    return st.one_of(one, by_rows, columns(good, channel))


def columns(
    good: bool, channel: st.SearchStrategy[dict[str, Any]]
) -> st.SearchStrategy[dict[str, Any]]:
    values = st.integers(0, 1) if good else VALUES
    lengths = st.just(3) if good else st.integers(0, 3)
    some = st.dictionaries(
        st.sampled_from(NAMES[:4]),
        lengths.flatmap(lambda n: st.lists(values, min_size=n, max_size=n)),
        max_size=3,
    )
    starts = st.fixed_dictionaries({"start": st.just(T), "step_ms": st.just(10)})
    odd = st.fixed_dictionaries(
        {},
        optional={
            "start": TIMES,
            "step_ms": st.sampled_from([0, 1, None, 1.0, 10**9]),
            "time": st.lists(TIMES, max_size=3),
        },
    )
    return st.builds(
        lambda more, at, table: {**more, **at, "columns": table},
        channel,
        starts if good else odd,
        some,
    )


def compact(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


PAYLOADS = st.lists(
    st.builds(
        lambda one, write: write(one),
        st.one_of(messages(good=True), messages(good=False)),
        st.sampled_from([compact, lambda one: json.dumps(one).encode()]),
    ),
    max_size=12,
)


@given(PAYLOADS)
def test_together_is_as_alone(payloads: list[bytes]) -> None:
    assert_the_same(payloads)


@given(st.lists(messages(good=True).map(compact), max_size=12))
def test_good_ones_too(payloads: list[bytes]) -> None:
    assert_the_same(payloads)


ROW = {"time": T, "current_a": 1.5, "ambient_c": None, "interlock": 1}


def by_rows(count: int = 2, **more: Any) -> bytes:
    rows = [{**ROW, "time": T + number, **more} for number in range(count)]
    return compact({"channel": 3, "readings": rows})


def test_batches_by_rows_keep_their_text_where_it_is_plain() -> None:
    assert assert_the_same([by_rows(), by_rows(1), compact({"readings": [ROW] * 3})]) == 3
    last = compact({"readings": [ROW], "channel": 3})
    assert assert_the_same([last, by_rows(x_own=1e-7), by_rows(current_a=-0.0)]) == 3
    assert assert_the_same([by_rows(interlock=True)]) == 0
    assert assert_the_same([by_rows().replace(b":", b" :"), by_rows() + b"\n"]) <= 1
    assert assert_the_same([compact({"readings": [{"current_a": 1, "time": T}]})]) == 0
    assert assert_the_same([b'{"readings":[{"time":%d,"x_a":0.%b1}]}' % (T, b"0" * 900)]) == 0


@pytest.mark.parametrize(
    "odd",
    [
        b'{"channel":3,"readings":[{"time":%d,"current_a":1,"current_a":2}]}' % T,
        b'{"channel":3,"channel":3,"readings":[{"time":%d,"current_a":1}]}' % T,
        b'{"channel":3,"readings":[{"time":%d,"current_a":1}],"readings":[]}' % T,
        b'{"channel":3,"readings":[{"time":%d,"current_a":1}]' % T,
        b'{"channel":3,"readings":[{"time":%d,"current_a":1}]}}' % T,
        b'{"channel":3,"readings":[{"time":%d,"current_a":1}],"more":1}' % T,
        b'{"channel":3,"readings":[{"time":%d,"curr\\u0065nt_a":1}]}' % T,
        b'{"channel":3,"readings":[{"time":%d,"current_a":1},{"time":%d}]}' % (T, T),
        b'{"channel":3,"readings":[{"time":%d,"current_a":1},7]}' % T,
        b'{"channel":64,"readings":[{"time":%d,"current_a":1}]}' % T,
        b'{"channel":true,"readings":[{"time":%d,"current_a":1}]}' % T,
        b'{"channel":1000000000000000000000000,"readings":[{"time":%d,"current_a":1}]}' % T,
        b'{"channel":3,"readings":[{"time":%d,"current_a":5000}]}' % T,
        b'{"channel":3,"readings":[{"time":%d,"current_a":%b}]}' % (T, b"9" * 330),
        b'{"channel":3,"readings":[{"time":1.0,"current_a":1}]}',
        b'{"channel":3,"readings":[{"time":99999999999999999999999,"current_a":1}]}',
        b'{"channel":3,"readings":[{"time":"2026-11-23T08:00:00Z","current_a":1}]}',
        b'{"channel":3,"readings":[]}',
        b'{"channel":3,"readings":[{"time":%d,"channel":1,"current_a":1}]}' % T,
        b'{"readings":[{"time":%d,"current_a":1}],"start":"1:2"}' % T,
    ],
)
def test_an_odd_batch_by_rows_is_answered_alone_and_keeps_no_text_from_others(odd: bytes) -> None:
    good = [compact({"channel": 3, "readings": [{"time": T + n, "current_a": n}]}) for n in (1, 2)]
    assert assert_the_same([good[0], odd, good[1]]) == 2


@given(st.lists(st.one_of(st.binary(max_size=30), st.just(b'{"time":1,"time":2}')), max_size=6))
def test_what_is_no_json_is_nobody_elses_trouble(rubbish: list[bytes]) -> None:
    good = json.dumps({"time": T, "current_a": 1}).encode()
    assert_the_same([good, *rubbish, good])


@pytest.mark.parametrize("place", [0, 3, 7])
def test_one_bad_message_is_named_and_the_others_pass(place: int) -> None:
    payloads = [json.dumps({"time": T + n, "current_a": n}).encode() for n in range(8)]
    payloads[place] = json.dumps({"time": T, "current_a": 5000}).encode()
    answers = decode_together(payloads)
    assert_the_same(payloads)
    bad = answers[place]
    assert isinstance(bad, Decoded)
    assert [one.reason for one in bad.refused] == [Reason.OUT_OF_RANGE]


def test_limits_hold_for_each_message() -> None:
    large = b" " * (MESSAGE_BYTES_LIMIT + 1)
    many = json.dumps({"start": T, "step_ms": 1, "columns": {"current_a": [1] * 5001}}).encode()
    most = json.dumps({"start": T, "step_ms": 1, "columns": {"current_a": [1] * 5000}}).encode()
    own = {f"x_{n}": 1 for n in range(17)}
    too_many_own = json.dumps({"time": T, **own}).encode()
    assert_the_same([large, many, most, most, too_many_own, too_many_own])
    assert READINGS_LIMIT == 5000


def test_the_rows_of_an_answer_cant_be_changed_for_others() -> None:
    (answer,) = decode_together([json.dumps({"time": T, "current_a": 1}).encode()])
    assert isinstance(answer, Decoded)
    with pytest.raises(ValueError, match="read-only"):
        answer.rows[0] = 7


def test_rubbish_leaves_nothing_behind() -> None:
    """Answers that hold the frames they came through would be cycles, with messages in them."""
    chance = random.Random(7)
    rubbish = [hostile(chance, T) for _ in range(300)]
    gc.collect()
    gc.disable()
    try:
        decode_together(rubbish)
        assert gc.collect() < len(rubbish)
    finally:
        gc.enable()


def test_names_that_no_message_needs_are_not_remembered() -> None:
    before = together._form.cache_info().currsize, together._are_quantities.cache_info().currsize
    long = [b'{"time":1,"%s":1}' % (b"n" * 3_000 + b"%d" % n) for n in range(5)]
    long += [b'{"time":[1],"columns":{"%s":[1]}}' % (b"n" * 3_000 + b"%d" % n) for n in range(5)]
    assert all(isinstance(answer, Refused | Decoded) for answer in decode_together(long))
    assert before == (
        together._form.cache_info().currsize,
        together._are_quantities.cache_info().currsize,
    )


# --- tables of single readings ----------------------------------------------------------------


def single(number: int, **more: Any) -> bytes:
    return compact({"channel": number % 64, "time": T + number, "current_a": 1.5, **more})


def enough(**more: Any) -> list[bytes]:
    return [single(number, **more) for number in range(TABLE_LEAST)]


FORMS = [
    {"current_a": 1, "interlock": True, "mating_cycles": 3},
    {"current_a": None, "ambient_c": 20.5, "x_own": 1e300},
    {"interlock": 1},
]
ODD = st.one_of(
    st.binary(max_size=40),
    messages(good=False).map(lambda one: json.dumps(one).encode()),
    st.sampled_from(
        [
            b'{"time":%d,"current_a":1,"current_a":2}' % T,
            b'{"channel":0,"time":%d,"current_a":1},{"channel":0,"time":1,"current_a":1}' % T,
            b'{"channel":0,"time":%d' % T,
            b'"current_a":1.5}',
            b'{"channel":0,"time":%d,"current_a":1}]' % T,
            b'{"channel":0,"time":%d,"curr\\u0065nt_a":1}' % T,
            b'{"channel":true,"time":%d,"current_a":1}' % T,
            b'{"channel":0,"time":1.0,"current_a":1}',
            b'{"channel":0,"time":%d,"current_a":"1"}' % T,
            b'{"channel":0,"time":%d,"current_a":5000}' % T,
            b'{"channel":64,"time":%d,"current_a":1}' % T,
            b'{"channel":0,"time":%d,"current_a":true}' % T,
            b'{"channel":0,"time":%d,"current_a":null}' % T,
            b'{"channel":0,"time":99999999999999999999,"current_a":1}',
            b' {"channel":0,"time":%d,"current_a":1}\n' % T,
        ]
    ),
)


@given(st.lists(st.tuples(st.integers(0, 40), ODD), max_size=12), st.permutations(FORMS))
def test_a_table_says_what_each_message_says(
    odd: list[tuple[int, bytes]], forms: list[dict[str, Any]]
) -> None:
    payloads = [
        compact({"time": T + number, **forms[0 if number % 3 else 1]})
        for number in range(4 * TABLE_LEAST)
    ]
    for place, payload in odd:
        payloads.insert(place, payload)
    assert_tables_the_same(payloads)


def test_good_messages_of_one_form_are_all_in_a_table() -> None:
    assert assert_tables_the_same(enough()) == TABLE_LEAST
    assert assert_tables_the_same(enough(interlock=True) + enough()) == 2 * TABLE_LEAST


def test_single_readings_keep_their_text_where_it_is_plain() -> None:
    def kept(payloads: list[bytes]) -> list[bool]:
        assert_tables_the_same(payloads)
        return [table.texts is not None for table in tables_of_singles(payloads)]

    assert kept(enough(interlock=None)) == [True]
    assert kept([payload.replace(b'"channel":0,', b"") for payload in [single(0)] * 20]) == [True]
    assert kept(enough(interlock=False)) == [False]
    assert kept([payload.replace(b",", b", ") for payload in enough()]) == [False]
    assert kept([payload + b"\n" for payload in enough()]) == [False]
    last = [b'{"time":%d,"current_a":1,"channel":1}' % T] * TABLE_LEAST
    assert kept(last) == [False]


def test_a_few_messages_are_no_table() -> None:
    assert assert_tables_the_same(enough()[1:]) == 0


@pytest.mark.parametrize(
    "bad",
    [
        b'{"channel":0,"time":%d,"current_a":1},{"channel":0,"time":%d,"current_a":1}' % (T, T),
        b'{"channel":0,"time":%d,"current_a":1,"current_a":1}' % T,
        b'{"channel":0,"time":%d,"current_a":5000}' % T,
        b'{"channel":0,"time":%d,"nonsense_a":1}' % T,
        b'{"channel":0,"time":%d,"current_a":1}' % T + b" " * MESSAGE_BYTES_LIMIT,
    ],
)
def test_what_is_not_right_is_in_no_table_and_keeps_nobody_out(bad: bytes) -> None:
    assert assert_tables_the_same([*enough(), bad, *enough()]) == 2 * TABLE_LEAST


def test_two_halves_of_a_reading_are_no_reading() -> None:
    """Side by side they would be: a message is read as what it is alone."""
    halves = [b'{"channel":0,"time":%d' % T, b'"current_a":1.5}']
    assert assert_tables_the_same([*enough(), *halves, *enough()]) == 2 * TABLE_LEAST
