"""Promise 6, Elasticsearch: tenants never see each other, whatever they ask and whatever they name.

Two tenants hold the same connector ids, serial numbers and event ids. What is theirs carries a
canary. Every method of the one repository class is asked with theirs in its arguments: no answer
may hold a canary, and no document of theirs may change, which its sequence number would tell. A
method that is added without a row here fails the last test.
"""

import dataclasses
import inspect
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any

import orjson
import pytest

from apps.telemetry import parsing
from apps.telemetry.answers import LedgerEntry
from apps.telemetry.documents import EVENTS_INDEX, STATE_INDEX
from apps.telemetry.errors import TelemetryError, WrongQuestion
from apps.telemetry.fleet import BY
from apps.telemetry.leaving import PARTS, TenantExport, Wanted
from apps.telemetry.quarantine import REPLAYED, Held, Settled, TenantQuarantine
from apps.telemetry.questions import EVENT_FACETS, STATE_FACETS, RefusedFilter
from apps.telemetry.rollups import Builder, Pace
from apps.telemetry.store import TelemetryStore
from apps.telemetry.tenant import EventFilter, FleetFilter, StateFilter, TenantTelemetry

NOW = datetime.now(UTC).replace(microsecond=0)
NOW_MS = int(NOW.timestamp() * 1000)
DAY = timedelta(days=1)
CANARY = "CANARY-B-"
OWN_CANARY = "x_canary_b"  # a quantity that only they have
CANARY_VALUE = 173.25  # a temperature that only theirs ever had
SHARED = "01900000-0000-7000-8000-000000000028"  # both tenants have a connector of this id
ONLY_THEIRS = "01900000-0000-7000-8000-0000000000ff"


@pytest.fixture(scope="module")
def pair(elasticsearch: str) -> tuple[str, str]:
    """Our slug, and theirs, which begins with ours: a careless prefix would let it through."""
    ours = f"kunlun-{token_hex(4)}"
    theirs = f"{ours}-b"
    store = TelemetryStore()
    fill(store, ours, "plain-", 41.0, [SHARED])
    fill(store, theirs, CANARY, CANARY_VALUE, [SHARED, ONLY_THEIRS])
    store.refresh()
    OURS.add(f"{ours}:")
    Builder(store, pace=Pace(share=1.0)).advance(NOW + 3 * DAY)
    return ours, theirs


def fill(
    store: TelemetryStore, tenant: str, mark: str, value: float, connectors: list[str]
) -> None:
    """One of everything for each connector; ids are equal in both tenants."""
    for number, connector in enumerate(connectors):
        time_ms = NOW_MS - 60_000
        action = {"create": {"_index": store.reading_index("30d", time_ms)}}
        reading = {
            "@timestamp": time_ms,
            "tenant": tenant,
            "connector": connector,
            "temperature_pos_c": value,
            f"x_{mark.strip('-').lower().replace('-', '_')}": 1.0,
            "batch": f"{mark}batch",
            "arrived_at": NOW_MS,
            "batch_id": 11,
        }
        refused = parsing.quarantine_lines(
            store.quarantine_index(NOW_MS),
            tenant=tenant,
            batch_id=11,
            number=number,
            arrived_ms=NOW_MS,
            reason="undecodable",
            detail=f"{mark}detail",
            device="tbox-1",
            payload=f"{mark}payload".encode(),
        )
        lines = orjson.dumps(action) + b"\n" + orjson.dumps(reading) + b"\n" + refused
        assert all(result.is_stored for result in store.bulk(lines))
        common = {"tenant": tenant, "connector": connector, "batch": f"{mark}batch"}
        store.update_states(
            [
                {
                    **common,
                    "serial": f"{mark}SN-1",
                    "model": f"{mark}M",
                    "installed_at": NOW,
                    "service": "in_service",
                    "last": {"temperature_pos_c": value},
                    "change": value,
                }
            ]
        )
        event = {**common, "event": f"e-{number}", "number": number, "judged_at": NOW_MS}
        store.index_events(
            [{**event, "kind": "opened", "alarm": f"a-{number}", "reason": f"{mark}reason"}]
        )
    store.write_ledger([LedgerEntry(tenant, 11, NOW_MS, len(connectors), 0, {})])


