"""What was measured is found again: as a chart, as raw readings, in order, spikes and gaps."""

import math
from datetime import timedelta

import numpy as np
import pytest

from apps.telemetry import stretches
from apps.telemetry.errors import AskedTooMuch, WrongQuestion
from apps.telemetry.store import TelemetryStore
from apps.telemetry.tenant import TenantTelemetry
from tests.integration.telemetry.conftest import (
    CONNECTOR,
    NOW,
    NOW_MS,
    Write,
    minutes_ago,
    reading_lines,
)

HOUR = timedelta(hours=1)


def test_a_reading_sent_twice_is_stored_once_and_told_as_a_duplicate(
    store: TelemetryStore, telemetry: TenantTelemetry, ours: str, write: Write
) -> None:
    first = write(ours, [(minutes_ago(5), {"current_a": 180.5})])
    second = write(ours, [(minutes_ago(5), {"current_a": 999.0})])

    assert [result.is_stored for result in first] == [True]
    assert [result.is_duplicate for result in second] == [True]
    page = telemetry.readings(CONNECTOR, start=NOW - HOUR, end=NOW)
    assert [reading.values for reading in page.readings] == [{"current_a": 180.5}]  # the first


def test_one_bad_document_does_not_block_the_others(
    store: TelemetryStore, telemetry: TenantTelemetry, ours: str, write: Write
) -> None:
    rows = [(minutes_ago(3), {"current_a": 1.0}), (minutes_ago(2), {"current_a": "much"})]
    rows.append((minutes_ago(1), {"current_a": 3.0}))

    good, bad, good_too = write(ours, rows)

    assert good.is_stored
    assert good_too.is_stored
    assert (bad.status, bad.is_stored, bad.is_worth_retrying) == (400, False, False)
    assert "current_a" in bad.error_reason


def test_a_missing_slice_is_worth_another_try_and_is_never_made_by_accident(
    store: TelemetryStore, ours: str
) -> None:
    long_ago = NOW_MS - 200 * 86_400_000
    before = store.indices()

    (result,) = store.bulk(reading_lines(store, ours, [(long_ago, {"current_a": 1.0})]))

    assert (result.status, result.is_worth_retrying) == (404, True)
    assert store.indices() == before


def test_late_readings_take_their_place_in_order(
    telemetry: TenantTelemetry, ours: str, write: Write
) -> None:
    write(ours, [(minutes_ago(1), {"current_a": 2.0})])
    write(ours, [(minutes_ago(60 * 24 * 6), {"current_a": 1.0})], arrived_ms=NOW_MS, batch_id=2)

    page = telemetry.readings(CONNECTOR, start=NOW - timedelta(days=7), end=NOW)

    assert [reading.values["current_a"] for reading in page.readings] == [1.0, 2.0]
    assert page.readings[0].arrived_ms == NOW_MS
    assert page.after is None


def test_readings_come_in_pages_that_miss_and_repeat_nothing(
    telemetry: TenantTelemetry, ours: str, write: Write
) -> None:
    write(ours, [(minutes_ago(30) + second, {"current_a": second}) for second in range(25)])

    seen: list[float] = []
    after: int | None = None
    while True:
        page = telemetry.readings(CONNECTOR, start=NOW - HOUR, end=NOW, after=after, size=10)
        seen += [reading.values["current_a"] for reading in page.readings]
        after = page.after
        if after is None:
            break

    assert seen == [float(second) for second in range(25)]


def test_a_series_keeps_the_spike_that_a_mean_would_hide(
    telemetry: TenantTelemetry, ours: str, write: Write
) -> None:
    start = NOW_MS - 3_600_000
    rows = [(start + second * 1000, {"temperature_pos_c": 40.0}) for second in range(3600)]
    rows[1803] = (rows[1803][0], {"temperature_pos_c": 141.5})
    write(ours, rows)

    series = telemetry.series(
        CONNECTOR, ["temperature_pos_c"], start=NOW - HOUR, end=NOW, points=60, with_last=True
    )

    assert len(series.buckets) == 60
    assert series.interval_ms == 60_000
    spiky = series.buckets[30].values["temperature_pos_c"]
    assert (spiky.minimum, spiky.maximum, spiky.count) == (40.0, 141.5, 60)
    assert spiky.mean < 42
    assert spiky.last == 40.0
    assert series.buckets[0].start_ms == start


