"""The account over stretches of which a part has expired, and what becomes of the old ledger."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import count
from threading import Timer

import orjson
import pytest

from apps.telemetry import accounting, cluster, ledger_hours, parsing, slices
from apps.telemetry.accounting import HOUR_MS, Account
from apps.telemetry.answers import LedgerEntry
from apps.telemetry.documents import ACCOUNT, QUARANTINE, READINGS, Kind
from apps.telemetry.erasing import erase
from apps.telemetry.errors import StoreRefused
from apps.telemetry.slices import DAY_MS, Retention, to_ms
from apps.telemetry.store import TelemetryStore
from tests.integration.telemetry.conftest import CONNECTOR, NOW, NOW_MS

KEPT = {"kunlun": Retention("90d"), "aurora": Retention("30d"), "cirrus": Retention("1y")}
MINUTE_MS = 60_000
Come = Callable[..., LedgerEntry]


@pytest.fixture
def store(elasticsearch: str) -> Iterator[TelemetryStore]:
    """A store whose slices reach back as far as a test writes."""
    store = TelemetryStore(prefix=f"{elasticsearch}past-", open_days=7)
    yield store
    cluster.delete(store.client, [*store.indices(), *store.unfinished()])


def begin(store: TelemetryStore, kind: Kind, index: str) -> None:
    """Make a slice that a worker of its time would have made."""
    if index in store._names():
        return
    name = index.removeprefix(store.prefix)
    begin_at = slices.begin_of(name)
    assert begin_at is not None
    bounds = {}
    if kind is READINGS:
        days = slices.CLASSES[name.split("-")[1]].slice_days
        bounds["index.time_series.start_time"] = to_ms(begin_at)
        bounds["index.time_series.end_time"] = to_ms(begin_at + timedelta(days=days))
    store._create(kind, name, bounds)


@pytest.fixture
def come(store: TelemetryStore) -> Come:
    """A batch of one reading and some refused ones comes so many days ago, and is entered."""
    numbers = count(1)

    def come(
        tenant: str,
        days_ago: float,
        *,
        late_days: float = 0,
        kept: str = "",
        refused: int = 0,
        enter: bool = True,
        reconciled: bool = False,
    ) -> LedgerEntry:
        arrived_ms, number = NOW_MS - int(days_ago * DAY_MS), next(numbers)
        measured_ms = arrived_ms - int(late_days * DAY_MS)
        tenant_class = kept or KEPT[tenant].at(measured_ms)
        index = store.reading_index(tenant_class, measured_ms)
        begin(store, READINGS, index)
        begin(store, ACCOUNT, store.account_index(arrived_ms))
        document = {"@timestamp": measured_ms, "tenant": tenant, "connector": CONNECTOR}
        more = {"arrived_at": arrived_ms, "batch_id": number, "current_a": 1.0}
        create = orjson.dumps({"create": {"_index": index}})
        lines = create + b"\n" + orjson.dumps({**document, **more}) + b"\n"
        assert store.bulk(lines)[0].is_stored
        if refused:
            about = {"tenant": tenant, "batch_id": number, "arrived_ms": arrived_ms}
            quarantine = store.quarantine_index(arrived_ms)
            begin(store, QUARANTINE, quarantine)
            lines = parsing.quarantine_lines(
                quarantine, number=0, reason="wrong_type", count=refused, **about
            )
            assert store.bulk(lines)[0].is_stored
        reasons = {"wrong_type": refused} if refused else {}
        entry = LedgerEntry(tenant, number, arrived_ms, 1, 0, reasons, reconciled=reconciled)
        if enter:
            store.write_ledger([entry])
        return entry

    return come


def account(
    store: TelemetryStore,
    days_ago: float,
    until_days_ago: float = 0,
    *,
    tenant: str | None = None,
    kept: dict[str, Retention] | None = None,
    now: datetime = NOW,
) -> Account:
    return accounting.account(
        store,
        NOW_MS - int(days_ago * DAY_MS),
        NOW_MS - int(until_days_ago * DAY_MS) + 1,
        retentions=KEPT if kept is None else kept,
        now=now,
        tenant=tenant,
    )


def test_a_stretch_closes_where_refused_messages_have_expired(
    store: TelemetryStore, come: Come
) -> None:
    come("kunlun", 60, refused=3)
    come("kunlun", 1, refused=2)
    assert any("quarantine" in name for name in store.drop_expired(NOW))

    found = account(store, 70, tenant="kunlun")

    (line,) = found.lines
    assert found.open == {}
    assert (line.received, line.stored, line.held_readings) == (7, 2, 2)
    assert line.quarantined == {"wrong_type": 5}
    assert line.expired == {"wrong_type": 3}
    assert line.held_quarantined == {"wrong_type": 2}


def test_a_reading_that_is_missing_opens_the_account_of_two_months_ago(
    store: TelemetryStore, come: Come
) -> None:
    come("kunlun", 60)
    store.write_ledger([LedgerEntry("kunlun", 900, NOW_MS - 61 * DAY_MS, 1, 0, {})])
    store.drop_expired(NOW)

    assert account(store, 70).open == {"kunlun": 1}
    come("kunlun", 59, enter=False)
    assert account(store, 60.5).open == {"kunlun": 1}


def test_late_readings_that_have_expired_do_not_open_it(store: TelemetryStore, come: Come) -> None:
    come("aurora", 38, late_days=6.9)
    come("aurora", 38)
    come("aurora", 2)
    assert any("readings-30d" in name for name in store.drop_expired(NOW))
    (raw,) = store.account(0, NOW_MS + 1, tenant="aurora")
    assert not raw.is_closed  # the ledger knows of a reading that is gone

    found = account(store, 50, tenant="aurora")

    (line,) = found.lines
    assert found.open == {}
    assert line.stored == 1
    assert found.later == {"aurora": to_ms(NOW - timedelta(days=30) + slices.EXPIRY_MARGIN)}
    assert found.tells_something


def test_each_tenant_is_compared_as_far_back_as_its_readings_are_held(
    store: TelemetryStore, come: Come
) -> None:
    for tenant, days_ago in (("kunlun", 60), ("kunlun", 40), ("aurora", 60), ("aurora", 3)):
        come(tenant, days_ago)
    come("cirrus", 200)
    come("erased", 45, kept="30d")
    store.drop_expired(NOW)

    found = account(store, 300)

    assert found.open == {}
    assert {line.tenant: line.stored for line in found.lines} == {
        "_platform": 0,
        "aurora": 1,
        "cirrus": 1,
        "erased": 0,
        "kunlun": 2,
    }
    assert found.since_ms["cirrus"] < found.since_ms["kunlun"] < found.since_ms["aurora"]


def test_a_tenant_that_was_moved_is_compared_from_where_all_of_it_is_held(
    store: TelemetryStore, come: Come
) -> None:
    moved = Retention("30d").moved("1y", NOW_MS - 45 * DAY_MS)
    kept = {"kunlun": moved}
    come("kunlun", 44, late_days=3, kept="30d")  # of the old class, and gone
    come("kunlun", 44, late_days=0.5, kept="1y")
    come("kunlun", 37, kept="1y")
    store.drop_expired(NOW + timedelta(days=5))

    found = account(store, 50, kept=kept, tenant="kunlun")

    assert found.open == {}
    assert found.lines[0].stored == 1
    # the last of the old class came a week after the move at the most
    assert 0 <= found.since_ms["kunlun"] - (NOW_MS - 38 * DAY_MS) < HOUR_MS


def test_a_stretch_of_which_nothing_is_held_is_not_told(store: TelemetryStore, come: Come) -> None:
    come("aurora", 60)

    found = account(store, 65, 50, tenant="aurora")

    assert not found.tells_something
    assert [(line.tenant, line.received) for line in found.lines] == [("aurora", 0)]


# --- the ledger by hours --------------------------------------------------------------------------


def put_together(
    store: TelemetryStore, *, now: datetime = NOW, limit_s: float = 60.0
) -> ledger_hours.PutTogether | None:
    return ledger_hours.put_together(store, now, limit_s=limit_s)


def in_ledger(store: TelemetryStore) -> int:
    store.refresh(ACCOUNT)
    return int(store.client.count(index=f"{store.prefix}account-*")["count"])


@pytest.fixture
def week(store: TelemetryStore, come: Come) -> int:
    """A week of two months ago: four entries of two hours, of one tenant, and one of another. Its
    last hour begins so many ms since 1970."""
    begin_ms = slices.slice_of("account", 7, NOW_MS - 60 * DAY_MS).start_ms + 2 * DAY_MS
    ago = (NOW_MS - begin_ms) / DAY_MS
    for minutes in (1, 2, 3, 61):
        come("kunlun", ago - minutes / 1440, refused=minutes)
    come("cirrus", ago - 1 / 1440)
    store.drop_expired(NOW)
    return begin_ms + HOUR_MS


def test_an_old_slice_becomes_hours_and_closes_as_before(store: TelemetryStore, week: int) -> None:
    before = account(store, 70).lines
    assert in_ledger(store) == 5

    done = put_together(store)

    assert done is not None
    assert (done.entries, done.documents) == (5, 3)
    assert in_ledger(store) == 3
    found = account(store, 70)
    assert found.lines == before
    assert found.open == {}
    assert put_together(store) is None
    assert store.unfinished() == []


def test_a_stretch_is_narrowed_to_whole_hours_there(store: TelemetryStore, week: int) -> None:
    put_together(store)
    ago = (NOW_MS - week) / DAY_MS

    found = account(store, ago + 59 / 1440, ago - 59 / 1440, tenant="kunlun")
    assert (found.since_ms["kunlun"], found.end_ms) == (week, week)
    assert not found.tells_something

    found = account(store, ago, ago - 60 / 1440, tenant="kunlun")
    assert found.open == {}
    assert found.lines[0].quarantined == {"wrong_type": 61}


def test_what_can_still_be_replayed_is_left_as_it_is(store: TelemetryStore, come: Come) -> None:
    come("kunlun", 60, refused=1)
    assert put_together(store) is None

    store.drop_expired(NOW)

    assert put_together(store) is not None


def test_younger_slices_are_left_as_they_are(store: TelemetryStore, come: Come) -> None:
    come("kunlun", ledger_hours.REST_DAYS - 1)
    store.drop_expired(NOW)

    assert put_together(store) is None


def test_what_a_slot_entered_for_its_former_life_may_be_entered_again(
    store: TelemetryStore, come: Come, week: int
) -> None:
    again = come("kunlun", (NOW_MS - week) / DAY_MS - 2 / 1440, reconciled=True)

    done = put_together(store)
    assert done is not None
    assert done.documents == 4
    store.write_ledger([again])

    assert account(store, 70).open == {}


def test_a_connector_that_is_erased_afterwards_leaves_it_closed(
    store: TelemetryStore, week: int
) -> None:
    put_together(store)

    erase(store, "kunlun", CONNECTOR, now=NOW)

    found = account(store, 70)
    assert found.open == {}
    assert {line.tenant: line.stored for line in found.lines}["kunlun"] == 0


def test_erasing_waits_for_a_slice_that_takes_no_writes_for_a_moment(
    store: TelemetryStore, week: int
) -> None:
    index = store.account_index(week)
    cluster.block_writes(store.client, index)
    soon = Timer(0.5, cluster.unblock_writes, (store.client, index))
    soon.start()

    erase(store, "kunlun", CONNECTOR, now=NOW)

    soon.join()
    assert account(store, 70).open == {}


def test_a_run_without_time_goes_on_with_the_next(store: TelemetryStore, week: int) -> None:
    before = account(store, 70).lines

    assert put_together(store, limit_s=0) is None
    assert store.unfinished()
    assert account(store, 70).lines == before  # a copy that is not done counts for nothing

    assert put_together(store) is not None
    assert account(store, 70).lines == before


def test_a_run_that_was_killed_is_taken_up_where_it_was(store: TelemetryStore, week: int) -> None:
    before = account(store, 70).lines
    index = store.account_index(week)
    run = ledger_hours._Slice(store, index)
    run._make()
    run._sum_up(week - HOUR_MS)
    cluster.block_writes(store.client, index)

    done = put_together(store)

    assert done is not None
    assert account(store, 70).lines == before


def test_another_copy_that_was_left_behind_is_thrown_away(store: TelemetryStore, week: int) -> None:
    before = account(store, 70).lines
    name = f"{store.account_index(week)}.2".removeprefix(store.prefix)
    store._create(ACCOUNT, name, {"index.hidden": True})

    assert put_together(store) is not None
    assert account(store, 70).lines == before


def test_a_slice_that_was_written_to_meanwhile_is_put_together_anew(
    store: TelemetryStore, week: int
) -> None:
    assert put_together(store, limit_s=0) is None
    run = ledger_hours._Slice(store, store.account_index(week))
    run._sum_up(week - HOUR_MS)
    run._sum_up(week)
    store.write_ledger([LedgerEntry("kunlun", 901, week - HOUR_MS + 5, 0, 4, {})])

    with pytest.raises(StoreRefused, match="written to"):
        put_together(store)

    assert put_together(store) is not None
    found = account(store, 70, tenant="kunlun")
    assert found.open == {}
    assert found.lines[0].duplicate == 4


def test_the_ledger_stays_as_long_as_any_readings(store: TelemetryStore, week: int) -> None:
    put_together(store)
    name = store.account_index(week)

    def is_there(days: int) -> bool:
        store.drop_expired(slices.from_ms(week) + timedelta(days=days))
        return any(each.startswith(name) for each in store.indices())

    assert is_there(366)
    assert not is_there(366 + 8)
