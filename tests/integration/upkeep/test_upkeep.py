"""What upkeep carries to the search index, and what it notes of devices; killed or repeated."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from django.test import Client
from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.alarms import outbox
from apps.alarms.models import Alarm, Consumer, Outbox, OutboxState
from apps.alarms.operations import apply_findings
from apps.devices.models import Device
from apps.fleet.documents import ConnectorDocument, connector_document
from apps.fleet.models import Connector
from apps.fleet.operations import change_vehicle, retire_connector
from apps.telemetry import board, building, cluster
from apps.telemetry.answers import LedgerEntry
from apps.telemetry.documents import STATE
from apps.telemetry.store import TelemetryStore, the_store
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants import changes
from apps.tenants.models import Tenant
from ohmwatch.findings import Finding, Severity
from tests import cast
from workers.acquisition.board import Board
from workers.upkeep import accounts, events, keeping, offline, rollups, states

NOW = datetime.now(UTC).replace(microsecond=0)
NOW_MS = int(NOW.timestamp() * 1000)
CONNECTOR = str(cast.BENS_CONNECTOR)
KUNLUNS = (cast.BENS_CONNECTOR, cast.BENS_SECOND_CONNECTOR, cast.CLARAS_CONNECTOR)


def overtemperature(severity: Severity | None, *, measured_ms: int = NOW_MS) -> Finding:
    """A detector's statement about Ben's connector; None ends it."""
    return Finding(
        connector=CONNECTOR,
        condition="overtemperature",
        severity=severity,
        pole="pos",
        since_ms=measured_ms - 5000,
        measured_ms=measured_ms,
        arrived_ms=measured_ms + 100,
        evidence={"temperature_pos_c": 131.5},
        time_left_s=None,
        detector="overtemperature",
        detector_version="1",
    )


@pytest.fixture
def telemetry(empty_elasticsearch: str) -> TenantTelemetry:
    return TenantTelemetry("kunlun")


def visible() -> None:
    the_store().refresh()


def test_an_alarm_becomes_searchable_and_colours_its_connector(
    in_kunlun: Tenant, telemetry: TenantTelemetry
) -> None:
    apply_findings([overtemperature(Severity.WARNING)], judged_at=NOW)
    apply_findings([overtemperature(Severity.CRITICAL, measured_ms=NOW_MS + 1000)], judged_at=NOW)

    assert events.index_batch() == 2
    visible()

    page = telemetry.events(facets=["condition", "severity", "model"])
    assert [event.kind for event in page.events] == ["worsened", "opened"]
    assert page.facets["model"] == {"HV-250": 2}
    assert page.events[0].names["serial"] == "SN-0001"
    assert page.events[0].evidence == {"temperature_pos_c": 131.5}
    state = telemetry.latest([CONNECTOR])[CONNECTOR]
    assert (state.health, state.open_alarms) == ("critical", 1)
    assert state.worst_condition == "overtemperature"
    assert not Outbox.objects.filter(consumer=Consumer.INDEX).exclude(state=OutboxState.DONE)
    assert events.index_batch() == 0


def test_a_cleared_alarm_leaves_its_connector_well(
    in_kunlun: Tenant, telemetry: TenantTelemetry
) -> None:
    apply_findings([overtemperature(Severity.WARNING)], judged_at=NOW)
    events.index_batch()
    later = overtemperature(None, measured_ms=NOW_MS + 60_000)
    apply_findings([later], judged_at=NOW + timedelta(minutes=1))
    assert not Alarm.objects.filter(state="open").exists()

    events.index_batch()

    state = telemetry.latest([CONNECTOR])[CONNECTOR]
    assert (state.open_alarms, state.worst_condition) == (0, "")


def test_a_task_killed_in_the_middle_loses_and_doubles_nothing(
    in_kunlun: Tenant, telemetry: TenantTelemetry
) -> None:
    apply_findings([overtemperature(Severity.WARNING)], judged_at=NOW)
    claimed = outbox.claim(consumer=Consumer.INDEX, now=NOW - timedelta(minutes=5))
    assert len(claimed) == 1  # and here its worker was killed; the lease is over by now

    assert events.index_batch() == 1
    assert outbox.settle(claimed) == 0  # the dead one wakes up: it holds nothing any more
    visible()
    assert telemetry.events().total == 1


def test_while_the_store_is_away_events_wait(
    in_kunlun: Tenant, telemetry: TenantTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply_findings([overtemperature(Severity.WARNING)], judged_at=NOW)
    away = TelemetryStore(client=cluster.client_of("http://127.0.0.1:9"))
    with monkeypatch.context() as patch:
        patch.setattr("apps.telemetry.tenant.the_store", lambda: away)
        events.index_tenant_events(schema=in_kunlun.schema_name)  # says so and ends

    entry = Outbox.objects.get(consumer=Consumer.INDEX)
    assert entry.state == OutboxState.SENDING
    Outbox.objects.update(leased_until=NOW - timedelta(seconds=1))
    assert events.index_batch() == 1


def test_the_whole_fleet_gets_its_dimensions(in_kunlun: Tenant, telemetry: TenantTelemetry) -> None:
    telemetry.update_states([{"connector": CONNECTOR, "last": {"current_a": 7.0}, "margin_k": 3}])

    assert states.write_fleet(telemetry) == 3
    visible()

    page = telemetry.states(sort="serial", facets=["organisation", "service", "device"])
    assert [state.names["serial"] for state in page.states] == ["SN-0001", "SN-0002", "SN-0003"]
    assert page.facets["organisation"] == {str(cast.HARBOUR): 2, str(cast.CITY): 1}
    assert page.facets["device"] == {"tbox-1": 2, "tbox-2": 1}
    first = page.states[0]
    assert first.names["vin"] == "LSVAU2A34N2183294"
    assert first.names["organisation_name"] == "Harbour Taxi"
    assert first.last == {"current_a": 7.0}  # detection's part is not touched
    assert first.margin_k == 3


def test_equal_keys_of_two_tenants_stay_two_states(
    kunlun: Tenant, aurora: Tenant, empty_elasticsearch: str
) -> None:
    for tenant in (kunlun, aurora):
        with tenant_context(tenant):
            states.write_fleet(TenantTelemetry(tenant.slug))
    visible()

    plain = TenantTelemetry("kunlun").states(facets=["batch", "organisation"])

    assert plain.total == 3
    assert cast.CANARY not in repr(plain)
    assert cast.CANARY in repr(TenantTelemetry("aurora").states())


def test_a_change_of_the_fleet_is_noticed_and_written_once(
    kunlun: Tenant,
    in_kunlun: Tenant,
    telemetry: TenantTelemetry,
    redis_log: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[dict[str, object]] = []
    monkeypatch.setattr(
        states.sync_states, "apply_async", lambda kwargs, **options: sent.append(kwargs)
    )
    states.write_fleet(telemetry)
    retire_connector(connector=Connector.objects.get(pk=cast.CLARAS_CONNECTOR))
    changes.count("kunlun")  # what the commit would have done

    states.sync_changed_states()
    ours = [kwargs for kwargs in sent if kwargs["schema"] == kunlun.schema_name]
    assert ours == [{"schema": "t_kunlun", "counter": 1}]
    states.sync_states(**ours[0])

    state = telemetry.latest([cast.CLARAS_CONNECTOR])[str(cast.CLARAS_CONNECTOR)]
    assert state.connector == str(cast.CLARAS_CONNECTOR)
    visible()
    assert telemetry.states(facets=["service"]).facets["service"] == {
        "in_service": 2,
        "retired": 1,
    }
    sent.clear()
    states.sync_changed_states()
    assert "t_kunlun" not in {kwargs["schema"] for kwargs in sent}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Kunlun's tasks that were sent are told."""
    sent: list[dict[str, Any]] = []

    def note(kwargs: dict[str, Any], **_options: object) -> None:
        if kwargs["schema"] == "t_kunlun":
            sent.append(kwargs)

    monkeypatch.setattr(states.sync_states, "apply_async", note)
    return sent