def test_a_gap_stays_a_gap(telemetry: TenantTelemetry, ours: str, write: Write) -> None:
    rows = [(minutes_ago(50), {"current_a": 1.0}), (minutes_ago(49), {"current_a": 1.0})]
    write(ours, [*rows, (minutes_ago(9), {"current_a": 2.0, "voltage_v": 400.0})])

    series = telemetry.series(
        CONNECTOR, ["current_a", "voltage_v"], start=NOW - HOUR, end=NOW, points=60
    )

    assert [bucket.start_ms for bucket in series.buckets] == [
        minutes_ago(50),
        minutes_ago(49),
        minutes_ago(9),
    ]
    assert "voltage_v" not in series.buckets[0].values
    with_gaps = list(series.with_gaps(120_000))
    assert [bucket is None for bucket in with_gaps] == [False, False, True, False]


def test_states_and_own_quantities_come_back(
    telemetry: TenantTelemetry, ours: str, write: Write
) -> None:
    values = {"interlock": 1.0, "mated": 0.0, "x_oil_ppm": 12.25}
    write(ours, [(minutes_ago(1), values)], model="HV-250", organisation="o-1")

    (reading,) = telemetry.readings(CONNECTOR, start=NOW - HOUR, end=NOW).readings

    assert reading.values == values
    assert reading.dimensions["model"] == "HV-250"
    series = telemetry.series(CONNECTOR, ["x_oil_ppm"], start=NOW - HOUR, end=NOW, points=10)
    assert series.buckets[0].values["x_oil_ppm"].maximum == 12.25


def test_replay_gives_every_reading_of_the_connectors_in_order(
    telemetry: TenantTelemetry, ours: str, write: Write
) -> None:
    connectors = ["c-1", "c-2", "c-3"]
    for connector in connectors:
        rows = [(minutes_ago(10) + second * 1000, {"current_a": second}) for second in range(10)]
        write(ours, rows, connector=connector)

    batches = list(telemetry.replay(["c-1", "c-2"], since_ms=minutes_ago(10) + 2000, at_most=5))

    assert max(len(batch) for batch in batches) <= 5
    told = [
        (time_ms, batch.connectors[home], current_a)
        for batch in batches
        for time_ms, home, current_a in zip(
            batch.time_ms.tolist(), batch.connector, batch.column("current_a"), strict=True
        )
    ]
    assert told == [
        (minutes_ago(10) + second * 1000, connector, second)
        for second in range(2, 10)
        for connector in ("c-1", "c-2")
    ]
    assert (batches[0].arrived_ms > 0).all()


def test_replay_of_one_instant_is_not_cut(
    telemetry: TenantTelemetry, ours: str, write: Write
) -> None:
    for number in range(7):
        write(ours, [(minutes_ago(1), {"current_a": number})], connector=f"c-{number}")

    (batch,) = telemetry.replay([f"c-{n}" for n in range(7)], since_ms=0, at_most=2)

    assert batch.column("current_a").tolist() == list(range(7))


def test_replay_cuts_time_where_the_readings_are(
    telemetry: TenantTelemetry, ours: str, write: Write
) -> None:
    week_ms = 7 * 86_400_000
    dense = [minutes_ago(10) + step for step in range(40)]
    sparse = [minutes_ago(10) - week_ms + step * 3_600_000 for step in range(6)]
    for connector in ("c-1", "c-2"):
        rows = [(each, {"current_a": each % 1000}) for each in [*sparse, *dense]]
        write(ours, rows, connector=connector)

    batches = list(telemetry.replay(["c-1", "c-2"], since_ms=0, at_most=12))

    times = [time_ms for batch in batches for time_ms in batch.time_ms.tolist()]
    assert times == sorted([*sparse, *dense] * 2)
    assert max(len(batch) for batch in batches) <= 12
    assert len(batches) <= 20  # neighbours are read together


