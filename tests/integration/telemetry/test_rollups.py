"""Rollups say what the readings say: once, again, after late readings, after a kill."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from apps.telemetry import levels
from apps.telemetry.documents import ROLLUP
from apps.telemetry.errors import StoreUnavailable
from apps.telemetry.levels import HOUR_MS
from apps.telemetry.rollups import Builder, Pace
from apps.telemetry.store import TelemetryStore
from tests.integration.telemetry.conftest import NOW, NOW_MS, Write

HOUR = NOW_MS // HOUR_MS * HOUR_MS - 2 * HOUR_MS
"""The beginning of an hour that is over."""
WITHOUT_REST = Pace(share=1.0)


@pytest.fixture
def build(store: TelemetryStore) -> Callable[..., int]:
    """Take all that has arrived into the rollups."""

    def advance(now: datetime = NOW) -> int:
        return Builder(store, pace=WITHOUT_REST).advance(now)

    return advance


def rollups(store: TelemetryStore, level: str, tenant: str) -> list[dict[str, Any]]:
    """A tenant's rollups of a level, in order of time."""
    store.refresh(ROLLUP[level])
    answer = store.client.search(
        index=f"{store.prefix}rollup-{level}-*",
        query={"term": {"tenant": tenant}},
        sort=[{"connector": "asc"}, {"@timestamp": "asc"}],
        size=1000,
    )
    found = [hit["_source"] for hit in answer["hits"]["hits"]]
    moments = ("@timestamp", "newest")
    return [{**each, **{name: int(each[name]) for name in moments}} for each in found]


def second(number: float) -> int:
    return HOUR + int(number * 1000)


def test_an_hour_is_what_its_readings_are(
    store: TelemetryStore, ours: str, write: Write, build: Callable[..., int]
) -> None:
    rows = [(second(n * 10), {"temperature_pos_c": 40.0 + n % 7, "x_oil": 2.5}) for n in range(360)]
    rows[100] = (rows[100][0], {"temperature_pos_c": 141.5})
    write(ours, rows, model="HV-250", batch="B-7")
    build()

    (hour,) = rollups(store, "1h", ours)
    minutes = rollups(store, "1m", ours)

    assert (hour["@timestamp"], hour["count"], hour["newest"]) == (HOUR, 360, second(3590))
    assert (hour["model"], hour["batch"]) == ("HV-250", "B-7")
    heat = hour["temperature_pos_c"]
    values = [row[1]["temperature_pos_c"] for row in rows]
    assert (heat["min"], heat["max"], heat["count"]) == (40.0, 141.5, 360)
    assert heat["mean"] == pytest.approx(sum(values) / 360, rel=1e-6)
    assert heat["last"] == values[-1]
    assert sum(number for name, number in heat.items() if name.startswith("b")) == 360
    assert heat["b55"] == 1  # the spike, in the open bin at the end
    assert (hour["x_oil"]["count"], hour["x_oil"]["max"]) == (359, 2.5)
    assert len(minutes) == 60
    assert max(minute["temperature_pos_c"]["max"] for minute in minutes) == 141.5
    assert sum(minute["count"] for minute in minutes) == 360


@pytest.mark.usefixtures("empty_elasticsearch")
def test_building_again_changes_nothing(
    store: TelemetryStore, ours: str, write: Write, build: Callable[..., int]
) -> None:
    write(ours, [(second(n), {"current_a": float(n)}) for n in range(100)])
    build()
    before = [rollups(store, level, ours) for level in ROLLUP]

    assert build() == 0
    store.forget_marks(store.marks())
    assert build() > 0

    assert [rollups(store, level, ours) for level in ROLLUP] == before


