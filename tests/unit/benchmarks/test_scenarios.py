"""The generator obeys physics, says the same each time, and its truth fits its readings."""

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from benchmarks.warning import world
from benchmarks.warning.faults import Kind, Shape
from benchmarks.warning.models import MODELS
from benchmarks.warning.profiles import HARD, HEALTHY, HEALTHY_HARD, NOMINAL, Profile
from benchmarks.warning.scenarios import START_MS, Scenario, generate
from benchmarks.warning.truth import Truth, read_truth, write_truth
from benchmarks.warning.units import (
    CONTACT_PER_K,
    CONTACT_SHARE,
    COPPER_PER_K,
    FAST_SHARE,
    QUANTITIES,
    UNIT,
    network,
)
from ohmwatch.detector import Batch, Ratings

DAY_MS = 86_400_000
EXACT = replace(
    NOMINAL,
    resistance_spread=0.0, pole_spread=0.0, cooling_spread=0.0, constants_spread=0.0,
    mating_spread=0.0, ageing=0.0, offset_k=0.0, noise_k=(0.0, 0.0), steps_k=(0.0,), sun_k=0.0,
    loss=0.0, late=0.0, twice=0.0, empty=0.0, spike=0.0, outages_a_day=0.0,
    bare_negative=0.0, bare_ambient=0.0, bare_drop=1.0, asleep=0.0, self_heating=0.0,
)  # fmt: skip
"""No noise, no spread: what is left is physics."""


def only(kind: Kind, profile: Profile = NOMINAL, days: float = 20.0) -> Profile:
    shares = MappingProxyType({kind: 1.0})
    return replace(profile, name=kind.name.lower(), shares=shares, days=days)


def readings(scenario: Scenario, hours: int = 24) -> Batch:
    """All of a set as one batch, by connector, then time, then arrival."""
    parts = list(scenario.batches(hours))
    columns = {name: np.concatenate([part.values[name] for part in parts]) for name in QUANTITIES}
    whole = Batch(
        connectors=scenario.connectors,
        connector=np.concatenate([part.connector for part in parts]),
        time_ms=np.concatenate([part.time_ms for part in parts]),
        arrived_ms=np.concatenate([part.arrived_ms for part in parts]),
        values=columns,
    )
    order = np.lexsort((whole.arrived_ms, whole.time_ms, whole.connector))
    return Batch(
        connectors=whole.connectors,
        connector=whole.connector[order],
        time_ms=whole.time_ms[order],
        arrived_ms=whole.arrived_ms[order],
        values={name: column[order] for name, column in columns.items()},
    )


def of(batch: Batch, number: int) -> Batch:
    return batch.rows(batch.connector == number)


def nominal_unit(model: Ratings) -> np.record:
    """A unit exactly as its model says."""
    unit = np.zeros(1, dtype=UNIT)
    ohm = model.contact_resistance_new_uohm * 1e-6
    fast, slow = network(model)
    unit["contact_pos_ohm"] = unit["contact_neg_ohm"] = CONTACT_SHARE * ohm
    unit["bulk_pos_ohm"] = unit["bulk_neg_ohm"] = (1 - CONTACT_SHARE) * ohm
    unit["g_fast"], unit["g_slow"], unit["g_between"] = fast, slow, 0.08 * slow
    unit["c_fast"] = fast * model.thermal_time_constants_s[0]
    unit["c_slow"] = slow * model.thermal_time_constants_s[1]
    unit["convection_k"] = 0.0015
    unit["nominal_rise_k"] = (1 - FAST_SHARE) * model.temperature_rise_rated_k
    return unit.view(np.recarray)[0]


def heated(
    unit: np.record, amps: float, air_c: float, steps: int, worse: tuple[float, float] = (1, 1)
) -> tuple[float, float, float, float]:
    nodes = (air_c, air_c, air_c, air_c)
    ohm = (float(unit.contact_pos_ohm) * worse[0], float(unit.contact_neg_ohm) * worse[1])
    for _ in range(steps):
        nodes = world._heat.py_func(unit, amps * amps, (air_c, air_c), 1.0, ohm, nodes)
    return nodes


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.model)
def test_rated_current_warms_a_new_contact_as_its_model_says(model: Ratings) -> None:
    nodes = heated(nominal_unit(model), model.rated_current_a, 20.0, 2000)
    assert nodes[0] - 20.0 == pytest.approx(model.temperature_rise_rated_k, rel=0.01)
    assert nodes[0] == nodes[1]


