"""Readings as lines of a `_bulk` request: text from columns, without an object for each reading.

A connector's readings share everything but their time and values. Where these came as text that can
stand in a document as it is, they do; else one line with placeholders is made for all of them, and
the lines of a whole batch are filled by a single formatting call.
"""

import base64
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, chain, groupby, pairwise, repeat
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from apps.devices.directory import ConnectorEntry
from ohmwatch.readings import Columns, Sheet
from workers.acquisition.parcels import ConnectorReadings, Singles

_json = msgspec.json.Encoder()


class Stretch(Protocol):
    """Readings of one connector, as one device reported them."""

    @property
    def tenant(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def connector(self) -> ConnectorEntry: ...
    @property
    def columns(self) -> Columns: ...


def batch_lines(
    readings: Sequence[ConnectorReadings],
    *,
    index_of: Callable[[str, int], str],
    arrived_ms: int,
    batch_number: int,
) -> bytes:
    """Two lines for each of a batch's readings, in their order.

    `index_of(retention class, ms)` is the index for what was measured then.
    """
    pieces = _pieces(readings, index_of)
    texts = [b""] * len(pieces)
    groups: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    about_batch = _about_batch(arrived_ms, batch_number)
    for place, (index, piece) in enumerate(pieces):
        came = piece.texts
        if came is None:
            groups.setdefault((index, tuple(piece.columns.values)), []).append(place)
        else:
            begin = _begin_of(piece.tenant, piece.connector, piece.device).plain
            head = _action(index) + begin + about_batch
            texts[place] = head + (_END + head).join(came) + _END
    for (index, _names), places in groups.items():
        text = reading_lines(
            [pieces[place][1] for place in places],
            index=index,
            arrived_ms=arrived_ms,
            batch_number=batch_number,
        )
        if len(places) == len(pieces):
            return text
        lines = text.splitlines(keepends=True)
        ends = accumulate((2 * len(pieces[place][1].columns) for place in places), initial=0)
        for place, (a, b) in zip(places, pairwise(ends), strict=True):
            texts[place] = b"".join(lines[a:b])
    return b"".join(texts)


def _pieces(
    readings: Sequence[ConnectorReadings], index_of: Callable[[str, int], str]
) -> list[tuple[str, ConnectorReadings]]:
    """Each connector's readings with their index; those of several indices are cut into runs."""
    index = _only_index(readings, index_of)
    if index is not None:
        return [(index, one) for one in readings]
    return [piece for one in readings for piece in _runs(one, index_of)]


def _only_index(
    readings: Sequence[ConnectorReadings], index_of: Callable[[str, int], str]
) -> str | None:
    """The one index that all belong to, as nearly always; None where they don't."""
    times = np.concatenate([one.columns.time_ms for one in readings]) if readings else np.zeros(1)
    first, last = int(times.min()), int(times.max())
    retentions = {one.parcel.retention for one in readings}
    classes = {name for kept in retentions for name in kept.between(first, last)}
    found = {index_of(kept_for, time) for kept_for in classes for time in (first, last)}
    return found.pop() if len(found) == 1 else None


def _runs(
    one: ConnectorReadings, index_of: Callable[[str, int], str]
) -> Iterator[tuple[str, ConnectorReadings]]:
    kept_for, times = one.parcel.retention, one.columns.time_ms.tolist()
    indices = [index_of(kept_for.at(time), time) for time in times]
    for index, run in groupby(range(len(indices)), key=indices.__getitem__):
        rows = list(run)
        yield index, one.part(slice(rows[0], rows[-1] + 1))


def reading_lines(
    stretches: Sequence[Stretch], *, index: str, arrived_ms: int, batch_number: int
) -> bytes:
    """Two lines a reading, action and document; NaN becomes null, which the store takes as none.

    All stretches have the same quantities, in the same order, as sheets.
    """
    times = np.concatenate([one.columns.time_ms for one in stretches])
    form = _form(_joined(stretches), arrived_ms=arrived_ms, batch_number=batch_number)
    action = _formatted(_action(index))
    lines = [
        (action + _begin_of(one.tenant, one.connector, one.device).formatted + form.end)
        * len(one.columns)
        for one in stretches
    ]
    return _filled("".join(lines), times, form.matrix)


def single_lines(
    singles: Singles,
    *,
    index_of: Callable[[str, int], str],
    arrived_ms: int,
    batch_number: int,
) -> bytes:
    """The same for single readings, one of a message."""
    if not len(singles):
        return b""
    times, values = singles.columns.time_ms, singles.columns.values
    assert isinstance(values, Sheet)
    first, last = int(times.min()), int(times.max())
    classes = {name for kept in singles.retentions.values() for name in kept.between(first, last)}
    found = {index_of(kept, at) for kept in classes for at in (first, last)}
    if len(found) > 1:
        readings = list(singles.readings(range(len(singles))))
        return batch_lines(
            readings, index_of=index_of, arrived_ms=arrived_ms, batch_number=batch_number
        )
    action = _action(found.pop())
    begins = [
        _begin_of(device.tenant, connector, device.identifier)
        for connector, device in zip(singles.connectors, singles.devices, strict=True)
    ]
    if singles.texts is not None:
        head = _about_batch(arrived_ms, batch_number)
        plain = [begin.plain for begin in begins]
        parts = zip(repeat(action), plain, repeat(head), singles.texts, repeat(_END))
        return b"".join(chain.from_iterable(parts))
    form = _form(values, arrived_ms=arrived_ms, batch_number=batch_number)
    whole = form.end + _formatted(action)
    text = whole.join([begin.formatted for begin in begins])
    return _filled(_formatted(action) + text + form.end, times, form.matrix)


class _Form(NamedTuple):
    """How a document ends, with places for its time and values, and what goes there."""

    end: str
    matrix: NDArray[np.float64]


def _form(sheet: Sheet, *, arrived_ms: int, batch_number: int) -> _Form:
    said = np.logical_not(np.isnan(sheet.matrix).all(axis=1)).tolist()
    named = "".join(
        f',"{name}":%s' for name, is_said in zip(sheet.names, said, strict=True) if is_said
    )
    end = f"{_formatted(_about_batch(arrived_ms, batch_number))}%s{named}}}\n"
    return _Form(end, sheet.matrix[said])


def _filled(text: str, times: NDArray[np.int64], matrix: NDArray[np.float64]) -> bytes:
    """The text with each reading's time and values in its places."""
    tokens = [_tokens(times), *(_tokens(column) for column in matrix)]
    return (text % tuple(chain.from_iterable(zip(*tokens, strict=True)))).encode()


_END = b"}\n"


def _about_batch(arrived_ms: int, batch_number: int) -> bytes:
    """What follows a document's begin, up to where its time and quantities have their place."""
    return b',"arrived_at":%d,"batch_id":%d,"@timestamp":' % (arrived_ms, batch_number)


@lru_cache(maxsize=256)
def _action(index: str) -> bytes:
    """The line before a document."""
    return _json.encode({"create": {"_index": index}}) + b"\n"


class _Begin(NamedTuple):
    """A document up to what differs from reading to reading, without its closing brace."""

    connector: ConnectorEntry
    device: str
    plain: bytes

    @property
    def formatted(self) -> str:
        """As a part of a format."""
        return _formatted(self.plain)


_BEGINS_LIMIT = 20_000
_begins: dict[str, _Begin] = {}
"""By connector. An entry that the directory has read anew is another object."""


def _begin_of(tenant: str, connector: ConnectorEntry, device: str) -> _Begin:
    known = _begins.get(connector.id)
    if known is not None and known.connector is connector and known.device == device:
        return known
    if len(_begins) >= _BEGINS_LIMIT:
        _begins.clear()
    about = {"tenant": tenant, "connector": connector.id, **connector.dimensions, "device": device}
    begin = _begins[connector.id] = _Begin(connector, device, _json.encode(about)[:-1])
    return begin


def _joined(stretches: Sequence[Stretch]) -> Sheet:
    sheets = [Sheet.of(one.columns.values) for one in stretches]
    return Sheet(sheets[0].names, np.concatenate([sheet.matrix for sheet in sheets], axis=1))


def _formatted(text: bytes) -> str:
    """As a part of a %-format that gives just this."""
    return text.decode().replace("%", "%%")


def _tokens(column: NDArray[np.int64] | NDArray[np.float64]) -> list[str]:
    """Each number of a column as JSON text."""
    text = orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)
    return text[1:-1].decode().split(",")


def quarantine_lines(
    *, index: str, document_id: str, fields: dict[str, object], payload: bytes
) -> bytes:
    """Action and document of one refused message, with its bytes."""
    document = {**fields, "payload_bytes": len(payload)}
    if payload:
        document["payload"] = base64.b64encode(payload).decode()
    action = _json.encode({"create": {"_index": index, "_id": document_id}})
    return b"%b\n%b\n" % (action, _json.encode(document))
