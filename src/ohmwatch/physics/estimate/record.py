"""What is kept of each connector between readings, and what each reading is told about it.

Heating is given as the steady rise at rated current, referred to REFERENCE_C (K): it is R·Rth
times the square of the rated current, comparable between models and readable for people. Loads
are squares of the current over the rated current's, without unit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ohmwatch.detector import Ratings, State
from ohmwatch.physics.heat import column, time_constants_s
from ohmwatch.physics.load import DEFAULT_TIME_CONSTANTS_S
from ohmwatch.physics.sequence import gap_limits_ms

REFERENCE_C = 20.0
PER_K = 0.0039
"""Temperature coefficient of a copper contact's resistance at 20 °C (IEC 60028: 0.00393)."""

DEFAULT_RISE_K = 40.0
"""Typical rise at rated current where the model says nothing of it."""

ROUTINE_CYCLES = 500.0
"""A model rated for more matings is opened in daily use: a mating is no repair."""

COMMON, APART, DROP_POS, DROP_NEG, COOLING = range(5)
"""The channels: heating of both poles, of one against the other, resistance of each by drop, and
how much slower heat gets away than it did."""

POINTS = 16
"""Of the course that a trend is fitted to; thinned out towards the past."""

CHANNEL = np.dtype(
    [
        ("base", "<f4"),  # mean of the unit's own first episodes
        ("precision", "<f4"),  # of that mean
        ("count", "<f4"),  # episodes in it
        ("scatter", "<f4"),  # mean square of episodes about their expectation, in their variance
        ("likeness", "<f4"),  # of successive episodes: the mean of their errors' products
        ("level", "<f4"),  # of the newest episodes, less the base
        ("level_var", "<f4"),
        ("newest", "<f4"),
        ("newest_ms", "<i8"),
        ("up", "<f4"),  # evidence that the level has risen: a cumulative sum, in logs of odds
        ("up_ms", "<i8"),  # since when
        ("down", "<f4"),
        ("down_ms", "<i8"),
    ]
)

_FILTER = [("heat_k", "<f8"), ("offset_k", "<f8"), ("hh", "<f8"), ("ho", "<f8"), ("oo", "<f8")]
_NOISE = [("error_k", "<f4"), ("step_k", "<f4"), ("noise_k2", "<f4"), ("noises", "<u2")]
FILTER = np.dtype([*_FILTER, ("fit", "<f4"), *_NOISE])
"""A Kalman filter of two states, heating and offset, with its covariance; `fit` is the mean
square of its innovations over what it expected of them. Of what it is told, `noise_k2` is the
variance of the sensors' own noise, by `noises` pairs of steps; `error_k` and `step_k` are the
newest innovation and by how much it differs from the one before."""

POS, NEG, AIR = range(3)
"""The temperature sensors."""

SENSOR = np.dtype(
    [
        ("last_c", "<f8"),
        ("last_felt_c", "<f4"),
        ("last_load", "<f4"),
        ("last_ms", "<i8"),
        ("unchanged", "u1"),  # readings that repeated their predecessor, up to 255
        ("unchanged_s", "<f4"),
        ("low_k", "<f4"),  # where the model saw the place go while the sensor stood still
        ("high_k", "<f4"),
        ("step_k", "<f4"),  # the newest jump, where it and its predecessor were at rest
        ("jump_k", "<f4"),  # what the sensor has leapt, and not yet leapt back
        ("jump_ms", "<i8"),
        ("cleared", "u1"),  # how often a rest showed that a leap was the contact's
        ("rest_k", "<f4"),  # over the air, at rest; of AIR: positive over negative pole
        ("rests", "u1"),  # up to 255
        ("base_k", "<f4"),
        ("bases", "u1"),
        ("noise_k2", "<f4"),
        ("noise_base_k2", "<f4"),
        ("noises", "u1"),
        ("noisy", "u1"),
    ]
)

LAG = np.dtype(
    [
        ("swing", "<f4"),  # by how much the slow load changes with the log of its time constant
        ("heat", "<f4"),  # … and the heating and the offset that the mean's filter found with it
        ("offset", "<f4"),
        ("log", "<f4"),  # of the unit's own time constant over its model's
        ("log_var", "<f4"),
    ]
)

POINT = np.dtype([("day", "<f4"), ("apart", "<f4"), ("common", "<f4"), ("weight", "<f4")])

