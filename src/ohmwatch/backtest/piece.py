"""Some rows of one file as columns: what the readers of CSV and Parquet both give."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ohmwatch.backtest.errors import RecordingError
from ohmwatch.detector import Floats, Indices, Times
from ohmwatch.readings import quantity_of

CONNECTOR, TIME, ARRIVED = "connector", "time", "arrived"
UNKNOWN_ARRIVAL = -1


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows in the file's order. `connector[i]` is a position in `names`.

    `arrived_ms` is None where the file has no such column, UNKNOWN_ARRIVAL where a cell is
    empty. `values`: a float64[n] for each quantity, NaN for an empty cell. `first` is where the
    first row stands: its line in a CSV file, its number, from 1, in a Parquet file.
    """

    path: Path
    first: int
    names: Sequence[str]
    connector: Indices
    time_ms: Times
    arrived_ms: Times | None
    values: Mapping[str, Floats]

    def __len__(self) -> int:
        return len(self.time_ms)

    def error(self, index: int, what: str, remedy: str, *, column: str = "") -> RecordingError:
        """What is wrong with the row `index` of this piece."""
        place = self.first + index
        if self.path.suffix == ".parquet":
            return RecordingError(self.path, what, remedy, row=place, column=column)
        return RecordingError(self.path, what, remedy, line=place, column=column)


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of a file: which are quantities, and which are not known."""

    path: Path
    columns: tuple[str, ...]
    quantities: tuple[str, ...] = ()
    has_arrived: bool = False
    unknown: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, path: Path, columns: Sequence[str]) -> "Header":
        """Raises RecordingError for columns that no recording has, or that it must have."""
        _check(path, columns)
        own = (CONNECTOR, TIME, ARRIVED)
        quantities = tuple(name for name in columns if quantity_of(name))
        return cls(
            path=path,
            columns=tuple(columns),
            quantities=quantities,
            has_arrived=ARRIVED in columns,
            unknown=tuple(name for name in columns if name not in own and not quantity_of(name)),
        )

    @property
    def used(self) -> list[str]:
        """The columns that are read."""
        return [name for name in self.columns if name not in self.unknown]


def _check(path: Path, columns: Sequence[str]) -> None:
    line = 1 if path.suffix != ".parquet" else 0
    for name in columns:
        if columns.count(name) > 1:
            raise RecordingError(
                path, f"the column {name!r} occurs twice", "Keep one of them.", line=line
            )
    for needed in (CONNECTOR, TIME):
        if needed not in columns:
            raise RecordingError(
                path,
                f"there is no column {needed!r}, only {', '.join(columns)}",
                "A recording has the columns connector and time, and a column for each quantity,"
                " separated by commas. What is no recording must not lie in its folder.",
                line=line,
            )
