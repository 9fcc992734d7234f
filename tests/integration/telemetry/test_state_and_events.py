"""All connectors across dimensions, worst first; their alarms' events; what was refused."""

from datetime import timedelta

import pytest

from apps.telemetry import parsing
from apps.telemetry.errors import WrongQuestion
from apps.telemetry.store import TelemetryStore
from apps.telemetry.tenant import EventFilter, StateFilter, TenantTelemetry
from tests.integration.telemetry.conftest import NOW, NOW_MS, minutes_ago


@pytest.fixture
def fleet(store: TelemetryStore, telemetry: TenantTelemetry) -> TenantTelemetry:
    """Six connectors of two models: critical, warning, fine (two), never reported, retired."""
    rows = [
        ("c-1", "HV-250", "critical", 3, -4.0, minutes_ago(1)),
        ("c-2", "HV-250", "warning", 2, 6.0, minutes_ago(2)),
        ("c-3", "HV-250", "ok", 0, 31.0, minutes_ago(3)),
        ("c-4", "CCS-500", "ok", 0, 22.0, minutes_ago(4)),
        ("c-5", "CCS-500", "ok", 0, None, None),
    ]
    telemetry.update_states(
        {
            "connector": connector,
            "serial": f"SN-{connector}",
            "model": model,
            "model_code": model,
            "organisation": "o-1" if connector in ("c-1", "c-4") else "o-2",
            "vin": "LSVAU2A34N2183294" if connector == "c-1" else None,
            "plate": "沪A·12345" if connector == "c-2" else None,
            "health": health,
            "severity_rank": rank,
            "margin_k": margin_k,
            "measured_at": measured_at,
            "service": "in_service",
        }
        for connector, model, health, rank, margin_k, measured_at in rows
    )
    store.refresh()
    return telemetry


def connectors(page: object) -> list[str]:
    return [state.connector for state in page.states]  # type: ignore[attr-defined]


def test_the_worst_comes_first_and_who_never_reported_last(fleet: TenantTelemetry) -> None:
    page = fleet.states(sort="worst")

    assert connectors(page) == ["c-1", "c-2", "c-4", "c-3", "c-5"]
    assert page.total == 5
    assert page.states[0].names["vin"] == "LSVAU2A34N2183294"
    assert page.states[-1].health == "unknown"


def test_who_has_no_margin_at_rated_load_follows_by_what_is_left_now(
    store: TelemetryStore, fleet: TenantTelemetry
) -> None:
    """At rest all are cool: a headroom is no margin, and is never weighed against one."""
    rows = [("c-5", 3.0), ("c-6", 2.0), ("c-3", 1.0)]
    fleet.update_states({"connector": name, "headroom_k": left_k} for name, left_k in rows)
    store.refresh()
    page = fleet.states(sort="margin")
    assert connectors(page) == ["c-1", "c-2", "c-4", "c-3", "c-6", "c-5"]
    assert [each.outlook.headroom_k for each in page.states[-3:]] == [1.0, 2.0, 3.0]


def test_facets_count_what_the_filter_leaves(fleet: TenantTelemetry) -> None:
    page = fleet.states(StateFilter(model="HV-250"), facets=["model", "organisation", "health"])

    assert page.facets == {
        "model": {"HV-250": 3},
        "organisation": {"o-2": 2, "o-1": 1},
        "health": {"ok": 1, "warning": 1, "critical": 1},
    }


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (StateFilter(model="HV-250", organisation="o-2", margin_below_k=10), ["c-2"]),
        (StateFilter(health="unknown"), ["c-5"]),
        (StateFilter(health=["ok", "warning"]), ["c-2", "c-4", "c-3"]),
        (StateFilter(search="lsvau2a"), ["c-1"]),
        (StateFilter(search="沪A"), ["c-2"]),
        (StateFilter(search="*"), []),
        (StateFilter(connector=["c-3", "c-4", "c-99"]), ["c-4", "c-3"]),
        (StateFilter(vehicle=[]), []),
    ],
)
def test_filters_narrow(fleet: TenantTelemetry, filters: StateFilter, found: list[str]) -> None:
    assert connectors(fleet.states(filters)) == found


def test_pages_follow_each_other(fleet: TenantTelemetry) -> None:
    pages = [fleet.states(sort="serial", page=number, size=2) for number in (1, 2, 3)]

    assert [connectors(page) for page in pages] == [["c-1", "c-2"], ["c-3", "c-4"], ["c-5"]]


def test_two_writers_share_a_document_without_touching_each_others_fields(
    store: TelemetryStore, telemetry: TenantTelemetry, ours: str
) -> None:
    telemetry.update_states([{"connector": "c-1", "serial": "SN-1", "health": "warning"}])
    last = {"current_a": 120.5, "x_oil": 3.0}
    live = {"tenant": ours, "connector": "c-1", "last": last, "measured_at": NOW}
    store.update_states([{**live, "arrived_at": NOW_MS + 5, "judged_at": NOW_MS + 9}])
    store.update_states([{**live, "last": {"voltage_v": 400.0}, "measured_at": NOW_MS + 1000}])

    state = telemetry.latest(["c-1"])["c-1"]

    assert state.names["serial"] == "SN-1"
    assert state.health == "warning"
    assert state.last == {"current_a": 120.5, "x_oil": 3.0, "voltage_v": 400.0}
    assert (state.measured_ms, state.arrived_ms, state.judged_ms) == (
        NOW_MS + 1000,
        NOW_MS + 5,
        NOW_MS + 9,
    )


