"""A recording holds every reading once, in order of arrival, and is gone on with where it ended."""

import csv
import os
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from apps.platform.management.commands.export import write_connectors
from apps.telemetry import exporting
from apps.telemetry.exporting import CsvPages, Wanted, Written, export
from apps.telemetry.store import TenantTelemetry
from apps.tenants.models import Tenant
from tests import cast
from tests.integration.telemetry.conftest import CONNECTOR, NOW, NOW_MS, Write, minutes_ago

DAY_MS = 86_400_000
WANTED = Wanted(NOW - timedelta(days=6), NOW)
Export = Callable[..., list[Written]]


@pytest.fixture
def exported(telemetry: TenantTelemetry, tmp_path: Path) -> Export:
    def run(wanted: Wanted = WANTED, form: str = "csv") -> list[Written]:
        return list(export(telemetry, wanted, tmp_path, form=form))

    return run


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_reading_is_there_once_in_order_of_arrival(
    ours: str, theirs: str, write: Write, exported: Export, tmp_path: Path
) -> None:
    first = NOW_MS - 3 * DAY_MS
    write(ours, [(first + n, {"current_a": float(n)}) for n in range(30)], arrived_ms=first + 500)
    write(ours, [(first - 5, {"x_oil": 2.5})], arrived_ms=NOW_MS, connector="c-2")  # late
    write(theirs, [(first, {"current_a": 173.25, "x_secret": 1.0})], arrived_ms=first)

    files = exported()

    assert [file.readings for file in files] == [30, 1]
    early, late = (rows_of(file.path) for file in files)
    assert [int(row["time"]) for row in early] == [first + n for n in range(30)]
    assert {row["arrived"] for row in early} == {str(first + 500)}
    assert (early[7]["connector"], early[7]["current_a"], early[7]["x_oil"]) == (
        CONNECTOR,
        "7.0",
        "",
    )
    assert (late[0]["connector"], late[0]["x_oil"]) == ("c-2", "2.5")
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "173.25" not in text
    assert "x_secret" not in text


def test_who_asks_again_gets_what_is_missing(
    ours: str, write: Write, exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days in (3, 2):
        moment = NOW_MS - days * DAY_MS
        write(ours, [(moment, {"current_a": 1.0})], arrived_ms=moment)
    whole = CsvPages.write
    pages = []

    def cut_off(self: CsvPages, page: list[object]) -> None:
        pages.append(page)
        if len(pages) == 2:
            raise KeyboardInterrupt
        whole(self, page)  # type: ignore[arg-type]

    monkeypatch.setattr(CsvPages, "write", cut_off)
    with pytest.raises(KeyboardInterrupt):
        exported()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".part"]

    monkeypatch.setattr(CsvPages, "write", whole)
    again = exported()

    assert [file.readings for file in again] == [None, 1]
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv"}


def test_a_file_of_a_day_that_was_not_over_is_no_whole_day(
    ours: str, write: Write, exported: Export
) -> None:
    """It was asked for at noon, and more came in the afternoon."""
    noon = (NOW_MS // DAY_MS - 3) * DAY_MS + DAY_MS // 2
    write(ours, [(noon - 1000, {"current_a": 1.0})], arrived_ms=noon - 500)
    (file,) = exported()
    os.utime(file.path, (noon / 1000, noon / 1000))
    write(ours, [(noon + 1000, {"current_a": 2.0})], arrived_ms=noon + 1500)

    (again,) = exported()

    assert again.readings == 2
    assert [row["current_a"] for row in rows_of(again.path)] == ["1.0", "2.0"]
    assert [file.readings for file in exported()] == [None]


def test_connectors_can_be_chosen(ours: str, write: Write, exported: Export) -> None:
    for connector in ("c-1", "c-2"):
        write(ours, [(minutes_ago(5), {"current_a": 1.0})], connector=connector)

    (file,) = exported(Wanted(WANTED.start, WANTED.end, ["c-2"]))

    assert [row["connector"] for row in rows_of(file.path)] == ["c-2"]


def test_parquet_says_the_same(ours: str, write: Write, exported: Export) -> None:
    parquet = import_module("pyarrow.parquet")
    write(ours, [(minutes_ago(5), {"current_a": 61.2}), (minutes_ago(4), {"ambient_c": -3.0})])

    (file,) = exported(form="parquet")

    found = parquet.read_table(file.path).to_pydict()
    assert found["time"] == [minutes_ago(5), minutes_ago(4)]
    assert found["current_a"] == [61.2, None]
    assert found["ambient_c"] == [None, -3.0]


def test_without_pyarrow_it_says_what_brings_it(
    ours: str, write: Write, exported: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    write(ours, [(minutes_ago(5), {"current_a": 1.0})])
    monkeypatch.setattr(exporting, "import_module", missing)

    with pytest.raises(exporting.ParquetMissing, match="parquet"):
        exported(form="parquet")


def test_the_command_writes_connectors_beside_them(
    elasticsearch: str, kunlun: Tenant, tmp_path: Path
) -> None:
    told = StringIO()

    call_command("export", "--tenant", "kunlun", "--from", "2026-01-01", "--out", str(tmp_path),
                 "--connector", str(cast.BENS_CONNECTOR), stdout=told)  # fmt: skip

    (row,) = rows_of(tmp_path / "connectors.csv")
    assert (row["connector"], row["model"]) == (str(cast.BENS_CONNECTOR), "HV-250")
    assert float(row["rated_current_a"]) == 250
    assert "1 connectors" in told.getvalue()
    with pytest.raises(CommandError, match="no tenant"):
        call_command("export", "--tenant", "nobody", "--from", "2026-01-01", "--out", str(tmp_path))


def test_connectors_of_another_tenant_are_not_written(in_kunlun: Tenant, tmp_path: Path) -> None:
    assert write_connectors(tmp_path / "connectors.csv", None) > 1
    assert cast.CANARY not in (tmp_path / "connectors.csv").read_text()
