"""Which index a reading belongs to, at every edge: a wrong name is a refused reading."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from apps.telemetry import slices
from apps.telemetry.slices import DAY_MS, Retention, slice_of, to_ms

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
NOON = MONDAY + timedelta(hours=12)


def test_a_slice_is_named_after_the_monday_it_begins() -> None:
    assert slice_of("readings-30d", 7, to_ms(NOON)).name == "readings-30d-20261123"
    assert slice_of("readings-30d", 7, to_ms(MONDAY)).name == "readings-30d-20261123"


def test_the_last_millisecond_belongs_to_the_old_slice_and_the_next_to_the_new() -> None:
    last = slice_of("readings-30d", 7, to_ms(MONDAY) - 1)

    assert last.name == "readings-30d-20261116"
    assert last.end_ms == to_ms(MONDAY) == slice_of("readings-30d", 7, to_ms(MONDAY)).start_ms


def test_slices_of_a_day_and_of_four_weeks_fit_without_gaps() -> None:
    for days in (1, 7, 28):
        found = list(slices.slices_between("x", days, to_ms(NOON), to_ms(NOON) + 90 * DAY_MS))
        for before, after in pairwise(found):
            assert before.end_ms == after.start_ms
            assert after.end_ms - after.start_ms == days * DAY_MS


def test_times_before_1970_and_the_first_monday_have_slices_too() -> None:
    assert slice_of("x", 7, 0).name == "x-19691229"
    assert slice_of("x", 7, -1).start_ms <= -1


def test_wanted_slices_cover_the_open_range_and_tomorrow() -> None:
    sunday = NOON + timedelta(days=6)
    for now in (NOON, sunday):
        oldest_ms, newest_ms = slices.open_range_ms(now, 7)
        wanted = list(slices.wanted("readings-30d", 7, now, open_days=7))
        assert wanted[0].start_ms <= oldest_ms
        assert wanted[-1].end_ms > newest_ms + DAY_MS

    names = [each.name for each in slices.wanted("readings-30d", 7, NOON, open_days=7)]
    assert names == ["readings-30d-20261116", "readings-30d-20261123"]
    assert slices.wanted("readings-30d", 7, sunday, 7)[-1].name == "readings-30d-20261130"


def test_five_minutes_ahead_across_midnight_has_its_slice() -> None:
    late_on_sunday = MONDAY + timedelta(days=6, hours=23, minutes=58)
    _, newest_ms = slices.open_range_ms(late_on_sunday, 7)

    wanted = {each.name for each in slices.wanted("readings-30d", 7, late_on_sunday, 7)}

    assert slice_of("readings-30d", 7, newest_ms).name == "readings-30d-20261130"
    assert "readings-30d-20261130" in wanted


@pytest.mark.parametrize(("days_later", "expired"), [(43, False), (44, False), (45, True)])
def test_a_slice_goes_once_its_latest_arrival_is_too_old(days_later: int, expired: bool) -> None:
    # ends after 7 days, took late readings for 7 more, and the last of them is kept 30 days
    now = MONDAY + timedelta(days=days_later)

    assert expired is slices.is_expired(
        "readings-30d-20261123", slice_days=7, keep_days=30, open_days=7, now=now
    )


def test_an_open_slice_never_expires() -> None:
    for open_days in (1, 7, 35):
        for each in slices.wanted("readings-30d", 7, NOON, open_days):
            assert not slices.is_expired(
                each.name, slice_days=7, keep_days=1, open_days=open_days, now=NOON
            )


def test_a_slice_tells_how_much_of_its_time_is_over() -> None:
    start_ms = to_ms(MONDAY)
    for days, over in ((-1, 0.0), (0, 0.0), (3.5, 0.5), (7, 1.0), (9, 1.0)):
        assert slices.elapsed(start_ms, 7, MONDAY + timedelta(days=days)) == over


def test_a_class_of_a_tenants_own_is_kept_as_its_base() -> None:
    name = slices.own_class("90d", "kunlun-motors")
    own = slices.class_of(name)

    assert own is not None
    assert (own.name, own.keep_days) == ("90dkunlunmotors", slices.CLASSES["90d"].keep_days)
    assert own.rollup_days == slices.CLASSES["90d"].rollup_days
    assert slices.own_class("30d", "a" + "b" * 40) == "30da" + "b" * 16
    for name in (*slices.CLASSES, "1yx"):
        assert slices.class_of(name) is not None
    for name in ("", "30", "30d-kunlun", "30d7", "7dkunlun", "30D", "kunlun30d", "30d" + "b" * 18):
        assert slices.class_of(name) is None


def test_what_is_no_slice_never_expires() -> None:
    for name in ("state-1", "events-1", "readings-30d-draft", ""):
        assert not slices.is_expired(name, slice_days=1, keep_days=0, open_days=0, now=NOON)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        to_ms(datetime(2026, 11, 23))  # noqa: DTZ001


def test_a_move_holds_from_a_midnight_that_no_reading_has_reached() -> None:
    for hour in range(24):
        now = MONDAY + timedelta(hours=hour, minutes=30)
        since = slices.move_begins(now)
        assert (since.hour, since.minute) == (0, 0)
        assert since - now >= slices.MOVE_LEAD > slices.AHEAD
        assert since - now <= timedelta(days=1) + slices.MOVE_LEAD


def test_a_reading_stays_in_the_class_of_its_time_whatever_comes_after() -> None:
    kept = Retention("30d").moved("90d", 1_000).moved("1y", 2_000).moved("30d", 3_000)

    assert [kept.at(time) for time in (999, 1_000, 1_999, 2_000, 2_999, 3_000)] == [
        "30d", "90d", "90d", "1y", "1y", "30d",
    ]  # fmt: skip
    assert kept.between(0, 999) == {"30d"}
    assert kept.between(999, 1_000) == {"30d", "90d"}
    assert kept.between(0, 9_000) == kept.names == {"30d", "90d", "1y"}


def test_a_move_that_has_not_begun_can_be_changed_and_undone() -> None:
    first = Retention("30d").moved("90d", 1_000)

    assert first.moved("1y", 1_000) == Retention("1y", (("30d", 1_000),))
    assert first.moved("30d", 1_000) == Retention("30d")
    assert Retention("30d").moved("30d", 1_000) == Retention("30d")


OPEN_DAYS = 7
MOVES = {
    "never": Retention("30d"),
    "kept long": Retention("1y"),
    "of its own": Retention(slices.own_class("90d", "kunlun")),
    "longer, a while ago": Retention("30d").moved("1y", to_ms(MONDAY) - 45 * DAY_MS),
    "longer, just now": Retention("30d").moved("90d", to_ms(MONDAY) - 2 * DAY_MS),
    "shorter, a while ago": Retention("1y").moved("30d", to_ms(MONDAY) - 60 * DAY_MS),
    "shorter, just now": Retention("90d").moved("30d", to_ms(MONDAY) - 2 * DAY_MS),
    "tomorrow": Retention("90d").moved("30d", to_ms(MONDAY) + DAY_MS),
    "to and fro": Retention("90d")
    .moved("30d", to_ms(MONDAY) - 80 * DAY_MS)
    .moved("1y", to_ms(MONDAY) - 75 * DAY_MS),
}


@pytest.mark.parametrize("name", MOVES)
def test_what_came_since_is_held_whenever_it_was_measured(name: str) -> None:
    kept, now = MOVES[name], NOON
    since_ms = slices.held_since_ms(kept, now=now, open_days=OPEN_DAYS)

    for arrived_ms in range(since_ms, to_ms(now), DAY_MS // 4):
        for early_ms in (-300_000, 0, DAY_MS, 3 * DAY_MS, OPEN_DAYS * DAY_MS):
            assert not _is_gone(kept, arrived_ms - early_ms, now + slices.EXPIRY_MARGIN)


@pytest.mark.parametrize(
    ("name", "days"),
    [
        ("never", 30),
        ("kept long", 366),
        ("of its own", 90),
        ("longer, a while ago", 45.5 - OPEN_DAYS),
        ("longer, just now", 30),
        ("shorter, a while ago", 30),
        ("tomorrow", 90),
        ("to and fro", 75.5 - OPEN_DAYS),
    ],
)
def test_no_more_is_left_out_than_may_have_expired(name: str, days: float) -> None:
    since_ms = slices.held_since_ms(MOVES[name], now=NOON, open_days=OPEN_DAYS)

    assert 0 <= since_ms - (to_ms(NOON) - days * DAY_MS) <= 3_600_000


def _is_gone(kept: Retention, measured_ms: int, now: datetime) -> bool:
    tenant_class = slices.class_of(kept.at(measured_ms))
    assert tenant_class is not None
    found = slice_of(f"readings-{tenant_class.name}", tenant_class.slice_days, measured_ms)
    return slices.is_expired(
        found.name,
        slice_days=tenant_class.slice_days,
        keep_days=tenant_class.keep_days,
        open_days=OPEN_DAYS,
        now=now,
    )
