"""Many JSON messages at once: the same answers as one by one, several times faster.

What costs time in a small message is not its values but that arrays are made for it. So messages of
one form (the same fields in the same order) are laid side by side and checked as one table. Only
what is right in every way passes here. Where a table has a fault in it, it is halved until the
faulty messages stand alone, and those are decoded as a single message is: there the reasons are.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain, pairwise, repeat
from typing import Any

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
    tables: dict[_Form | tuple[str, ...], list[_Strip]] = {}
    for place, payload in enumerate(payloads):
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
        )
        for a, b in pairwise(ends)
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
    bounds = bounds_of(names)
    if ((matrix < bounds.low) | (matrix > bounds.high)).any():
        return False
    if bounds.whole:
        part = matrix[list(bounds.whole)]
        if (np.mod(part, 1, where=np.isfinite(part), out=np.zeros_like(part)) != 0).any():
            return False
    return not np.isnan(matrix).all(axis=0).any()