def theirs_everywhere(theirs: str) -> list[str]:
    """Ids as an attacker would write them."""
    return [
        ONLY_THEIRS,
        f"{theirs}:{ONLY_THEIRS}",
        f"../{theirs}:{ONLY_THEIRS}",
        f"{ONLY_THEIRS},{SHARED}",
        "*",
        "_all",
        f"<{theirs}-{{now/d}}>",
        f"{ONLY_THEIRS}?routing={theirs}",
        "",
    ]


class Everything(TenantQuarantine, TenantExport):
    """All that one tenant's telemetry can be asked."""


Ask = Callable[[Everything, str], Any]
START, END = NOW - DAY, NOW + timedelta(minutes=1)
LONG_AGO = NOW - 60 * DAY
TODAY_MS = NOW_MS // 86_400_000 * 86_400_000
TEMPERATURE = ["temperature_pos_c"]


def _of_message(telemetry: TenantQuarantine, named: str) -> list[object]:
    return list(telemetry.messages(RefusedFilter(message=named)))


def _stolen(named: str) -> list[Held]:
    """Everybody's refused messages as they lie in the store, and one under a made-up id."""
    hits = TelemetryStore().client.search(
        index=f"{TelemetryStore().prefix}quarantine-*", size=100, seq_no_primary_term=True
    )["hits"]["hits"]
    found = [
        Held(parsing.quarantined(hit), hit["_index"], hit["_seq_no"], hit["_primary_term"])
        for hit in hits
        if not hit["_id"].startswith(tuple(OURS))
    ]
    made_up = dataclasses.replace(found[0].message, id=named)
    return [*found, dataclasses.replace(found[0], message=made_up)]


OURS: set[str] = set()
"""How ids of our own begin; filled by the fixture."""
ROWS: dict[str, Ask] = {
    "series": lambda t, i: t.series(i, TEMPERATURE, start=START, end=END, points=10),
    "series_of": lambda t, i: (
        t.series_of([SHARED, i], TEMPERATURE, start=LONG_AGO, end=END, points=40),
        t.series(i, TEMPERATURE, start=LONG_AGO, end=END, points=700, with_last=True),
    ),
    "percentiles": lambda t, i: (
        t.percentiles("temperature_pos_c", start=LONG_AGO, end=END, by=["batch"], every=DAY),
        t.percentiles("temperature_pos_c", start=START, end=END, by=["connector", "age"]),
        t.percentiles(
            "temperature_pos_c", start=START, end=END, filters=FleetFilter(connector=[SHARED, i])
        ),
    ),
    "top": lambda t, i: (
        t.top("temperature_pos_c", by="batch", statistic="maximum", start=LONG_AGO, end=END),
        t.top(
            "temperature_pos_c",
            by="connector",
            statistic="mean",
            start=START,
            end=END,
            filters=FleetFilter(connector=i),
        ),
    ),
    "distribution": lambda t, i: t.distribution(
        "temperature_pos_c", start=LONG_AGO, end=END, filters=FleetFilter(batch=i or CANARY)
    ),
    "similar": lambda t, i: t.similar(i, now=NOW),
    "percentiles_now": lambda t, i: (
        t.percentiles_now("temperature_pos_c", now=NOW, by="batch"),
        t.percentiles_now("temperature_pos_c", now=NOW, by="age"),
        t.percentiles_now("temperature_pos_c", now=NOW, filters=StateFilter(connector=i)),
    ),
    "top_now": lambda t, i: (
        t.top_now("temperature_pos_c", now=NOW, by="batch", statistic="maximum"),
        t.top_now("margin_k", now=NOW, by="batch", statistic="p50", lowest=True),
    ),
    "alarm_counts": lambda t, i: t.alarm_counts(filters=EventFilter(connector=i)),
    "days": lambda t, i: [t.days(part, Wanted(LONG_AGO, END, [i])) for part in PARTS.values()],
    "documents": lambda t, i: (
        [
            list(t.documents(part, Wanted(LONG_AGO, END, chosen), TODAY_MS))
            for part in PARTS.values()
            for chosen in (None, [SHARED, i])
        ]
    ),
    "own_quantities": lambda t, i: [
        t.own_quantities(PARTS[name], Wanted(LONG_AGO, END)) for name in ("readings", "hours")
    ],
    "day_settles_ms": lambda t, i: t.day_settles_ms(PARTS["hours"], NOW_MS),
    "readings": lambda t, i: t.readings(i, start=START, end=END),
    "readings_around": lambda t, i: t.readings_around(i, NOW, before=9, after=9, within=DAY),
    "replay": lambda t, i: list(t.replay([SHARED, i], since_ms=0)),
    "counts": lambda t, i: t.counts({SHARED: [(0, 1 << 60)], i or SHARED: [(0, 1 << 60)]}),
    "latest": lambda t, i: t.latest([SHARED, i]),
    "states": lambda t, i: (
        t.states(facets=STATE_FACETS),
        t.states(StateFilter(connector=[SHARED, i]), facets=STATE_FACETS),
        t.states(StateFilter(search=i or CANARY)),
        t.states(StateFilter(batch=f"{CANARY}batch")),
    ),
    "aged": lambda t, i: list(t.aged()),
    "events": lambda t, i: (
        t.events(facets=EVENT_FACETS),
        t.events(EventFilter(connector=i)),
        t.events(EventFilter(search=i or CANARY)),
    ),
    "quarantine": lambda t, i: (t.quarantine(), t.quarantine(device=["tbox-1", i])),
    "quarantine_message": lambda t, i: t.quarantine_message(i),
    "count": lambda t, i: (t.count(RefusedFilter(message=i)), t.count(RefusedFilter(device=i))),
    "messages": lambda t, i: (list(t.messages(RefusedFilter())), _of_message(t, i)),
    "claimed_by": lambda t, i: t.claimed_by(1, 10),
    "to_replay": lambda t, i: t.to_replay(RefusedFilter(message=i), run=1, size=10),
    "outcome": lambda t, i: t.outcome(1),
    "claim": lambda t, i: t.claim(_stolen(i), run=1, first_batch=1),
    "settle": lambda t, i: t.settle(
        [Settled(held, REPLAYED, 0, (), 1) for held in _stolen(i)], now_ms=NOW_MS
    ),
    "account": lambda t, i: t.account(START, END),
    "update_states": lambda t, i: t.update_states([{"connector": i, "serial": "taken over"}]),
    "delete_states": lambda t, i: t.delete_states([i]),
    "index_events": lambda t, i: t.index_events([{"event": i, "number": 1, "judged_at": 1}]),
}


