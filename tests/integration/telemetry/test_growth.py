"""An index that outgrows its shards gets more of them, while readings come in and repeat."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from io import StringIO
from typing import Any

import orjson
import pytest
import redis
from django.core.management import call_command

from apps.telemetry import board, cluster, reindexing, sizing, slices
from apps.telemetry.documents import EVENTS_INDEX
from apps.telemetry.errors import StoreRefused, StoreUnavailable
from apps.telemetry.growth import Growth, outgrowing, too_full
from apps.telemetry.levels import HOUR, MINUTE
from apps.telemetry.reindexing import Copy, TakenOver
from apps.telemetry.rollups import Builder, Pace
from apps.telemetry.store import TelemetryStore
from apps.telemetry.tenant import TenantTelemetry
from tests.integration.telemetry.conftest import NOW, NOW_MS, forget, reading_lines
from workers.upkeep import growth

TENANT = "kunlun"
START_MS = slices.slice_of("readings-30d", 7, NOW_MS).start_ms
END_MS = START_MS + 7 * slices.DAY_MS
SUNDAY = slices.from_ms(END_MS) - timedelta(hours=12)
LATER = NOW + timedelta(hours=3)


@pytest.fixture
def young_store(elasticsearch: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TelemetryStore]:
    """A store of its own, in which forty documents fill a shard and a tenth of them is enough."""
    monkeypatch.setattr(sizing, "SHARD_DOCUMENTS", 40)
    monkeypatch.setattr(sizing, "SHARDS_LIMIT", 8)
    store = TelemetryStore(prefix=f"{elasticsearch}growth-", open_days=1)
    store.prepare(NOW)
    yield store
    forget(store)


def add(store: TelemetryStore, numbers: Sequence[int], *, current_a: float = 1.0) -> list[Any]:
    """A reading of each of so many connectors, in the middle hour of the running slice."""
    time_ms = START_MS + 3 * slices.DAY_MS + 12 * 3_600_000
    lines = [
        reading_lines(store, TENANT, [(time_ms + n, {"current_a": current_a})], connector=f"c-{n}")
        for n in numbers
    ]
    results = store.bulk(b"".join(lines))
    store.refresh()
    return results


def index_of(store: TelemetryStore) -> str:
    return store.reading_index("30d", START_MS)


def shards_of(store: TelemetryStore, name: str) -> int:
    (held,) = store.client.indices.get_settings(index=name, flat_settings=True).body.values()
    return int(held["settings"]["index.number_of_shards"])


def count(store: TelemetryStore) -> int:
    store.refresh()
    return int(store.client.count(index=f"{store.prefix}readings-*")["count"])


def growing(store: TelemetryStore, said: list[str] | None = None) -> Growth:
    say: Callable[[str], None] = (said if said is not None else []).append
    return Growth(store, say=say, pace=Pace(share=1.0))


# --- the next slice -----------------------------------------------------------------------------


def test_tomorrows_slice_has_shards_for_what_todays_comes_to(young_store: TelemetryStore) -> None:
    """A fleet that came this week; the slice before is empty."""
    add(young_store, range(60))

    made = [name for name in young_store.ensure_slices(SUNDAY) if "readings" in name]

    assert made == [slices.slice_of("readings-30d", 7, END_MS).name]
    assert shards_of(young_store, young_store.prefix + made[0]) == 3  # 60, by 14/13 and 1.25
    assert young_store.ensure_slices(SUNDAY) == []


def test_minutes_follow_their_size_as_well(young_store: TelemetryStore) -> None:
    add(young_store, range(60))
    Builder(young_store, pace=Pace(share=1.0)).advance(SUNDAY, levels=[MINUTE])
    width_ms = MINUTE.slice_days * slices.DAY_MS
    this = slices.slice_of("rollup-1m-30d", MINUTE.slice_days, NOW_MS)
    later_ms = this.end_ms + width_ms

    index = young_store.rollup_index(MINUTE, "30d", later_ms)
    young_store.ensure_rollup_index(MINUTE, index, slices.from_ms(later_ms))

    assert shards_of(young_store, young_store.rollup_index(MINUTE, "30d", NOW_MS)) == 1
    assert shards_of(young_store, index) == 2


def test_a_first_slice_has_shards_for_the_readings_that_are_told(
    elasticsearch: str, settings: Any
) -> None:
    settings.TELEMETRY_READINGS_PER_S = 4_000
    store = TelemetryStore(prefix=f"{elasticsearch}told-", open_days=1)
    store.prepare(NOW)
    try:
        assert shards_of(store, index_of(store)) == 4
        assert shards_of(store, store.account_index(NOW_MS)) == 1
    finally:
        forget(store)


# --- the running slice --------------------------------------------------------------------------


def test_a_running_slice_that_outgrows_its_shards_gets_more_while_readings_come_in(
    young_store: TelemetryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = index_of(young_store)
    noon = slices.from_ms(START_MS) + timedelta(days=4)
    add(young_store, range(60))
    builder = Builder(young_store, pace=Pace(share=1.0))
    assert builder.advance(noon, levels=[HOUR, MINUTE]) == 120
    monkeypatch.setattr(reindexing, "PAGE", 20)
    write, more = Copy._write, iter(range(60, 75, 5))

    def meanwhile(self: Copy, page: list[dict[str, Any]]) -> None:
        write(self, page)
        if (first := next(more, None)) is not None:
            assert all(result.is_stored for result in add(young_store, range(first, first + 5)))
            assert count(young_store) == first + 5

    monkeypatch.setattr(Copy, "_write", meanwhile)
    wanted = {each.index: shards for each, shards in outgrowing(young_store.extents(noon))}

    done = growing(young_store).go_on(young_store.extents(noon), lambda: False)

    assert done is not None
    assert (done.old, done.new, done.documents) == (index, f"{index}.2", 75)
    assert shards_of(young_store, index) == wanted[index] > 1
    assert young_store.unfinished() == []
    assert all(result.is_duplicate for result in add(young_store, range(75)))
    assert [result.is_stored for result in add(young_store, [75])] == [True]
    assert young_store.ensure_slices(noon) == []
    # What rollups had taken in they needn't take in again; what came since they do.
    assert 2 * 1 <= builder.advance(noon, levels=[HOUR, MINUTE]) < 2 * 60
    top = TenantTelemetry(TENANT, store=young_store).top(
        "current_a", by="connector", statistic="maximum",
        start=slices.from_ms(START_MS), end=slices.from_ms(END_MS),
    )  # fmt: skip
    assert top.total == 76


def test_it_goes_on_piece_by_piece_also_behind_one_that_was_killed(
    young_store: TelemetryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reindexing, "PAGE", 20)
    noon = slices.from_ms(START_MS) + timedelta(days=4)
    add(young_store, range(60))
    said: list[int] = []
    copy_all = Copy._write

    def written(self: Copy, page: list[dict[str, Any]]) -> None:
        copy_all(self, page)
        said.append(len(page))

    monkeypatch.setattr(Copy, "_write", written)
    assert growing(young_store).go_on(young_store.extents(noon), lambda: True) is None  # a page
    assert young_store.unfinished() == [f"{index_of(young_store)}.2"]

    def killed(self: Copy, page: list[dict[str, Any]]) -> None:
        copy_all(self, page)
        raise KeyboardInterrupt

    monkeypatch.setattr(Copy, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        growing(young_store).go_on(young_store.extents(noon), lambda: False)
    monkeypatch.setattr(Copy, "_write", written)
    monkeypatch.setattr(sizing, "SHARD_DOCUMENTS", 10**9)  # nothing outgrows its shards any more
    done = growing(young_store).go_on(young_store.extents(noon), lambda: False)

    assert done is not None
    assert said == [20, 20, 20]  # the killed one's page once more: it is there already
    assert (done.documents, count(young_store)) == (60, 60)
    assert growing(young_store).go_on(young_store.extents(noon), lambda: False) is None


def test_a_store_that_is_busy_costs_nothing_of_what_is_copied(
    young_store: TelemetryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    noon = slices.from_ms(START_MS) + timedelta(days=4)
    add(young_store, range(60))

    def busy(self: Copy) -> None:
        raise StoreUnavailable(status=429)

    with monkeypatch.context() as patch:
        patch.setattr(Copy, "_must_agree", busy)
        with pytest.raises(StoreUnavailable):
            growing(young_store).go_on(young_store.extents(noon), lambda: False)

    assert young_store.unfinished() == [f"{index_of(young_store)}.2"]
    assert add(young_store, [60])[0].is_stored  # it takes writes again
    done = growing(young_store).go_on(young_store.extents(noon), lambda: False)
    assert done is not None
    assert (done.documents, count(young_store)) == (61, 61)


def test_a_copy_that_is_wrong_goes(
    young_store: TelemetryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    noon = slices.from_ms(START_MS) + timedelta(days=4)
    add(young_store, range(60))
    monkeypatch.setattr(Copy, "_write", lambda *_: None)

    with pytest.raises(StoreRefused, match="60 documents became 0"):
        growing(young_store).go_on(young_store.extents(noon), lambda: False)

    assert young_store.unfinished() == []
    assert add(young_store, [60])[0].is_stored


def test_who_is_overtaken_leaves_the_copy_to_the_other(young_store: TelemetryStore) -> None:
    add(young_store, range(60))
    first = Copy(young_store, index_of(young_store), shards=2)
    assert first.go_on(lambda: True) is None
    second = Copy(young_store, index_of(young_store), shards=2)
    assert second.go_on(lambda: True) is None

    with pytest.raises(TakenOver):
        first._finish()
    first._give_up()

    assert young_store.unfinished() == [first.new]
    assert second.go_on(lambda: False) is not None
    assert count(young_store) == 60


def test_minutes_that_are_written_anew_are_not_overwritten_by_an_older_step(
    young_store: TelemetryStore,
) -> None:
    add(young_store, range(3))
    Builder(young_store, pace=Pace(share=1.0)).advance(LATER, levels=[HOUR])
    index = next(name for name in young_store.indices() if "rollup-1h" in name)
    (held, *_) = young_store.client.search(index=index, version=True)["hits"]["hits"]

    Copy(young_store, index, shards=2).run()

    older = {"_index": index, "_id": held["_id"], "version": held["_version"] - 1,
             "version_type": "external_gte"}  # fmt: skip
    lines = orjson.dumps({"index": older}) + b"\n" + orjson.dumps(held["_source"]) + b"\n"
    assert young_store.bulk(lines)[0].is_duplicate
    assert young_store.bulk(lines.replace(str(older["version"]).encode(),
                                          str(held["_version"]).encode()))[0].is_stored  # fmt: skip


def test_events_grow_without_an_end(young_store: TelemetryStore) -> None:
    young_store.index_events(
        [{"tenant": TENANT, "event": f"e-{n}", "kind": "opened", "number": n} for n in range(45)]
    )
    young_store.refresh()

    done = growing(young_store).go_on(young_store.extents(NOW), lambda: False)

    assert done is not None
    assert (done.old, done.documents) == (f"{young_store.prefix}{EVENTS_INDEX}", 45)
    assert shards_of(young_store, done.old) == 2
    assert TenantTelemetry(TENANT, store=young_store).events().total == 45


# --- while it never gets less -------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1, 3])
def test_it_ends_also_where_readings_come_as_fast_as_they_are_copied(
    young_store: TelemetryStore, monkeypatch: pytest.MonkeyPatch, factor: int
) -> None:
    """More than a little comes during each page, whatever is copied: without end."""
    monkeypatch.setattr(reindexing, "LITTLE", 2)
    monkeypatch.setattr(reindexing, "PAGE", 10)
    add(young_store, range(20))
    write, came, said = Copy._write, iter(range(20, 100_000)), list[str]()

    def meanwhile(self: Copy, page: list[dict[str, Any]]) -> None:
        write(self, page)
        if not self.is_shut:
            new = [next(came) for _ in range(len(page) if factor == 1 else 5)]
            assert all(result.is_stored for result in add(young_store, new))

    shut = set[str]()
    block = cluster.block_writes

    def blocked(client: Any, index: str) -> None:
        block(client, index)
        shut.add(index)

    monkeypatch.setattr(cluster, "block_writes", blocked)
    monkeypatch.setattr(Copy, "is_shut", property(lambda self: self.old in shut), raising=False)
    monkeypatch.setattr(Copy, "_write", meanwhile)

    done = Copy(young_store, index_of(young_store), say=said.append).run()

    assert done.documents == next(came) == count(young_store)
    assert [each for each in said if "as fast as they are copied: writes wait" in each]
    assert done.waited_s > 0


def test_where_writes_would_wait_for_long_nothing_is_changed(
    young_store: TelemetryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reindexing, "LITTLE", -1)
    monkeypatch.setattr(reindexing, "WAIT_S", -1.0)
    add(young_store, range(20))
    before = young_store.indices()

    with pytest.raises(StoreUnavailable, match="as fast as they are copied"):
        Copy(young_store, index_of(young_store)).run()

    assert (young_store.indices(), young_store.unfinished()) == (before, [])
    assert add(young_store, [20])[0].is_stored


# --- marks of what is gone ----------------------------------------------------------------------


def test_a_mark_that_was_set_for_an_index_after_it_went_holds_for_nothing(
    young_store: TelemetryStore,
) -> None:
    """A run of the rollups that was under way while the index was written anew sets one."""
    add(young_store, range(60))
    builder = Builder(young_store, pace=Pace(share=1.0))
    builder.advance(LATER, levels=[HOUR])
    (late,) = [mark for mark in young_store.marks() if mark.source == index_of(young_store)]
    Copy(young_store, late.source).run()
    young_store.set_mark(late)

    assert late.source in {mark.source for mark in young_store.marks()}
    assert {mark.source for mark in young_store.known_marks()} == {f"{late.source}.2"}
    young_store.drop_expired(NOW)
    assert {mark.source for mark in young_store.marks()} == {f"{late.source}.2"}


# --- how full all is ----------------------------------------------------------------------------


def test_how_full_shards_are_is_told_to_machines_and_on_request(
    elasticsearch: str, monkeypatch: pytest.MonkeyPatch, redis_log: redis.Redis
) -> None:
    store = TelemetryStore()
    lines = [
        reading_lines(store, TENANT, [(NOW_MS, {"current_a": 1.0})], connector=f"full-{n}")
        for n in range(40)
    ]
    store.bulk(b"".join(lines))
    store.refresh()
    monkeypatch.setattr(sizing, "SHARD_DOCUMENTS", 30)
    monkeypatch.setattr(sizing, "SHARDS_LIMIT", 1)  # so that it stays as it is
    index = store.reading_index("30d", NOW_MS)

    growth.growth()

    assert board.fullest()[index] > 1
    assert index in {each.index for each in too_full(store.extents(NOW))}
    told = StringIO()
    call_command("stores", stdout=told)
    assert f"--rewrite {index} --shards N" in told.getvalue()


def test_the_task_writes_anew_what_outgrows_its_shards(
    young_store: TelemetryStore, monkeypatch: pytest.MonkeyPatch, redis_log: redis.Redis
) -> None:
    add(young_store, range(80))
    monkeypatch.setattr(growth, "the_store", lambda: young_store)

    growth.growth()

    assert shards_of(young_store, index_of(young_store)) > 1
    assert count(young_store) == 80
