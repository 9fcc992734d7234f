"""JSON as devices send it: one reading, a batch by rows, a batch by columns (RFC 8259, strictly).

What JSON leaves open is decided here: a key that occurs twice refuses the message, because one of
its two values would be lost unseen; `NaN`, `Infinity` and numbers beyond a double are read as
infinite, so that only their reading is refused, as out of range; nesting deeper than the parser
allows, a byte order mark and a lone surrogate are undecodable.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ohmwatch.instants import ms_of
from ohmwatch.readings import (
    CHANNELS,
    MESSAGE_BYTES_LIMIT,
    OWN_QUANTITIES_LIMIT,
    QUANTITIES,
    READINGS_LIMIT,
    Columns,
    Kind,
    Quantity,
    Sheet,
    quantity_of,
)
from ohmwatch.refusals import Reason, Refused, RowRefusal

YEAR_1_MS, YEAR_9999_MS = -62_135_596_800_000, 253_402_300_799_999
STEP_LIMIT_MS = 24 * 3600 * 1000
_FIELD_NAME_LIMIT = 64
_UNKNOWN_NAMES_LIMIT = 200
"""Of a message, that are counted: it may hold tens of thousands, and a batch many messages."""
_DIGITS_LIMIT = 400
"""An integer with more digits than this is beyond any double; Python would take long to read it."""

_PLAIN_TYPES = frozenset((float, int, type(None)))
_STATE_TYPES = _PLAIN_TYPES | {bool}
_fast_decoder = msgspec.json.Decoder()


@dataclass
class Decoded:
    """The good readings of a message, the refused ones, and the fields nobody knows.

    `rows`: int64[n], where each good reading stood in the message.
    `unknown_fields`: how often each unknown name occurred (names cut at 64 characters); to be read
    only, messages without any may share one.
    """

    columns: Columns
    rows: NDArray[np.int64]
    refused: list[RowRefusal] = field(default_factory=list)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    texts: Sequence[bytes] | None = None
    """Of each good reading its time and quantities as JSON, as they came: `1795420800000,
    "current_a":182.4,…`, numbers and nulls only. Known where that costs less than to write them."""
    channel: int | None = None
    """The one channel of all readings, where that is known without a look at each."""

    @property
    def received(self) -> int:
        """Readings in the message, good and bad."""
        return len(self.columns) + len(self.refused)


@dataclass
class _Table:
    """A message as columns of raw JSON values, all of one length."""

    count: int
    times: list[Any]
    channels: list[Any]
    quantities: dict[str, list[Any]] = field(default_factory=dict)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    refused: dict[int, RowRefusal] = field(default_factory=dict)

    def refuse(self, row: int, reason: Reason, name: str = "", detail: str = "") -> None:
        """The first reason that a row is refused for stands."""
        self.refused.setdefault(row, RowRefusal(row, reason, name, detail))

    def unknown(self, name: str) -> None:
        name = name[:_FIELD_NAME_LIMIT]
        if name in self.unknown_fields or len(self.unknown_fields) < _UNKNOWN_NAMES_LIMIT:
            self.unknown_fields[name] += 1


def decode(payload: bytes) -> Decoded:
    """Bytes to columns; raises `Refused` (and nothing else) for a message that is none."""
    if len(payload) > MESSAGE_BYTES_LIMIT:
        raise Refused(Reason.TOO_LARGE, detail=f"{len(payload)} bytes")
    return decoded_of(parse(payload))


def decoded_of(document: Any) -> Decoded:
    """One of the three shapes, as objects, to columns. Raises `Refused`.

    The document is used up. Values are what JSON has (dict with text keys, list, str, int, float,
    bool, None); any other object is refused where it stands. A number that is none (NaN) has to
    come as infinite, so that it is not taken for "no value".
    """
    if not isinstance(document, dict):
        raise Refused(Reason.WRONG_SHAPE, detail="not an object")
    if "columns" in document:
        table = _by_columns(document)
    elif "readings" in document:
        table = _by_rows(document)
    else:
        table = _rows([document], {})
    return _check(table)


# --- text to objects --------------------------------------------------------------------------


def parse(payload: bytes) -> Any:
    """Text to objects. Raises `Refused` where it is no JSON, or a key occurs twice."""
    try:
        document = _fast_decoder.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError):
        return _parse_carefully(payload)
    if b"\\" in payload:
        return _parse_carefully(payload)
    colons = payload.count(b":")
    if colons == _keys(document) or colons == _colons(document):
        return document
    return _parse_carefully(payload)


def _keys(document: Any) -> int:
    """How many keys a document of our shapes has: as many as it has colons, if no key occurs twice
    and no time is a text."""
    if type(document) is not dict:
        return 0
    count, columns, rows = len(document), document.get("columns"), document.get("readings")
    if type(columns) is dict:
        count += len(columns)
    if type(rows) is list:
        count += sum(len(row) for row in rows if type(row) is dict)
    return count


def _colons(document: Any) -> int:
    """How many colons it has then: one for each key and those in its RFC 3339 times. The fast
    parser keeps the last of two equal keys; a message with more colons than this is read again by
    the careful one, right or wrong."""
    if type(document) is not dict:
        return 0
    rows, times = document.get("readings"), document.get("time")
    count = _keys(document) + _colons_in_times((document.get("start"),))
    count += _colons_in_times(times if isinstance(times, list) else (times,))
    if isinstance(rows, list):
        count += _colons_in_times(row.get("time") for row in rows if isinstance(row, dict))
    return count


def _colons_in_times(times: Iterable[Any]) -> int:
    return sum(time.count(":") for time in times if type(time) is str)


def _parse_carefully(payload: bytes) -> Any:
    try:
        document = json.loads(
            payload.decode(),
            object_pairs_hook=_object,
            parse_constant=lambda _name: math.inf,
            parse_int=_integer,
        )
        if b"\\u" in payload:
            json.dumps(document, ensure_ascii=False).encode()  # a lone surrogate has no bytes
    except UnicodeError as error:
        raise Refused(Reason.UNDECODABLE, detail=f"not UTF-8: {error}"[:200]) from None
    except RecursionError:
        raise Refused(Reason.UNDECODABLE, detail="nested too deep") from None
    except ValueError as error:
        raise Refused(Reason.UNDECODABLE, detail=str(error)[:200]) from None
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        double = Counter(name for name, _ in pairs).most_common(1)[0][0]
        double = double.encode(errors="replace").decode()
        raise Refused(Reason.UNDECODABLE, double[:_FIELD_NAME_LIMIT], "a key occurs twice")
    return fields


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= _DIGITS_LIMIT else math.inf


# --- three shapes to one table ----------------------------------------------------------------


def _by_rows(document: dict[str, Any]) -> _Table:
    rows = document.pop("readings")
    if not isinstance(rows, list) or not rows:
        raise Refused(Reason.WRONG_SHAPE, "readings", "not a list of readings")
    return _rows(rows, document)


def _rows(rows: list[Any], outside: Mapping[str, Any]) -> _Table:
    """Readings one by one, with the fields that hold for each of them."""
    count = _counted(len(rows))
    table = _Table(count, [outside.get("time")] * count, [outside.get("channel", 0)] * count)
    for name, value in outside.items():
        if name not in ("time", "channel"):
            _fill(table, name, [value] * count)
    for number, row in enumerate(rows):
        if type(row) is dict:
            _put_row(table, number, row)
        else:
            table.refuse(number, Reason.WRONG_SHAPE, detail="a reading is an object")
    return table


def _put_row(table: _Table, number: int, row: dict[str, Any]) -> None:
    for name, value in row.items():
        if name == "time":
            table.times[number] = value
        elif name == "channel":
            table.channels[number] = value
        elif (column := table.quantities.get(name)) is not None:
            column[number] = value
        elif quantity_of(name) is not None:
            _fill(table, name, [None] * table.count)[number] = value
        else:
            table.unknown(name)


def _fill(table: _Table, name: str, column: list[Any]) -> list[Any]:
    if quantity_of(name) is None:
        table.unknown(name)
    else:
        table.quantities[name] = column
        if len(table.quantities) > _QUANTITIES_LIMIT:  # each is as long as the message has rows
            raise _too_many_own()
    return column


def _by_columns(document: dict[str, Any]) -> _Table:
    columns = document.pop("columns")
    if not isinstance(columns, dict) or not columns:
        raise Refused(Reason.WRONG_SHAPE, "columns", "not an object of columns")
    for name, column in columns.items():
        if not isinstance(column, list):
            raise Refused(Reason.WRONG_SHAPE, name[:_FIELD_NAME_LIMIT], "not a list")
    lengths = set(map(len, columns.values()))
    if len(lengths) != 1:
        raise Refused(Reason.WRONG_SHAPE, "columns", "columns of unequal length")
    count = _counted(lengths.pop())
    times = _times_of(document, count)
    table = _Table(count, times, [document.pop("channel", 0)] * count)
    for name, value in document.items():
        _fill(table, name, [value] * count)
    for name, column in columns.items():
        _fill(table, name, column)
    return table


def _times_of(document: dict[str, Any], count: int) -> list[Any]:
    """The instants of a batch by columns: a list, or `start` with `step_ms`."""
    times, start, step = (document.pop(name, None) for name in ("time", "start", "step_ms"))
    if times is not None:
        if not isinstance(times, list) or len(times) != count or start is not None:
            raise Refused(Reason.WRONG_SHAPE, "time", "not a list as long as the columns")
        return times
    if start is None:
        raise Refused(Reason.TIME_MISSING, "time")
    first = _time_ms(start)
    if first is None:
        raise Refused(Reason.TIME_INVALID, "start")
    if type(step) is not int or not 1 <= step <= STEP_LIMIT_MS:
        raise Refused(Reason.TIME_INVALID, "step_ms", "not a whole number of ms, 1 to a day")
    return list(range(first, first + count * step, step))


def _counted(count: int) -> int:
    if count > READINGS_LIMIT:
        raise Refused(Reason.TOO_MANY_READINGS, detail=f"{count} readings")
    if count == 0:
        raise Refused(Reason.WRONG_SHAPE, detail="no readings")
    return count


# --- one table to checked columns -------------------------------------------------------------


_QUANTITIES_LIMIT = len(QUANTITIES) + OWN_QUANTITIES_LIMIT


def _too_many_own() -> Refused:
    return Refused(Reason.WRONG_SHAPE, "x_", f"more than {OWN_QUANTITIES_LIMIT} own quantities")


def _check(table: _Table) -> Decoded:
    times = _check_times(table)
    channels = _check_channels(table)
    names = tuple(table.quantities)
    if sum(name.startswith("x_") for name in names) > OWN_QUANTITIES_LIMIT:
        raise _too_many_own()
    matrix = _check_quantities(table, names)
    rows = np.arange(table.count)
    if table.refused:
        rows = np.delete(rows, list(table.refused))
        times, channels, matrix = times[rows], channels[rows], matrix[:, rows]
    columns = Columns(times, channels, Sheet(names, matrix))
    refused = sorted(table.refused.values(), key=lambda refusal: refusal.row)
    return Decoded(columns, rows, refused, table.unknown_fields)


def _check_times(table: _Table) -> NDArray[np.int64]:
    if set(map(type, table.times)) != {int} or not (
        min(table.times) >= YEAR_1_MS and max(table.times) <= YEAR_9999_MS
    ):
        table.times = [_time_or_refusal(table, row, t) for row, t in enumerate(table.times)]
    return np.array(table.times, dtype=np.int64)


def _time_or_refusal(table: _Table, row: int, time: Any) -> int:
    if time is None:
        table.refuse(row, Reason.TIME_MISSING, "time")
        return 0
    time_ms = _time_ms(time)
    if time_ms is None:
        table.refuse(row, Reason.TIME_INVALID, "time")
        return 0
    return time_ms


def _time_ms(time: Any) -> int | None:
    """Milliseconds since 1970 of an integer or an RFC 3339 text with offset; else None."""
    if type(time) is int:
        return time if YEAR_1_MS <= time <= YEAR_9999_MS else None
    return ms_of(time) if type(time) is str else None


def _check_channels(table: _Table) -> NDArray[np.int16]:
    first = table.channels[0]
    # The count alone is not enough: 1.0 and True equal 1.
    same = table.channels.count(first) == table.count and set(map(type, table.channels)) == {int}
    if same and 0 <= first < CHANNELS:
        return np.full(table.count, first, dtype=np.int16)
    return np.array(
        [_channel_or_refusal(table, row, c) for row, c in enumerate(table.channels)],
        dtype=np.int16,
    )


def _channel_or_refusal(table: _Table, row: int, channel: Any) -> int:
    if type(channel) is not int:
        table.refuse(row, Reason.WRONG_TYPE, "channel")
        return 0
    if not 0 <= channel < CHANNELS:
        table.refuse(row, Reason.OUT_OF_RANGE, "channel")
        return 0
    return channel


@dataclass(frozen=True)
class Bounds:
    """What some quantities may be; `low` and `high` are float64[quantities, 1]."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    whole: tuple[int, ...]
    """Which of the quantities have whole values only."""


