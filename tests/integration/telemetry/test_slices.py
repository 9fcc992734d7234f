"""Slices exist before they are needed, and go as a whole once nothing in them may be kept."""

from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from apps.telemetry import cluster
from apps.telemetry.errors import StoreRefused, StoreUnavailable
from apps.telemetry.levels import HOUR
from apps.telemetry.rollups import Builder, Pace
from apps.telemetry.store import TelemetryStore
from apps.telemetry.tenant import TenantTelemetry
from tests.integration.telemetry.conftest import CONNECTOR, NOW, forget, reading_lines


@pytest.fixture
def young_store(elasticsearch: str) -> Iterator[TelemetryStore]:
    """A store with indices of its own that accepts readings a day back."""
    store = TelemetryStore(prefix=f"{elasticsearch}slices-", open_days=1)
    store.prepare(NOW)
    yield store
    forget(store)


def test_preparing_twice_makes_nothing_the_second_time(young_store: TelemetryStore) -> None:
    before = young_store.indices()

    assert young_store.prepare(NOW) == []
    assert young_store.indices() == before


def test_readings_at_both_ends_of_the_open_range_are_stored(young_store: TelemetryStore) -> None:
    for moment_ms in young_store.open_range_ms(NOW):
        lines = reading_lines(young_store, "kunlun", [(moment_ms, {"current_a": 1.0})])
        assert young_store.bulk(lines)[0].is_stored


def test_a_slice_refuses_what_lies_outside_it(young_store: TelemetryStore) -> None:
    _oldest_ms, newest_ms = young_store.open_range_ms(NOW)
    index = young_store.reading_index("30d", newest_ms)
    far_ms = newest_ms + 30 * 86_400_000
    lines = reading_lines(young_store, "kunlun", [(far_ms, {"current_a": 1.0})])
    wrong = lines.replace(young_store.reading_index("30d", far_ms).encode(), index.encode())

    assert young_store.bulk(wrong)[0].status == 400


def test_time_goes_on_and_old_slices_go(young_store: TelemetryStore) -> None:
    before = set(young_store.indices())
    later = NOW + timedelta(days=50)

    made = young_store.ensure_slices(later)
    dropped = young_store.drop_expired(later)

    assert made
    assert {name.removeprefix(young_store.prefix).split("-2")[0] for name in dropped} == {
        "readings-30d",
        "quarantine",
    }
    assert set(dropped) < before
    assert young_store.drop_expired(later) == []
    # the ledger stays as long as the readings of any class that there is
    assert any("account" in name for name in young_store.drop_expired(NOW + timedelta(days=382)))


def test_a_slice_that_has_ended_becomes_one_segment_and_stays_so(
    young_store: TelemetryStore,
) -> None:
    newest_ms = young_store.open_range_ms(NOW)[1]
    index = young_store.reading_index("30d", newest_ms)

    def add(first: int, count: int) -> None:
        rows = [(newest_ms - n, {"current_a": 1.0}) for n in range(first, first + count)]
        young_store.bulk(reading_lines(young_store, "kunlun", rows))
        young_store.refresh()

    def segments() -> int:
        shards = young_store.client.indices.segments(index=index)["indices"][index]["shards"]
        return len(shards["0"][0]["segments"])

    add(0, 30)
    add(30, 30)
    assert segments() == 2
    assert young_store.merge_closed(NOW) is None  # it is still being filled

    later = NOW + timedelta(days=9)
    assert young_store.merge_closed(later) == index
    assert (segments(), young_store.merge_closed(later)) == (1, None)
    add(60, 1)  # a few that come late are not worth to write it all anew
    assert (segments(), young_store.merge_closed(later)) == (2, None)
    add(61, 30)
    assert (young_store.merge_closed(later), segments()) == (index, 1)


def test_a_class_has_slices_once_a_tenant_is_in_it(young_store: TelemetryStore) -> None:
    assert not [name for name in young_store.indices() if "readings-1y" in name]

    made = young_store.ensure_slices(NOW, classes=["1y", "no-such-class"])

    assert made
    assert all(name.startswith("readings-1y-") for name in made)
    assert young_store.ensure_slices(NOW) == []


def test_a_class_of_a_tenants_own_lives_as_its_base_does(young_store: TelemetryStore) -> None:
    young_store.ensure_slices(NOW, classes=["30dkunlun"])
    moment_ms = young_store.open_range_ms(NOW)[0] + 1
    default, own = (young_store.reading_index(name, moment_ms) for name in ("30d", "30dkunlun"))
    lines = reading_lines(young_store, "kunlun", [(moment_ms, {"current_a": 4.0})])
    assert default != own
    assert young_store.bulk(lines.replace(default.encode(), own.encode()))[0].is_stored
    week_on = young_store.ensure_slices(NOW + timedelta(days=7))  # nobody names it: it is there
    assert [name for name in week_on if name.startswith("readings-30dkunlun-")]

    Builder(young_store, pace=Pace(share=1.0)).advance(NOW)

    held = [name.removeprefix(young_store.prefix) for name in young_store.indices()]
    for kind in ("readings", "rollup-1m", "rollup-1h"):
        assert [name for name in held if name.startswith(f"{kind}-30dkunlun-")], kind
    series = TenantTelemetry("kunlun", store=young_store).series(
        CONNECTOR, ["current_a"], start=NOW - timedelta(days=2), end=NOW, points=24
    )
    assert [bucket.values["current_a"].maximum for bucket in series.buckets] == [4.0]
    dropped = young_store.drop_expired(NOW + timedelta(days=60))
    assert [name for name in dropped if "readings-30dkunlun-" in name]
    assert not [name for name in dropped if "rollup-1h-30dkunlun-" in name]