def test_a_bucket_that_is_still_filling_waits(
    store: TelemetryStore, ours: str, write: Write, build: Callable[..., int]
) -> None:
    write(ours, [(NOW_MS - 5000, {"current_a": 1.0})])
    build()
    assert rollups(store, "1m", ours) == rollups(store, "1h", ours) == []

    build(NOW + timedelta(hours=2))

    assert [each["count"] for each in rollups(store, "1h", ours)] == [1]
    assert [each["count"] for each in rollups(store, "1m", ours)] == [1]


def test_late_readings_redo_exactly_what_they_touch(
    store: TelemetryStore, ours: str, write: Write, build: Callable[..., int]
) -> None:
    days_ago = HOUR - 3 * 24 * HOUR_MS
    for connector in ("c-1", "c-2"):
        write(ours, [(days_ago + n * 60_000, {"current_a": 1.0}) for n in range(120)],
              connector=connector)  # fmt: skip
    build()
    before = {level: rollups(store, level, ours) for level in ROLLUP}

    write(ours, [(days_ago + 61_500, {"current_a": 9.0})], connector="c-2", batch_id=2)
    written = build()

    after = {level: rollups(store, level, ours) for level in ROLLUP}
    changed = {level: [new for new in after[level] if new not in before[level]] for level in ROLLUP}
    assert written == 3
    assert {level: len(each) for level, each in changed.items()} == {"1m": 1, "1h": 1, "1d": 1}
    for (one,) in changed.values():
        assert one["connector"] == "c-2"
        assert one["current_a"]["max"] == 9.0
    assert [len(after[level]) for level in ROLLUP] == [len(before[level]) for level in ROLLUP]


def test_days_add_up_from_hours(
    store: TelemetryStore, ours: str, write: Write, build: Callable[..., int]
) -> None:
    day = NOW_MS // (24 * HOUR_MS) * 24 * HOUR_MS - 24 * HOUR_MS
    rows = [(day + n * 600_000, {"ambient_c": 20.0 + n / 10}) for n in range(144)]
    rows[-1][1]["humidity_pct"] = 55.0
    write(ours, rows)
    build()

    (one,) = rollups(store, "1d", ours)

    assert (one["@timestamp"], one["count"], one["newest"]) == (day, 144, rows[-1][0])
    assert one["ambient_c"]["min"] == 20.0
    assert one["ambient_c"]["max"] == pytest.approx(34.3)
    assert one["ambient_c"]["mean"] == pytest.approx(27.15, rel=1e-5)
    assert one["humidity_pct"]["last"] == 55.0
    assert sum(number for name, number in one["ambient_c"].items() if name[0] == "b") == 144


def test_a_step_that_is_killed_is_done_again(
    store: TelemetryStore, ours: str, write: Write, monkeypatch: pytest.MonkeyPatch,
    build: Callable[..., int],
) -> None:  # fmt: skip
    write(ours, [(second(n), {"current_a": float(n)}) for n in range(100)])
    with monkeypatch.context() as patch:
        patch.setattr(store, "set_mark", _killed)
        with pytest.raises(KeyboardInterrupt):
            build()
    assert rollups(store, "1h", ours)[0]["count"] == 100  # written, and not yet marked

    write(ours, [(second(100), {"current_a": 100.0})])
    build()

    assert [each["count"] for each in rollups(store, "1h", ours)] == [101]