def test_a_contact_warms_in_two_steps_a_fast_and_a_slow_one() -> None:
    model = MODELS[2]
    unit = nominal_unit(model)
    fast_s, slow_s = model.thermal_time_constants_s
    soon = heated(unit, model.rated_current_a, 20.0, int(3 * fast_s / 10))
    later = heated(unit, model.rated_current_a, 20.0, int(3 * slow_s / 10))
    contact_over_lug = soon[0] - soon[2]
    assert contact_over_lug > 0.8 * FAST_SHARE * model.temperature_rise_rated_k
    assert soon[2] - 20.0 < 0.35 * (later[2] - 20.0)


def test_heat_is_neither_made_nor_lost() -> None:
    unit = nominal_unit(MODELS[0])
    ohm, air, amps = (4e-4, 1e-4), (25.0, 24.0), 180.0
    before = (60.0, 40.0, 45.0, 38.0)
    after = world._heat.py_func(unit, amps**2, air, 0.7, ohm, before)
    stored_j = sum(
        float(capacity) * (now - then)
        for capacity, now, then in zip(
            (unit.c_fast, unit.c_fast, unit.c_slow, unit.c_slow), after, before, strict=True
        )
    )
    made_w = lost_w = 0.0
    for pole in (0, 1):
        made_w += amps**2 * ohm[pole] * (1 + CONTACT_PER_K * (before[pole] - 20.0))
        bulk_ohm = float(unit.bulk_pos_ohm)
        made_w += amps**2 * bulk_ohm * (1 + COPPER_PER_K * (before[2 + pole] - 20.0))
        over_k = before[2 + pole] - air[pole]
        convection = 1 + float(unit.convection_k) * (over_k - float(unit.nominal_rise_k))
        lost_w += float(unit.g_slow) * 0.7 * convection * over_k
    assert stored_j == pytest.approx(world.STEP_S * (made_w - lost_w), rel=1e-9)


def test_a_worse_contact_is_hotter_than_its_neighbour_and_warms_it_a_little() -> None:
    unit = nominal_unit(MODELS[3])
    healthy = heated(unit, 200.0, 20.0, 2000)
    faulty = heated(unit, 200.0, 20.0, 2000, worse=(4.0, 1.0))
    assert faulty[0] - healthy[0] > 15.0
    assert 0.1 < faulty[1] - healthy[1] < 0.2 * (faulty[0] - healthy[0])


def test_without_current_a_contact_is_as_warm_as_the_air() -> None:
    unit = nominal_unit(MODELS[0])
    nodes = (90.0, 20.0, 70.0, 20.0)
    for _ in range(3000):
        nodes = world._heat.py_func(unit, 0.0, (12.0, 12.0), 1.0, (1e-4, 1e-4), nodes)
    assert nodes == pytest.approx((12.0,) * 4, abs=0.01)


@pytest.mark.parametrize("profile", [HEALTHY, HEALTHY_HARD], ids=lambda profile: profile.name)
def test_the_healthy_stay_within_every_limit(profile: Profile) -> None:
    scenario = generate(replace(profile, days=12.0), 5, 60)
    batch = readings(scenario)
    truths = scenario.truth()
    assert {truth.kind for truth in truths} == {Kind.HEALTHY}
    assert all(truth.limit_ms is truth.visible_ms is None for truth in truths)
    limit_c = np.array([each.temperature_limit_c for each in scenario.ratings])[batch.connector]
    rated_a = np.array([each.rated_current_a for each in scenario.ratings])[batch.connector]
    for pole in ("temperature_pos_c", "temperature_neg_c"):
        seen = batch.values[pole]
        believed = seen[(seen > -40.0) & (seen < 200.0)]
        assert (believed < limit_c[(seen > -40.0) & (seen < 200.0)] - 10.0).all()
    assert np.nanmax(np.abs(batch.values["current_a"]) / rated_a) < 1.25
    assert np.nanmin(batch.values["insulation_kohm"]) > 500.0


def test_the_same_set_however_it_is_cut() -> None:
    once, again = readings(generate("hard", 2, 12), hours=24), readings(generate("hard", 2, 12), 7)
    few = readings(generate("hard", 2, 5))
    assert np.array_equal(once.time_ms, again.time_ms)
    assert np.array_equal(once.arrived_ms, again.arrived_ms)
    same = once.connector < 5
    assert np.array_equal(once.time_ms[same], few.time_ms)
    for name in QUANTITIES:
        assert np.array_equal(once.values[name], again.values[name], equal_nan=True)
        assert np.array_equal(once.values[name][same], few.values[name], equal_nan=True)


