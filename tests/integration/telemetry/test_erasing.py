"""Who is erased is in no index any more, others are untouched, and the account still closes."""

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from pathlib import Path
from secrets import token_hex
from threading import Event
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.management import CommandError, call_command
from django_tenants.utils import tenant_context
from elasticsearch import Elasticsearch

from apps.accounts.models import Organisation
from apps.platform import traces
from apps.telemetry import building, cluster, erasing, parsing
from apps.telemetry.answers import ItemResult, LedgerEntry
from apps.telemetry.erasing import erase
from apps.telemetry.errors import StoreUnavailable, TurnLost, WrongQuestion
from apps.telemetry.rollups import Builder, Pace
from apps.telemetry.slices import Retention
from apps.telemetry.store import TelemetryStore
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.models import Erasure, Tenant
from apps.tenants.operations import change_retention, drop_tenant
from tests.integration.telemetry.conftest import NOW, NOW_MS, reading_lines

CONNECTORS = ("c-1", "c-2")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> float:
    """Half a minute for the store's leases is for the one test that looks into segments."""
    patience_s = erasing.LEASES_S
    monkeypatch.setattr(erasing, "LEASES_S", 0.0)
    return patience_s


@pytest.fixture
def filled(store: TelemetryStore, ours: str, theirs: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """One of everything of two connectors of two tenants, on the same page; the batch's number."""
    monkeypatch.setattr(erasing, "PAGE", 3)  # several pages each
    batch = 5 << 48 | int(token_hex(4), 16)
    for tenant in (ours, theirs):
        lines = b""
        for number, connector in enumerate(CONNECTORS):
            rows = [(NOW_MS - 3_600_000 * hour, {"current_a": 1.0}) for hour in range(1, 6)]
            lines += reading_lines(store, tenant, rows, connector=connector, batch_id=batch)
            lines += parsing.quarantine_lines(
                store.quarantine_index(NOW_MS), tenant=tenant, batch_id=batch, number=number,
                arrived_ms=NOW_MS, reason="out_of_range", connector=connector, count=2,
            )  # fmt: skip
            row = {"tenant": tenant, "connector": connector}
            store.update_states([row])
            store.index_events([{**row, "event": f"e-{number}", "number": 1, "judged_at": NOW_MS}])
        assert all(result.is_stored for result in store.bulk(lines))
        store.write_ledger([LedgerEntry(tenant, batch, NOW_MS, 10, 0, {"out_of_range": 4})])
    store.refresh()
    Builder(store, pace=Pace(share=1.0)).advance(NOW + timedelta(days=2))
    return batch


@pytest.fixture
def held(store: TelemetryStore) -> Callable[..., int]:
    """How many documents of a tenant, or of one connector, there are in all indices."""

    def count(tenant: str, connector: str | None = None) -> int:
        store.refresh()
        whose = [{"term": {"tenant": tenant}}]
        if connector:
            whose.append({"term": {"connector": connector}})
        query = {"bool": {"filter": whose}}
        answer = store.client.count(index=f"{store.prefix}*", query=query)
        return int(answer["count"])

    return count


def test_a_connector_goes_and_the_account_still_closes(
    store: TelemetryStore, ours: str, theirs: str, filled: int, held: Callable[..., int]
) -> None:
    stays, others = held(ours, "c-2"), held(theirs)

    report = erase(store, ours, "c-1", now=NOW)

    assert held(ours, "c-1") == 0
    assert (held(ours, "c-2"), held(theirs)) == (stays, others)
    assert report.documents["readings"] == 5
    assert report.documents["state"] == report.documents["events"] == 1
    assert report.documents["quarantine"] == 1
    assert report.documents["rollup-1h"] == report.documents["rollup-1m"] == 5
    assert not report.indices
    (line,) = store.account(NOW_MS - 86_400_000, NOW_MS + 1, tenant=ours)
    assert line.is_closed
    assert (line.stored, line.received, line.quarantined) == (5, 7, {"out_of_range": 2})
    assert erase(store, ours, "c-1", now=NOW).total == 0


def test_a_tenant_goes_from_every_index(
    store: TelemetryStore, ours: str, theirs: str, filled: int, held: Callable[..., int]
) -> None:
    before, others = held(ours), held(theirs)

    report = erase(store, ours, now=NOW)

    assert held(ours) == 0
    assert held(theirs) == others
    assert report.total == before
    series = TenantTelemetry(ours, store=store).series(
        "c-1", ["current_a"], start=NOW - timedelta(days=8), end=NOW, points=100
    )
    assert series.buckets == []
    assert store.account(0, NOW_MS + 1, tenant=ours) == []


def test_rollups_in_hand_are_written_before_they_are_erased(
    store: TelemetryStore, ours: str, filled: int, held: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Who builds may rest for minutes between its search and its writing: erasing waits."""
    _read_more(store, ours)
    has_some, go_on, sleep = Event(), Event(), time.sleep

    def build() -> None:
        with building.free_turn() as turn:
            assert turn is not None

            def rest_before() -> None:
                has_some.set()
                assert go_on.wait(30)
                turn.go_on()

            builder = Builder(store, pace=Pace(share=1.0), may_write=rest_before)
            builder.advance(NOW + timedelta(days=2))

    def waits(seconds: float) -> None:
        go_on.set()
        sleep(seconds)

    monkeypatch.setattr(building.time, "sleep", waits)
    with ThreadPoolExecutor(1) as pool:
        at_it = pool.submit(build)
        assert has_some.wait(30)
        report = erase(store, ours, now=NOW)
        at_it.result()

    assert go_on.is_set()
    assert held(ours) == 0
    assert report.documents["rollup-1h"] == 12


def test_who_slept_through_an_erasure_writes_no_rollups(
    store: TelemetryStore, ours: str, filled: int, held: Callable[..., int], redis_log: redis.Redis
) -> None:
    """It was stopped, with rollups in hand, for longer than its turn lasts."""
    _read_more(store, ours)
    slept = False
    with building.free_turn() as turn:
        assert turn is not None

        def sleep_before() -> None:
            nonlocal slept
            if not slept:
                redis_log.delete(building.LEASE_KEY)
                erase(store, ours, now=NOW)
                slept = True
            turn.go_on()

        builder = Builder(store, pace=Pace(share=1.0), may_write=sleep_before)
        with pytest.raises(TurnLost):
            builder.advance(NOW + timedelta(days=2))

    assert slept
    assert held(ours) == 0


def _read_more(store: TelemetryStore, tenant: str) -> None:
    rows = [(NOW_MS - 3_600_000 * hour, {"current_a": 2.0}) for hour in (6, 7)]
    store.bulk(reading_lines(store, tenant, rows, connector=CONNECTORS[0]))
    store.refresh()


def test_an_index_that_is_a_tenants_alone_is_dropped_whole(elasticsearch: str, ours: str) -> None:
    store = TelemetryStore(prefix=f"{elasticsearch}alone-", open_days=1)
    store.prepare(NOW)
    try:
        store.bulk(reading_lines(store, ours, [(NOW_MS, {"current_a": 1.0})]))

        report = erase(store, ours, now=NOW)

        index = store.reading_index("30d", NOW_MS)
        assert report.indices == [index]
        assert store.client.count(index=index)["count"] == 0  # there again, empty
    finally:
        for index in store.indices():
            store.client.indices.delete(index=index)


def test_a_class_that_others_are_in_has_its_slices_afterwards(
    elasticsearch: str, ours: str
) -> None:
    store = TelemetryStore(prefix=f"{elasticsearch}classes-", open_days=1)
    store.prepare(NOW)
    store.ensure_slices(NOW, classes=["90d"])
    try:
        lines = reading_lines(store, ours, [(NOW_MS, {"current_a": 1.0})])
        assert store.bulk(lines.replace(b"readings-30d-", b"readings-90d-"))[0].is_stored
        others = [name for name in store.indices() if "readings-90d-" in name]
        index = store.reading_index("90d", NOW_MS)
        cluster.delete(store.client, [name for name in others if name != index])

        assert erase(store, ours, now=NOW, classes=["90d"]).indices == [index]

        assert [name for name in store.indices() if "readings-90d-" in name] == others
    finally:
        cluster.delete(store.client, store.indices())


@pytest.mark.django_db(transaction=True)
def test_the_command_erases_schema_hosts_and_record(
    elasticsearch: str, store: TelemetryStore, kunlun: Tenant
) -> None:
    call_command("create_tenant", "doomed", "Doomed", stdout=StringIO())
    store.bulk(reading_lines(store, "doomed", [(NOW_MS, {"current_a": 1.0})]))
    with tenant_context(Tenant.objects.get(slug="doomed")):
        Organisation.objects.create(name="Doomed Taxi")
    told = StringIO()
    with pytest.raises(ValueError, match="being served"):
        drop_tenant(tenant=Tenant.objects.get(slug="doomed"))

    call_command("erase", "--tenant", "doomed", "--yes", "--wait", "0", stdout=told)

    assert not Tenant.objects.filter(slug="doomed").exists()
    assert "Elasticsearch: 1 documents" in told.getvalue()
    assert "Detection: asked" in told.getvalue()
    kept = Erasure.objects.get(slug="doomed")
    assert (kept.failure, kept.report["documents"]) == ("", {"readings": 1})
    assert kept.report["rows"]["accounts_organisation"] == 1
    assert kept.report["rows"]["tenants_domain"] == kept.report["rows"]["tenants_tenant"] == 1
    listed = StringIO()
    call_command("erase", "--list", stdout=listed)
    assert listed.getvalue().strip() == told.getvalue().strip()
    call_command("erase", "--tenant", "doomed", "--yes", stdout=told)  # nothing is left to erase
    with pytest.raises(CommandError, match="no tenant"):
        call_command("erase", "--tenant", "doomed", "--connector", "c-1", "--yes")


@pytest.mark.django_db(transaction=True)
def test_what_was_erased_before_it_failed_is_kept(
    store: TelemetryStore, kunlun: Tenant, ours: str, filled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **_more: object) -> None:
        raise StoreUnavailable(status=503)

    monkeypatch.setattr(erasing, "_merge_away", broken)

    with pytest.raises(CommandError, match="ask again"):
        call_command("erase", "--tenant", ours, "--yes")

    kept = Erasure.objects.get(slug=ours)
    assert "store_unavailable" in kept.failure
    assert kept.report["documents"]["readings"] == 10


def test_no_kind_of_key_in_redis_is_left_of_a_tenant(
    elasticsearch: str, redis_log: redis.Redis, transactional_db: None
) -> None:
    """One of each kind, which the code names; a device called like the tenant is another's."""
    with redis.Redis.from_url(settings.REDIS_CACHE_URL) as cache:
        others = {"ow:clock:kunlun:doomed", "ow:log:7", "ow:seen:doomed-too"}
        for key in others:
            redis_log.set(key, "x")
        for kind in traces.KINDS:
            for client in (redis_log, cache):
                client.set(f"ow:{kind}:doomed", "x")
                client.set(f"ow:{kind}:doomed:more:of:it", "x")
        for name in traces.BY_SLUG:
            redis_log.hset(name, mapping={"doomed": 1, "kunlun": 1})
        counted = {"upto": 1, "doomed stored": 1, "doomed-too stored": 1}
        redis_log.hset("ow:counted:0", mapping=counted)
        cache.set("t_doomed:1:x", "x")

        call_command("erase", "--tenant", "doomed", "--yes", stdout=StringIO())

        left = {key.decode() for client in (redis_log, cache) for key in client.keys("*doomed*")}
        assert left == others - {"ow:log:7"}
        assert all(redis_log.hkeys(name) == [b"kunlun"] for name in traces.BY_SLUG)
        assert redis_log.hkeys("ow:counted:0") == [b"upto", b"doomed-too stored"]


def test_every_key_that_the_code_names_is_a_tenants_or_known_to_be_nobodys() -> None:
    root = Path(__file__).parents[3]
    code = [
        path for folder in ("apps", "workers", "config") for path in (root / folder).rglob("*.py")
    ]
    named = {kind for path in code for kind in re.findall(r"[\"']ow:([a-z-]+)", path.read_text())}

    nobodys = {
        *("log", "lease", "holder", "wake", "counted"),
        *("acquisition", "acquisition-pressed", "acquisition-retired"),
        *("account", "rollup-lag", "rollups", "slots-heard", "plugins", "credentials", "late"),
        *("fullest-shards", "detection"),
    }
    by_slug = {name.removeprefix("ow:") for name in traces.BY_SLUG}
    assert named == {*traces.KINDS, *nobodys, *by_slug}


def test_another_tenants_first_reading_keeps_the_index(
    elasticsearch: str, ours: str, theirs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes after the first count, and is answered: it must be there afterwards."""
    store = TelemetryStore(prefix=f"{elasticsearch}rival-", open_days=1)
    store.prepare(NOW)
    block = cluster.block_writes

    def just_before(client: Elasticsearch, index: str) -> None:
        if index == store.reading_index("30d", NOW_MS):
            lines = reading_lines(store, theirs, [(NOW_MS, {"current_a": 2.0})])
            assert [result.is_stored for result in store.bulk(lines)] == [True]
        block(client, index)

    monkeypatch.setattr(cluster, "block_writes", just_before)
    try:
        store.bulk(reading_lines(store, ours, [(NOW_MS, {"current_a": 1.0})]))

        report = erase(store, ours, now=NOW)

        assert (report.documents["readings"], report.indices) == (1, [])
        store.refresh()
        assert store.client.count(index=store.reading_index("30d", NOW_MS))["count"] == 1
        more = reading_lines(store, theirs, [(NOW_MS - 1, {"current_a": 2.0})])
        assert store.bulk(more)[0].is_stored  # it takes writes again
    finally:
        cluster.delete(store.client, store.indices())


def test_who_writes_while_an_index_is_dropped_is_refused_and_tries_again(
    elasticsearch: str, ours: str, theirs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TelemetryStore(prefix=f"{elasticsearch}rival-", open_days=1)
    store.prepare(NOW)
    lines = reading_lines(store, theirs, [(NOW_MS, {"current_a": 2.0})])
    answers: list[ItemResult] = []
    counted = erasing._counted

    def meanwhile(*arguments: Any) -> Any:
        if len(arguments) == 4:
            answers.extend(store.bulk(lines))
        return counted(*arguments)

    monkeypatch.setattr(erasing, "_counted", meanwhile)
    try:
        store.bulk(reading_lines(store, ours, [(NOW_MS, {"current_a": 1.0})]))

        report = erase(store, ours, now=NOW)

        assert report.indices == [store.reading_index("30d", NOW_MS)]
        assert [answer.error_type for answer in answers] == ["cluster_block_exception"]
        assert store.bulk(lines)[0].is_stored
    finally:
        cluster.delete(store.client, store.indices())


def test_a_block_that_a_killed_run_left_goes(elasticsearch: str, ours: str, theirs: str) -> None:
    store = TelemetryStore(prefix=f"{elasticsearch}rival-", open_days=1)
    store.prepare(NOW)
    try:
        for tenant in (ours, theirs):
            store.bulk(reading_lines(store, tenant, [(NOW_MS, {"current_a": 1.0})]))
        cluster.block_writes(store.client, store.reading_index("30d", NOW_MS))

        assert erase(store, ours, now=NOW).documents["readings"] == 1

        more = reading_lines(store, theirs, [(NOW_MS - 1, {"current_a": 2.0})])
        assert store.bulk(more)[0].is_stored
    finally:
        cluster.delete(store.client, store.indices())


def test_nothing_is_erased_without_the_word(
    elasticsearch: str, kunlun: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda _: "no")

    with pytest.raises(CommandError, match="Nothing was erased"):
        call_command("erase", "--tenant", "kunlun")

    assert Tenant.objects.get(slug="kunlun").is_ready


def test_a_tenant_is_moved_to_another_class(
    store: TelemetryStore, elasticsearch: str, kunlun: Tenant
) -> None:
    told = StringIO()

    call_command("retention", "kunlun", "90d", stdout=told)

    assert Tenant.objects.get(slug="kunlun").retention_class == "90d"
    assert store.reading_index("90d", NOW_MS) in store.indices()
    assert "90 days" in told.getvalue()
    change_retention(tenant=kunlun, retention_class="30d", now=NOW)
    assert Tenant.objects.get(slug="kunlun").retention == Retention("30d")  # it never began
    with pytest.raises(CommandError):
        call_command("retention", "nobody", "30d")


def test_a_tenant_that_is_large_gets_a_class_of_its_own(
    store: TelemetryStore, elasticsearch: str, kunlun: Tenant
) -> None:
    call_command("retention", "kunlun", "30d", "--own", stdout=StringIO())

    assert Tenant.objects.get(slug="kunlun").retention_class == "30dkunlun"
    index = store.reading_index("30dkunlun", NOW_MS)
    assert index in store.indices()
    assert index != store.reading_index("30d", NOW_MS)


def test_only_what_is_one_tenants_can_be_named(store: TelemetryStore) -> None:
    for tenant, connector in (("*", None), ("kunlun", "*"), ("a,b", None), ("kunlun", "a,b")):
        with pytest.raises(WrongQuestion):
            erase(store, tenant, connector, now=NOW)


def test_bytes_of_few_among_many_are_gone_from_the_segments(
    elasticsearch: str, ours: str, theirs: str, impatient: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store merges deleted documents away where they are a tenth of a segment, left to itself."""
    monkeypatch.setattr(erasing, "LEASES_S", impatient)
    store = TelemetryStore(prefix=f"{elasticsearch}few-", open_days=1)
    store.prepare(NOW)
    try:
        for tenant, number in ((ours, 10), (theirs, 1_000)):
            rows = [(NOW_MS - 1000 * each, {"current_a": 1.0}) for each in range(number)]
            store.bulk(reading_lines(store, tenant, rows))
        index = store.reading_index("30d", NOW_MS)
        store.client.indices.forcemerge(index=index, max_num_segments=1)

        erase(store, ours, now=NOW)

        store.refresh()
        stats = store.client.indices.stats(index=index, metric="docs")["_all"]["primaries"]["docs"]
        segments = store.client.indices.segments(index=index)["indices"]
        deleted = [segment["deleted_docs"] for shards in segments[index]["shards"].values()
                   for shard in shards for segment in shard["segments"].values()]  # fmt: skip
        assert stats["count"] == 1_000
        assert sum(deleted) == 0, (stats, deleted)
    finally:
        cluster.delete(store.client, store.indices())
