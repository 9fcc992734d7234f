"""connectors.csv: every rating read, every mistake said with line and column."""

import math
from pathlib import Path

import pytest

from ohmwatch.backtest.errors import RecordingError
from ohmwatch.backtest.recording import connectors
from ohmwatch.checks.detectors import EXAMPLE
from tests.recordings import COLUMNS, write_connectors


def test_every_rating_is_read(tmp_path: Path) -> None:
    path = write_connectors(tmp_path / "connectors.csv", COLUMNS)
    one = connectors(path)["c0"]
    assert (one.model, one.batch, one.vehicle) == ("example-250", "b7", "")
    assert one.ratings == EXAMPLE


def test_what_is_not_known_is_left_empty(tmp_path: Path) -> None:
    needed = ("connector", "position", "rated_current_a", "rated_voltage_v", "temperature_limit_c")
    row = {name: COLUMNS[name] for name in needed}
    ratings = connectors(write_connectors(tmp_path / "connectors.csv", row))["c0"].ratings
    assert ratings.rated_current_a == 250.0
    assert math.isnan(ratings.insulation_minimum_kohm)
    assert (ratings.derating, ratings.thermal_time_constants_s, ratings.reports) == ((), (), ())


def test_what_a_device_reports(tmp_path: Path) -> None:
    row = {**COLUMNS, "reports": "current_a temperature_pos_c"}
    path = write_connectors(tmp_path / "connectors.csv", row)
    assert connectors(path)["c0"].ratings.reports == ("current_a", "temperature_pos_c")


@pytest.mark.parametrize(
    ("column", "text", "said"),
    [
        ("connector", "", "empty"),
        ("position", " ", "empty"),
        ("rated_current_a", "", "empty"),
        ("rated_voltage_v", "800 V", "no number above zero"),
        ("temperature_limit_c", "nan", "no number above zero"),
        ("insulation_minimum_kohm", "-1", "no number above zero"),
        ("thermal_time_constants_s", "80 x", "no number above zero"),
        ("derating", "40-250", "can't be read"),
        ("derating", "40:250 30:100", "can't be read"),
        ("derating", "40:inf", "can't be read"),
        ("derating", "40:-1", "below zero"),
    ],
)
def test_mistakes(tmp_path: Path, column: str, text: str, said: str) -> None:
    good = {**COLUMNS, "connector": "other"}
    wrong = {**COLUMNS, column: text}
    path = write_connectors(tmp_path / "connectors.csv", good, wrong)
    with pytest.raises(RecordingError) as caught:
        connectors(path)
    assert (caught.value.line, caught.value.column) == (3, column)
    assert said in caught.value.what


def test_connector_named_twice(tmp_path: Path) -> None:
    path = write_connectors(tmp_path / "connectors.csv", COLUMNS, COLUMNS)
    with pytest.raises(RecordingError, match="second time"):
        connectors(path)


@pytest.mark.parametrize("text", ["", "connector,model\na,b\n"])
def test_columns_that_are_missing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "connectors.csv"
    path.write_text(text)
    with pytest.raises(RecordingError, match="no column"):
        connectors(path)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="--connectors"):
        connectors(tmp_path / "none.csv")


def test_no_connectors(tmp_path: Path) -> None:
    path = tmp_path / "connectors.csv"
    path.write_text(",".join(COLUMNS) + "\n")
    with pytest.raises(RecordingError, match="no connector"):
        connectors(path)