def test_seeds_differ() -> None:
    one, other = generate("nominal", 1, 30), generate("nominal", 2, 30)
    assert (one.units["kind"] != other.units["kind"]).any()


def test_the_truth_is_the_same_with_and_without_looking_at_the_readings() -> None:
    looked = generate("hard", 4, 12)
    for _ in looked.batches(hours=5):
        pass
    assert looked.truth() == generate("hard", 4, 12).truth()


def test_a_batch_holds_what_arrived_in_its_hours() -> None:
    begin = START_MS
    late = 0
    for batch in generate("hard", 3, 10).batches(hours=12):
        if len(batch):
            assert batch.arrived_ms.min() >= begin
            late += int((batch.time_ms < begin).sum())
            key = batch.connector.astype(np.int64) * 10**14 + batch.time_ms
            assert (np.diff(key) >= 0).all()
        begin += 12 * 3_600_000
    assert late > 100


def test_readings_get_lost_come_late_and_come_twice() -> None:
    scenario = generate(replace(HARD, days=10.0), 3, 40)
    batch = readings(scenario)
    sound = np.isin(batch.connector, np.flatnonzero(scenario.units["kind"] != Kind.CLOCK))
    delay_ms = (batch.arrived_ms - batch.time_ms)[sound]
    assert (delay_ms > 0).all()
    assert 0.01 < (delay_ms > 60_000).mean() < 0.15
    repeated = (np.diff(batch.time_ms) == 0) & (np.diff(batch.connector) == 0)
    assert 0.003 < repeated.mean() < 0.03


def test_not_every_device_measures_everything() -> None:
    scenario = generate("nominal", 9, 600)
    without = {
        name: np.mean([name not in each.reports for each in scenario.ratings])
        for name in QUANTITIES
    }
    assert without["drop_pos_mv"] == pytest.approx(0.60, abs=0.06)
    assert without["ambient_c"] == pytest.approx(NOMINAL.bare_ambient, abs=0.04)
    assert without["temperature_neg_c"] == pytest.approx(NOMINAL.bare_negative, abs=0.04)
    assert without["current_a"] == without["temperature_pos_c"] == 0.0
    batch = readings(generate("nominal", 9, 20))
    for number, each in enumerate(generate("nominal", 9, 20).ratings):
        mine = of(batch, number)
        for name in QUANTITIES:
            assert np.isnan(mine.values[name]).all() == (name not in each.reports)


def test_a_fault_of_its_contact_is_visible_when_the_poles_part() -> None:
    scenario = generate(only(Kind.FRETTING, EXACT, days=25.0), 8, 30)
    batch = readings(scenario)
    checked = 0
    for number, truth in enumerate(scenario.truth()):
        mine = of(batch, number)
        sign = 1.0 if truth.pole == "pos" else -1.0
        apart_k = sign * (mine.values["temperature_pos_c"] - mine.values["temperature_neg_c"])
        assert truth.onset_ms is not None
        before = apart_k[mine.time_ms < truth.onset_ms]
        assert np.abs(before).max() < 0.05
        if truth.visible_by != "temperature":
            continue
        # The other pole is warmed as well, so the poles part by a little less than from the twin.
        surely = np.sort(mine.arrived_ms[apart_k >= world.VISIBLE_K])[:5]
        maybe = np.sort(mine.arrived_ms[apart_k >= 0.75 * world.VISIBLE_K])[:5]
        assert truth.visible_ms is not None
        assert maybe[-1] - 1000 <= truth.visible_ms <= surely[-1] + 1000
        checked += 1
    assert checked >= 20


def test_a_limit_is_reached_when_the_contact_is_that_hot() -> None:
    scenario = generate(only(Kind.FRETTING, EXACT, days=30.0), 8, 20)
    batch = readings(scenario)
    limited = 0
    for number, truth in enumerate(scenario.truth()):
        mine = of(batch, number)
        hottest_c = np.maximum(mine.values["temperature_pos_c"], mine.values["temperature_neg_c"])
        limit_c = scenario.ratings[number].temperature_limit_c
        if truth.reached_ms is None:
            assert hottest_c.max() < limit_c
            continue
        limited += 1
        assert hottest_c[mine.time_ms < truth.reached_ms - 1000].max() < limit_c
        assert mine.time_ms.max() <= truth.heard_until_ms + 1000
        assert truth.heard_until_ms - truth.reached_ms <= world.AFTER_LIMIT_S * 1000
    assert limited >= 10


