"""Many JSON messages at once: the same answers as one by one, several times faster.

What costs time in a small message is not its values but that arrays are made for it. So messages of
one form (the same fields in the same order) are laid side by side and checked as one table. Only
what is right in every way passes here. Where a table has a fault in it, it is halved until the
faulty messages stand alone, and those are decoded as a single message is: there the reasons are.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain, pairwise, repeat
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ohmwatch.codecs.json import (
    STEP_LIMIT_MS,
    YEAR_1_MS,
    YEAR_9999_MS,
    Decoded,
    bounds_of,
    decode,
    parse,
)
from ohmwatch.readings import (
    CHANNELS,
    MESSAGE_BYTES_LIMIT,
    OWN_QUANTITIES_LIMIT,
    READINGS_LIMIT,
    Columns,
    Kind,
    Sheet,
    quantity_of,
)
from ohmwatch.refusals import Refused

_NUMBERS: frozenset[type] = frozenset((float, int, type(None)))
_STATES: frozenset[type] = _NUMBERS | {bool}
_WHOLE: frozenset[type] = frozenset((int,))
_EVERY_ROW = np.arange(READINGS_LIMIT)
_EVERY_ROW.setflags(write=False)


def decode_together(payloads: Sequence[bytes]) -> list[Decoded | Refused]:
    """For each message what `decode` returns or raises."""
    answers: list[Decoded | Refused | None] = [None] * len(payloads)
    for place, decoded in _batches_by_rows(payloads):
        answers[place] = decoded
    tables: dict[_Form | tuple[str, ...], list[_Strip]] = {}
    for place, payload in enumerate(payloads):
        if answers[place] is not None:
            continue
        strip = _strip(place, payload)
        if strip is None:
            answers[place] = _alone(payload)
        else:
            tables.setdefault(strip.form, []).append(strip)
    for strips in tables.values():
        _check(strips, answers, payloads)
    return [
        answer if answer is not None else _alone(payloads[n]) for n, answer in enumerate(answers)
    ]


def _alone(payload: bytes) -> Decoded | Refused:
    try:
        return decode(payload)
    except Refused as refused:
        return refused.as_answer()


# --- one message's place in a table -----------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Form:
    """Where in a reading's fields time, channel (-1: nowhere) and quantities stand. There is one
    object for each order of fields."""

    time: int
    channel: int
    names: tuple[str, ...]
    quantities: tuple[int, ...]


@dataclass(slots=True)
class _Rows:
    """A message as rows of raw JSON values, none of them looked at yet."""

    place: int
    form: _Form
    rows: Sequence[tuple[Any, ...]]
    channel: Any

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def has_one_channel(self) -> bool:
        return self.form.channel < 0


@dataclass(slots=True)
class _Columns:
    """The same by columns; the form is the columns' names."""

    place: int
    form: tuple[str, ...]
    times: Sequence[Any]
    columns: Sequence[list[Any]]
    channel: Any

    @property
    def count(self) -> int:
        return len(self.times)

    @property
    def has_one_channel(self) -> bool:
        return True


_Strip = _Rows | _Columns


def _strip(place: int, payload: bytes) -> _Strip | None:
    """None for what isn't of a plain form; `decode` says then what it is."""
    if len(payload) > MESSAGE_BYTES_LIMIT:
        return None
    try:
        document = parse(payload)
    except Refused:
        return None
    if type(document) is not dict:
        return None
    if "columns" in document:
        return _by_columns(place, document)
    if "readings" in document:
        return _by_rows(place, document)
    form = _form_of(tuple(document))
    return _Rows(place, form, (tuple(document.values()),), 0) if form else None


def _by_rows(place: int, document: dict[str, Any]) -> _Strip | None:
    rows = document["readings"]
    if type(rows) is not list or not 0 < len(rows) <= READINGS_LIMIT:
        return None
    if not document.keys() <= {"channel", "readings"} or set(map(type, rows)) != {dict}:
        return None
    fields = set(map(tuple, rows))
    form = _form_of(fields.pop()) if len(fields) == 1 else None
    if form is None:
        return None
    return _Rows(place, form, [tuple(row.values()) for row in rows], document.get("channel", 0))


