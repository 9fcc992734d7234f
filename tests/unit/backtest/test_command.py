"""`ohmwatch backtest` as a laboratory runs it: a process of its own, no server, no settings."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import recordings

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A folder with a recording and its connectors."""
    table = recordings.table_of(recordings.as_it_arrives())
    recordings.write_csv(tmp_path / "readings.csv", table)
    rows = [{**recordings.COLUMNS, "connector": f"c{number}"} for number in range(6)]
    recordings.write_connectors(tmp_path / "connectors.csv", *rows)
    return tmp_path


def backtest(folder: Path, *more: str, readings: str = "readings.csv") -> tuple[int, str, str]:
    arguments = ["--readings", readings, "--connectors", "connectors.csv", "--out", "alarms.csv"]
    done = subprocess.run(
        [sys.executable, "-m", "ohmwatch", "backtest", *arguments, *more],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


def alarms(folder: Path) -> list[dict[str, str]]:
    with (folder / "alarms.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_recording_becomes_alarms(recorded: Path) -> None:
    status, said, complaints = backtest(recorded)
    assert (status, complaints) == (0, "")
    found = alarms(recorded)
    assert {row["event"] for row in found} >= {"opened", "cleared"}
    assert {row["connector"] for row in found} == {f"c{number}" for number in range(6)}
    assert [row["arrived"] for row in found] == sorted(row["arrived"] for row in found)
    opened = sum(row["event"] == "opened" for row in found)
    assert f"{opened} alarms at 6 connectors" in said


def test_report_is_written_beside(recorded: Path) -> None:
    status, _, _ = backtest(recorded, "--report", "report.html")
    assert status == 0
    page = (recorded / "report.html").read_text(encoding="utf-8")
    assert page.endswith("</html>\n")
    assert page.count("<article") == len(
        {(row["connector"], row["condition"]) for row in alarms(recorded)}
    )


def test_folder_and_small_steps_say_the_same(recorded: Path) -> None:
    backtest(recorded)
    expected = (recorded / "alarms.csv").read_text()
    status, _, _ = backtest(recorded, "--rows", "500", readings=".")
    assert status == 0
    assert (recorded / "alarms.csv").read_text() == expected


def test_what_was_left_out_is_told(recorded: Path) -> None:
    rows = [{**recordings.COLUMNS, "connector": "c1"}]
    recordings.write_connectors(recorded / "connectors.csv", *rows)
    status, _, complaints = backtest(recorded)
    assert status == 0
    assert "connectors.csv does not describe c0, c2, c3 and 2 more" in complaints
    assert {row["connector"] for row in alarms(recorded)} == {"c1"}


def test_connectors_of_another_recording_are_a_mistake(recorded: Path) -> None:
    recordings.write_connectors(
        recorded / "connectors.csv", {**recordings.COLUMNS, "connector": "other"}
    )
    status, _, complaints = backtest(recorded)
    assert status == 2
    assert "describes no connector of this recording" in complaints
    assert not (recorded / "alarms.csv").exists()


def test_mistake_in_a_file_ends_in_two_lines_and_no_trace(recorded: Path) -> None:
    path = recorded / "readings.csv"
    path.write_text(path.read_text().replace("c3", "", 1))
    status, said, complaints = backtest(recorded)
    assert (status, said) == (2, "")
    place, remedy = complaints.strip().splitlines()
    assert place.startswith("readings.csv, line ")
    assert "column connector: the cell is empty" in place
    assert remedy.strip()
    assert not (recorded / "alarms.csv").exists()


def test_nowhere_to_write_is_said_before_the_work(recorded: Path) -> None:
    status, _, complaints = backtest(recorded, "--out", "nowhere/alarms.csv")
    assert status == 2
    assert "nothing can be written there" in complaints
