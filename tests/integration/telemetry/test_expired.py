"""What was asked of a time whose readings are gone is answered by what is left of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from apps.accounts.models import User
from apps.telemetry.errors import WrongQuestion
from apps.telemetry.levels import HOUR_MS, Held, Kept
from apps.telemetry.rollups import Builder, Pace
from apps.telemetry.slices import DAY_MS, Retention, from_ms, own_class, slice_of, to_ms
from apps.telemetry.store import TelemetryStore, the_store
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.models import Tenant
from tests import cast
from tests.integration.telemetry.conftest import CONNECTOR, NOW, forget, reading_lines
from tests.pages import browser

STEP_MS = 600_000
A_DAY = timedelta(days=1)
YEARS_SLICE = slice_of("readings-1y", 28, to_ms(NOW - 60 * A_DAY))
"""One of four weeks, for a class that tenants are moved to in the middle of it."""
LONG_AGO_MS = YEARS_SLICE.start_ms + 5 * DAY_MS
"""A day of 55 to 83 days ago: readings of the shortest class are gone, minutes are not."""
MOVED_MS = YEARS_SLICE.start_ms + 14 * DAY_MS
YEARS_AGO_MS = to_ms(NOW - 530 * A_DAY) // DAY_MS * DAY_MS
"""Of the shortest class only days are left."""
SHORT, LONG = Retention("30d"), Retention("1y")


WHOSE = {
    "kunlun": SHORT,
    "aurora": LONG,
    "alone": Retention(own_class("30d", "alone")),
    "moved-up": SHORT.moved("1y", MOVED_MS),
    "moved-down": LONG.moved("30d", MOVED_MS),
}


@contextmanager
def store_of_its_own(prefix: str) -> Iterator[TelemetryStore]:
    store = TelemetryStore(prefix=f"{prefix}expired-", open_days=1)
    try:
        yield store
    finally:
        forget(store)


@pytest.fixture(scope="module")
def aged(elasticsearch: str) -> Iterator[TelemetryStore]:
    """A day before and a day after the move of tenants in both classes, long ago."""
    with store_of_its_own(f"{elasticsearch}a-") as store:
        live(store, LONG_AGO_MS, WHOSE)
        live(store, MOVED_MS + DAY_MS, WHOSE)
        yield store


@pytest.fixture
def empty(elasticsearch: str) -> Iterator[TelemetryStore]:
    with store_of_its_own(f"{elasticsearch}b-") as store:
        yield store


def live(store: TelemetryStore, day_ms: int, tenants: Mapping[str, Retention]) -> None:
    """A day of each tenant, a reading every ten minutes, rolled up while it was new; and then
    time passed until now, and what may not be kept any more was dropped."""
    then = from_ms(day_ms) + A_DAY
    store.prepare(then)
    store.ensure_slices(then, {name for kept in tenants.values() for name in kept.names})
    for tenant, retention in tenants.items():
        rows = [(at, {"current_a": (at - day_ms) / HOUR_MS})
                for at in range(day_ms, day_ms + DAY_MS, STEP_MS)]  # fmt: skip
        default = store.reading_index("30d", day_ms).encode()
        right = store.reading_index(retention.at(day_ms), day_ms).encode()
        lines = reading_lines(store, tenant, rows, model="HV-250").replace(default, right)
        assert all(result.is_stored for result in store.bulk(lines))
    Builder(store, pace=Pace(share=1.0)).advance(then + 2 * A_DAY)
    store.drop_expired(NOW)
    store.ensure_slices(NOW)
    store.refresh()


def asked(store: TelemetryStore, tenant: str) -> TenantTelemetry:
    return TenantTelemetry(tenant, store=store, retention=WHOSE[tenant])


def span(start_ms: int, minutes: int) -> dict[str, Any]:
    return {"start": from_ms(start_ms), "end": from_ms(start_ms) + timedelta(minutes=minutes)}


def an_hour_of(telemetry: TenantTelemetry, day_ms: int) -> tuple[int, int]:
    """How wide the buckets of a chart of an hour are, and how many readings it has."""
    series = telemetry.series(CONNECTOR, ["current_a"], points=300, **span(day_ms + HOUR_MS, 60))
    return series.interval_ms, sum(bucket.count for bucket in series.buckets)


def test_a_fleets_hours_tell_what_its_readings_no_longer_can(aged: TelemetryStore) -> None:
    telemetry = asked(aged, "kunlun")
    within = span(LONG_AGO_MS + 10 * HOUR_MS + 1_800_000, 120)  # 10:30 to 12:30

    (row,) = telemetry.percentiles("current_a", by=["model"], **within).rows
    (top,) = telemetry.top("current_a", by="connector", statistic="maximum", **within).rows
    spread = telemetry.distribution("current_a", every=timedelta(hours=1), **within)

    # The hours that it begins and ends within are in it: nothing finer is left of them.
    assert (row.count, row.minimum, row.maximum) == (18, 10, pytest.approx(12 + 5 / 6))
    assert (top.count, top.maximum) == (18, row.maximum)
    assert [sum(counts) for _, counts in spread.rows] == [6, 6, 6]
    assert sum(spread.groups[0].percentiles.values()) > 0


def test_stretches_that_days_do_not_fill_are_told_by_hours(aged: TelemetryStore) -> None:
    width_ms = 36 * HOUR_MS
    begin_ms = LONG_AGO_MS // width_ms * width_ms

    rows = asked(aged, "kunlun").percentiles(
        "current_a", every=timedelta(hours=36), **span(begin_ms, 2 * 36 * 60)
    ).rows  # fmt: skip

    assert sum(row.count for row in rows) == 144
    for row in rows:
        begin = row.group.start_ms or 0
        first_ms, end_ms = max(begin, LONG_AGO_MS), min(begin + width_ms, LONG_AGO_MS + DAY_MS)
        assert row.count == (end_ms - first_ms) // STEP_MS


def test_a_neighbours_longer_time_hides_nothing_of_ones_own(aged: TelemetryStore) -> None:
    assert an_hour_of(asked(aged, "kunlun"), LONG_AGO_MS) == (60_000, 6)
    width_ms, count = an_hour_of(asked(aged, "aurora"), LONG_AGO_MS)
    assert (width_ms < 60_000, count) == (True, 6)


def test_a_tenant_with_indices_of_its_own_is_told_of_as_its_class_is(aged: TelemetryStore) -> None:
    assert an_hour_of(asked(aged, "alone"), LONG_AGO_MS) == (60_000, 6)


def test_a_tenant_that_was_moved_is_told_of_by_what_held_it_then(aged: TelemetryStore) -> None:
    """The index of the new class begins before the move, and has nothing of that time."""
    telemetry = asked(aged, "moved-up")

    assert an_hour_of(telemetry, LONG_AGO_MS) == (60_000, 6)
    width_ms, count = an_hour_of(telemetry, MOVED_MS + DAY_MS)
    assert (width_ms < 60_000, count) == (True, 6)
    (row,) = telemetry.percentiles("current_a", **span(LONG_AGO_MS, 20 * 1440)).rows
    assert row.count == 288


def test_readings_that_were_kept_longer_once_hide_no_hole_behind_them(
    aged: TelemetryStore,
) -> None:
    telemetry = asked(aged, "moved-down")

    width_ms, count = an_hour_of(telemetry, LONG_AGO_MS)
    assert (width_ms < 60_000, count) == (True, 6)
    assert an_hour_of(telemetry, MOVED_MS + DAY_MS) == (60_000, 6)


def test_days_tell_what_hours_no_longer_can(empty: TelemetryStore) -> None:
    live(empty, YEARS_AGO_MS, {"kunlun": SHORT})
    telemetry = asked(empty, "kunlun")
    two_days = span(YEARS_AGO_MS - DAY_MS // 2, 2 * 1440)

    (row,) = telemetry.percentiles("current_a", **two_days).rows
    (by_day,) = telemetry.percentiles("current_a", every=A_DAY, **two_days).rows
    (bucket,) = telemetry.series(CONNECTOR, ["current_a"], **two_days).buckets

    assert (row.count, row.minimum, row.maximum) == (144, 0, pytest.approx(23 + 5 / 6))
    assert (by_day.count, by_day.group.start_ms) == (144, YEARS_AGO_MS)
    assert (bucket.count, bucket.start_ms) == (144, YEARS_AGO_MS)
    with pytest.raises(WrongQuestion) as caught:
        telemetry.percentiles("current_a", every=timedelta(hours=1), **two_days)
    assert caught.value.data == {
        "field": "every", "value": "1:00:00", "kept": "1d", "ask": ["1 day, 0:00:00"],
    }  # fmt: skip


def test_a_young_installation_is_told_of_as_finely_as_was_asked(empty: TelemetryStore) -> None:
    """Its days' index begins up to a year before its first reading, and nothing was dropped."""
    live(empty, to_ms(NOW - 2 * A_DAY) // DAY_MS * DAY_MS, {"kunlun": SHORT})
    telemetry = asked(empty, "kunlun")
    quarter = {"start": NOW - 80 * A_DAY, "end": NOW}

    rows = telemetry.percentiles("current_a", every=timedelta(hours=1), **quarter).rows
    series = telemetry.series(CONNECTOR, ["current_a"], points=2_000, **quarter)

    assert [row.count for row in rows] == [6] * 24
    assert {bucket.level for bucket in series.buckets} == {"1m"}


@pytest.mark.parametrize(
    "path",
    [
        f"/series/{cast.BENS_CONNECTOR}.json",
        "/portal/analysis/",
        f"/portal/connectors/{cast.BENS_CONNECTOR}/alike/",
        f"/api/v1/connectors/{cast.BENS_CONNECTOR}/series",
        "/api/v1/statistics",
    ],
)
def test_who_asks_over_time_says_in_which_classes_the_tenant_is(
    path: str, elasticsearch: str, kunlun: Tenant, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry = TenantTelemetry(kunlun.slug)
    telemetry.update_states([{"connector": str(cast.BENS_CONNECTOR), "model": "HV-250"}])
    the_store().refresh()
    told: list[Retention | None] = []

    def noting(kept: Mapping[str, Kept], retention: Retention | None) -> Held:
        told.append(retention)
        return Held(kept, retention)

    monkeypatch.setattr("apps.telemetry.tenant.Held", noting)
    response = browser(anna, kunlun).get(path)
    telemetry.delete_states([cast.BENS_CONNECTOR])

    assert response.status_code == 200
    assert set(told) == {kunlun.retention}