@lru_cache(maxsize=1024)
def bounds_of(names: tuple[str, ...]) -> Bounds:
    """The bounds of these quantities, in their order."""
    quantities = [quantity for name in names if (quantity := quantity_of(name))]
    return Bounds(
        np.array([[quantity.low] for quantity in quantities]),
        np.array([[quantity.high] for quantity in quantities]),
        tuple(i for i, q in enumerate(quantities) if q.kind is not Kind.NUMBER),
    )


def _check_quantities(table: _Table, names: tuple[str, ...]) -> NDArray[np.float64]:
    """The values as float64[quantities, readings], NaN where there is none."""
    if not names:
        for row in range(table.count):
            table.refuse(row, Reason.NO_QUANTITY)
        return np.empty((0, table.count))
    matrix = _numbers(table, names)
    bounds = bounds_of(names)
    outside = (matrix < bounds.low) | (matrix > bounds.high)
    if outside.any():
        _refuse_where(table, names, outside, Reason.OUT_OF_RANGE)
    if bounds.whole:
        part = matrix[list(bounds.whole)]
        broken = np.mod(part, 1, where=np.isfinite(part), out=np.zeros_like(part)) != 0
        if broken.any():
            whole_names = tuple(names[i] for i in bounds.whole)
            _refuse_where(table, whole_names, broken, Reason.WRONG_TYPE)
    empty = np.isnan(matrix).all(axis=0)
    if empty.any():
        for row in np.flatnonzero(empty).tolist():
            table.refuse(row, Reason.NO_QUANTITY)
    return matrix