def test_replay_gives_own_quantities_and_no_value_where_there_is_none(
    telemetry: TenantTelemetry, ours: str, write: Write
) -> None:
    write(ours, [(minutes_ago(2), {"x_oil_ppm": 0.1, "current_a": 61.2})], batch='"x_not":')
    write(ours, [(minutes_ago(1), {"interlock": 1, "x_b": 2})])

    (batch,) = telemetry.replay([CONNECTOR], since_ms=0)

    assert {name: column.tolist() for name, column in sorted(batch.values.items())} == {
        # As the store keeps it, and as the log gives it.
        "current_a": [float(np.float32(61.2)), pytest.approx(math.nan, nan_ok=True)],
        "interlock": [pytest.approx(math.nan, nan_ok=True), 1.0],
        "x_b": [pytest.approx(math.nan, nan_ok=True), 2.0],
        "x_oil_ppm": [0.1, pytest.approx(math.nan, nan_ok=True)],
    }


def test_replay_of_a_stretch_goes_from_page_to_page(
    telemetry: TenantTelemetry, ours: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stretches, "PAGE", 4)
    for connector in ("c-1", "c-2"):
        rows = [(minutes_ago(10) + step, {"current_a": step}) for step in range(10)]
        write(ours, rows, connector=connector)

    (batch,) = telemetry.replay(["c-1", "c-2"], since_ms=0)

    assert batch.column("current_a").tolist() == [step for step in range(10) for _each in range(2)]


def test_replay_that_is_given_up_leaves_nothing_running(
    telemetry: TenantTelemetry, ours: str, write: Write
) -> None:
    write(ours, [(minutes_ago(10) + step, {"current_a": step}) for step in range(50)])

    replay = telemetry.replay([CONNECTOR], since_ms=0, at_most=1)
    assert next(replay).column("current_a").tolist() == [0.0]
    replay.close()  # type: ignore[attr-defined]

    assert list(telemetry.replay([CONNECTOR], since_ms=minutes_ago(9))) == []


def test_replay_of_no_connectors_is_nothing(
    telemetry: TenantTelemetry, ours: str, write: Write
) -> None:
    write(ours, [(minutes_ago(1), {"current_a": 1.0})])

    assert list(telemetry.replay([], since_ms=0)) == []


def test_who_asks_for_too_much_is_told_the_limit(telemetry: TenantTelemetry) -> None:
    with pytest.raises(AskedTooMuch) as caught:
        telemetry.series(CONNECTOR, ["current_a"], start=NOW - HOUR, end=NOW, points=100_000)
    assert caught.value.data == {"what": "points", "asked": 100_000, "limit": 2_000}
    with pytest.raises(AskedTooMuch):
        telemetry.readings(CONNECTOR, start=NOW - HOUR, end=NOW, size=50_000)


def test_a_question_that_cannot_be_is_refused(telemetry: TenantTelemetry) -> None:
    with pytest.raises(WrongQuestion):
        telemetry.series(CONNECTOR, ["tenant"], start=NOW - HOUR, end=NOW)
    with pytest.raises(WrongQuestion):
        telemetry.series(CONNECTOR, ["current_a"], start=NOW, end=NOW - HOUR)


def test_around_an_instant_are_the_nearest_readings_of_both_sides(
    telemetry: TenantTelemetry, ours: str, theirs: str, write: Write
) -> None:
    at = NOW - 6 * HOUR
    for tenant, ampere in ((ours, 1.0), (theirs, 900.0)):
        rows = [(minutes_ago(360 - step), {"current_a": ampere + step}) for step in range(-9, 9)]
        write(tenant, rows)
    write(ours, [(minutes_ago(360 + 26 * 60), {"current_a": -1.0})])

    def around(**more: int) -> list[float]:
        found = telemetry.readings_around(
            CONNECTOR, at, **{"before": 3, "after": 2, **more}, within=24 * HOUR
        )
        return [each.values["current_a"] for each in found]

    assert around() == [-1.0, 0.0, 1.0, 2.0, 3.0]
    assert around(before=50)[0] == -8.0  # a day away is another day