def test_only_what_has_changed_of_a_fleet_is_written_again(
    in_kunlun: Tenant, telemetry: TenantTelemetry, redis_log: redis.Redis,
    sent: list[dict[str, Any]],
) -> None:  # fmt: skip
    """What was changed behind its back shows whether it was written."""
    states.sync_changed_states()
    states.sync_states(**sent.pop())
    spoilt = [{"connector": str(each), "serial": "spoilt"} for each in KUNLUNS]

    def written(rows: changes.Rows | None) -> set[str]:
        telemetry.update_states(spoilt)
        changes.count("kunlun", rows)
        states.sync_changed_states()
        states.sync_states(**sent.pop())
        visible()
        found = telemetry.latest(KUNLUNS)
        return {key for key, state in found.items() if state.names["serial"] != "spoilt"}

    bens, second, claras = map(str, KUNLUNS)
    assert written(changes.Rows.of(connectors=[cast.CLARAS_CONNECTOR])) == {claras}
    assert written(changes.Rows.of(vehicles=[cast.BENS_VEHICLE])) == {bens, second}
    assert written(changes.Rows.of(devices=[cast.CLARAS_DEVICE])) == {claras}
    assert written(changes.Rows()) == set()  # a rule
    assert written(None) == {bens, second, claras}  # the catalogue, or who knows what
    redis_log.delete("ow:changes:kunlun")
    assert written(changes.Rows()) == set()
    changes.count("kunlun", changes.Rows())
    redis_log.delete("ow:changes:kunlun")
    assert written(changes.Rows()) == {bens, second, claras}  # one is not told any more


