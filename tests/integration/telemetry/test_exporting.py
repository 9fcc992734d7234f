"""A recording holds every reading once, in order of arrival, and is gone on with where it ended."""

import csv
import json
import os
from base64 import b64decode
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apps.platform.management.commands.export import write_connectors
from apps.telemetry import cluster, parsing, tables
from apps.telemetry.exporting import MANIFEST, AnotherExport, Written, export
from apps.telemetry.leaving import PARTS, TenantExport, Wanted
from apps.telemetry.rollups import Builder, Pace
from apps.telemetry.slices import from_ms
from apps.telemetry.store import TelemetryStore
from apps.telemetry.tables import CsvPages, ParquetMissing
from apps.tenants.models import Tenant
from tests import cast
from tests.integration.telemetry.conftest import CONNECTOR, NOW, NOW_MS, Write, minutes_ago

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
WANTED = Wanted(NOW - timedelta(days=6), NOW)
Export = Callable[..., list[Written]]


@pytest.fixture
def exported(store: TelemetryStore, ours: str, tmp_path: Path) -> Export:
    telemetry = TenantExport(ours, store=store)

    def run(wanted: Wanted = WANTED, form: str = "csv", **more: Any) -> list[Written]:
        return list(export(telemetry, wanted, tmp_path, form=form, **more))

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

    assert [file.rows for file in files] == [30, 1]
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
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".json", ".part"]

    monkeypatch.setattr(CsvPages, "write", whole)
    again = exported()

    assert [file.rows for file in again] == [None, 1]
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".json"}


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

    assert again.rows == 2
    assert [row["current_a"] for row in rows_of(again.path)] == ["1.0", "2.0"]
    assert [file.rows for file in exported()] == [None]


def test_connectors_can_be_chosen(ours: str, write: Write, exported: Export) -> None:
    for connector in ("c-1", "c-2"):
        write(ours, [(minutes_ago(5), {"current_a": 1.0})], connector=connector)

    (file,) = exported(Wanted(WANTED.start, WANTED.end, ["c-2"]))

    assert [row["connector"] for row in rows_of(file.path)] == ["c-2"]


# --- what lies beside the readings ----------------------------------------------------------------

KINDS = tuple(PARTS)