def theirs_unchanged(store: TelemetryStore, theirs: str) -> dict[str, Any]:
    """Each document of theirs with its sequence number and version."""
    answer = store.client.search(
        index=f"{store.prefix}*",
        query={"term": {"tenant": theirs}},
        size=100,
        seq_no_primary_term=True,
        version=True,
    )
    return {
        f"{hit['_index']}/{hit['_id']}": (hit["_seq_no"], hit["_version"], str(hit["_source"]))
        for hit in answer["hits"]["hits"]
    }


@pytest.mark.parametrize("method", ROWS)
def test_no_answer_holds_a_canary_and_nothing_of_theirs_changes(
    pair: tuple[str, str], method: str
) -> None:
    ours, theirs = pair
    store = TelemetryStore()
    telemetry = Everything(ours, store=store)
    before = theirs_unchanged(store, theirs)
    # 2 readings, states, events and refused each, 1 ledger; 2 minutes, hours and days
    assert len(before) == 15

    for named in theirs_everywhere(theirs):
        try:
            answer = repr(ROWS[method](telemetry, named))
        except TelemetryError:
            continue
        assert CANARY not in answer, named
        assert OWN_CANARY not in answer, named
        assert str(CANARY_VALUE) not in answer, named
        assert theirs not in answer, named

    store.refresh()
    assert theirs_unchanged(store, theirs) == before


def test_the_canaries_are_there_for_those_whose_they_are(pair: tuple[str, str]) -> None:
    _ours, theirs = pair
    telemetry = Everything(theirs)

    told = (
        "series",
        "series_of",
        "documents",
        "own_quantities",
        "percentiles",
        "top",
        "percentiles_now",
        "top_now",
        "alarm_counts",
    )
    told = (*told, "readings", "readings_around")
    for method in (*told, "replay", "latest", "states", "aged", "events", "quarantine"):
        answer = repr(ROWS[method](telemetry, ONLY_THEIRS))
        canaries = (CANARY, str(CANARY_VALUE), OWN_CANARY)
        assert any(canary in answer for canary in canaries), method