def test_while_a_task_for_its_changes_is_on_its_way_a_fleet_gets_no_second_one(
    in_kunlun: Tenant, telemetry: TenantTelemetry, sent: list[dict[str, Any]]
) -> None:
    states.sync_changed_states()
    states.sync_changed_states()
    assert len(sent) == 1
    changes.count("kunlun", changes.Rows())
    states.sync_changed_states()
    assert len(sent) == 1

    states.sync_states(**sent.pop())

    states.sync_changed_states()
    assert [kwargs["counter"] for kwargs in sent] == [1]  # what has changed meanwhile


def test_a_task_that_could_not_write_leaves_the_way_free(
    in_kunlun: Tenant, telemetry: TenantTelemetry, sent: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    states.sync_changed_states()
    away = TelemetryStore(client=cluster.client_of("http://127.0.0.1:9"))
    with monkeypatch.context() as patch:
        patch.setattr("apps.telemetry.tenant.the_store", lambda: away)
        states.sync_states(**sent.pop())

    states.sync_changed_states()
    assert len(sent) == 1


def test_a_vehicle_that_is_sold_takes_its_connectors_along(
    in_kunlun: Tenant, telemetry: TenantTelemetry
) -> None:
    states.write_fleet(telemetry)
    connector = Connector.objects.select_related("vehicle").get(pk=CONNECTOR)
    vehicle = connector.vehicle
    assert vehicle is not None
    city = Connector.objects.get(pk=cast.CLARAS_CONNECTOR).vehicle.organisation  # type: ignore[union-attr]
    change_vehicle(vehicle=vehicle, plate="", label="Sold", organisation=city)

    states.write_fleet(telemetry)

    state = telemetry.latest([CONNECTOR])[CONNECTOR]
    assert state.dimensions["organisation"] == str(cast.CITY)
    assert state.names["plate"] == ""


def test_the_documents_of_the_library_say_what_the_store_is_given(in_kunlun: Tenant) -> None:
    connector = Connector.objects.select_related("model", "vehicle__organisation").get(pk=CONNECTOR)

    prepared = ConnectorDocument().prepare(connector)

    assert prepared == connector_document(connector, tenant="kunlun")
    assert ConnectorDocument.generate_id(connector) == f"kunlun:{CONNECTOR}"
    assert prepared.keys() <= STATE.mappings["properties"].keys()
    assert ConnectorDocument.django.ignore_signals
    assert not ConnectorDocument.django.auto_refresh


def test_saving_a_row_writes_nothing_to_the_index(
    in_kunlun: Tenant, telemetry: TenantTelemetry
) -> None:
    Connector.objects.get(pk=CONNECTOR).save()
    visible()

    assert telemetry.states().total == 0


# --- devices --------------------------------------------------------------------------------------


def put_up(client: redis.Redis, device: str, *, online: bool, at: datetime, seen: datetime) -> None:
    """What acquisition leaves on its notice board."""
    at_ms, seen_ms = int(at.timestamp() * 1000), int(seen.timestamp() * 1000)
    status = {"online": online, "firmware": "3.0.0", "at_ms": at_ms}
    client.hset("ow:status:kunlun", device, json.dumps(status))
    client.hset("ow:seen:kunlun", device, seen_ms)


def test_a_devices_word_and_silence_reach_its_record(
    in_kunlun: Tenant, redis_log: redis.Redis
) -> None:
    moment = datetime.now(UTC)
    put_up(redis_log, "tbox-1", online=True, at=moment, seen=moment)
    hour_ago = moment - timedelta(hours=1)
    put_up(redis_log, "tbox-2", online=True, at=hour_ago, seen=hour_ago)
    Device.objects.filter(identifier="tbox-2").update(online=True)

    offline.tenant_offline(schema="t_kunlun")

    box, silent = Device.objects.order_by("identifier")
    assert (box.online, box.firmware) == (True, "3.0.0")
    assert box.last_seen_at is not None
    assert not silent.online

    put_up(redis_log, "tbox-1", online=False, at=moment + timedelta(seconds=5), seen=moment)
    offline.tenant_offline(schema="t_kunlun")
    assert not Device.objects.get(identifier="tbox-1").online


def test_an_unknown_device_on_the_board_makes_no_record(
    in_kunlun: Tenant, redis_log: redis.Redis
) -> None:
    put_up(redis_log, "stranger", online=True, at=NOW, seen=NOW)

    offline.tenant_offline(schema="t_kunlun")

    assert not Device.objects.filter(identifier="stranger").exists()


# --- slices and the account -----------------------------------------------------------------------


def test_slices_follow_the_classes_that_tenants_are_in(
    db: None, kunlun: Tenant, elasticsearch: str
) -> None:
    Tenant.objects.filter(pk=kunlun.pk).update(retention_class="90d")

    keeping.slices()

    assert any("readings-90d-" in name for name in the_store().indices())


def test_the_hourly_account_leaves_its_outcome(
    db: None, empty_elasticsearch: str, redis_log: redis.Redis
) -> None:
    accounts.close_account()

    outcome = board.last_account()
    assert outcome is not None
    assert outcome.closed
    assert outcome.open == {}


def test_an_open_account_is_told_to_the_operator_and_to_machines(
    db: None,
    empty_elasticsearch: str,
    client: Client,
    operator: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A ledger entry of which the store holds nothing: three readings are lost."""
    arrived_ms = NOW_MS - 3_600_000
    the_store().write_ledger([LedgerEntry("kunlun", 7, arrived_ms, 3, 0, {})])
    monkeypatch.setattr(accounts, "PATIENCE_S", 0.0)
    accounts.close_account()
    client.force_login(operator)
    for page in ("/", "/readiness/"):
        text = client.get(page, headers={"host": "localhost"}).text
        assert "The account is open: 3 readings" in text
        assert "kunlun 3" in text
    machines = client.get("/metrics").text
    assert 'ohmwatch_account_apart{tenant="kunlun"} 3.0' in machines
    assert 'ohmwatch_account_apart{tenant="total"} 3.0' in machines

    # Put right, by an entry that says so.
    the_store().write_ledger([LedgerEntry("kunlun", 7, arrived_ms, 0, 3, {})])
    accounts.close_account()
    assert "The account is open" not in client.get("/", headers={"host": "localhost"}).text
    assert "ohmwatch_account_apart{" in client.get("/metrics").text
    assert 'tenant="kunlun"} 3.0' not in client.get("/metrics").text


def test_what_has_arrived_becomes_rollups_by_one_run_at_a_time(
    telemetry: TenantTelemetry, redis_log: redis.Redis
) -> None:
    store = the_store()
    hour_ago = NOW_MS - 3 * 3_600_000
    document = {
        "@timestamp": hour_ago,
        "tenant": "kunlun",
        "connector": CONNECTOR,
        "current_a": 5.0,
    }
    action = {"create": {"_index": store.reading_index("30d", hour_ago)}}
    store.bulk(f"{json.dumps(action)}\n{json.dumps(document)}\n".encode())

    with building.free_turn() as turn:
        assert turn is not None
        rollups.rollups()
        assert store.marks() == []  # somebody else is at it
    rollups.rollups()

    assert {mark.level for mark in store.marks()} == {"1m", "1h", "1d"}
    assert not redis_log.exists(building.LEASE_KEY)


def test_a_run_tells_how_far_rollups_are_behind(
    telemetry: TenantTelemetry, redis_log: redis.Redis, client: Client
) -> None:
    assert board.rollup_lag() is None

    rollups.rollups()

    lag = board.rollup_lag()
    assert lag is not None
    assert lag.documents == {"1h": 0, "1d": 0, "1m": 0}
    assert 'ohmwatch_rollups_lag_seconds{level="1h"} 0.0' in client.get("/metrics").text


def test_rollups_give_way_while_a_slot_has_more_than_it_can_take(redis_log: redis.Redis) -> None:
    slots = Board(redis_log)
    slots.report(0, {"reading": True, "waiting_batches": 0})
    assert rollups.share_for(board.is_acquisition_pressed)() == rollups.SHARE

    slots.report(0, {"reading": False, "waiting_batches": 0})
    assert rollups.share_for(board.is_acquisition_pressed)() == rollups.PRESSED_SHARE
    redis_log.delete(board.PRESSED_KEY)
    slots.report(0, {"reading": True, "waiting_batches": 3})
    assert rollups.share_for(board.is_acquisition_pressed)() == rollups.PRESSED_SHARE


def test_rollups_wait_while_the_store_is_away(
    telemetry: TenantTelemetry, monkeypatch: pytest.MonkeyPatch, redis_log: redis.Redis
) -> None:
    away = TelemetryStore(client=cluster.client_of("http://127.0.0.1:9"), prefix="away-")
    monkeypatch.setattr(rollups, "the_store", lambda: away)

    rollups.rollups()

    assert not redis_log.exists(building.LEASE_KEY)