@pytest.mark.usefixtures("empty_elasticsearch")
def test_a_step_that_is_ended_goes_on_where_it_was(
    store: TelemetryStore, ours: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A portion a run: what is done is not done again, and what comes meanwhile is not missed."""
    monkeypatch.setattr("apps.telemetry.rollups._DOCUMENTS", 10)
    for number in range(5):
        rows = [(second(n * 300), {"current_a": float(n)}) for n in range(6)]
        write(ours, rows, connector=f"c-{number}")

    assert _one_portion(store, monkeypatch) == 1
    assert len(rollups(store, "1h", ours)) == 1
    write(ours, [(second(10), {"current_a": 99.0})], connector="c-0", batch_id=2)
    assert [_one_portion(store, monkeypatch) for _ in range(4)] == [1, 1, 1, 1]
    assert [each["count"] for each in rollups(store, "1h", ours)] == [6, 6, 6, 6, 6]
    Builder(store, pace=WITHOUT_REST).advance(NOW)

    found = rollups(store, "1h", ours)
    assert [each["count"] for each in found] == [7, 6, 6, 6, 6]
    assert found[0]["current_a"]["max"] == 99.0
    assert all(mark.under_way is None for mark in store.marks())


@pytest.mark.usefixtures("empty_elasticsearch")
def test_a_run_says_how_far_it_is_behind(
    store: TelemetryStore, ours: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(ours, [(second(n), {"current_a": 1.0}) for n in range(20)])
    builder = Builder(store, pace=WITHOUT_REST)

    _one_portion(store, monkeypatch, builder)
    behind = builder.lag(NOW)["1h"]
    builder.advance(NOW)
    caught_up = builder.lag(NOW)

    assert behind.documents == 20
    assert behind.seconds > 0
    assert {level: tuple(lag) for level, lag in caught_up.items()} == dict.fromkeys(ROLLUP, (0, 0))


def _one_portion(
    store: TelemetryStore, monkeypatch: pytest.MonkeyPatch, builder: Builder | None = None
) -> int:
    """A run that is told to end as soon as it has written something; how much it wrote."""
    sent: list[bytes] = []
    send = store.bulk

    def note(lines: bytes, **more: Any) -> Any:
        sent.append(lines)
        return send(lines, **more)

    with monkeypatch.context() as patch:
        patch.setattr(store, "bulk", note)
        builder = builder or Builder(store, pace=WITHOUT_REST)
        return builder.advance(NOW, until=lambda: bool(sent), levels=(levels.HOUR,))


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_older_run_does_not_overwrite_a_newer_one(
    store: TelemetryStore, ours: str, write: Write, monkeypatch: pytest.MonkeyPatch,
    build: Callable[..., int],
) -> None:  # fmt: skip
    write(ours, [(second(0), {"current_a": 1.0})])
    zombie = Builder(store, pace=WITHOUT_REST)
    send = store.bulk

    def sleep_before_writing(lines: bytes, **more: Any) -> Any:
        monkeypatch.setattr(store, "bulk", send)
        write(ours, [(second(1), {"current_a": 2.0})])
        build()  # a whole newer run, while this one holds what it read before
        return send(lines, **more)

    monkeypatch.setattr(store, "bulk", sleep_before_writing)
    zombie.advance(NOW)

    (hour,) = rollups(store, "1h", ours)
    assert (hour["count"], hour["current_a"]["max"]) == (2, 2.0)


def test_rollups_of_two_tenants_with_equal_ids_stay_two(
    store: TelemetryStore, ours: str, theirs: str, write: Write, build: Callable[..., int]
) -> None:
    for tenant, value in ((ours, 1.0), (theirs, 2.0)):
        write(tenant, [(second(0), {"current_a": value})])
    build()

    assert [each["current_a"]["max"] for each in rollups(store, "1h", ours)] == [1.0]
    assert [each["current_a"]["max"] for each in rollups(store, "1h", theirs)] == [2.0]


def test_a_refused_rollup_stops_the_step_and_leaves_the_mark(
    store: TelemetryStore, ours: str, write: Write, build: Callable[..., int]
) -> None:
    write(ours, [(second(0), {"current_a": 1.0})])
    index = store.rollup_index(levels.HOUR, "30d", HOUR)
    store.ensure_rollup_index(levels.HOUR, index, NOW)
    store.client.indices.put_settings(index=index, settings={"index.blocks.write": True})
    try:
        with pytest.raises(StoreUnavailable):  # whoever put the block may take it away
            build()
    finally:
        store.client.indices.put_settings(index=index, settings={"index.blocks.write": None})
    build()
    assert [each["count"] for each in rollups(store, "1h", ours)] == [1]
