"""`ohmwatch backtest`: a recording in, alarms.csv and a report out."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from ohmwatch.backtest import heap, recording
from ohmwatch.backtest.errors import RecordingError
from ohmwatch.backtest.ledger import Ledger
from ohmwatch.backtest.recording import Tally
from ohmwatch.backtest.report import Backtest, write_report
from ohmwatch.backtest.run import AlarmEvent, Omissions, run, write
from ohmwatch.detector import Batch
from ohmwatch.detectors.defaults import default_detectors
from ohmwatch.fleet import AgeingOutlier

FAILED = 1
NAMED = 3
"""How many of a kind are named before "and so many more"."""


def backtest(
    readings: Annotated[
        Path, typer.Option(help="The recording: CSV or Parquet, a file or a folder of them.")
    ],
    connectors: Annotated[Path, typer.Option(help="connectors.csv: the connectors' ratings.")],
    out: Annotated[Path, typer.Option(help="Where alarms.csv is written.")],
    report: Annotated[
        Path | None, typer.Option(help="Where a report with plots is written: one HTML file.")
    ] = None,
    rows: Annotated[
        int, typer.Option(min=1, help="Readings in memory at a time; changes no result.")
    ] = recording.ROWS,
) -> None:
    """Judge a recording as the running product would have, without any server.

    Status 1 where a detector failed, 2 where a file can't be used.
    """
    installed = recording.connectors(connectors)
    for target in filter(None, (out, report)):
        _must_be_writable(target)
    tally, omissions, detectors = Tally(), Omissions(), default_detectors()
    fleet = AgeingOutlier()
    batches = _told(recording.read(readings, rows=rows, tally=tally), tally)
    with Ledger(out.absolute().parent) as events:
        for event in run(batches, installed, detectors, omissions=omissions, fleet=fleet):
            events.add(event)
        _must_describe(connectors, tally, omissions)
        write(out, events)
        told = list(left_out(tally, omissions))
        if report is not None:
            judged_by = (*detectors, fleet)
            about = Backtest(readings, events, installed, judged_by, tally, omissions, told)
            write_report(report, about, recording.read(readings, rows=rows))
        _say(events, tally, told)
    if omissions.failed:
        raise typer.Exit(FAILED)


def _must_describe(connectors: Path, tally: Tally, omissions: Omissions) -> None:
    if tally.readings and len(omissions.readings) == len(tally.first_ms):
        raise RecordingError(
            connectors,
            "it describes no connector of this recording",
            f"The readings are of {_some(list(omissions.readings))}.",
        )


def _must_be_writable(target: Path) -> None:
    """Before the work, not after it."""
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise RecordingError(target, "nothing can be written there", "Name a file in a folder.")


def _told(batches: Iterator[Batch], tally: Tally) -> Iterator[Batch]:
    """The batches; at a terminal, how far we are every second."""
    started = told = time.monotonic()
    for batch in batches:
        yield batch
        heap.give_back()
        now = time.monotonic()
        if sys.stderr.isatty() and now - told > 1:
            told = now
            rate = tally.readings / (now - started)
            sys.stderr.write(f"\r{tally.readings:,} readings, {rate:,.0f} a second ")
            sys.stderr.flush()
    if told != started:
        sys.stderr.write("\r\033[K")


def _say(events: Iterable[AlarmEvent], tally: Tally, told: Sequence[str]) -> None:
    opened = Counter(event.connector for event in events if event.event == "opened")
    typer.echo(
        f"{tally.readings:,} readings of {len(tally.first_ms):,} connectors, "
        f"{tally.connector_years:.2f} connector-years: "
        f"{opened.total():,} alarms at {len(opened):,} connectors."
    )
    for line in told:
        typer.echo(line, err=True)


def left_out(tally: Tally, omissions: Omissions) -> Iterator[str]:
    """What was not judged, and why, in sentences."""
    for reason, number in tally.refused.most_common():
        yield f"{number:,} readings left out, as acquisition would have: {reason}."
    if omissions.readings:
        number = sum(omissions.readings.values())
        names = _some(sorted(omissions.readings))
        yield f"{number:,} readings left out: connectors.csv does not describe {names}."
    if tally.unknown_columns:
        yield f"Columns that are no quantity: {_some(sorted(tally.unknown_columns))}."
    for name, error in omissions.failed.items():
        yield f"The detector {name} failed, its alarms are not complete: {error}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED:,} more"