def _refuse_where(
    table: _Table, names: tuple[str, ...], bad: NDArray[np.bool_], reason: Reason
) -> None:
    for position, row in zip(*(axis.tolist() for axis in np.nonzero(bad)), strict=True):
        table.refuse(row, reason, names[position])


def _numbers(table: _Table, names: tuple[str, ...]) -> NDArray[np.float64]:
    columns = [table.quantities[name] for name in names]
    if set(map(type, chain.from_iterable(columns))) <= _PLAIN_TYPES:
        try:
            return np.array(columns, dtype=np.float64)
        except OverflowError:
            pass
    quantities = [quantity for name in names if (quantity := quantity_of(name))]
    checked = [_numbers_of(table, q, c) for q, c in zip(quantities, columns, strict=True)]
    return np.array(checked, dtype=np.float64)


def _numbers_of(table: _Table, quantity: Quantity, column: list[Any]) -> list[float | None]:
    """A column with something odd in it, value by value."""
    allowed = _STATE_TYPES if quantity.kind is Kind.STATE else _PLAIN_TYPES
    numbers: list[float | None] = []
    for row, value in enumerate(column):
        if type(value) not in allowed:
            table.refuse(row, Reason.WRONG_TYPE, quantity.name)
            numbers.append(None)
        else:
            numbers.append(_as_float(value))
    return numbers


def _as_float(value: float | bool | None) -> float | None:
    try:
        return None if value is None else float(value)
    except OverflowError:
        return math.inf