CONTACT_DTYPE = np.dtype(
    [
        ("first_ms", "<i8"),
        ("anew_ms", "<i8"),  # first seen, or mated anew
        ("last_ms", "<i8"),
        ("current_ms", "<i8"),
        ("load", "<f8"),
        ("fast", "<f8"),
        ("slow", "<f8"),
        ("fast_known", "<f4"),
        ("slow_known", "<f4"),
        ("ambient_c", "<f4"),
        ("ambient_ms", "<i8"),
        ("felt_c", "<f8"),
        ("filtered_ms", "<i8"),
        ("common", FILTER),
        ("apart", FILTER),
        ("cooling", FILTER),
        ("late", "<f8"),  # the slow load, were cooling reduced
        ("late_known", "<f4"),
        ("lag", LAG),
        ("began_ms", "<i8"),
        ("loaded_s", "<f4"),
        ("drop", [("square", "<f4"), ("product", "<f4"), ("count", "u1")], (2,)),  # up to 255
        ("channels", CHANNEL, (5,)),
        ("sensors", SENSOR, (3,)),
        ("air_k", "<f4"),  # the usual error of the air measured
        ("pair_k", "<f4"),  # the unit's own offset of the positive pole's sensor over the other's
        ("over_turn", "<f4"),  # evidence that the poles' difference is larger than turned round,
        ("under_turn", "<f4"),  # … smaller
        ("rest_ms", "<i8"),
        ("cycles", "<f4"),
        ("mated", "u1"),
        ("before_pos", "<i2"),  # thousandths of the log of the heating before the newest mating,
        ("before_neg", "<i2"),  # … in rated rises; 0: unknown
        ("learnt_s", "<u4"),  # after the first reading: an episode taught something; 0: none did
        ("most_a", "<f4"),  # largest current of a day: the unit's own, at first, and now
        ("most_base_a", "<f4"),
        ("most_last_a", "<f4"),  # of the newest whole day with load
        ("most_days", "u1"),  # with load, up to 255
        ("day_most_a", "<f4"),
        ("delayed_ms", "<i8"),  # arrival of the first reading in a row that came much too late
        ("delayed_s", "<f4"),
        ("peak", "<f4"),
        ("peak_c", "<f4"),
        ("day_peak", "<f4"),
        ("day_peak_c", "<f4"),
        ("day", "<u2"),  # since 1970
        ("duty", "<f4"),  # 99th percentile of its load over days of use; 0: none is over yet
        ("points", POINT, (POINTS,)),
        ("point_count", "i1"),
        ("turned", "u1"),  # 1: the poles' difference is what it was, turned round
        ("drop_denies", "u1"),  # 1: measured resistance has not grown as the heat of a pole says
        ("limit_share", "<f4"),
        ("left_s", "<f4"),
        ("left_from_s", "<f4"),
        ("left_to_s", "<f4"),
        ("slower_fit", "<f4"),
        ("flutter", "<f4"),
        ("flutter_base", "<f4"),
        ("episodes", "<i4"),
        ("told", "u1"),  # episodes, but for 256s, and flags of the sensors as told last
        ("flags", "<u2"),
    ]
)

PARAMETERS = np.dtype(
    [
        ("rated_a", "<f8"),
        ("rise_k", "<f8"),
        ("fast_s", "<f8"),
        ("slow_s", "<f8"),
        ("gap_ms", "<i8"),
        ("limit_c", "<f8"),
        ("rise_limit_k", "<f8"),
        ("new_uohm", "<f8"),
        ("routine", "?"),
    ]
)


def parameters_of(ratings: Sequence[Ratings]) -> State:
    """What the model says about each connector, PARAMETERS[connectors]; `rated_a` NaN: nothing.

    The rise at rated current is the model's own, else by its resistance and thermal resistance,
    else 0.7 of its limit.
    """
    made: np.ndarray[Any, Any] = np.zeros(len(ratings), dtype=PARAMETERS)
    rated_a = column(ratings, "rated_current_a")
    made["rated_a"] = np.where(rated_a > 0, rated_a, np.nan)
    made["rise_k"] = _rise_k(ratings)
    made["fast_s"], made["slow_s"] = time_constants_s(ratings, default=DEFAULT_TIME_CONSTANTS_S)
    made["gap_ms"] = gap_limits_ms(ratings)
    made["limit_c"] = column(ratings, "temperature_limit_c")
    made["rise_limit_k"] = column(ratings, "temperature_rise_limit_k")
    made["new_uohm"] = column(ratings, "contact_resistance_new_uohm")
    made["routine"] = column(ratings, "rated_mating_cycles") >= ROUTINE_CYCLES
    return made


def _rise_k(ratings: Sequence[Ratings]) -> np.ndarray[Any, np.dtype[np.float64]]:
    stated = column(ratings, "temperature_rise_rated_k")
    power_w = column(ratings, "rated_current_a") ** 2 * 1e-6
    power_w = power_w * column(ratings, "contact_resistance_new_uohm")
    by_parts = power_w * column(ratings, "thermal_resistance_k_per_w")
    by_limit = 0.7 * column(ratings, "temperature_rise_limit_k")
    chosen = stated
    for other in (by_parts, by_limit, np.full(len(ratings), DEFAULT_RISE_K)):
        chosen = np.where(np.isnan(chosen) | (chosen <= 0), other, chosen)
    return chosen
