"""Recordings as CSV: by Arrow where it is installed, else, or where that stumbles, line by line.

The plain reader is the judge of what a cell may hold: what Arrow can't read, it reads on from the
same row, or says where the file is wrong.
"""

import csv
import gzip
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ohmwatch.backtest.errors import RecordingError
from ohmwatch.backtest.piece import ARRIVED, CONNECTOR, TIME, UNKNOWN_ARRIVAL, Header, Piece
from ohmwatch.detector import Floats, Times
from ohmwatch.instants import ms_of
from ohmwatch.readings import Kind, quantity_of

STATES = {"": np.nan, "0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0, "0.0": 0.0, "1.0": 1.0}
"""What a state's cell may say; the last two are how some programs write a column with holes."""

_SMALLEST_BLOCK = 1 << 16
_BYTES_A_ROW = 160
_AS_TIME = "Write ms since 1970 UTC, or RFC 3339 with its offset, as 2026-11-23T09:20:00+01:00."


def pieces(path: Path, rows: int) -> Iterator[Piece]:
    """The file, at most `rows` rows at a time. Raises RecordingError."""
    header, samples = _start(path)
    done = 0
    try:
        for piece in _by_arrow(path, header, samples, rows):
            done += len(piece)
            yield piece
    except _Stumbled:
        yield from _by_line(path, header, rows, skip=done)


def header_of(path: Path) -> Header:
    """The file's columns. Raises RecordingError."""
    return _start(path)[0]


class _Stumbled(Exception):
    """Arrow is not there, or can't read on."""


def _start(path: Path) -> tuple[Header, dict[str, str]]:
    """The columns of a file, and the first row's cells."""
    with _open(path) as lines:
        table = _Lines(path, lines)
        first = next(table, None)
        if first is None:
            raise RecordingError(path, "the file is empty", "Its first line names the columns.")
        header = Header.of(path, [name.strip() for name in first])
        sample = next(table, [])
    return header, dict(zip(header.columns, sample, strict=False))


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


# --- Arrow ------------------------------------------------------------------------------------


def _by_arrow(path: Path, header: Header, sample: dict[str, str], rows: int) -> Iterator[Piece]:
    try:
        import pyarrow as pa
        from pyarrow import csv as arrow
    except ImportError:
        raise _Stumbled from None
    types = {name: _arrow_type(pa, name, sample.get(name, "")) for name in header.used}
    try:
        reader = arrow.open_csv(
            str(path),
            read_options=arrow.ReadOptions(
                block_size=max(_SMALLEST_BLOCK, rows * _BYTES_A_ROW),
                column_names=list(header.columns),
                skip_rows=1,
            ),
            parse_options=arrow.ParseOptions(newlines_in_values=True),
            convert_options=arrow.ConvertOptions(
                column_types=types,
                include_columns=header.used,
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
        first = 2
        for batch in reader:
            for start in range(0, len(batch), rows):
                piece = _piece_of(path, first, batch.slice(start, rows), header)
                first += len(piece)
                yield piece
    except pa.ArrowInvalid:
        raise _Stumbled from None


def _arrow_type(pa: Any, name: str, sample: str) -> Any:
    if name == CONNECTOR or _is_state(name):
        return pa.dictionary(pa.int32(), pa.string())
    if name in (TIME, ARRIVED):
        return pa.int64() if sample.isdecimal() else pa.timestamp("ns", tz="UTC")
    return pa.float64()


def _piece_of(path: Path, first: int, batch: Any, header: Header) -> Piece:
    """Raises _Stumbled where a cell needs the plain reader's eye."""
    names = batch.column(CONNECTOR)
    times = batch.column(TIME)
    if names.null_count or times.null_count:
        raise _Stumbled
    return Piece(
        path=path,
        first=first,
        names=names.dictionary.to_pylist(),
        connector=names.indices.to_numpy().astype(np.int32),
        time_ms=_milliseconds(times),
        arrived_ms=_milliseconds(batch.column(ARRIVED)) if header.has_arrived else None,
        values={name: _values(batch.column(name), name) for name in header.quantities},
    )


def _milliseconds(column: Any) -> Times:
    """Of whole milliseconds, or of Arrow's nanoseconds."""
    if column.type == "int64":
        filled = column.fill_null(UNKNOWN_ARRIVAL)
        return filled.to_numpy().astype(np.int64)
    nanoseconds = column.cast("int64").fill_null(UNKNOWN_ARRIVAL * 1_000_000)
    return nanoseconds.to_numpy().astype(np.int64) // 1_000_000


def _values(column: Any, name: str) -> Floats:
    if not _is_state(name):
        return column.fill_null(np.nan).to_numpy(zero_copy_only=False).astype(np.float64)
    try:
        known = [STATES[each.lower()] for each in column.dictionary.to_pylist()]
    except KeyError:
        raise _Stumbled from None
    codes = column.indices.fill_null(len(known)).to_numpy()
    return np.array([*known, np.nan])[codes]


# --- line by line -----------------------------------------------------------------------------


def _by_line(path: Path, header: Header, rows: int, *, skip: int) -> Iterator[Piece]:
    with _open(path) as lines:
        table = _Lines(path, lines)
        next(table)
        for _ in islice(table, skip):
            pass
        while True:
            found = [(table.line, row) for row in islice(table, rows)]
            if not found:
                return
            yield _read(path, header, found)


class _Lines:
    """The rows of a CSV file without blank lines. `line`: where the last one ended."""

    def __init__(self, path: Path, lines: TextIO) -> None:
        self._path = path
        self._reader = csv.reader(lines, strict=True)

    @property
    def line(self) -> int:
        return self._reader.line_num

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> list[str]:
        try:
            for row in self._reader:
                if row:
                    return row
        except csv.Error as error:
            raise RecordingError(
                self._path, f"no CSV: {error}", "Mend the line.", line=self.line
            ) from None
        except UnicodeDecodeError:
            raise RecordingError(
                self._path, "bytes that are no UTF-8", "Save it as UTF-8.", line=self.line + 1
            ) from None
        raise StopIteration


def _read(path: Path, header: Header, found: Sequence[tuple[int, list[str]]]) -> Piece:
    width = len(header.columns)
    for line, row in found:
        if len(row) != width:
            raise RecordingError(
                path,
                f"{len(row)} cells where the first line names {width} columns",
                "Give each column a cell; an empty one is no value.",
                line=line,
            )
    columns = dict(zip(header.columns, zip(*(row for _, row in found), strict=True), strict=True))
    lines = [line for line, _ in found]
    names: dict[str, int] = {}

    def cells(name: str, read: Callable[[str], Any], remedy: str) -> list[Any]:
        return _cells(path, lines, name, columns[name], read, remedy)

    homes = cells(CONNECTOR, lambda text: names.setdefault(_name(text), len(names)), "Name it.")
    arrived = cells(ARRIVED, _arrival, _AS_TIME) if header.has_arrived else None
    return Piece(
        path=path,
        first=lines[0],
        names=list(names),
        connector=np.array(homes, dtype=np.int32),
        time_ms=np.array(cells(TIME, _time, _AS_TIME), dtype=np.int64),
        arrived_ms=None if arrived is None else np.array(arrived, dtype=np.int64),
        values={
            name: np.array(cells(name, *_reader_of(name)), dtype=np.float64)
            for name in header.quantities
        },
    )


def _cells(
    path: Path,
    lines: Sequence[int],
    column: str,
    texts: Sequence[str],
    read: Callable[[str], Any],
    remedy: str,
) -> list[Any]:
    try:
        return [read(text) for text in texts]
    except (ValueError, KeyError):
        pass
    for line, text in zip(lines, texts, strict=True):
        try:
            read(text)
        except (ValueError, KeyError):
            what = f"{text[:40]!r} can't be read" if text else "the cell is empty"
            raise RecordingError(path, what, remedy, line=line, column=column) from None
    raise AssertionError("a cell is unreadable once and readable again")


def _reader_of(name: str) -> tuple[Callable[[str], float], str]:
    if _is_state(name):
        return lambda text: STATES[text.strip().lower()], "Write 0, 1, true or false."
    return _number, "Write a number with a point, without unit; leave it empty for no value."


def _is_state(name: str) -> bool:
    quantity = quantity_of(name)
    return quantity is not None and quantity.kind is Kind.STATE


def _name(text: str) -> str:
    if not text:
        raise ValueError
    return text


def _time(text: str) -> int:
    text = text.strip()
    if text.isdecimal():
        return int(text)
    ms = ms_of(text)
    if ms is not None:
        return ms
    whole = float(text)
    if not whole.is_integer() or "_" in text:
        raise ValueError
    return int(whole)


def _arrival(text: str) -> int:
    return _time(text) if text.strip() else UNKNOWN_ARRIVAL


def _number(text: str) -> float:
    if "_" in text:
        raise ValueError
    return float(text) if text else np.nan
