"""What is wrong with a file, where, and what to do about it."""

from pathlib import Path


class RecordingError(Exception):
    """A recording or connectors.csv that can't be used. `line` 0: the file as a whole.

    `row` stands in for the line where a file has no lines (Parquet).
    """

    def __init__(
        self, path: Path, what: str, remedy: str, *, line: int = 0, row: int = 0, column: str = ""
    ) -> None:
        place = [str(path)]
        if line:
            place.append(f"line {line}")
        if row:
            place.append(f"row {row}")
        if column:
            place.append(f"column {column}")
        super().__init__(f"{', '.join(place)}: {what}\n  {remedy}")
        self.path = path
        self.line = line
        self.row = row
        self.column = column
        self.what = what
        self.remedy = remedy