_NAMES_LENGTH = 2_000
"""Characters of all field names that a plain message may have: twice what the longest needs."""


def _are_short(names: tuple[str, ...]) -> bool:
    """What is remembered by names must not be a way to fill the memory."""
    return sum(map(len, names)) <= _NAMES_LENGTH


def _form_of(fields: tuple[str, ...]) -> _Form | None:
    return _form(fields) if _are_short(fields) else None


@lru_cache(maxsize=1024)
def _form(fields: tuple[str, ...]) -> _Form | None:
    """None where a field is unknown, or time or any quantity is missing."""
    quantities = tuple(n for n, name in enumerate(fields) if quantity_of(name) is not None)
    names = tuple(fields[n] for n in quantities)
    others = set(fields) - set(names)
    if "time" not in others or not others <= {"time", "channel"} or not _are_few(names):
        return None
    channel = fields.index("channel") if "channel" in others else -1
    return _Form(fields.index("time"), channel, names, quantities)


def _by_columns(place: int, document: dict[str, Any]) -> _Strip | None:
    columns = document["columns"]
    if type(columns) is not dict or not document.keys() <= _AROUND_COLUMNS:
        return None
    names = tuple(columns)
    if not _are_short(names) or not _are_quantities(names):
        return None
    if set(map(type, columns.values())) != {list}:
        return None
    lengths = set(map(len, columns.values()))
    count = lengths.pop()
    if lengths or not 0 < count <= READINGS_LIMIT:
        return None
    times = _times(document, count)
    if times is None:
        return None
    return _Columns(place, names, times, list(columns.values()), document.get("channel", 0))


_AROUND_COLUMNS = frozenset(("channel", "columns", "start", "step_ms", "time"))


def _times(document: dict[str, Any], count: int) -> Sequence[Any] | None:
    start, step = document.get("start"), document.get("step_ms")
    if type(start) is int and type(step) is int and "time" not in document:
        if YEAR_1_MS <= start <= YEAR_9999_MS and 1 <= step <= STEP_LIMIT_MS:
            return range(start, start + count * step, step)
        return None
    times = document.get("time")
    if type(times) is list and len(times) == count and start is None and step is None:
        return times
    return None


@lru_cache(maxsize=1024)
def _are_quantities(names: tuple[str, ...]) -> bool:
    return bool(names) and all(quantity_of(name) for name in names) and _are_few(names)


def _are_few(names: tuple[str, ...]) -> bool:
    return bool(names) and sum(name.startswith("x_") for name in names) <= OWN_QUANTITIES_LIMIT


# --- tables to columns ------------------------------------------------------------------------


def _check(
    strips: Sequence[_Strip], answers: list[Decoded | Refused | None], payloads: Sequence[bytes]
) -> None:
    """Answer for all strips if nothing is wrong with any, else look at each half by itself."""
    columns = _table(strips)
    if columns is not None:
        for strip, decoded in zip(strips, _parted(columns, strips), strict=True):
            answers[strip.place] = decoded
    elif len(strips) > 1:
        half = len(strips) // 2
        _check(strips[:half], answers, payloads)
        _check(strips[half:], answers, payloads)
    else:
        answers[strips[0].place] = _alone(payloads[strips[0].place])


def _parted(columns: Columns, strips: Sequence[_Strip]) -> list[Decoded]:
    assert isinstance(columns.values, Sheet)
    times, channels = columns.time_ms, columns.channel
    names, matrix = columns.values.names, columns.values.matrix
    none_unknown: Counter[str] = Counter()  # one for all: making them takes longer than decoding
    ends = accumulate((strip.count for strip in strips), initial=0)
    return [
        Decoded(
            Columns(times[a:b], channels[a:b], Sheet(names, matrix[:, a:b])),
            _EVERY_ROW[: b - a],
            [],
            none_unknown,
            None,
            strip.channel if strip.has_one_channel else None,
        )
        for strip, (a, b) in zip(strips, pairwise(ends), strict=True)
    ]