def test_questions_go_across_slices_and_classes(young_store: TelemetryStore) -> None:
    young_store.ensure_slices(NOW, classes=["1y"])
    oldest_ms, newest_ms = young_store.open_range_ms(NOW)
    for index_class, moment_ms in (("30d", oldest_ms), ("1y", newest_ms)):
        lines = reading_lines(young_store, "kunlun", [(moment_ms, {"current_a": 1.0})])
        default = young_store.reading_index("30d", moment_ms).encode()
        chosen = young_store.reading_index(index_class, moment_ms).encode()
        assert young_store.bulk(lines.replace(default, chosen))[0].is_stored
    young_store.refresh()

    page = TenantTelemetry("kunlun", store=young_store).readings(
        CONNECTOR, start=NOW - timedelta(days=2), end=NOW + timedelta(hours=1)
    )

    assert [reading.measured_ms for reading in page.readings] == [oldest_ms, newest_ms]


def test_the_readings_index_is_a_time_series_of_tenant_and_connector(
    young_store: TelemetryStore,
) -> None:
    index = young_store.reading_index("30d", young_store.open_range_ms(NOW)[1])

    found = young_store.client.indices.get(index=index)[index]

    assert found["settings"]["index"]["mode"] == "time_series"
    assert found["settings"]["index"]["routing_path"] == ["tenant", "connector"]
    dimensions = {
        name
        for name, field in found["mappings"]["properties"].items()
        if field.get("time_series_dimension")
    }
    assert dimensions == {"tenant", "connector"}


def test_deleting_takes_whole_names_only(young_store: TelemetryStore) -> None:
    for pattern in ("*", f"{young_store.prefix}readings-*", "a,b", ""):
        with pytest.raises(ValueError, match="not one index"):
            cluster.delete(young_store.client, [pattern])


def test_a_store_that_is_away_is_told_apart_from_one_that_refuses(
    young_store: TelemetryStore,
) -> None:
    away = TelemetryStore(client=cluster.client_of("http://127.0.0.1:9"), prefix="away-")
    with pytest.raises(StoreUnavailable):
        away.bulk(b'{"create":{"_index":"away-x"}}\n{}\n')
    with pytest.raises(StoreRefused):
        young_store.bulk(b"not json at all\n")


def test_search_index_is_refused_before_it_touches_anything(elasticsearch: str) -> None:
    url = str(settings.ENVIRONMENT.elasticsearch_url)
    before = httpx.get(f"{url}_cat/indices/{elasticsearch}events-1?h=uuid").text

    with pytest.raises((CommandError, TypeError, SystemExit)):
        call_command("search_index", "--rebuild", "-f")
    with pytest.raises(CommandError, match="all tenants share"):
        call_command("search_index")

    assert httpx.get(f"{url}_cat/indices/{elasticsearch}events-1?h=uuid").text == before


def test_a_slice_has_shards_for_the_size_of_those_before_it(
    young_store: TelemetryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.telemetry.sizing.SHARD_BYTES", 50)
    monkeypatch.setattr("apps.telemetry.sizing.SHARDS_LIMIT", 3)
    later = NOW + timedelta(days=14)

    made = [name for name in young_store.ensure_slices(later) if name.startswith("readings-")]

    settings_of = young_store.client.indices.get_settings(index=young_store.prefix + made[-1])
    (held,) = (each["settings"]["index"] for each in settings_of.values())
    assert held["number_of_shards"] == "3"
    moment_ms = int(later.timestamp() * 1000) - 2 * 3_600_000
    lines = b"".join(
        reading_lines(young_store, "kunlun", [(moment_ms, {"current_a": float(n)})],
                      connector=f"c-{n}") for n in range(40)
    )  # fmt: skip
    assert all(result.is_stored for result in young_store.bulk(lines))
    assert all(result.is_duplicate for result in young_store.bulk(lines))

    builder = Builder(young_store, pace=Pace(share=1.0))
    assert builder.advance(later, levels=[HOUR]) == 40  # from three shards, each with its mark
    assert builder.advance(later, levels=[HOUR]) == 0
    top = TenantTelemetry("kunlun", store=young_store).top(
        "current_a", by="connector", statistic="maximum", start=later - timedelta(days=1), end=later
    )
    assert (top.total, top.rows[0].maximum) == (40, 39.0)


def test_rollups_expire_after_their_own_time_and_their_marks_with_the_source(
    young_store: TelemetryStore,
) -> None:
    moment_ms = young_store.open_range_ms(NOW)[0] + 1
    young_store.bulk(reading_lines(young_store, "kunlun", [(moment_ms, {"current_a": 1.0})]))
    builder = Builder(young_store, pace=Pace(share=1.0))
    builder.advance(NOW)
    assert {mark.level for mark in young_store.marks()} >= {"1m", "1h"}

    young_store.drop_expired(NOW + timedelta(days=60))

    left = [name.removeprefix(young_store.prefix) for name in young_store.indices()]
    assert not [name for name in left if name.startswith("readings-")]
    assert {name.rsplit("-", 2)[0] for name in left if name.startswith("rollup-")} == {
        "rollup-1m",
        "rollup-1h",
        "rollup-1d",
    }
    assert {mark.level for mark in young_store.marks()} <= {"1d"}
    builder.advance(NOW + timedelta(days=60))
    series = TenantTelemetry("kunlun", store=young_store).series(
        CONNECTOR, ["current_a"], start=NOW - timedelta(days=5), end=NOW, points=500
    )
    assert [bucket.count for bucket in series.buckets] == [1]  # minutes know it still

    dropped = young_store.drop_expired(NOW + timedelta(days=700))
    assert [name for name in dropped if "rollup-1h" in name]
    assert not [name for name in dropped if "rollup-1d" in name]
