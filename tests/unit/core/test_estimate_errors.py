"""What the contacts stage makes of readings that err: single lies, loud sensors, alike episodes."""

from dataclasses import replace

import numpy as np
import pytest

from ohmwatch.checks.detectors import EXAMPLE, START_MS
from ohmwatch.contacts import CONTACTS
from ohmwatch.detector import Batch, Floats, State
from ohmwatch.detectors.cooling_reduced import CoolingReduced
from ohmwatch.physics.estimate.episodes import hear
from ohmwatch.physics.estimate.follow import PREFIX
from ohmwatch.physics.estimate.record import AIR, APART, CONTACT_DTYPE
from ohmwatch.physics.known import known, with_known

INTERVAL_S = 60
STEPS = 1_440
MODEL = replace(EXAMPLE, interval_s=float(INTERVAL_S), rated_mating_cycles=100)
STEP = 0.09
HALF_HOUR_MS = 1_800_000
Spikes = tuple[tuple[str, int], ...]


def told(
    name: str, *, noise_k: float = 0.2, spikes: Spikes = (), kept: State | None = None
) -> Floats:
    """A column of the stage over a day of changing load, float64[STEPS]."""
    chance = np.random.default_rng(7)
    current_a = np.repeat(chance.uniform(0.0, 220.0, STEPS // 20), 20)
    rise_k, warm_k = np.zeros(STEPS), 0.0
    for at in range(STEPS):
        warm_k += (30.0 * (current_a[at] / 250.0) ** 2 - warm_k) * INTERVAL_S / 760.0
        rise_k[at] = warm_k
    values = {
        "current_a": current_a,
        "ambient_c": 20.0 + 0.1 * chance.normal(size=STEPS),
        "temperature_pos_c": 20.0 + rise_k + noise_k * chance.normal(size=STEPS),
        "temperature_neg_c": 20.0 + rise_k + noise_k * chance.normal(size=STEPS),
    }
    for quantity, at in spikes:
        values[quantity][at] = 215.0
    times = START_MS + np.arange(STEPS) * INTERVAL_S * 1000
    batch = Batch.of_one("inlet", times, **values)
    columns = CONTACTS.columns(
        batch, [MODEL], np.zeros(1, dtype=CONTACT_DTYPE) if kept is None else kept
    )
    return known(with_known(batch, columns), name)


def test_one_reading_no_heat_explains_moves_no_estimate() -> None:
    clean = told("apart_now_k")
    for at in range(700, 720):
        spiked = told("apart_now_k", spikes=(("temperature_pos_c", at),))
        assert np.abs(spiked - clean).max() < 3.0


def test_air_that_leaps_for_one_reading_is_not_felt() -> None:
    clean = told("heating_pos_k")
    spiked = told("heating_pos_k", spikes=(("ambient_c", 705),))
    assert np.nanmax(np.abs(spiked - clean)) < 1.0


def test_loud_sensors_are_no_flutter_and_no_growth() -> None:
    for noise_k in (0.2, 1.5):
        loud = "apart_up", "apart_down", "flutter"
        up, down, flutter = (told(name, noise_k=noise_k)[-1] for name in loud)
        assert max(up, down) < 7.0
        assert flutter < 3.0


def test_a_contact_without_measured_air_is_seen_to_rest() -> None:
    kept = np.zeros(1, dtype=CONTACT_DTYPE)
    times = START_MS + np.arange(300) * INTERVAL_S * 1000
    resting = {"current_a": np.zeros(300), "temperature_pos_c": np.full(300, 12.0)}
    batch = Batch.of_one("inlet", times, **resting, temperature_neg_c=12.0 + np.arange(300) % 2)
    CONTACTS.columns(batch, [MODEL], kept)
    assert kept[0]["sensors"][AIR]["rests"] > 50.0


def test_what_is_expected_of_a_loud_sensor_is_what_it_does() -> None:
    kept = np.zeros(1, dtype=CONTACT_DTYPE)
    told("apart_up", noise_k=1.5, kept=kept)
    assert 0.5 < kept[0]["apart"]["fit"] < 2.0
    assert kept[0]["apart"]["noise_k2"] == pytest.approx(2.0 * 1.5**2, rel=0.4)


def slower(up: list[float], change: list[float]) -> list[str]:
    """What CoolingReduced says of a unit without air, over episodes of these estimates."""
    count = len(up)
    told_of = {
        "news": np.ones(count), "cooling_up": np.array(up), "cooling": np.array(change),
        "apart_up": np.zeros(count), "apart_down": np.zeros(count), "most_today": np.ones(count),
        "slower_fit": np.zeros(count), "apart_sd": np.ones(count), "pair_shift_k": np.zeros(count),
    }  # fmt: skip
    times = START_MS + np.arange(count) * INTERVAL_S * 1000
    told_of |= {f"trust_{place}": np.ones(count) for place in ("pos", "neg", "air")}
    told_of["cooling_since_ms"] = np.full(count, START_MS - 100 * 3_600_000.0)
    batch = Batch.of_one("inlet", times, current_a=np.ones(count))
    batch = with_known(batch, {PREFIX + name: column for name, column in told_of.items()})
    detector = CoolingReduced()
    said = detector.observe(batch, [MODEL], np.zeros(1, dtype=detector.state_dtype))
    return ["ended" if each.severity is None else each.severity.name for each in said]


def test_reduced_cooling_is_one_story_on_cool_days_too() -> None:
    assert slower([30.0, 30.0, 30.0, 30.0], [0.5, 0.1, 0.5, 0.1]) == ["WARNING"]
    assert slower([30.0, 30.0, 1.0], [0.5, 0.1, 0.1]) == ["WARNING", "ended"]
    assert slower([30.0, 30.0], [0.1, 0.1]) == []


def evidence(errors: Floats, changes: Floats) -> float:
    """The most that the two sums came to over episodes with these errors, then these changes."""
    kept = np.zeros(1, dtype=CONTACT_DTYPE)
    channel = kept[0]["channels"][APART]
    channel["scatter"], channel["newest"] = 1.0, np.nan
    most = 0.0
    for at, value in enumerate(np.concatenate([errors, changes])):
        hear(kept[0], APART, value, 0.02**2, STEP, True, START_MS + (at + 1) * HALF_HOUR_MS)
        most = max(most, float(channel["up"]), float(channel["down"]))
    return most


def alike(count: int, rho: float, size: float) -> Floats:
    """Errors of a first-order autoregressive series, float64[count], of standard deviation size."""
    chance, value = np.random.default_rng(11), 0.0
    made = np.empty(count)
    for at in range(count):
        value = rho * value + np.sqrt(1.0 - rho * rho) * chance.normal()
        made[at] = size * value
    return made


def test_episodes_that_err_alike_are_no_row_of_witnesses() -> None:
    nothing = np.zeros(0)
    assert evidence(alike(600, 0.7, 0.03), nothing) < 12.5


def test_a_change_is_evidence_also_where_episodes_err_alike() -> None:
    changed = 0.25 + alike(40, 0.7, 0.04)
    assert evidence(alike(200, 0.7, 0.04), changed) > 12.5
    assert evidence(alike(200, 0.0, 0.04), changed) > 12.5
