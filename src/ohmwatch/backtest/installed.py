"""What is known of the connectors of a recording: connectors.csv."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ohmwatch.backtest.errors import RecordingError
from ohmwatch.detector import Ratings

CONNECTORS_FILE = "connectors.csv"
REQUIRED = ("rated_current_a", "rated_voltage_v", "temperature_limit_c", "position")
NUMBERS = (
    "rated_current_a",
    "rated_voltage_v",
    "temperature_limit_c",
    "temperature_rise_rated_k",
    "temperature_rise_limit_k",
    "contact_resistance_new_uohm",
    "contact_resistance_end_uohm",
    "thermal_resistance_k_per_w",
    "insulation_minimum_kohm",
    "rated_mating_cycles",
    "interval_s",
)
_NUMBER = "Write a number above zero, without unit; leave it empty where it is not known."


@dataclass(frozen=True, slots=True)
class Installed:
    """One installed connector and what its model says about it."""

    connector: str
    model: str
    batch: str
    vehicle: str
    ratings: Ratings


def connectors(path: Path) -> dict[str, Installed]:
    """The connectors by their names. Raises RecordingError, naming line and column."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            table = csv.DictReader(lines, strict=True)
            _check_columns(path, table.fieldnames or [])
            found: dict[str, Installed] = {}
            for row in table:
                one = _installed(_Row(path, table.line_num, row))
                if one.connector in found:
                    raise RecordingError(
                        path,
                        f"the connector {one.connector!r} stands here a second time",
                        "Keep one of its lines.",
                        line=table.line_num,
                        column="connector",
                    )
                found[one.connector] = one
    except OSError as error:
        raise RecordingError(path, error.strerror or str(error), "Check --connectors.") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise RecordingError(path, f"no CSV in UTF-8: {error}", "Save it as one.") from None
    if not found:
        raise RecordingError(path, "it names no connector", "A line for each is needed.")
    return found


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    for needed in ("connector", *REQUIRED):
        if needed not in columns:
            raise RecordingError(
                path,
                f"there is no column {needed!r}",
                f"Needed are connector, {', '.join(REQUIRED)}; any other rating may be missing.",
                line=1,
            )


@dataclass(frozen=True, slots=True)
class _Row:
    path: Path
    line: int
    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        return (self.cells.get(column) or "").strip()

    def needed(self, column: str) -> str:
        text = self.text(column)
        if not text:
            raise self.error(column, "the cell is empty", "Every connector needs it.")
        return text

    def number(self, column: str) -> float:
        text = self.needed(column) if column in REQUIRED else self.text(column)
        return self.positive(column, text) if text else math.nan

    def positive(self, column: str, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            raise self.error(column, f"{text[:40]!r} is no number above zero", _NUMBER)
        return number

    def error(self, column: str, what: str, remedy: str) -> RecordingError:
        return RecordingError(self.path, what, remedy, line=self.line, column=column)


def _installed(row: _Row) -> Installed:
    ratings = Ratings(
        model=row.text("model"),
        position=row.needed("position"),
        derating=_derating(row),
        thermal_time_constants_s=tuple(
            row.positive("thermal_time_constants_s", each)
            for each in row.text("thermal_time_constants_s").split()
        ),
        reports=tuple(row.text("reports").replace(",", " ").replace(";", " ").split()),
        **{name: row.number(name) for name in NUMBERS},
    )
    return Installed(
        connector=row.needed("connector"),
        model=ratings.model,
        batch=row.text("batch"),
        vehicle=row.text("vehicle"),
        ratings=ratings,
    )


def _derating(row: _Row) -> tuple[tuple[float, float], ...]:
    """Pairs of ambient in °C and current in A: `40:250 70:180`; the ambient must rise."""
    remedy = "Write pairs of ambient in °C and current in A, as 40:250 70:180 85:120."
    text = row.text("derating")
    try:
        pairs = [tuple(map(float, pair.split(":"))) for pair in text.split()]
    except ValueError:
        pairs = [()]
    sound = all(len(pair) == 2 and all(map(math.isfinite, pair)) for pair in pairs)
    if not sound or any(later[0] <= pair[0] for pair, later in pairwise(pairs)):
        raise row.error("derating", f"{text[:60]!r} can't be read", remedy)
    if any(amperes < 0 for _, amperes in pairs):
        raise row.error("derating", "a current is below zero", remedy)
    return tuple((ambient_c, amperes) for ambient_c, amperes in pairs)
