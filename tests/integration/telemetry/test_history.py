"""Whatever level answers, the answer is what the readings say: no seam, no gap, no spike lost."""

import itertools
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest

from apps.telemetry import cluster, fleet_questions, history, questions
from apps.telemetry.answers import Group, Series
from apps.telemetry.bins import BINS
from apps.telemetry.documents import READINGS, STATE
from apps.telemetry.errors import AskedTooMuch, StoreSlow, WrongQuestion
from apps.telemetry.levels import DAY, HOUR, HOUR_MS, MINUTE, RAW, Kept
from apps.telemetry.rollups import Builder, Pace
from apps.telemetry.slices import from_ms
from apps.telemetry.store import TelemetryStore
from apps.telemetry.tenant import FleetFilter, StateFilter, TenantTelemetry
from tests.acquisition import elasticsearch_behind, elasticsearch_port
from tests.eventually import eventually
from tests.faults.proxy import between
from tests.integration.telemetry.conftest import CONNECTOR, NOW, NOW_MS, Write

A_DAY = timedelta(days=1)
START_MS = NOW_MS - 7 * 24 * HOUR_MS + 17 * 60_000 + 123
"""Seven days ago, within an hour and a minute."""
STEP_MS = 7 * 60_000 + 331
QUANTITIES = ["temperature_pos_c", "current_a"]


@pytest.fixture
def build(store: TelemetryStore) -> Callable[..., int]:
    def advance() -> int:
        return Builder(store, pace=Pace(share=1.0)).advance(NOW)

    return advance


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The levels that answered, in order."""
    found: list[str] = []
    answered = history.History._answered

    def noting(self: Any, *arguments: Any, **more: Any) -> Any:
        parts, answers = answered(self, *arguments, **more)
        found.extend(part.level.name for part in parts)
        return parts, answers

    monkeypatch.setattr(history.History, "_answered", noting)
    return found


def week(seed: int = 1) -> list[tuple[int, dict[str, float]]]:
    """Seven days of a connector, up to now, noisy."""
    random = np.random.default_rng(seed)
    times = range(START_MS, NOW_MS, STEP_MS)
    heat = [round(40 + one, 1) for one in random.normal(0, 8, len(times)).tolist()]
    return [
        (time_ms, {"temperature_pos_c": one, "current_a": round(one * 2, 1)})
        for time_ms, one in zip(times, heat, strict=True)
    ]


def expected(
    rows: Sequence[tuple[int, dict[str, float]]], series: Series, name: str, first_ms: int
) -> dict[int, tuple[int, float, float, float]]:
    """Count, minimum, maximum and newest value by bucket, worked out by hand."""
    buckets: dict[int, list[float]] = {}
    width = series.interval_ms
    for time_ms, values in rows:
        if series.start_ms <= time_ms < series.end_ms:
            buckets.setdefault(first_ms + (time_ms - first_ms) // width * width, []).append(
                values[name]
            )
    return {
        start: (len(values), min(values), max(values), values[-1])
        for start, values in buckets.items()
    }


def told(series: Series, name: str) -> dict[int, tuple[int, float, float, float | None]]:
    return {
        bucket.start_ms: (
            bucket.values[name].count,
            bucket.values[name].minimum,
            bucket.values[name].maximum,
            bucket.values[name].last,
        )
        for bucket in series.buckets
    }


@pytest.mark.parametrize(
    ("points", "level"), [(160, HOUR), (800, MINUTE), (6, DAY)], ids=["hours", "minutes", "days"]
)
def test_rollups_and_readings_give_one_answer(
    telemetry: TenantTelemetry, ours: str, write: Write, build: Callable[..., int],
    asked: list[str], points: int, level: Any,
) -> None:  # fmt: skip
    rows = week()
    write(ours, rows[:-30])
    build()
    late = rows[200][0] + 1  # two that no rollup has: one now, one long ago
    rows = sorted([*rows, (late, {"temperature_pos_c": 141.5, "current_a": 9.5})])
    write(ours, [each for each in rows if each[0] == late or each in rows[-30:]], batch_id=2)

    start, end = from_ms(START_MS + 5000), NOW
    series = telemetry.series(
        CONNECTOR, QUANTITIES, start=start, end=end, points=points, with_last=True
    )

    first_ms = level.start_of(series.start_ms)
    assert asked[0] == level.name
    assert asked[-1] == "raw"
    assert series.interval_ms % level.width_ms == 0
    assert len(series.buckets) <= points
    for name in QUANTITIES:
        assert told(series, name) == expected(rows, series, name, first_ms)
    means = sum(b.values["current_a"].mean * b.values["current_a"].count for b in series.buckets)
    inside = [v["current_a"] for t, v in rows if series.start_ms <= t < series.end_ms]
    assert means == pytest.approx(sum(inside), rel=1e-6)


def test_the_answer_is_the_same_before_while_and_after_building(
    telemetry: TenantTelemetry, store: TelemetryStore, ours: str, write: Write,
    build: Callable[..., int], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    rows = week(2)
    write(ours, rows)

    def answer() -> Any:
        series = telemetry.series(CONNECTOR, QUANTITIES, start=from_ms(START_MS), end=NOW)
        return told(series, "current_a")

    before, midway = answer(), []
    mark = store.set_mark
    monkeypatch.setattr(store, "set_mark", lambda each: (midway.append(answer()), mark(each))[1])
    build()

    assert len(midway) > 3
    assert all(each == before for each in midway)
    assert answer() == before


def test_one_request_is_enough_where_nothing_came_late(
    telemetry: TenantTelemetry, store: TelemetryStore, ours: str, write: Write,
    build: Callable[..., int], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    rows = week(4)
    write(ours, rows)
    build()
    requests, ask = [], cluster.searches
    monkeypatch.setattr(cluster, "searches", lambda *all_: (requests.append(1), ask(*all_))[1])

    def answer(number: int) -> Any:
        store.known_marks(), store.kept()
        requests.clear()
        series = telemetry.series(CONNECTOR, QUANTITIES, start=from_ms(START_MS), end=NOW)
        assert len(requests) == number
        return told(series, "current_a")

    before = answer(1)
    late = rows[300][0] + 1
    write(ours, [(late, {"current_a": 0.5})], batch_id=2)
    with_it = answer(2)
    build()
    assert with_it == answer(1) != before
    assert min(each[1] for each in with_it.values()) == 0.5


def test_marks_that_are_known_from_before_a_run_hide_no_reading(
    telemetry: TenantTelemetry, store: TelemetryStore, ours: str, write: Write,
    build: Callable[..., int],
) -> None:  # fmt: skip
    """Another process builds; this one's marks are as old as they may be."""
    rows = week(5)
    write(ours, rows[:400])
    build()
    old = store.known_marks()
    write(ours, rows[400:], batch_id=2)
    build()
    store._marks = (time.monotonic(), old)

    series = telemetry.series(CONNECTOR, ["current_a"], start=from_ms(START_MS), end=NOW)

    assert store.known_marks() is old
    assert sum(bucket.count for bucket in series.buckets) == len(rows)


