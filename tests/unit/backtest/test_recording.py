"""Recordings on disk: two formats and two readers that agree, and what is wrong said clearly."""

import builtins
import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from ohmwatch.backtest import recording
from ohmwatch.backtest.errors import RecordingError
from ohmwatch.backtest.recording import Tally
from ohmwatch.detector import Batch
from tests import recordings

Write = Callable[[str], Path]
T = 1_795_420_800_000


@pytest.fixture
def csv_of(tmp_path: Path) -> Write:
    """Writes a text as readings.csv."""

    def write(text: str) -> Path:
        path = tmp_path / "readings.csv"
        path.write_bytes(text.encode())
        return path

    return write


@pytest.fixture
def without_arrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if pyarrow weren't installed."""
    really = builtins.__import__

    def refuse(name: str, *more: Any, **other: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return really(name, *more, **other)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.fixture(params=["arrow", "plain"])
def reader(request: pytest.FixtureRequest) -> str:
    """Both readers of CSV."""
    if request.param == "plain":
        request.getfixturevalue("without_arrow")
    return str(request.param)


def rows_of(batches: Iterator[Batch]) -> list[tuple[Any, ...]]:
    """All rows with their values, whatever they were cut into."""
    rows = []
    for batch in batches:
        columns = {name: column.tolist() for name, column in batch.values.items()}
        for index, home in enumerate(batch.connector.tolist()):
            cells = {name: column[index] for name, column in columns.items()}
            known = {name: cell for name, cell in cells.items() if cell == cell}
            time_ms, arrived_ms = int(batch.time_ms[index]), int(batch.arrived_ms[index])
            rows.append((batch.connectors[home], time_ms, arrived_ms, known))
    return rows


def test_csv_and_parquet_say_the_same(tmp_path: Path, reader: str) -> None:
    columns = recordings.table_of(recordings.as_it_arrives())
    csv = recordings.write_csv(tmp_path / "r.csv", columns)
    rows = rows_of(recording.read(csv, rows=1_000))
    assert len(rows) > 14_400
    if reader == "arrow":
        parquet.write_table(pa.table(columns), tmp_path / "r.parquet")
        assert rows_of(recording.read(tmp_path / "r.parquet", rows=900)) == rows
    else:
        zipped = tmp_path / "r.csv.gz"
        zipped.write_bytes(gzip.compress(csv.read_bytes()))
        assert rows_of(recording.read(zipped, rows=5_000)) == rows


def test_cells_as_people_write_them(csv_of: Write, reader: str) -> None:
    path = csv_of(
        "\ufeffconnector, time,interlock,current_a,mated,note\r\n"
        'a,2026-11-23T09:00:00+01:00,true,1e2,,"said ""hm"", then left"\r\n'
        "\r\n"
        '"b, 2",2026-11-23T08:00:01.250Z,0,-3.5,FALSE,\r\n'
    )
    tally = Tally()
    assert rows_of(recording.read(path, tally=tally)) == [
        ("a", T, T, {"interlock": 1.0, "current_a": 100.0}),
        ("b, 2", T + 1250, T + 1250, {"interlock": 0.0, "current_a": -3.5, "mated": 0.0}),
    ]
    assert tally.unknown_columns == {"note": 1}


def test_without_arrival_the_order_of_rows_is_the_order_of_arrival(
    csv_of: Write, reader: str
) -> None:
    path = csv_of(
        f"connector,time,current_a\na,{T + 5},1\nb,{T},1\na,{T},1\na,{T + 9},1\nb,{T + 1},1\n"
    )
    for rows in (1, 2, 100):
        arrived = [row[2] - T for row in rows_of(recording.read(path, rows=rows))]
        assert arrived == [5, 0, 5, 9, 1]


def test_empty_arrival_is_when_it_was_measured(csv_of: Write, reader: str) -> None:
    path = csv_of(f"connector,time,arrived,current_a\na,{T},,1\na,{T + 1},{T + 7},1\n")
    assert [row[2] - T for row in rows_of(recording.read(path))] == [0, 7]


def test_what_acquisition_would_refuse_is_left_out_and_counted(csv_of: Write, reader: str) -> None:
    path = csv_of(
        "connector,time,arrived,current_a,interlock,mating_cycles,x_own\n"
        f"a,{T},{T},2001,1,,\n"
        f"a,{T + 1},{T + 1},inf,1,,\n"
        f"a,{T + 2},{T + 2},,,,\n"
        f"a,{T + 400_000},{T + 3},1,1,,\n"
        f"a,{T + 4},{T + 4},1,1,1.5,\n"
        f"a,{T + 5},{T + 5},1,1,2,-1e300\n"
    )
    tally = Tally()
    rows = rows_of(recording.read(path, tally=tally))
    assert [row[1] - T for row in rows] == [5]
    assert dict(tally.refused) == {
        "out_of_range current_a": 2,
        "no_quantity": 1,
        "time_in_future time": 1,
        "out_of_range mating_cycles": 1,
    }
    assert (tally.readings, tally.first_ms, tally.last_ms) == (1, {"a": T + 5}, {"a": T + 5})


def test_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    for day in (2, 1):
        path = tmp_path / f"day-{day}.csv"
        path.write_text(f"connector,time,current_a\na,{T + day},{day}\n")
    (tmp_path / "more").mkdir()
    parquet.write_table(
        pa.table({"connector": ["a"], "time": [T + 3], "current_a": [3.0]}),
        tmp_path / "more" / "day-3.parquet",
    )
    (tmp_path / "connectors.csv").write_text("not a recording")
    (tmp_path / "alarms.csv").write_text("connector,time\n")
    (tmp_path / "notes.txt").write_text("nor this")
    for beside in ("hours", "days", "minutes", "events", "quarantine"):  # as `export` lays them
        (tmp_path / beside).mkdir()
        (tmp_path / beside / f"{beside}-20261125.csv").write_text("connector,time\n")
    tally = Tally()
    found = [row[3]["current_a"] for row in rows_of(recording.read(tmp_path, tally=tally))]
    assert found == [1.0, 2.0, 3.0]
    assert [path.name for path in tally.files] == ["day-1.csv", "day-2.csv", "day-3.parquet"]


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("", 0, "", "empty"),
        ("connector;time;current_a\na;1;2\n", 1, "", "no column 'connector'"),
        ("connector,current_a\na,2\n", 1, "", "no column 'time'"),
        ("connector,time,time\na,1,2\n", 1, "", "occurs twice"),
        (f"connector,time,current_a\na,{T},1\na,{T}\n", 3, "", "2 cells"),
        (f"connector,time,current_a\na,{T},1\n\na,{T},1,5\n", 4, "", "4 cells"),
        (f"connector,time,current_a\na,{T},1\na,{T},12 A\n", 3, "current_a", "'12 A'"),
        (f"connector,time,current_a\na,{T},1\na,{T},1_0\n", 3, "current_a", "'1_0'"),
        (f"connector,time,current_a\na,{T},1\na,,1\n", 3, "time", "empty"),
        (f"connector,time,current_a\na,{T},1\n,{T},1\n", 3, "connector", "empty"),
        ("connector,time,current_a\na,yesterday,1\n", 2, "time", "'yesterday'"),
        ("connector,time,current_a\na,2026-11-23T09:00:00,1\n", 2, "time", "can't be read"),
        ("connector,time,current_a\na,1795420800,1\n", 2, "time", "before 1973"),
        (f"connector,time,interlock\na,{T},1\na,{T},open\n", 3, "interlock", "'open'"),
        (
            f"connector,time,arrived,current_a\na,{T},{T + 9},1\nb,{T},{T},1\na,{T},{T + 8},1\n",
            4,
            "arrived",
            "arrived later",
        ),
        ('connector,time,current_a\na,"1', 2, "", "no CSV"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(
    csv_of: Write, reader: str, text: str, line: int, column: str, said: str
) -> None:
    with pytest.raises(RecordingError) as caught:
        list(recording.read(csv_of(text)))
    error = caught.value
    assert (error.line, error.column) == (line, column)
    assert said in error.what
    assert error.remedy
    assert "readings.csv" in str(error)


def test_wrong_cell_behind_many_good_rows_is_found(csv_of: Write, reader: str) -> None:
    good = "".join(f"a,{T + second},1.5\n" for second in range(30_000))
    path = csv_of(f"connector,time,current_a\n{good}a,{T},x\n")
    seen: list[int] = []
    with pytest.raises(RecordingError) as caught:
        seen.extend(len(batch) for batch in recording.read(path, rows=1_000))
    assert caught.value.line == 30_002
    assert sum(seen) >= 20_000


def test_bytes_that_are_no_text(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(f"connector,time,current_a\na,{T},1\n".encode() + b"\xff\xfe,1,2\n")
    with pytest.raises(RecordingError, match="UTF-8"):
        list(recording.read(path))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such file"):
        list(recording.read(tmp_path / "none.csv"))
    with pytest.raises(RecordingError, match="no recording lies"):
        list(recording.read(tmp_path))


# --- Parquet ----------------------------------------------------------------------------------


def parquet_of(folder: Path, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), folder / "r.parquet")
    return folder / "r.parquet"


@pytest.mark.parametrize(
    "times",
    [
        pa.array([T, T + 1]),
        pa.array([T, T + 1], pa.timestamp("ms")),
        pa.array([T * 1000, T * 1000 + 1999], pa.timestamp("us", tz="Asia/Shanghai")),
        pa.array([T * 10**6, T * 10**6 + 1_999_999], pa.timestamp("ns", tz="UTC")),
        pa.array(["2026-11-23T08:00:00Z", "2026-11-23T09:00:00.001+01:00"]),
        pa.array([float(T), float(T + 1)]),
    ],
    ids=lambda times: str(times.type),
)
def test_times_in_parquet(tmp_path: Path, times: Any) -> None:
    names = pa.array(["a", "a"]).dictionary_encode()
    path = parquet_of(tmp_path, connector=names, time=times, mated=[True, None], current_a=[1, 2])
    assert rows_of(recording.read(path)) == [
        ("a", T, T, {"mated": 1.0, "current_a": 1.0}),
        ("a", T + 1, T + 1, {"current_a": 2.0}),
    ]


def test_nan_in_parquet_is_no_value(tmp_path: Path) -> None:
    path = parquet_of(
        tmp_path,
        connector=["a", "a"],
        time=[T, T + 1],
        arrived=pa.array([None, T + 5]),
        current_a=[np.nan, 1.0],
        voltage_v=[700.0, None],
    )
    assert rows_of(recording.read(path)) == [
        ("a", T, T, {"voltage_v": 700.0}),
        ("a", T + 1, T + 5, {"current_a": 1.0}),
    ]


@pytest.mark.parametrize(
    ("columns", "row", "column", "said"),
    [
        ({"connector": ["a", None], "time": [T, T]}, 2, "connector", "empty"),
        ({"connector": ["a", "a"], "time": [T, None]}, 2, "time", "empty"),
        ({"connector": ["a", "a"], "time": ["x", "y"]}, 1, "time", "can't be read"),
        ({"connector": ["a", "a"], "time": [True, True]}, 0, "time", "bool"),
        ({"connector": ["a", "a"], "time": [T, 5]}, 2, "time", "before 1973"),
        (
            {"connector": ["a", "a"], "time": [T, T], "current_a": ["1", "2"]},
            0,
            "current_a",
            "not a number",
        ),
        (
            {"connector": ["a", "a"], "time": [T, T], "arrived": [T + 1, T]},
            2,
            "arrived",
            "arrived later",
        ),
    ],
)
def test_what_is_wrong_with_parquet(
    tmp_path: Path, columns: dict[str, Any], row: int, column: str, said: str
) -> None:
    path = parquet_of(tmp_path, **{"voltage_v": [1.0, 2.0], **columns})
    with pytest.raises(RecordingError) as caught:
        list(recording.read(path))
    assert (caught.value.row, caught.value.column) == (row, column)
    assert said in caught.value.what


def test_cut_off_parquet(tmp_path: Path) -> None:
    path = parquet_of(tmp_path, connector=["a"], time=[T], current_a=[1.0])
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(RecordingError, match="no Parquet"):
        list(recording.read(path))


@pytest.mark.usefixtures("without_arrow")
def test_parquet_without_pyarrow(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(RecordingError, match="pip install"):
        list(recording.read(path))
