"""What the contacts stage makes of a parked vehicle whose device wakes once an hour.

Between two readings lies more than a gap: whether there was load in it is told by what is warm at
its end.
"""

from dataclasses import replace

import numpy as np
import pytest

from ohmwatch.checks.detectors import EXAMPLE, START_MS
from ohmwatch.contacts import CONTACTS
from ohmwatch.detector import Batch, Floats
from ohmwatch.physics.estimate.follow import PREFIX
from ohmwatch.physics.estimate.record import CONTACT_DTYPE

MINUTE_MS = 60_000
HOURS = 40
AWAKE_MINUTES = 200
MODEL = replace(EXAMPLE, interval_s=60.0, rated_mating_cycles=100)


def parked(
    shown_k: dict[str, Floats] | None = None, warm_k: Floats | None = None
) -> dict[str, Floats]:
    """The last columns of the stage, of each hour, float64[HOURS].

    The device first reports each minute, then each hour. `shown_k` is by how much a sensor shows
    too much in each hour, `warm_k` by how much both poles are warmer than the air.
    """
    awake = np.arange(AWAKE_MINUTES)
    minutes = np.concatenate([awake, AWAKE_MINUTES + 60 * np.arange(1, HOURS + 1)])
    chance = np.random.default_rng(5)
    values = {"current_a": np.zeros(len(minutes))}
    for quantity in ("temperature_pos_c", "temperature_neg_c", "ambient_c"):
        added = np.zeros(HOURS) if shown_k is None else shown_k.get(quantity, np.zeros(HOURS))
        if warm_k is not None and quantity != "ambient_c":
            added = added + warm_k
        course = 12.0 + np.concatenate([np.zeros(AWAKE_MINUTES), added])
        values[quantity] = np.round(course + 0.2 * chance.normal(size=len(minutes)), 1)
    batch = Batch.of_one("inlet", START_MS + minutes * MINUTE_MS, **values)
    columns = CONTACTS.columns(batch, [MODEL], np.zeros(1, dtype=CONTACT_DTYPE))
    return {name.removeprefix(PREFIX): told[-HOURS:] for name, told in columns.items()}


def from_hour(hour: int, size_k: float) -> Floats:
    return np.where(np.arange(HOURS) >= hour, size_k, 0.0)


@pytest.mark.parametrize("place", ["pos", "neg"])
def test_a_sensor_that_came_to_lie_while_its_vehicle_slept_is_seen_at_rest(place: str) -> None:
    told = parked({f"temperature_{place}_c": from_hour(5, 12.0)})
    assert told[f"trust_{place}"][12] == 0.0
    assert told[f"shift_{place}_k"][-1] == pytest.approx(12.0, abs=2.0)
    assert told[f"trust_{'neg' if place == 'pos' else 'pos'}"].min() == 1.0


def test_air_that_is_shown_too_cold_from_one_hour_on_is_told_from_heat_that_fades() -> None:
    told = parked({"ambient_c": from_hour(5, -15.0)})
    assert told["trust_air"][5:].max() < 1.0
    assert told["trust_air"][12] == 0.0
    # From there on the lie is left out, and its size with it.
    assert told["shift_air_k"][-1] < -4.5


def test_poles_that_a_load_warmed_unseen_are_no_sensors_that_lie() -> None:
    for warmed in ([18.0], [18.0, 6.0, 2.0], [12.0, 20.0, 6.0]):
        warm_k = np.zeros(HOURS)
        warm_k[5 : 5 + len(warmed)] = warmed
        told = parked(warm_k=warm_k)
        assert min(told[f"trust_{place}"].min() for place in ("pos", "neg", "air")) == 1.0
        assert np.abs(told["shift_pos_k"]).max() < 1.0