def test_a_short_range_is_read_from_readings(
    telemetry: TenantTelemetry, ours: str, write: Write, asked: list[str]
) -> None:
    write(ours, [(NOW_MS - 1000, {"current_a": 1.0})])

    telemetry.series(CONNECTOR, ["current_a"], start=NOW - timedelta(hours=1), end=NOW)

    assert asked == ["raw"]


def test_what_is_older_than_any_reading_comes_from_what_is_still_kept(
    telemetry: TenantTelemetry, store: TelemetryStore, ours: str, write: Write,
    build: Callable[..., int], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write(ours, week(3))
    build()
    full = store.kept()["30d"]
    since_ms = {**full.since_ms, "raw": NOW_MS - 24 * HOUR_MS, "1m": NOW_MS - 48 * HOUR_MS}
    monkeypatch.setattr(store, "kept", lambda: {"30d": Kept(since_ms, full.first_ms)})

    span = {"start": from_ms(START_MS), "end": from_ms(START_MS + 5 * HOUR_MS)}
    series = telemetry.series(CONNECTOR, ["current_a"], points=300, **span)

    assert series.interval_ms == HOUR_MS
    assert len(series.buckets) >= 4
    assert series.buckets[0].start_ms == HOUR.start_of(START_MS)


def test_several_connectors_share_one_grid(
    telemetry: TenantTelemetry, ours: str, write: Write, build: Callable[..., int]
) -> None:
    for number, connector in enumerate(("c-1", "c-2")):
        write(ours, [(START_MS + n * STEP_MS + number, {"current_a": number}) for n in range(900)],
              connector=connector)  # fmt: skip
    build()

    one, two, none = telemetry.series_of(
        ["c-1", "c-2", "c-3"], ["current_a"], start=from_ms(START_MS), end=NOW, points=100
    )

    assert [b.start_ms for b in one.buckets] == [b.start_ms for b in two.buckets]
    assert {b.values["current_a"].maximum for b in two.buckets} == {1.0}
    assert none.buckets == []


# --- fleets -----------------------------------------------------------------------------------


@pytest.fixture
def fleet(ours: str, write: Write, build: Callable[..., int]) -> dict[str, list[float]]:
    """Six connectors of two models over three days; the values of each model."""
    random = np.random.default_rng(5)
    values: dict[str, list[float]] = {"HV-250": [], "HV-400": []}
    first_ms = DAY.start_of(NOW_MS) - 3 * DAY.width_ms
    for number in range(6):
        model = "HV-400" if number % 2 else "HV-250"
        heat = random.normal(40 + 20 * (number % 2), 6, 216).round(1).tolist()
        rows = [(first_ms + n * 1_200_000, {"temperature_pos_c": one})
                for n, one in enumerate(heat)]  # fmt: skip
        values[model] += heat
        late = number == 5
        if late:
            build()
        write(ours, rows, connector=f"c-{number}", model=model, batch=f"B-{number}",
              organisation="o-1", batch_id=1 + late)  # fmt: skip
    return values


def stretch(**more: Any) -> dict[str, Any]:
    start = from_ms(DAY.start_of(NOW_MS) - 3 * DAY.width_ms)
    return {"start": start, "end": NOW, **more}


def test_percentiles_by_model_are_right_within_a_bin(
    telemetry: TenantTelemetry, fleet: dict[str, list[float]]
) -> None:
    page = telemetry.percentiles("temperature_pos_c", by=["model"], **stretch())

    assert [row.group for row in page.rows] == [Group(("HV-250",)), Group(("HV-400",))]
    for row in page.rows:
        values = fleet[row.group.values[0]]
        assert row.count == len(values)
        assert (row.minimum, row.maximum) == pytest.approx((min(values), max(values)))
        assert row.mean == pytest.approx(np.mean(values), rel=1e-5)
        for percent, found in row.percentiles.items():
            error = abs(found - np.percentile(values, percent))
            assert error < BINS["temperature_pos_c"].step


def test_percentiles_by_day_and_a_distribution_add_up(
    telemetry: TenantTelemetry, fleet: dict[str, list[float]]
) -> None:
    page = telemetry.percentiles("temperature_pos_c", by=["model"], **stretch(every=A_DAY))
    heat = telemetry.distribution("temperature_pos_c", **stretch())

    assert page.total == 6  # two models, three days
    assert sum(row.count for row in page.rows) == 6 * 216
    assert [sum(counts) for _, counts in heat.rows] == [6 * 72] * 3
    assert len(heat.edges) == len(heat.rows[0][1]) + 1


def test_what_has_no_such_dimension_is_a_group_too(
    telemetry: TenantTelemetry, ours: str, write: Write, build: Callable[..., int]
) -> None:
    write(ours, [(START_MS, {"current_a": 1.0})], connector="c-1", organisation="o-1")
    write(ours, [(START_MS, {"current_a": 2.0}), (NOW_MS - 9, {"current_a": 3.0})], connector="c-2")
    build()

    page = telemetry.percentiles("current_a", by=["organisation"], start=NOW - 8 * A_DAY, end=NOW)

    assert {row.group.values[0]: row.count for row in page.rows} == {"o-1": 1, "": 2}


def test_a_flood_of_late_readings_is_told_until_rollups_have_it(
    telemetry: TenantTelemetry, fleet: dict[str, list[float]], ours: str, write: Write,
    build: Callable[..., int], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(history, "UNSETTLED_HOURS", 24)
    build()
    first_ms = DAY.start_of(NOW_MS) - 2 * DAY.width_ms
    late = [(first_ms + n * 1_800_000, {"temperature_pos_c": 30.0}) for n in range(90)]
    write(ours, late, connector="c-9", model="HV-250", batch_id=3)

    before = telemetry.percentiles("temperature_pos_c", **stretch())
    build()
    after = telemetry.percentiles("temperature_pos_c", **stretch())

    assert (before.settled, before.rows[0].count) == (False, 6 * 216)
    assert (after.settled, after.rows[0].count) == (True, 6 * 216 + 90)


def test_the_hottest_are_found_and_filtered(
    telemetry: TenantTelemetry, fleet: dict[str, list[float]]
) -> None:
    hottest = telemetry.top("temperature_pos_c", by="model", statistic="maximum", **stretch()).rows
    assert [row.group.values[0] for row in hottest] == ["HV-400", "HV-250"]
    assert hottest[0].maximum == pytest.approx(max(fleet["HV-400"]))

    coldest = telemetry.top(
        "temperature_pos_c", by="connector", statistic="minimum", size=2,
        filters=FleetFilter(model="HV-400"), **stretch(),
    )  # fmt: skip
    assert coldest.total == 3
    assert coldest.rows[0].minimum == pytest.approx(min(fleet["HV-400"]))
    assert len(coldest.rows) == 2


def test_connectors_that_live_alike_are_found(
    telemetry: TenantTelemetry, store: TelemetryStore, ours: str, write: Write,
    build: Callable[..., int],
) -> None:  # fmt: skip
    loads = {"c-1": 100.0, "c-2": 105.0, "c-3": 220.0, "c-4": 30.0}
    for connector, load in loads.items():
        rows = [(START_MS + n * 3_600_000, {"current_a": load + n % 5, "ambient_c": 20.0})
                for n in range(100)]  # fmt: skip
        write(ours, rows, connector=connector, model="HV-250")
        store.update_states([{"tenant": ours, "connector": connector, "model": "HV-250"}])
    build()
    store.refresh()

    alike = telemetry.similar("c-1", now=NOW, size=3)

    assert [each.connector for each in alike] == ["c-2", "c-4", "c-3"]
    assert alike[0].apart < alike[1].apart < alike[2].apart
    assert alike[0].duty["current_a maximum"] == 109.0
    assert telemetry.similar("nobody", now=NOW) == []


def test_now_and_over_a_range_by_age(
    telemetry: TenantTelemetry, store: TelemetryStore, ours: str, write: Write
) -> None:
    for connector, years, value in (("c-1", 0.5, 30.0), ("c-2", 4, 60.0), ("c-3", 4.5, 70.0)):
        write(ours, [(NOW_MS - 60_000, {"temperature_pos_c": value})], connector=connector)
        installed = NOW - timedelta(days=365.25 * years)
        store.update_states(
            [{"tenant": ours, "connector": connector, "installed_at": installed, "model": "HV-250",
              "last": {"temperature_pos_c": value}}]
        )  # fmt: skip
    store.refresh()

    now = telemetry.percentiles_now("temperature_pos_c", now=NOW, by="age")
    past = telemetry.percentiles(
        "temperature_pos_c", by=["age"], start=NOW - timedelta(hours=1), end=NOW
    )

    ages = ["0-1", "3-5"]
    assert [row.group.values[0] for row in now] == ages
    assert {row.group.values[0]: row.count for row in past.rows} == dict(
        zip(ages, (1, 2), strict=True)
    )
    assert now[1].percentiles[50.0] == pytest.approx(65.0)
    (all_of_them,) = telemetry.percentiles_now("temperature_pos_c", now=NOW)
    assert (all_of_them.count, all_of_them.maximum) == (3, 70.0)
    (model,) = telemetry.percentiles_now(
        "temperature_pos_c", now=NOW, by="model", filters=StateFilter(connector=["c-1"])
    )
    assert (model.group.values, model.count) == (("HV-250",), 1)


def test_ages_stand_where_they_were_asked_for(
    telemetry: TenantTelemetry, store: TelemetryStore, ours: str, write: Write
) -> None:
    write(ours, [(NOW_MS - 60_000, {"current_a": 5.0})], model="HV-250")
    installed = NOW - timedelta(days=500)
    row = {"tenant": ours, "connector": CONNECTOR, "installed_at": installed, "model": "HV-250"}
    store.update_states([row])
    store.refresh()

    def values(*by: str) -> list[tuple[str, ...]]:
        span = {"start": NOW - timedelta(hours=1), "end": NOW}
        return [row.group.values for row in telemetry.percentiles("current_a", by=by, **span).rows]

    assert values("model", "age") == [("HV-250", "1-2")]
    assert values("age", "model") == [("1-2", "HV-250")]
    assert values("age") == [("1-2",)]


def test_ages_are_told_of_more_connectors_than_a_page_holds(
    telemetry: TenantTelemetry, store: TelemetryStore, ours: str, write: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Seven of a model and three of another; five of each age."""
    monkeypatch.setattr(questions, "CONNECTORS_LIMIT", 2)
    monkeypatch.setattr(fleet_questions, "AGED_LIMIT", 10)
    rows = [
        {"connector": f"c-{n}", "model": "B" if n > 6 else "A", "organisation": f"o-{n}",
         "installed_at": NOW - timedelta(days=500 * (n % 2) + 30)}
        for n in range(10)
    ]  # fmt: skip
    for row in rows:
        of = {name: row[name] for name in ("connector", "model", "organisation")}
        write(ours, [(NOW_MS - 60_000, {"current_a": 5.0})], **of)
    store.update_states([{**row, "tenant": ours, "organisation": "moved on"} for row in rows])
    store.refresh()

    def counts(**filters: str) -> dict[str, int]:
        page = telemetry.percentiles(
            "current_a", by=["age"], start=NOW - timedelta(hours=1), end=NOW,
            filters=FleetFilter(**filters),
        )  # fmt: skip
        return {row.group.values[0]: row.count for row in page.rows}

    assert counts() == {"0-1": 5, "1-2": 5}
    assert counts(organisation="o-3") == {"1-2": 1}  # by whose they were when it was measured
    monkeypatch.setattr(fleet_questions, "AGED_LIMIT", 7)
    assert counts(model="A") == {"0-1": 4, "1-2": 3}
    with pytest.raises(AskedTooMuch) as caught:
        counts()
    assert caught.value.data == {"what": "connectors by age", "asked": 10, "limit": 7}


def test_groups_are_ranked_by_their_margin_now(
    telemetry: TenantTelemetry, store: TelemetryStore, ours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest group is not the worst one; the one without a margin is none."""
    margins = {"A": [40, 41, 42, 43], "B": [5, 50, 60], "C": [20, 21], "D": [None] * 5}
    rows = [
        {"tenant": ours, "connector": f"{model}-{n}", "model": model, "margin_k": margin}
        for model, found in margins.items()
        for n, margin in enumerate(found)
    ]
    store.update_states(rows)
    store.refresh()
    ask = partial(telemetry.top_now, "margin_k", by="model", now=NOW)

    worst = ask(statistic="minimum", lowest=True)
    assert [(row.group.values[0], row.minimum) for row in worst.rows] == [
        ("B", 5.0), ("C", 20.0), ("A", 40.0),
    ]  # fmt: skip
    assert not worst.cut
    by_median = ask(statistic="p50", lowest=True)
    assert [(row.group.values[0], row.percentiles[50.0]) for row in by_median.rows] == [
        ("C", 20.5), ("A", 41.5), ("B", 50.0),
    ]  # fmt: skip

    monkeypatch.setattr(questions, "GROUPS_LIMIT", 2)
    cut = ask(statistic="p50", size=1)
    assert [row.group.values[0] for row in cut.rows] == ["B"]
    assert (cut.total, cut.cut) == (2, True)
    with pytest.raises(AskedTooMuch) as caught:
        telemetry.percentiles_now("margin_k", by="model", now=NOW)
    assert caught.value.data == {"what": "groups", "asked": 3, "limit": 2}
    with pytest.raises(WrongQuestion):
        ask(statistic="mode")


def test_alarms_of_more_batches_than_a_page_are_all_counted(
    telemetry: TenantTelemetry, store: TelemetryStore, ours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "GROUPS_LIMIT", 3)
    store.index_events([
        {"tenant": ours, "event": f"e-{n}", "number": n, "alarm": f"a-{n}", "kind": "opened",
         "batch": f"B-{n // 2}", "connector": f"c-{n}", "judged_at": NOW_MS}
        for n in range(15)
    ])  # fmt: skip
    store.refresh()

    counts = telemetry.alarm_counts(by="batch")

    assert [(each.value, each.alarms) for each in counts] == [
        *((f"B-{n}", 2) for n in range(7)), ("B-7", 1),
    ]  # fmt: skip
    monkeypatch.setattr(questions, "ALARM_COUNTS_LIMIT", 6)
    with pytest.raises(AskedTooMuch):
        telemetry.alarm_counts(by="batch")


def test_a_facet_that_has_more_values_than_are_told_says_so(
    telemetry: TenantTelemetry, store: TelemetryStore, ours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "FACET_SIZE", 2)
    for n in range(3):
        row = {"tenant": ours, "connector": f"c-{n}", "batch": f"B-{n}", "model": "HV-250"}
        store.update_states([row])
        event = {"event": f"e-{n}", "number": n, "judged_at": NOW_MS}
        store.index_events([{**row, **event}])
    store.refresh()

    for page in (
        telemetry.states(facets=["batch", "model", "health"]),
        telemetry.events(facets=["batch", "model"]),
    ):
        assert page.cut == {"batch"}
        assert len(page.facets["batch"]) == 2


def test_a_distribution_that_is_not_kept_is_refused_with_those_that_are(
    telemetry: TenantTelemetry,
) -> None:
    for quantity in ("interlock", "mated", "mating_cycles", "x_own"):
        with pytest.raises(WrongQuestion) as caught:
            telemetry.percentiles(quantity, start=NOW - A_DAY, end=NOW)
        assert caught.value.data["ask"] == list(BINS)
        assert "temperature_pos_c" in str(caught.value)


def test_a_store_that_answers_too_late_is_told_as_slow_whatever_is_asked(
    ours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store itself is behind a proxy that lets nothing through any more."""
    monkeypatch.setattr(cluster, "ANSWER_LIMIT_S", 0.3)
    with between(elasticsearch_port()) as way:
        behind = TelemetryStore(client=cluster.client_of(elasticsearch_behind(way.port)))
        telemetry = TenantTelemetry(ours, store=behind)
        assert telemetry.states().total == 0
        way.freeze()
        for question in (
            lambda: telemetry.states(),
            lambda: telemetry.readings(CONNECTOR, start=NOW - A_DAY, end=NOW),
            lambda: telemetry._ask([(STATE, [], {}), (STATE, [], {})]),
        ):
            with pytest.raises(StoreSlow) as caught:
                question()
            assert caught.value.data == {"limit_s": 0.3}
        way.cut_connections()
        way.mend()
        assert telemetry.states().total == 0


def test_a_question_that_the_store_itself_ends_is_told_as_slow(
    telemetry: TenantTelemetry, ours: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elasticsearch looks at its watch five times a second, so it is asked until it has: with a
    limit of less than that, a question that is under way at that moment is ended. Each time with
    other numbers: what was answered once, the store answers at once from then on."""
    write(ours, [(NOW_MS - n, {"current_a": float(n % 977)}) for n in range(20_000)])
    numbers = itertools.count(1)

    def question() -> Any:
        percent = next(numbers) / 10_000
        many = {
            str(n): {"percentiles": {"field": "current_a", "percents": [n + percent]}}
            for n in range(30)
        }
        return READINGS, [], {"size": 0, "aggs": many}

    monkeypatch.setattr(cluster, "ANSWER_LIMIT_S", 0.15)
    monkeypatch.setattr(cluster, "_patient", lambda client, limit_s: client)  # only it gives up

    def is_ended(questions: list[Any]) -> bool:
        try:
            telemetry._ask(questions)
        except StoreSlow as error:
            return error.data == {"limit_s": 0.15}
        return False

    eventually(lambda: is_ended([question()]), "one is ended", within_s=60)
    eventually(lambda: is_ended([question(), question()]), "one of several is ended", within_s=60)


def test_alarms_are_counted_by_batch_and_month(
    telemetry: TenantTelemetry, store: TelemetryStore, ours: str
) -> None:
    months = (1_767_225_600_000, 1_769_904_000_000)  # 2026-01-01, 2026-02-01
    for number, (batch, month_ms, connector, kind) in enumerate(
        [("B-1", months[0], "c-1", "opened"), ("B-1", months[0] + 9, "c-2", "opened"),
         ("B-1", months[1], "c-1", "opened"), ("B-1", months[1], "c-1", "cleared"),
         ("B-2", months[1] + 5, "c-9", "opened")]
    ):  # fmt: skip
        store.index_events([
            {"tenant": ours, "event": f"e-{number}", "number": number, "alarm": f"a-{number}",
             "kind": kind, "batch": batch, "connector": connector, "judged_at": month_ms}
        ])  # fmt: skip
    store.refresh()

    counts = telemetry.alarm_counts(by="batch")

    assert [(each.value, each.month_ms, each.alarms, each.connectors) for each in counts] == [
        ("B-1", months[0], 2, 2),
        ("B-1", months[1], 1, 1),
        ("B-2", months[1], 1, 1),
    ]


def test_who_asks_too_much_of_a_fleet_is_told(telemetry: TenantTelemetry) -> None:
    with pytest.raises(AskedTooMuch) as caught:
        telemetry.series_of(["c"] * 21, ["current_a"], start=NOW - A_DAY, end=NOW)
    assert caught.value.data == {"what": "connectors", "asked": 21, "limit": 20}
    with pytest.raises(AskedTooMuch):
        telemetry.percentiles(
            "ambient_c", start=NOW - 400 * A_DAY, end=NOW, every=timedelta(hours=1)
        )
    with pytest.raises(AskedTooMuch):
        telemetry.percentiles(
            "ambient_c", start=NOW - A_DAY, end=NOW, by=["model", "batch", "vehicle"]
        )
    for wrong in (
        lambda: telemetry.percentiles("interlock", start=NOW - A_DAY, end=NOW),
        lambda: telemetry.percentiles("ambient_c", start=NOW - A_DAY, end=NOW, by=["tenant"]),
        lambda: telemetry.percentiles("ambient_c", start=NOW, end=NOW - A_DAY),
        lambda: telemetry.percentiles(
            "ambient_c", start=NOW - A_DAY, end=NOW, every=timedelta(minutes=7)
        ),
        lambda: telemetry.top(
            "ambient_c", by="model", statistic="mode", start=NOW - A_DAY, end=NOW
        ),
        lambda: telemetry.percentiles_now("ambient_c", now=NOW, by="serial"),
        lambda: telemetry.alarm_counts(by="tenant"),
    ):
        with pytest.raises(WrongQuestion):
            wrong()


def test_more_groups_than_an_answer_can_hold_are_refused(
    telemetry: TenantTelemetry, ours: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.telemetry.fleet.CONNECTORS_LIMIT", 3)
    for number in range(5):
        write(ours, [(NOW_MS - 1000, {"current_a": 1.0})], connector=f"c-{number}")

    with pytest.raises(AskedTooMuch) as caught:
        telemetry.top("current_a", by="connector", statistic="mean", start=NOW - A_DAY, end=NOW)
    assert caught.value.data == {"what": "groups", "asked": 4, "limit": 3}
    assert (questions.GROUPS_LIMIT, questions.CONNECTORS_LIMIT) == (1_000, 10_000)
    assert RAW.width_ms == 1


def test_of_more_groups_than_an_answer_can_hold_the_leading_ones_are_told_whole(
    telemetry: TenantTelemetry, ours: str, write: Write, build: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("apps.telemetry.fleet.CONNECTORS_LIMIT", 3)
    for number in range(8):
        long_ago, just_now = (10.0 * number, 5.0) if number % 2 else (5.0, 10.0 * number)
        rows = [(START_MS, {"current_a": long_ago}), (NOW_MS - 1000, {"current_a": just_now})]
        write(ours, rows, connector=f"c-{number}")
    build()

    highest = telemetry.top(
        "current_a", by="connector", statistic="maximum", start=NOW - 8 * A_DAY, end=NOW
    )
    lowest = telemetry.top(
        "current_a", by="connector", statistic="minimum", start=NOW - 8 * A_DAY, end=NOW, size=1
    )

    assert [row.group.values[0] for row in highest.rows] == ["c-7", "c-6", "c-5"]
    assert [(row.count, row.mean) for row in highest.rows] == [(2, 37.5), (2, 32.5), (2, 27.5)]
    assert (highest.total, highest.cut) == (3, True)
    assert (lowest.rows[0].group.values[0], lowest.rows[0].minimum) == ("c-0", 0.0)
