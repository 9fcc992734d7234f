"""A recording: readings as files, and what is known of the connectors they are of.

READINGS in the project's documentation (docs/devices/readings.md) says what the files hold. They
may be larger than memory: they are read some rows at a time, in their order, which is the order
of arrival.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ohmwatch.backtest import csv_file, parquet_file
from ohmwatch.backtest.errors import RecordingError
from ohmwatch.backtest.installed import CONNECTORS_FILE, Installed, connectors
from ohmwatch.backtest.piece import UNKNOWN_ARRIVAL, Piece
from ohmwatch.detector import Batch, Flags, Times
from ohmwatch.readings import FUTURE_LIMIT_MS, Kind, quantity_of
from ohmwatch.refusals import Reason

__all__ = ["Installed", "Tally", "connectors", "files", "read"]

ROWS = 200_000
"""Readings at a time: about 100 MB with all quantities, and enough for numpy to be quick."""

ALARMS_FILE = "alarms.csv"
BESIDE = frozenset({"hours", "days", "minutes", "events", "quarantine"})
"""Folders beside readings in which an export lays what is none."""
_EARLIEST_MS = 100_000_000_000  # March 1973; seconds taken for milliseconds lie before it
_TIME_BITS = 42


@dataclass
class Tally:
    """What was met in a recording, and what was left out, as acquisition would have refused it.

    `refused` counts readings by reason and field; `unknown_columns` the files with a column that
    no quantity is called; `first_ms`, `last_ms` span a connector's readings in device time.
    """

    files: list[Path] = field(default_factory=list)
    readings: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unknown_columns: Counter[str] = field(default_factory=Counter)
    first_ms: dict[str, int] = field(default_factory=dict)
    last_ms: dict[str, int] = field(default_factory=dict)

    @property
    def connector_years(self) -> float:
        """The time from first to last reading, summed over connectors."""
        spans = (self.last_ms[name] - first for name, first in self.first_ms.items())
        return sum(spans) / (365.25 * 86_400_000)

    def note(self, batch: Batch) -> None:
        """Counts the readings of a batch."""
        self.readings += len(batch)
        first_ms = np.full(len(batch.connectors), np.iinfo(np.int64).max)
        last_ms = np.full(len(batch.connectors), -1, dtype=np.int64)
        np.minimum.at(first_ms, batch.connector, batch.time_ms)
        np.maximum.at(last_ms, batch.connector, batch.time_ms)
        for name, first, last in zip(
            batch.connectors, first_ms.tolist(), last_ms.tolist(), strict=True
        ):
            if last >= 0:
                self.first_ms[name] = min(first, self.first_ms.get(name, first))
                self.last_ms[name] = max(last, self.last_ms.get(name, last))


def files(path: Path) -> list[Path]:
    """The recording's files, in their names' order: the one named, or all of a folder."""
    if not path.exists():
        raise RecordingError(path, "there is no such file or folder", "Check --readings.")
    if not path.is_dir():
        return [path]
    found = sorted(
        each
        for each in path.rglob("*")
        if each.is_file()
        and each.name.endswith((".csv", ".csv.gz", ".parquet"))
        and each.name not in (CONNECTORS_FILE, ALARMS_FILE)
        and BESIDE.isdisjoint(each.relative_to(path).parts[:-1])
    )
    if not found:
        raise RecordingError(
            path, "no recording lies in this folder", "Files end in .csv, .csv.gz or .parquet."
        )
    return found


def read(path: Path, *, rows: int = ROWS, tally: Tally | None = None) -> Iterator[Batch]:
    """The readings of a file or a folder, in order of arrival, at most `rows` at a time.

    The readings of a batch stand in the file's order (not by connector and time). Without a
    column `arrived`, a reading came when it was measured, or with what its connector sent
    before, whichever is later. Raises RecordingError.
    """
    tally = tally if tally is not None else Tally()
    came: dict[str, int] = {}
    for file in files(path):
        tally.files.append(file)
        reader = parquet_file if file.suffix == ".parquet" else csv_file
        tally.unknown_columns.update(reader.header_of(file).unknown)
        for piece in reader.pieces(file, rows):
            batch = _batch(piece, came, tally)
            tally.note(batch)
            if len(batch):
                yield batch


def _batch(piece: Piece, came: dict[str, int], tally: Tally) -> Batch:
    early = piece.time_ms < _EARLIEST_MS
    if early.any():
        at = int(np.argmax(early))
        raise piece.error(
            at,
            f"the time {piece.time_ms[at]} lies before 1973",
            "Times are milliseconds since 1970 UTC; were these seconds?",
            column="time",
        )
    batch = Batch(
        connectors=piece.names,
        connector=piece.connector,
        time_ms=piece.time_ms,
        arrived_ms=_arrivals(piece, came),
        values=piece.values,
    )
    return batch.rows(_accepted(batch, tally))


def _arrivals(piece: Piece, came: dict[str, int]) -> Times:
    """When each reading came, never before its connector's last one; carries `came` forward."""
    stated = piece.arrived_ms
    stated = (
        piece.time_ms
        if stated is None
        else np.where(stated == UNKNOWN_ARRIVAL, piece.time_ms, stated)
    )
    order = np.argsort(piece.connector, kind="stable")
    connector = piece.connector[order].astype(np.int64) << _TIME_BITS
    before = np.array([came.get(name, 0) for name in piece.names], dtype=np.int64)
    own = np.maximum(stated, before[piece.connector])[order]
    arrived = np.empty_like(own)
    arrived[order] = np.maximum.accumulate(connector + own) - connector
    if piece.arrived_ms is not None:
        _must_be_in_order(piece, arrived)
    last = np.flatnonzero(np.diff(connector, append=-1))
    for home, ms in zip(
        piece.connector[order[last]].tolist(), arrived[order[last]].tolist(), strict=True
    ):
        came[piece.names[home]] = ms
    return arrived


def _must_be_in_order(piece: Piece, arrived_ms: Times) -> None:
    assert piece.arrived_ms is not None
    backwards = (piece.arrived_ms != UNKNOWN_ARRIVAL) & (piece.arrived_ms < arrived_ms)
    if backwards.any():
        at = int(np.argmax(backwards))
        raise piece.error(
            at,
            f"{piece.names[piece.connector[at]]!r} has a reading above that arrived later",
            "A recording is in order of arrival: sort it by the column arrived.",
            column="arrived",
        )


def _accepted(batch: Batch, tally: Tally) -> Flags:
    """Which readings acquisition would have taken; counts the others."""
    good = batch.time_ms <= batch.arrived_ms + FUTURE_LIMIT_MS
    _count(tally, Reason.TIME_IN_FUTURE, "time", ~good)
    spoke = np.zeros(len(batch), dtype=np.bool_)
    for name, values in batch.values.items():
        quantity = quantity_of(name)
        assert quantity is not None
        with np.errstate(invalid="ignore"):
            bad = (values < quantity.low) | (values > quantity.high)
            if quantity.kind is not Kind.NUMBER:
                bad |= (values != np.floor(values)) & ~np.isnan(values)
        _count(tally, Reason.OUT_OF_RANGE, name, bad & good)
        good &= ~bad
        spoke |= ~np.isnan(values)
    _count(tally, Reason.NO_QUANTITY, "", good & ~spoke)
    return good & spoke


def _count(tally: Tally, reason: Reason, name: str, refused: Flags) -> None:
    if number := int(refused.sum()):
        tally.refused[f"{reason} {name}".strip()] += number