def test_a_refused_row_does_not_hold_back_the_others(
    store: TelemetryStore, telemetry: TenantTelemetry
) -> None:
    bad = {"connector": "c-1", "margin_k": "wide"}

    results = telemetry.update_states([bad, {"connector": "c-2", "margin_k": 1.5}])

    assert [result.is_stored for result in results] == [False, True]
    assert telemetry.latest(["c-1", "c-2"]).keys() == {"c-2"}


def test_a_state_can_be_forgotten(store: TelemetryStore, fleet: TenantTelemetry) -> None:
    fleet.delete_states(["c-1", "c-never"])

    assert fleet.latest(["c-1", "c-2"]).keys() == {"c-2"}


def test_events_are_found_by_what_people_ask(
    store: TelemetryStore, telemetry: TenantTelemetry
) -> None:
    rows = [
        {
            "event": f"e-{number}",
            "number": number,
            "alarm": "a-1" if number < 3 else "a-2",
            "connector": "c-1",
            "kind": kind,
            "condition": "overtemperature",
            "severity": severity,
            "batch": "2026-03",
            "serial": "SN-0001",
            "judged_at": minutes_ago(10 - number),
            "evidence": {"temperature_pos_c": 131.5},
        }
        for number, kind, severity in [
            (1, "opened", "warning"),
            (2, "worsened", "critical"),
            (3, "opened", "notice"),
        ]
    ]
    telemetry.index_events(rows)
    telemetry.index_events(rows)  # the outbox may repeat itself
    store.refresh()

    page = telemetry.events(facets=["kind", "batch"])
    assert [event.number for event in page.events] == [3, 2, 1]
    assert page.facets == {"kind": {"opened": 2, "worsened": 1}, "batch": {"2026-03": 3}}
    assert page.events[0].evidence == {"temperature_pos_c": 131.5}
    recent = telemetry.events(EventFilter(alarm="a-1", start_ms=minutes_ago(8)))
    assert [event.number for event in recent.events] == [2]
    assert telemetry.events(EventFilter(search="sn-0001", severity="critical")).total == 1


def refuse(store: TelemetryStore, tenant: str, number: int, **more: object) -> None:
    fields = {"reason": "out_of_range", "device": "tbox-1", "payload": b"\x00\xff{", **more}
    lines = parsing.quarantine_lines(
        store.quarantine_index(NOW_MS),
        tenant=tenant,
        batch_id=5,
        number=number,
        arrived_ms=NOW_MS,
        **fields,  # type: ignore[arg-type]
    )
    (result,) = store.bulk(lines)
    assert result.is_stored or result.is_duplicate


def test_refused_messages_come_newest_first_without_their_bytes(
    store: TelemetryStore, telemetry: TenantTelemetry, ours: str
) -> None:
    for number in range(5):
        refuse(store, ours, number, field="current_a", count=2)
    refuse(store, ours, 0)  # a batch sent twice
    refuse(store, ours, 9, reason="undecodable", device="tbox-2")
    store.refresh()

    first = telemetry.quarantine(size=4)
    rest = telemetry.quarantine(size=4, after=first.after)

    assert (first.total, len(first.messages), len(rest.messages)) == (6, 4, 2)
    assert len({message.id for message in [*first.messages, *rest.messages]}) == 6
    assert first.reasons == {"out_of_range": 10, "undecodable": 1}
    assert all(not message.payload for message in first.messages)
    assert telemetry.quarantine(reason="undecodable").total == 1
    assert telemetry.quarantine(device="tbox-1", start=NOW - timedelta(hours=1)).total == 5
    assert telemetry.quarantine(end=NOW - timedelta(hours=1)).total == 0


def test_one_message_refused_for_many_reasons_is_whole_across_pages(
    store: TelemetryStore, telemetry: TenantTelemetry, ours: str
) -> None:
    reasons = ["no_quantity", "out_of_range", "time_too_old", "wrong_type"]
    for reason in reasons:
        lines = parsing.quarantine_lines(
            store.quarantine_index(NOW_MS),
            tenant=ours,
            batch_id=5,
            number=0,
            arrived_ms=NOW_MS,
            reason=reason,
        )
        assert store.bulk(lines.replace(b"5-0", f"5-0-{reason}".encode(), 1))[0].is_stored
    store.refresh()

    seen, after = [], ""
    for _ in reasons:
        page = telemetry.quarantine(size=1, after=after)
        seen += [message.reason for message in page.messages]
        after = page.after

    assert seen == reasons
    assert telemetry.quarantine(size=1, after=after).messages == []


def test_one_refused_message_comes_with_its_bytes(
    store: TelemetryStore, telemetry: TenantTelemetry, ours: str
) -> None:
    refuse(store, ours, 0, topic="ow/v1/x.tbox-1/readings", content_type="application/cbor")
    store.refresh()
    (listed,) = telemetry.quarantine().messages

    message = telemetry.quarantine_message(listed.id)

    assert message is not None
    assert message.payload == b"\x00\xff{"
    assert message.payload_bytes == 3
    assert message.topic == "ow/v1/x.tbox-1/readings"
    assert telemetry.quarantine_message(f"{ours}:5-99") is None


def test_a_made_up_position_in_the_pages_is_refused(telemetry: TenantTelemetry) -> None:
    with pytest.raises(WrongQuestion):
        telemetry.quarantine(after="1.2")