def test_lost_cooling_warms_both_poles_alike() -> None:
    scenario = generate(only(Kind.COOLING, EXACT), 3, 8)
    batch = readings(scenario)
    for number, truth in enumerate(scenario.truth()):
        mine = of(batch, number)
        apart_k = mine.values["temperature_pos_c"] - mine.values["temperature_neg_c"]
        assert np.abs(apart_k).max() < 0.05
        assert truth.pole == "both"
    assert sum(truth.visible_ms is not None for truth in scenario.truth()) >= 6


def test_a_bad_assembly_is_there_from_the_first_day() -> None:
    truths = generate(only(Kind.ASSEMBLY), 3, 20).truth()
    assert all(truth.onset_ms is not None and truth.onset_ms < START_MS for truth in truths)
    seen = [truth.visible_ms for truth in truths if truth.visible_ms is not None]
    assert len(seen) >= 18
    assert np.median(seen) < START_MS + 3 * DAY_MS


def test_wet_insulation_dips_and_recovers_and_dry_insulation_falls() -> None:
    for kind, recovers in ((Kind.INSULATION_WET, True), (Kind.INSULATION_DRY, False)):
        scenario = generate(only(kind, days=30.0), 4, 12)
        batch = readings(scenario)
        ratios = []
        for number, truth in enumerate(scenario.truth()):
            if truth.reached_ms is None:
                continue
            mine = of(batch, number)
            after = mine.values["insulation_kohm"][mine.time_ms > truth.reached_ms]
            ratios.append(np.nanmax(after) / 500.0)
        assert len(ratios) >= 5
        assert (np.median(ratios) > 2.5) == recovers


def test_an_interlock_opens_more_and_more_often() -> None:
    scenario = generate(only(Kind.INTERLOCK_INTERMITTENT, days=30.0), 4, 12)
    batch = readings(scenario)
    for number, truth in enumerate(scenario.truth()):
        mine = of(batch, number)
        mated = mine.values["mated"] != 0.0
        opened = mine.time_ms[(mine.values["interlock"] == 0.0) & mated]
        assert truth.onset_ms is not None
        assert not (opened < truth.onset_ms).any()
        if truth.visible_ms is not None:
            assert opened[0] <= truth.visible_ms
        if truth.reached_ms is not None:
            assert truth.reached_ms > truth.onset_ms + 3 * DAY_MS


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind >= Kind.STUCK])
def test_a_lying_sensor_lies_and_its_connector_is_healthy(kind: Kind) -> None:
    scenario = generate(only(kind), 6, 12)
    batch = readings(scenario)
    for number, truth in enumerate(scenario.truth()):
        assert truth.limit_ms is truth.visible_ms is None
        assert truth.onset_ms is not None
        unit, mine = scenario.units[number], of(batch, number)
        if kind == Kind.STUCK and unit["sensor"] == 0:
            after = mine.values["temperature_pos_c"][mine.time_ms > truth.onset_ms + 1000]
            assert len(np.unique(after[(after > -40) & (after < 200)])) == 1
        if kind == Kind.CLOCK:
            after = mine.arrived_ms > truth.onset_ms + 60_000
            behind_s = np.median(mine.arrived_ms[after] - mine.time_ms[after]) / 1000
            assert behind_s == pytest.approx(-unit["size"], rel=0.05, abs=5)
        if kind == Kind.SWAPPED:
            assert truth.pole == ""


def test_growth_comes_in_every_shape() -> None:
    truths = generate(only(Kind.FRETTING, days=12.0), 1, 30).truth()
    shapes = {truth.shape for truth in truths}
    assert shapes == {Shape.LINEAR, Shape.POWER, Shape.EXPONENTIAL, Shape.STEPS}
    assert all(truth.visible_ms is None or truth.visible_ms >= truth.onset_ms for truth in truths)


def test_a_limit_is_followed_beyond_the_last_reading() -> None:
    truths = generate(replace(only(Kind.FRETTING, HARD), days=16.0), 1, 40).truth()
    beyond = [each for each in truths if each.limit_ms and each.reached_ms is None]
    assert len(beyond) >= 3
    assert all(each.limit_ms and each.limit_ms > each.heard_until_ms for each in beyond)


def test_the_truth_survives_its_file(tmp_path: Path) -> None:
    truths = generate(replace(NOMINAL, days=16.0), 1, 30).truth()
    write_truth(tmp_path / "truth.csv", truths)
    again: list[Truth] = list(read_truth(tmp_path / "truth.csv"))
    assert again == truths