def test_equal_ids_are_two_documents(pair: tuple[str, str]) -> None:
    ours, theirs = pair

    mine = TenantTelemetry(ours).latest([SHARED])[SHARED]
    other = TenantTelemetry(theirs).latest([SHARED])[SHARED]

    assert mine.last == {"temperature_pos_c": 41.0}
    assert other.last == {"temperature_pos_c": CANARY_VALUE}


def test_a_refused_message_of_theirs_is_not_found_by_its_right_id(pair: tuple[str, str]) -> None:
    ours, theirs = pair
    listed = TenantTelemetry(theirs).quarantine().messages[0]
    telemetry = TenantTelemetry(ours)

    assert telemetry.quarantine_message(listed.id) is None
    forged = listed.id.replace(theirs, ours)
    found = telemetry.quarantine_message(forged)
    assert found is None or CANARY.encode() not in found.payload


def test_rows_that_name_another_tenant_are_refused(pair: tuple[str, str]) -> None:
    ours, theirs = pair
    telemetry = TenantTelemetry(ours)

    with pytest.raises(WrongQuestion):
        telemetry.update_states([{"tenant": theirs, "connector": SHARED, "serial": "x"}])
    with pytest.raises(WrongQuestion):
        telemetry.index_events([{"tenant": theirs, "event": "e-0", "number": 1, "judged_at": 1}])


@pytest.mark.parametrize(
    "slug", ["*", "kunlun,aurora", "kunlun*", "", "Kunlun", "_all", "a:b", "<x>", "-kunlun"]
)
def test_no_repository_is_for_more_than_one_tenant(elasticsearch: str, slug: str) -> None:
    with pytest.raises(WrongQuestion):
        TenantTelemetry(slug)


def test_a_document_under_our_id_that_names_another_tenant_stays_hidden(
    pair: tuple[str, str],
) -> None:
    # should anything ever write the wrong tenant under our id, each hit is looked at once more
    ours, theirs = pair
    store = TelemetryStore()
    planted = {"tenant": theirs, "connector": "planted", "serial": f"{CANARY}planted"}
    index = f"{store.prefix}{STATE_INDEX}"
    store.client.index(index=index, id=f"{ours}:planted", document=planted, refresh=True)
    try:
        assert TenantTelemetry(ours).latest(["planted"]) == {}
        assert CANARY not in repr(TenantTelemetry(ours).states())
    finally:
        store.client.delete(index=index, id=f"{ours}:planted", refresh=True)


def test_why_an_alias_is_not_the_wall(pair: tuple[str, str]) -> None:
    """The trap itself: through an alias filtered to us, get hands out their document."""
    ours, theirs = pair
    store = TelemetryStore()
    index, alias = f"{store.prefix}{STATE_INDEX}", f"{store.prefix}alias-of-{ours}"
    store.client.indices.put_alias(index=index, name=alias, filter={"term": {"tenant": ours}})
    try:
        searched = store.client.search(index=alias, query={"term": {"tenant": theirs}})
        assert searched["hits"]["total"]["value"] == 0
        got = store.client.get(index=alias, id=f"{theirs}:{ONLY_THEIRS}")
        assert got["found"]  # so nothing of ours relies on one
    finally:
        store.client.indices.delete_alias(index=index, name=alias)


def test_every_method_has_its_row() -> None:
    public = {
        name
        for name, _ in inspect.getmembers(Everything, inspect.isfunction)
        if not name.startswith("_")
    }

    assert public == ROWS.keys()


def test_no_filter_can_name_the_tenant() -> None:
    for filters in (StateFilter, EventFilter, RefusedFilter, FleetFilter):
        assert "tenant" not in {each.name for each in dataclasses.fields(filters)}
    assert "tenant" not in {*STATE_FACETS, *EVENT_FACETS, *BY}
    assert EVENTS_INDEX != STATE_INDEX
