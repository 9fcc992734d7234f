"""A simulated fleet: reproducible, healthy by itself, ill when told to be."""

from dataclasses import replace

import numpy as np
import pytest

from workers.simulator.duty import Mode, ambient_c, day_plan, load_of, mode_at
from workers.simulator.faults import Fault, FaultKind, Pole
from workers.simulator.fleet import Fleet
from workers.simulator.plant import SCENARIO_AGED, Ageing, Plant, Sample

NOON_MS = 1_795_420_800_000
INLET, TRACTION = 0, 1


def played(
    plant: Plant, *, seconds: float, start_ms: int = NOON_MS, mode: Mode = Mode.CHARGING_HARD
) -> Sample:
    """The fleet under load, each vehicle in one mode; the last sample."""
    plant.held = dict.fromkeys(range(plant.fleet.vehicles), mode)
    for time_ms in range(start_ms, start_ms + int(seconds * 1000) + 1, 5000):
        sample = plant.advance(time_ms)
    return sample


def faulty(fleet: Fleet, kind: FaultKind, pole: Pole = Pole.POS) -> Plant:
    plant = Plant(fleet, seed=1)
    plant.faults = [Fault(kind, "traction-1", began_ms=NOON_MS, pole=pole)]
    return plant


def test_the_same_seed_plays_the_same_fleet(fleet: Fleet) -> None:
    once, again, other = (
        [Plant(fleet, seed=seed).advance(NOON_MS + step * 60_000) for step in range(5)]
        for seed in (1, 1, 2)
    )
    for first, second in zip(once, again, strict=True):
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])
    assert not np.array_equal(once[-1]["ambient_c"], other[-1]["ambient_c"])


def test_a_healthy_fleet_stays_within_its_ratings_for_days(fleet: Fleet) -> None:
    plant = Plant(fleet, seed=1)
    for time_ms in range(NOON_MS, NOON_MS + 3 * 86_400_000, 300_000):
        sample = plant.advance(time_ms)
        assert sample["temperature_pos_c"].max() < 80.0
        apart_k = np.abs(sample["temperature_pos_c"] - sample["temperature_neg_c"])
        assert apart_k.max() < 6.0
        assert sample["insulation_kohm"].min() > 1_000.0


def test_a_loose_contact_heats_its_pole_within_a_minute(fleet: Fleet) -> None:
    sample = played(faulty(fleet, FaultKind.LOOSE, Pole.NEG), seconds=60)
    healthy = played(Plant(fleet, seed=1), seconds=60)
    assert sample["temperature_neg_c"][TRACTION] > healthy["temperature_neg_c"][TRACTION] + 40
    assert sample["temperature_pos_c"][TRACTION] == pytest.approx(
        healthy["temperature_pos_c"][TRACTION], abs=1.5
    )


@pytest.mark.parametrize(
    ("kind", "name", "low", "high"),
    [
        (FaultKind.INSULATION, "insulation_kohm", 0, 100),
        (FaultKind.INTERLOCK, "interlock", 0, 0),
        (FaultKind.OVERVOLTAGE, "voltage_v", 1_020, 1_200),
        (FaultKind.OVERCURRENT, "current_a", -400, -310),
        (FaultKind.SENSOR_DRIFTING, "temperature_pos_c", 72, 95),
        (FaultKind.COOLING, "temperature_neg_c", 72, 130),
    ],
)
def test_a_fault_shows_in_its_quantity(
    fleet: Fleet, kind: FaultKind, name: str, low: float, high: float
) -> None:
    sample = played(faulty(fleet, kind), seconds=600)
    assert low <= sample[name][TRACTION] <= high
    assert not low <= played(Plant(fleet, seed=1), seconds=600)[name][TRACTION] <= high


def test_a_stuck_sensor_says_the_same_for_ever(fleet: Fleet) -> None:
    plant = faulty(fleet, FaultKind.SENSOR_STUCK)
    said = {played(plant, seconds=0, start_ms=NOON_MS + step * 30_000)["temperature_pos_c"][1]
            for step in range(10)}  # fmt: skip
    assert len(said) == 1


def test_a_silent_connector_measures_nothing(fleet: Fleet) -> None:
    sample = played(faulty(fleet, FaultKind.SILENT), seconds=10)
    assert all(np.isnan(column[TRACTION]) for column in sample.values())
    assert not np.isnan(sample["current_a"][INLET])


def test_a_fault_that_begins_later_is_not_there_yet(fleet: Fleet) -> None:
    plant = faulty(fleet, FaultKind.INTERLOCK)
    plant.faults = [replace(plant.faults[0], began_ms=NOON_MS + 60_000)]
    assert played(plant, seconds=30)["interlock"][TRACTION] == 1.0


def test_a_repaired_contact_is_cold_and_stays_normal(fleet: Fleet) -> None:
    plant = faulty(fleet, FaultKind.LOOSE)
    assert played(plant, seconds=240)["temperature_pos_c"][TRACTION] > 110
    plant.faults.clear()
    plant.renew(TRACTION)
    after = played(plant, seconds=300, start_ms=NOON_MS + 245_000)
    assert after["temperature_pos_c"][TRACTION] < 65


def test_an_inlet_carries_current_only_while_plugged_in(fleet: Fleet) -> None:
    driving = played(Plant(fleet, seed=1), seconds=10, mode=Mode.DRIVING_HARD)
    assert abs(driving["current_a"][INLET]) < 3
    assert driving["mated"][INLET] == 0
    charging = played(Plant(fleet, seed=1), seconds=10)
    assert charging["current_a"][INLET] < -200
    assert charging["mated"][INLET] == 1


def test_the_story_ages_over_the_history_and_runs_away_live() -> None:
    story = Ageing(0, began_ms=0, live_ms=30 * 86_400_000)
    course = [story.factor(day * 86_400_000) for day in range(31)]
    assert course[0] == 1.0
    assert course == sorted(course)
    assert course[30] == pytest.approx(SCENARIO_AGED)
    assert story.factor(30 * 86_400_000 + 180_000) > 2.5 * SCENARIO_AGED
    assert story.factor(400 * 86_400_000) < 10


def test_a_day_has_its_order_and_repeats_for_a_seed() -> None:
    plan = day_plan(1, 0, 20_000)
    assert [begin for begin, _ in plan] == sorted(begin for begin, _ in plan)
    assert {mode for _, mode in plan} == {Mode.PARKED, Mode.DRIVING, Mode.CHARGING}
    assert mode_at(seed=1, vehicle=0, time_s=NOON_MS / 1000) == mode_at(
        seed=1, vehicle=0, time_s=NOON_MS / 1000
    )


def test_loads_stay_under_rated_current() -> None:
    for mode in Mode:
        for second in range(0, 3600, 7):
            load = load_of(mode, since_s=second, time_s=NOON_MS / 1000 + second, vehicle=3)
            assert -0.95 < load < 0.95


def test_afternoons_are_warmer_than_mornings() -> None:
    midnight_s = 20_000 * 86_400 - 8 * 3600
    for day in range(10):
        at_s = midnight_s + day * 86_400
        assert ambient_c(at_s + 15 * 3600, seed=1) > ambient_c(at_s + 5 * 3600, seed=1) + 5