def _table(strips: Sequence[_Strip]) -> Columns | None:
    """All strips' readings, side by side; None where anything is wrong with any of them."""
    names, times, channels, columns = _laid_out(strips)
    if set(map(type, times)) != _WHOLE or set(map(type, channels)) != _WHOLE:
        return None
    if min(times) < YEAR_1_MS or max(times) > YEAR_9999_MS:
        return None
    if min(channels) < 0 or max(channels) >= CHANNELS:
        return None
    matrix = _matrix(names, columns)
    if matrix is None:
        return None
    return Columns(
        np.array(times, dtype=np.int64), np.array(channels, dtype=np.int16), Sheet(names, matrix)
    )


_Laid = tuple[tuple[str, ...], Sequence[Any], Sequence[Any], Sequence[Sequence[Any]]]
"""Names, times, channels, and a column for each name; all of one length but the names."""


def _laid_out(strips: Sequence[_Strip]) -> _Laid:
    """Raw values of strips of one form."""
    by_rows = [strip for strip in strips if isinstance(strip, _Rows)]
    if by_rows:
        return _laid_rows(by_rows[0].form, by_rows)
    by_columns = [strip for strip in strips if isinstance(strip, _Columns)]
    names = by_columns[0].form
    times = list(chain.from_iterable(strip.times for strip in by_columns))
    columns = [
        list(chain.from_iterable(strip.columns[n] for strip in by_columns))
        for n in range(len(names))
    ]
    return names, times, _channels(by_columns), columns


def _laid_rows(form: _Form, strips: Sequence[_Rows]) -> _Laid:
    columns = list(zip(*chain.from_iterable(strip.rows for strip in strips), strict=True))
    channels = _channels(strips) if form.channel < 0 else columns[form.channel]
    return form.names, columns[form.time], channels, [columns[n] for n in form.quantities]


def _channels(strips: Sequence[_Strip]) -> list[Any]:
    return list(chain.from_iterable(repeat(strip.channel, strip.count) for strip in strips))


def _matrix(names: tuple[str, ...], columns: Sequence[Sequence[Any]]) -> NDArray[np.float64] | None:
    for allowed, column in zip(_types_of(names), columns, strict=True):
        if not set(map(type, column)) <= allowed:
            return None
    try:
        matrix = np.array(columns, dtype=np.float64)
    except OverflowError:
        return None
    return matrix if _is_believed(names, matrix) else None


@lru_cache(maxsize=1024)
def _types_of(names: tuple[str, ...]) -> tuple[frozenset[type], ...]:
    quantities = [quantity for name in names if (quantity := quantity_of(name))]
    return tuple(_STATES if each.kind is Kind.STATE else _NUMBERS for each in quantities)


def _is_believed(names: tuple[str, ...], matrix: NDArray[np.float64]) -> bool:
    """Every value in its range, whole where it has to be, and no reading without any."""
    return bool(_believed(names, matrix).all())


