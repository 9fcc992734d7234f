"""received = stored + duplicate + quarantined, and the store really holds it; or exit status 1."""

import json
from io import StringIO
from secrets import token_hex

import pytest
from django.core.management import CommandError, call_command

from apps.telemetry import parsing
from apps.telemetry.answers import LedgerEntry
from apps.telemetry.documents import PLATFORM
from apps.telemetry.slices import from_ms
from apps.telemetry.store import TelemetryStore
from apps.telemetry.tenant import TenantTelemetry
from tests.integration.telemetry.conftest import NOW, NOW_MS, Write, minutes_ago

pytestmark = pytest.mark.usefixtures("db")  # the command asks how long whose readings are kept
BATCH = 0
"""A slot's batch number; each test has a range of its own."""


@pytest.fixture(autouse=True)
def _batch_numbers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "BATCH", 3 << 48 | int(token_hex(4), 16) << 12)


@pytest.fixture
def booked(store: TelemetryStore, ours: str, write: Write) -> LedgerEntry:
    """Three readings stored, one duplicate, two rows refused, all entered."""
    rows = [(minutes_ago(minute), {"current_a": 1.0}) for minute in (3, 2, 1)]
    write(ours, [*rows, rows[0]], batch_id=BATCH)
    entry = LedgerEntry(ours, BATCH, NOW_MS, 3, 1, {"wrong_type": 2})
    refuse(store, ours, count=2)
    store.write_ledger([entry])
    store.write_ledger([entry])  # a worker that lost the answer enters it again
    return entry


def refuse(store: TelemetryStore, tenant: str, count: int = 1) -> None:
    lines = parsing.quarantine_lines(
        store.quarantine_index(NOW_MS),
        tenant=tenant,
        batch_id=BATCH,
        number=0,
        arrived_ms=NOW_MS,
        reason="wrong_type",
        count=count,
    )
    assert store.bulk(lines)[0].is_stored


def account(*arguments: str) -> str:
    out = StringIO()
    call_command("account", "--wait", "0", *arguments, stdout=out)
    return out.getvalue()


def test_a_closed_account_says_so(booked: LedgerEntry, telemetry: TenantTelemetry) -> None:
    line = telemetry.account(from_ms(minutes_ago(1)), from_ms(NOW_MS + 1000))

    assert (line.received, line.stored, line.duplicate) == (6, 3, 1)
    assert line.quarantined == line.held_quarantined == {"wrong_type": 2}
    assert line.held_readings == 3
    assert line.is_closed


def test_the_command_prints_a_table_for_one_tenant(booked: LedgerEntry) -> None:
    table = account("--tenant", booked.tenant)

    header, row, total, reason = table.splitlines()
    assert header.split()[:3] == ["tenant", "received", "stored"]
    assert row.split() == [booked.tenant, "6", "3", "1", "2", "3", "2", "0"]
    assert total.split()[1:] == row.split()[1:]
    assert "wrong_type: 2 entered, 2 held" in reason


def test_a_reading_that_is_entered_but_not_held_opens_the_account(
    store: TelemetryStore, ours: str, booked: LedgerEntry
) -> None:
    store.write_ledger([LedgerEntry(ours, BATCH + 1, NOW_MS, 1, 0, {})])

    with pytest.raises(CommandError, match=f"open: {ours}") as caught:
        account("--tenant", ours)
    assert caught.value.returncode == 1


def test_a_reading_that_is_held_but_not_entered_opens_it_until_it_is_reconciled(
    store: TelemetryStore, ours: str, booked: LedgerEntry, write: Write
) -> None:
    # a worker was killed between Elasticsearch's answer and its ledger
    write(ours, [(minutes_ago(9), {"current_a": 1.0})], batch_id=BATCH + 1)
    with pytest.raises(CommandError):
        account("--tenant", ours)

    last = store.last_ledger_batch(BATCH, BATCH + 1000)
    assert last == BATCH
    store.write_ledger(store.held_batches(last + 1, BATCH + 1000))

    found = json.loads(account("--tenant", ours, "--json"))
    assert found["closed"]
    assert found["lines"][0]["stored"] == 4


def test_what_the_store_holds_of_a_batch_is_told_by_tenant_and_reason(
    store: TelemetryStore, ours: str, theirs: str, booked: LedgerEntry, write: Write
) -> None:
    write(theirs, [(minutes_ago(1), {"current_a": 1.0})], batch_id=BATCH, arrived_ms=NOW_MS)

    held = {e.tenant: e for e in store.held_batches(BATCH, BATCH + 1) if e.tenant in (ours, theirs)}

    assert held[ours].stored == 3
    assert held[ours].quarantined == {"wrong_type": 2}
    assert held[ours].arrived_ms == NOW_MS
    assert held[ours].reconciled
    assert held[theirs].stored == 1


def test_only_the_stretch_that_is_asked_for_counts(booked: LedgerEntry) -> None:
    before = from_ms(NOW_MS - 60_000).isoformat()

    found = json.loads(account("--tenant", booked.tenant, "--to", before, "--json"))

    assert found["lines"][-1]["received"] == 0


def test_unknown_tenants_are_the_platforms_own_account(store: TelemetryStore) -> None:
    found = TenantTelemetry(PLATFORM, store=store).account(NOW, from_ms(NOW_MS + 1))

    assert found.tenant == PLATFORM


def test_a_stretch_that_begins_before_the_ledger_says_from_where_it_is_told(
    booked: LedgerEntry, store: TelemetryStore
) -> None:
    table = account("--tenant", booked.tenant, "--from", "2020-01-01")
    begun = from_ms(store.ledger_begins_ms(NOW)).strftime("%Y-%m-%dT%H:%M:%SZ")

    assert f"compared from {begun} on, as nothing was entered before: {booked.tenant}" in table
    (line, total) = json.loads(
        account("--tenant", booked.tenant, "--from", "2020-01-01", "--json")
    )["lines"]
    assert (line["from"], line["received"], total["received"]) == (begun, 6, 6)


def test_a_stretch_of_which_nothing_is_held_ends_with_status_two(booked: LedgerEntry) -> None:
    long_ago = ["--tenant", booked.tenant, "--from", "2020-01-01", "--to", "2020-02-01"]

    with pytest.raises(CommandError, match="nothing of this stretch") as caught:
        account(*long_ago)
    assert caught.value.returncode == 2

    out = StringIO()
    with pytest.raises(CommandError):
        call_command("account", "--json", *long_ago, stdout=out)
    assert json.loads(out.getvalue())["closed"] is None


@pytest.mark.parametrize("wrong", [["--from", "yesterday"], ["--tenant", "*"]])
def test_wrong_arguments_are_refused(elasticsearch: str, wrong: list[str]) -> None:
    with pytest.raises(Exception, match=r"not a time|wrong_question"):
        account(*wrong)
