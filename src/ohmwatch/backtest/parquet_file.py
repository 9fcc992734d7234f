"""Recordings as Parquet. Needs the extra `parquet` (pyarrow)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ohmwatch.backtest.errors import RecordingError
from ohmwatch.backtest.piece import ARRIVED, CONNECTOR, TIME, UNKNOWN_ARRIVAL, Header, Piece
from ohmwatch.detector import Floats, Times
from ohmwatch.instants import ms_of

_UNITS = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}
"""Of Arrow's timestamps: times what, divided by what, is milliseconds."""


def pieces(path: Path, rows: int) -> Iterator[Piece]:
    """The file, at most `rows` rows at a time. Raises RecordingError.

    A timestamp without a time zone is taken as UTC.
    """
    file = _open(path)
    header = Header.of(path, file.schema_arrow.names)
    first = 1
    for batch in file.iter_batches(batch_size=rows, columns=header.used):
        columns = {name: batch.column(name) for name in header.used}
        piece = _piece_of(_Place(path, first), header, columns)
        first += len(piece)
        yield piece


def header_of(path: Path) -> Header:
    """The file's columns. Raises RecordingError."""
    return Header.of(path, _open(path).schema_arrow.names)


def _open(path: Path) -> Any:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise RecordingError(
            path, "Parquet needs pyarrow", "Install it: pip install 'ohmwatch[parquet]'"
        ) from None
    try:
        return parquet.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        what = f"no Parquet: {str(error).splitlines()[0]}"
        raise RecordingError(path, what, "Was it written to its end?") from None


class _Place:
    """Where a piece stands, for what is wrong with it."""

    def __init__(self, path: Path, first: int) -> None:
        self.path, self.first = path, first

    def error(self, column: str, what: str, remedy: str, index: int = -1) -> RecordingError:
        row = self.first + index if index >= 0 else 0
        return RecordingError(self.path, what, remedy, row=row, column=column)


def _piece_of(place: _Place, header: Header, columns: dict[str, Any]) -> Piece:
    for name in (CONNECTOR, TIME):
        if columns[name].null_count:
            empty = int(np.argmax(_is_null(columns[name])))
            raise place.error(name, "the cell is empty", "Each row needs one.", empty)
    names = columns[CONNECTOR].cast("string").dictionary_encode()
    return Piece(
        path=place.path,
        first=place.first,
        names=names.dictionary.to_pylist(),
        connector=names.indices.to_numpy().astype(np.int32),
        time_ms=_milliseconds(place, TIME, columns[TIME]),
        arrived_ms=(
            _milliseconds(place, ARRIVED, columns[ARRIVED]) if header.has_arrived else None
        ),
        values={name: _values(place, name, columns[name]) for name in header.quantities},
    )


def _milliseconds(place: _Place, name: str, column: Any) -> Times:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        times, per_unit = _UNITS[column.type.unit]
        whole = column.cast("int64").fill_null(0).to_numpy(zero_copy_only=False)
        return np.where(_is_null(column), UNKNOWN_ARRIVAL, whole * times // per_unit)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _of_texts(place, name, column.to_pylist())
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        whole = column.fill_null(UNKNOWN_ARRIVAL).to_numpy(zero_copy_only=False)
        return np.where(whole == whole, whole, UNKNOWN_ARRIVAL).astype(np.int64)
    raise place.error(
        name, f"is {column.type}", "Give it as timestamp, as whole ms since 1970, or as text."
    )


def _is_null(column: Any) -> np.ndarray:
    return column.is_null().to_numpy(zero_copy_only=False)


def _of_texts(place: _Place, name: str, texts: list[str | None]) -> Times:
    found = [UNKNOWN_ARRIVAL if text is None else ms_of(text) for text in texts]
    if None in found:
        bad = found.index(None)
        remedy = "Write RFC 3339 with its offset, as 2026-11-23T09:20:00+01:00."
        raise place.error(name, f"{texts[bad]!r} can't be read", remedy, bad)
    return np.array(found, dtype=np.int64)


def _values(place: _Place, name: str, column: Any) -> Floats:
    import pyarrow as pa

    number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if not (number or pa.types.is_boolean(column.type) or pa.types.is_null(column.type)):
        raise place.error(name, f"is {column.type}, not a number", "Write it as double.")
    return column.cast("float64").fill_null(np.nan).to_numpy(zero_copy_only=False)