def _believed(names: tuple[str, ...], matrix: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which readings (bool[n]) are right in all of that."""
    bounds = bounds_of(names)
    wrong = (matrix < bounds.low) | (matrix > bounds.high)
    believed = np.logical_not(wrong.any(axis=0) | np.isnan(matrix).all(axis=0))
    if bounds.whole:
        part = matrix[list(bounds.whole)]
        rest = np.mod(part, 1, where=np.isfinite(part), out=np.zeros_like(part))
        believed = np.logical_and(believed, np.logical_not((rest != 0).any(axis=0)))
    return np.asarray(believed, dtype=np.bool_)


# --- single readings straight to a table ------------------------------------------------------

TABLE_LEAST = 16
"""Messages of one form below which a table takes longer than it saves."""
_SINGLE_BYTES = 2_000
"""More than a single reading with all quantities takes; batches are not looked at."""
_FORMS_TRIED = 4
"""Forms looked for among messages of as many fields: a fleet has few, and an attacker many."""


@dataclass(frozen=True)
class Table:
    """Messages of one reading each, side by side: `places[i]` says which message row i is."""

    places: list[int]
    columns: Columns
    texts: list[bytes] | None = None
    """As those of `Decoded`."""


def tables_of_singles(payloads: Sequence[bytes]) -> list[Table]:
    """The messages that are one right reading of a form that many have, by form.

    What is in no table is for `decode_together`. A table says what that would have said, without
    an object for any message: the parser knows the form, and checks names and types as it reads.
    """
    alike: dict[int, list[int]] = {}
    for place, payload in enumerate(payloads):
        if len(payload) <= _SINGLE_BYTES and payload.startswith(b"{"):
            alike.setdefault(payload.count(b":"), []).append(place)
    return [
        table for fields, places in alike.items() for table in _tables_of(fields, places, payloads)
    ]


def _tables_of(fields: int, places: list[int], payloads: Sequence[bytes]) -> Iterator[Table]:
    """Tables of messages with so many colons: each is a form of as many fields, or none."""
    for _ in range(_FORMS_TRIED):
        if len(places) < TABLE_LEAST:
            return
        reader = _reader_of(payloads[places[0]])
        if reader is None or reader.fields != fields:
            places = places[1:]
            continue
        read, mine, others = _read(reader, places, payloads)
        if (
            len(mine) >= TABLE_LEAST
            and (table := _table_of(reader, mine, read, payloads)) is not None
        ):
            yield table
        places = others


@dataclass(frozen=True, eq=False)
class _Reader:
    """A parser for single readings of one form. With every field required, none unknown and as
    many colons as fields, no key can occur twice."""

    fields: int
    names: tuple[str, ...]
    has_channel: bool
    one: msgspec.json.Decoder[Any]
    many: msgspec.json.Decoder[list[Any]]


def _reader_of(payload: bytes) -> _Reader | None:
    """The reader for messages like this one; None where it is no plain single reading."""
    strip = _strip(0, payload)
    if strip is None or not isinstance(strip.form, _Form) or strip.count != 1:
        return None
    has_channel = strip.form.channel >= 0
    if payload.count(b":") != len(strip.form.names) + 1 + has_channel:
        return None
    return _reader(strip.form.names, has_channel)


@lru_cache(maxsize=64)
def _reader(names: tuple[str, ...], has_channel: bool) -> _Reader:
    form = _reading(names, has_channel)
    return _Reader(
        fields=1 + has_channel + len(names),
        names=names,
        has_channel=has_channel,
        one=msgspec.json.Decoder(form),
        many=msgspec.json.Decoder(list[form]),  # type: ignore[valid-type]
    )


def _reading(names: tuple[str, ...], has_channel: bool) -> type[msgspec.Struct]:
    """A reading of these quantities, with a field for each and no other."""
    quantities: list[tuple[str, Any]] = [
        (name, float | bool | None if allowed is _STATES else float | None)
        for name, allowed in zip(names, _types_of(names), strict=True)
    ]
    whole: list[tuple[str, Any]] = [("time", int), *([("channel", int)] if has_channel else [])]
    return msgspec.defstruct("Reading", whole + quantities, forbid_unknown_fields=True, gc=False)


def _read(
    reader: _Reader, places: list[int], payloads: Sequence[bytes]
) -> tuple[list[Any], list[int], list[int]]:
    """The readings of this form, which messages they are, and the others.

    Read as one list: each message begins with a brace and a reading has no braces inside, so a
    comma between messages can't be one within a reading, and as many readings as messages are one
    for each.
    """
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        read = reader.many.decode(b"[" + b",".join([payloads[p] for p in places]) + b"]")
        if len(read) == len(places):
            return read, places, []
    return _read_each(reader, places, payloads)


def _read_each(
    reader: _Reader, places: list[int], payloads: Sequence[bytes]
) -> tuple[list[Any], list[int], list[int]]:
    read: list[Any] = []
    mine: list[int] = []
    others: list[int] = []
    for place in places:
        try:
            read.append(reader.one.decode(payloads[place]))
            mine.append(place)
        except (msgspec.DecodeError, UnicodeDecodeError):
            others.append(place)
    return read, mine, others


def _table_of(
    reader: _Reader, places: list[int], read: list[Any], payloads: Sequence[bytes]
) -> Table | None:
    """The right ones of these readings; None where there are none, or a number is too large."""
    try:
        matrix = _matrix_of(read)
    except OverflowError:
        return None
    channels = matrix[1] if reader.has_channel else np.zeros(len(read))
    times, values = matrix[0], matrix[1 + reader.has_channel :]
    right = _believed(reader.names, values) & _are_times(times)
    right &= (channels >= 0) & (channels < CHANNELS)
    if not right.any():
        return None
    if not right.all():
        places = [place for place, is_right in zip(places, right.tolist(), strict=True) if is_right]
        times, channels, values = times[right], channels[right], values[:, right]
    columns = Columns(
        times.astype(np.int64), channels.astype(np.int16), Sheet(reader.names, values)
    )
    texts = _texts_of_singles([payloads[place] for place in places], reader.has_channel)
    return Table(places, columns, texts)


def _matrix_of(read: Sequence[Any]) -> NDArray[np.float64]:
    """Fields of structs of one form as float64[fields, structs], NaN where there is none.

    Times are whole and below 2^53, or none that are believed. Raises OverflowError.
    """
    rows = list(map(msgspec.structs.astuple, read))
    count = len(rows) * len(rows[0])
    try:
        flat = np.fromiter(chain.from_iterable(rows), np.float64, count)
    except TypeError:  # a null; looking for it takes as long as meeting it
        flat = np.array(list(chain.from_iterable(rows)), dtype=np.float64)
    return np.ascontiguousarray(flat.reshape(len(rows), -1).T)


def _are_times(times: NDArray[np.float64]) -> NDArray[np.bool_]:
    believed = (times >= YEAR_1_MS) & (times <= YEAR_9999_MS)
    return np.asarray(believed, dtype=np.bool_)


_TIME = b'"time":'
_HEADS = (re.compile(rb"\{"), re.compile(rb'\{"channel":\d+,'))
"""What stands before the time: all that is no quantity."""


def _texts_of_singles(payloads: Sequence[bytes], has_channel: bool) -> list[bytes] | None:
    """Of each its time and quantities, as they came; None where they can't stay so."""
    cut = [payload.partition(_TIME) for payload in payloads]
    is_head = _HEADS[has_channel].fullmatch
    if not all(map(is_head, {head for head, _time, _rest in cut})):
        return None
    rests = [rest for _head, _time, rest in cut]
    return [rest[:-1] for rest in rests] if _are_plain(b"".join(rests), rests) else None


def _are_plain(read: bytes, texts: Sequence[bytes]) -> bool:
    """Whether JSON that has been read as readings of a form can stand in a line of a document as
    it is: numbers and nulls without blanks, and none that is longer than a parser may care for."""
    for odd in _ODD:
        if odd in read:
            return False
    return max(map(len, texts)) <= _TEXT_BYTES


_ODD = (b" ", b"\n", b"\r", b"\t", b"\\", b"true", b"false")
_TEXT_BYTES = 900


# --- batches by rows --------------------------------------------------------------------------


def _batches_by_rows(payloads: Sequence[bytes]) -> Iterator[tuple[int, Decoded]]:
    """The messages by rows in which all is right, each with its place, as `decode` reads them.

    Of one form with all that begin alike, because the parser then checks names and types.
    """
    alike: dict[_Reader, list[tuple[int, Any]]] = {}
    for place, payload in enumerate(payloads):
        reader = _rows_reader_of(payload)
        if reader is None:
            continue
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            read = reader.one.decode(payload)
            keys = len(read.readings) * reader.fields + 1 + reader.has_channel
            if payload.count(b":") == keys:  # with each once, none unknown: none of them twice
                alike.setdefault(reader, []).append((place, read))
    for reader, batches in alike.items():
        yield from _right_batches(reader, batches, payloads)


def _rows_reader_of(payload: bytes) -> _Reader | None:
    """The reader for messages that begin like this one; None where it seems to be no plain one."""
    begin = payload.find(_ROWS, 0, _ROWS_AT) + len(_ROWS)
    end = payload.find(b"}", begin)
    if begin < len(_ROWS) or not 0 < end - begin < _ROW_BYTES or len(payload) > MESSAGE_BYTES_LIMIT:
        return None
    fields = tuple(payload[begin:end].split(b'"')[1::2])
    has_channel = payload.find(b'"channel":', 0, begin) >= 0 or payload.endswith(_DIGITS)
    return _rows_reader(fields, has_channel)


_ROWS = b'"readings":[{'
_ROWS_AT, _ROW_BYTES = 64, 2_000
"""Where a batch's rows begin at the latest, and what a reading with all quantities doesn't take."""
_DIGITS = tuple(b"%d}" % digit for digit in range(10))


@lru_cache(maxsize=256)
def _rows_reader(fields: tuple[bytes, ...], has_channel: bool) -> _Reader | None:
    """None where a field is unknown, twice there, or the channel of a row."""
    form = _form_of(tuple(field.decode(errors="replace") for field in fields))
    if form is None or form.channel >= 0 or len(set(fields)) < len(fields):
        return None
    row = _reading(form.names, has_channel=False)
    of_all: list[tuple[str, Any]] = [("channel", int)] if has_channel else []
    batch = msgspec.defstruct(
        "Batch",
        [*of_all, ("readings", list[row])],  # type: ignore[valid-type]
        forbid_unknown_fields=True,
        gc=False,
    )
    return _Reader(
        fields=1 + len(form.names),
        names=form.names,
        has_channel=has_channel,
        one=msgspec.json.Decoder(batch),
        many=msgspec.json.Decoder(list[batch]),  # type: ignore[valid-type]
    )


def _right_batches(
    reader: _Reader, batches: Sequence[tuple[int, Any]], payloads: Sequence[bytes]
) -> Iterator[tuple[int, Decoded]]:
    counts = [len(batch.readings) for _place, batch in batches]
    given = [batch.channel if reader.has_channel else 0 for _place, batch in batches]
    within = [channel if 0 <= channel < CHANNELS else 0 for channel in given]
    try:
        matrix = _matrix_of(list(chain.from_iterable(batch.readings for _place, batch in batches)))
    except (IndexError, OverflowError):  # no readings; a number beyond any double
        return
    right = _believed(reader.names, matrix[1:]) & _are_times(matrix[0])
    are_right = right.tolist()
    times = np.where(right, matrix[0], 0).astype(np.int64)
    channels = np.repeat(np.array(within, dtype=np.int16), counts)
    none_unknown: Counter[str] = Counter()  # one for all, as in `_parted`
    ends = pairwise(accumulate(counts, initial=0))
    for (place, _batch), channel, (a, b) in zip(batches, given, ends, strict=True):
        if 0 <= channel < CHANNELS and 0 < b - a <= READINGS_LIMIT and False not in are_right[a:b]:
            columns = Columns(times[a:b], channels[a:b], Sheet(reader.names, matrix[1:, a:b]))
            texts = _texts_of_rows(payloads[place], b - a)
            yield place, Decoded(columns, _EVERY_ROW[: b - a], [], none_unknown, texts, channel)


def _texts_of_rows(payload: bytes, count: int) -> list[bytes] | None:
    """Of each row its time and quantities, as they came; None where they can't stay so."""
    _head, _bracket, rows = payload.partition(b'[{"time":')
    rows, bracket, _tail = rows.rpartition(b"}]")
    texts = rows.split(b'},{"time":')
    return texts if bracket and len(texts) == count and _are_plain(rows, texts) else None
