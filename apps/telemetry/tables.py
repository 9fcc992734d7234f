"""Rows into a file, a page at a time: CSV or Parquet."""

import csv
from base64 import b64decode
from collections.abc import Sequence
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, Self

Rows = Sequence[Sequence[Any]]


class ParquetMissing(Exception):
    """The extra `parquet` is not installed."""


class Sort(Enum):
    """What a column's values are; any of them may be None."""

    TEXT = "string"
    WHOLE = "int64"
    REAL = "float64"
    BYTES = "binary"  # as base64 in rows


class Column(NamedTuple):
    """A column's name and what is in it."""

    name: str
    sort: Sort


class Pages(Protocol):
    """Takes pages of rows into a file."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def write(self, page: Rows) -> None: ...


def pages_into(path: Path, columns: Sequence[Column], *, form: str) -> Pages:
    """A new file; form: csv or parquet. Raises ParquetMissing."""
    return ParquetPages(path, columns) if form == "parquet" else CsvPages(path, columns)


class CsvPages:
    """RFC 4180 with a header; an empty cell is no value; bytes are base64."""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        self._file: IO[str] = path.open("w", newline="")
        self._rows = csv.writer(self._file)
        self._rows.writerow([column.name for column in columns])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, page: Rows) -> None:
        """A line a row."""
        self._rows.writerows(page)


class ParquetPages:
    """The same columns with their types; a row group a page."""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        try:
            self._arrow: Any = import_module("pyarrow")
            parquet: Any = import_module("pyarrow.parquet")
        except ImportError as error:
            raise ParquetMissing("pip install 'ohmwatch[parquet]' brings it") from error
        self._columns = columns
        self._schema = self._arrow.schema(
            [(name, getattr(self._arrow, sort.value)()) for name, sort in columns]
        )
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, page: Rows) -> None:
        """A row group."""
        turned = zip(*page, strict=True) if page else ([] for _ in self._columns)
        values = {
            name: [_decoded(each) for each in column] if sort is Sort.BYTES else list(column)
            for (name, sort), column in zip(self._columns, turned, strict=True)
        }
        self._writer.write_table(self._arrow.table(values, schema=self._schema))


def _decoded(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)
