"""The time to the limit: intervals hold as often as they say, whatever law the growth follows."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ohmwatch.checks.detectors import EXAMPLE
from ohmwatch.detector import State
from ohmwatch.physics.estimate.outlook import (
    FORESEEN,
    LIMIT_UNKNOWN,
    LITTLE_LOAD,
    LONGEST_DAYS,
    NOT_GROWING,
    OUT_OF_REACH,
    TOO_FEW_POINTS,
    add_point,
    forecast,
    growth_to_limit,
    why_unforeseen,
)
from ohmwatch.physics.estimate.record import (
    APART,
    CONTACT_DTYPE,
    PER_K,
    REFERENCE_C,
    parameters_of,
)

ONSET_DAY = 8.0
LIMIT = 3.0
DAY_S = 86_400.0
Course = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Growth at each of some days, in parts of the rated rise."""


def contact(*, base: float = 0.0) -> State:
    """A record whose poles differ by `base` since the first day; nothing else is known."""
    record: State = np.zeros(1, dtype=CONTACT_DTYPE)
    record["channels"]["base"][:, APART] = base
    return record


def told_days(days: np.ndarray, growth: np.ndarray, *, base: float = 0.0) -> tuple[float, ...]:
    """Beginning, middle and end of the interval after a course, in days."""
    record = contact(base=base)[0]
    for day, change in zip(days, growth, strict=True):
        add_point(record, day, change, 0.0)
    forecast(record, 1.0, LIMIT)
    left_s = (record["left_from_s"], record["left_s"], record["left_to_s"])
    return tuple(float(each) / DAY_S for each in left_s)


def linear(days: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    return np.maximum(days - ONSET_DAY, 0.0) * chance.uniform(0.15, 0.6)


def exponential(days: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    tau_days = chance.uniform(1.5, 6.0)
    grown = np.exp(np.maximum(days - ONSET_DAY, 0.0) / tau_days) - 1.0
    return chance.uniform(0.1, 0.3) * grown


def leaping(days: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    at_days = ONSET_DAY + np.cumsum(chance.exponential(chance.uniform(1.0, 4.0), 60))
    levels = np.zeros(61)
    for number in range(60):
        levels[number + 1] = (levels[number] + 0.3) * chance.uniform(1.3, 2.4)
    return levels[np.searchsorted(at_days, days)]


def under_way(days: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """A bad assembly that grew before anybody looked, over what it was when it was met."""
    return 1.2 * (np.exp(days / chance.uniform(6.0, 14.0)) - 1.0)


@pytest.mark.parametrize(
    ("course", "base"), [(linear, 0.0), (exponential, 0.0), (leaping, 0.0), (under_way, 1.2)]
)
def test_intervals_hold_whatever_the_law(course: Course, base: float) -> None:
    days = np.arange(0.0, 90.0, 0.2)
    held, lengths = [], []
    for seed in range(40):
        chance = np.random.default_rng(seed)
        growth = course(days, chance)
        reached = days[growth >= LIMIT]
        # The peak that takes it to the limit comes within a day or so.
        due = reached[0] + chance.exponential(0.8) if len(reached) else np.inf
        seen = growth + chance.normal(0.0, 0.02, len(days)) + 0.06 * growth * chance.normal()
        grown = np.flatnonzero(growth > chance.uniform(0.2, 1.5))[0]
        if days[grown] < due:
            low, _, high = told_days(days[: grown + 1], seen[: grown + 1], base=base)
            held.append(low <= due - days[grown] <= high)
            lengths.append(high / low)
    assert len(held) >= 30
    assert np.mean(held) >= 0.65
    assert np.median(lengths) < 40.0  # held, but not by saying everything


def test_leaping_growth_that_rests_is_not_taken_for_ended() -> None:
    days = np.arange(0.0, 16.0, 0.2)
    leaps = np.select([days < 8.0, days < 10.0, days < 12.5], [0.0, 0.4, 0.9], 1.8)
    low, middle, high = told_days(days, leaps)
    assert low < 1.5
    assert middle < 8.0
    assert middle < high


def test_interval_is_told_in_order_and_shrinks_towards_the_limit() -> None:
    days = np.arange(0.0, 20.0, 0.2)
    growth = 0.2 * (np.exp(np.maximum(days - ONSET_DAY, 0.0) / 3.0) - 1.0)
    early = told_days(days[days < 12.0], growth[days < 12.0])
    late = told_days(days[days < 16.0], growth[days < 16.0])
    assert early[0] < early[1] < early[2]
    assert late[0] < late[1] < late[2]
    assert late[1] < early[1]


def test_few_points_tell_nothing() -> None:
    assert np.isnan(told_days(np.arange(3.0), np.array([0.0, 0.2, 0.4]))).all()


def test_why_nothing_is_told_is_said() -> None:
    """Each reason, in the order in which they go away."""
    record, model = contact()[0], parameters_of([EXAMPLE])[0]
    nobodys = parameters_of([replace(EXAMPLE, temperature_limit_c=np.nan)])[0]
    assert why_unforeseen(record, model, 1.0) == TOO_FEW_POINTS
    for day in range(12):
        add_point(record, float(day), 0.04 * day, 0.0)
    forecast(record, 1.0, LIMIT)
    assert why_unforeseen(record, model, np.nan) == NOT_GROWING
    assert why_unforeseen(record, nobodys, 1.0) == LIMIT_UNKNOWN
    assert why_unforeseen(record, model, 1.0) == LITTLE_LOAD
    record["duty"] = 0.5
    assert why_unforeseen(record, model, 1.0) == FORESEEN
    record["left_s"] = 0.95 * LONGEST_DAYS * DAY_S
    assert why_unforeseen(record, model, 1.0) == OUT_OF_REACH


@pytest.mark.parametrize("base", [0.0, 0.8, -0.3])
def test_growth_to_the_limit_counts_from_what_the_pole_heats_already(base: float) -> None:
    """The pole that takes it to the limit heats by its own base and by the growth, once each."""
    record = contact(base=base)
    record["duty"], record["peak"], record["peak_c"] = 0.8, 1.0, 25.0
    model = parameters_of([EXAMPLE])
    growth = growth_to_limit(record[0], model[0], 1.0)
    rise_k, limit_c = float(model["rise_k"][0]), float(model["limit_c"][0])
    base_k = rise_k * (1.0 + 0.5 * base)
    warmer = 1.0 + PER_K * (limit_c - REFERENCE_C)
    warmer /= 1.0 + PER_K * (25.0 + 0.8 * base_k - REFERENCE_C)
    # All of the pole's heating, under the load of its duty, in copper as warm as the limit.
    heating_k = (base_k + rise_k * growth) * 0.8 * warmer
    assert 25.0 + heating_k == pytest.approx(limit_c, rel=1e-4)