@pytest.fixture
def filled(store: TelemetryStore, ours: str, theirs: str, write: Write) -> int:
    """One of everything of two tenants, three days ago; how many hours ours has rollups of."""
    noon = (NOW_MS // DAY_MS - 3) * DAY_MS + DAY_MS // 2
    for tenant, current_a in ((ours, 7.0), (theirs, 173.25)):
        rows = [(noon + n * HOUR_MS, {"current_a": current_a, "x_oil": n}) for n in range(3)]
        write(tenant, rows, arrived_ms=noon + 4 * HOUR_MS, batch="b-1")
        row = {"tenant": tenant, "connector": CONNECTOR, "judged_at": noon, "kind": "opened"}
        evidence = {"current_a": current_a}
        store.index_events([{**row, "event": f"e-{n}", "number": n, "evidence": evidence}
                            for n in (1, 2)])  # fmt: skip
        lines = [
            parsing.quarantine_lines(
                store.quarantine_index(noon), tenant=tenant, batch_id=5, number=number,
                arrived_ms=noon, reason="undecodable", connector=CONNECTOR,
                payload=f"{current_a} bytes".encode(),
            )
            for number in range(120)
        ]  # fmt: skip
        store.bulk(b"".join(lines))
    store.refresh()
    Builder(store, pace=Pace(share=1.0)).advance(NOW)
    return 3


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_tenant_that_leaves_takes_all_its_telemetry_along(
    ours: str, filled: int, exported: Export, tmp_path: Path, form: str
) -> None:
    files = exported(form=form, parts=KINDS)

    rows = {file.path.relative_to(tmp_path).parts[0].split("-")[0]: file.rows for file in files}
    assert rows == {
        "readings": 3, "hours": filled, "days": 1, "minutes": 3, "events": 2, "quarantine": 120
    }  # fmt: skip
    of_day = f"{from_ms(NOW_MS - 3 * DAY_MS):%Y%m%d}"
    assert {file.path.stem.rsplit("-", 1)[1] for file in files} == {of_day}
    text = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"173.25" not in text


def test_rows_say_what_the_documents_hold(
    ours: str, filled: int, exported: Export, tmp_path: Path
) -> None:
    found = {file.path.parent.name: rows_of(file.path) for file in exported(parts=KINDS)}

    hours = found["hours"]
    assert [(row["connector"], row["count"], row["batch"]) for row in hours] == [
        (CONNECTOR, "1", "b-1")
    ] * filled
    assert [row["x_oil_max"] for row in hours] == ["0.0", "1.0", "2.0"]
    assert (hours[0]["current_a_mean"], hours[0]["voltage_v_mean"]) == ("7.0", "")
    (day,) = found["days"]
    assert (day["count"], day["current_a_count"], day["x_oil_last"]) == ("3", "3", "2.0")
    first, second = found["events"]
    assert (first["event"], first["kind"], second["number"]) == ("e-1", "opened", "2")
    assert json.loads(first["evidence"]) == {"current_a": 7.0}
    refused = found["quarantine"]
    assert len({row["id"] for row in refused}) == 120
    assert (refused[0]["reason"], b64decode(refused[0]["payload"])) == ("undecodable", b"7.0 bytes")


def test_bins_are_not_even_asked_for(store: TelemetryStore, ours: str, filled: int) -> None:
    telemetry = TenantExport(ours, store=store)
    (day_ms,) = telemetry.days(PARTS["hours"], WANTED)

    (page,) = telemetry.documents(PARTS["hours"], WANTED, day_ms)

    assert len(page) == filled
    assert page[0]["_source"]["current_a"].keys() == {"min", "max", "mean", "last", "count"}


def test_bytes_of_refused_messages_are_bytes_in_parquet(filled: int, exported: Export) -> None:
    parquet = import_module("pyarrow.parquet")

    (file,) = exported(form="parquet", parts=["quarantine"])

    assert parquet.read_table(file.path).to_pydict()["payload"][0] == b"7.0 bytes"


def test_a_day_of_hours_is_whole_once_no_late_reading_can_change_it(
    ours: str, filled: int, exported: Export, write: Write, store: TelemetryStore
) -> None:
    (file,) = exported(parts=["hours"])
    noon = (NOW_MS // DAY_MS - 3) * DAY_MS + DAY_MS // 2
    write(ours, [(noon + 1000, {"current_a": 9.0})], arrived_ms=NOW_MS)  # late
    Builder(store, pace=Pace(share=1.0)).advance(NOW)

    (again,) = exported(parts=["hours"])

    assert again.rows == file.rows
    assert rows_of(again.path)[0]["current_a_max"] == "9.0"
    settled_s = (noon + (store.open_days + 1) * DAY_MS) / 1000
    os.utime(file.path, (settled_s, settled_s))
    assert [file.rows for file in exported(parts=["hours"])] == [None]


def test_what_is_asked_of_everything_is_asked_of_a_slice_at_a_time(
    ours: str, filled: int, write: Write, exported: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search over all of it would run into its limit where there is much."""
    counted: list[str] = []
    search = cluster.search

    def note(client: Any, index: str, body: Any, **more: Any) -> Any:
        if "aggs" in body:
            counted.append(index)
            assert more["limit_s"] > cluster.ANSWER_LIMIT_S
        return search(client, index, body, **more)

    monkeypatch.setattr(cluster, "search", note)
    write(ours, [(minutes_ago(5), {"x_gas": 1.0})])

    files = exported()

    assert counted
    assert not [index for index in counted if "*" in index]
    assert [sorted(rows_of(file.path)[0].keys() & {"x_oil", "x_gas"}) for file in files] == [
        ["x_gas", "x_oil"]
    ] * 2


# --- which question a folder answers --------------------------------------------------------------


@pytest.mark.parametrize(
    "another",
    [
        Wanted(WANTED.start - timedelta(days=1), WANTED.end),
        Wanted(WANTED.start, None),
        Wanted(WANTED.start, WANTED.end, [CONNECTOR]),
    ],
)
def test_another_question_is_not_answered_from_a_folders_files(
    ours: str, write: Write, exported: Export, tmp_path: Path, another: Wanted
) -> None:
    write(ours, [(minutes_ago(5), {"current_a": 1.0})])
    exported()

    with pytest.raises(AnotherExport, match="name an empty folder"):
        exported(another)

    assert len(exported()) == 1
    (tmp_path / MANIFEST).unlink()  # as earlier versions left a folder
    with pytest.raises(AnotherExport, match="says what was asked"):
        exported()


def test_a_folder_is_one_tenants(store: TelemetryStore, exported: Export, tmp_path: Path) -> None:
    exported()

    with pytest.raises(AnotherExport):
        list(export(TenantExport("kunlun", store=store), WANTED, tmp_path, form="csv"))


def test_without_an_end_it_goes_on_with_what_has_come_since(
    ours: str, write: Write, exported: Export
) -> None:
    open_ended = Wanted(WANTED.start, None, ["c-1", CONNECTOR])
    write(ours, [(minutes_ago(5), {"current_a": 1.0})])
    assert [file.rows for file in exported(open_ended)] == [1]
    write(ours, [(minutes_ago(4), {"current_a": 1.0})])

    again = exported(Wanted(WANTED.start, None, [CONNECTOR, "c-1"]))

    assert [file.rows for file in again] == [2]


# --- forms and the command ------------------------------------------------------------------------


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
    monkeypatch.setattr(tables, "import_module", missing)

    with pytest.raises(ParquetMissing, match="parquet"):
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
    with pytest.raises(CommandError, match="name an empty folder"):
        call_command("export", "--tenant", "kunlun", "--from", "2026-01-01", "--out", str(tmp_path))


def test_the_command_writes_all_kinds_unless_told_which(
    store: TelemetryStore, kunlun: Tenant, write: Write, tmp_path: Path
) -> None:
    write("kunlun", [(minutes_ago(5), {"current_a": 1.0})])
    event = {"tenant": "kunlun", "connector": CONNECTOR, "event": "e-1", "number": 1}
    store.index_events([{**event, "judged_at": NOW_MS}])
    store.refresh()
    start = (NOW - timedelta(days=1)).isoformat()

    for folder, what in (("all", []), ("some", ["--what", "events"])):
        call_command("export", "--tenant", "kunlun", "--from", start, "--out",
                     str(tmp_path / folder), *what, stdout=StringIO())  # fmt: skip

    assert [path.name for path in (tmp_path / "all").glob("readings-*.csv")]
    assert not [path.name for path in (tmp_path / "some").glob("readings-*.csv")]
    for folder in ("all", "some"):
        assert [path.name for path in (tmp_path / folder).glob("events/events-*.csv")]


def test_connectors_of_another_tenant_are_not_written(in_kunlun: Tenant, tmp_path: Path) -> None:
    assert write_connectors(tmp_path / "connectors.csv", None) > 1
    assert cast.CANARY not in (tmp_path / "connectors.csv").read_text()
