"""The thermal load of a connector: I² as its contact has felt it, with the contact's own lag.

Each time constant is a first-order low pass of I² (trapezoid between readings). What nobody
saw – before the first reading, and in a gap – is kept as a share of unknown load that fades as
the contact forgets: that share is taken at rated current when a limit is asked for, so that a
connector that comes warm out of a gap is not called faulty.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ohmwatch.detector import Floats, Indices, Ratings, State, Times
from ohmwatch.physics.heat import column, time_constants_s
from ohmwatch.physics.sequence import Runs, elapsed_ms, first_order, gap_limits_ms

DEFAULT_TIME_CONSTANTS_S = (80.0, 800.0)
"""Contact and housing of a 35 to 95 mm² connector; where the model does not say."""

LOAD_FIELDS = [
    ("last_ms", "<i8"),
    ("square_a2", "<f8"),
    ("fast_a2", "<f8"),
    ("fast_known", "<f8"),
    ("slow_a2", "<f8"),
    ("slow_known", "<f8"),
]
LOAD_DTYPE = np.dtype(LOAD_FIELDS)
"""State of a connector's load. Zeros: never seen, nothing known."""


@dataclass(frozen=True, slots=True)
class Load:
    """The load at each reading, float64[n], A²: its largest and smallest over the constants.

    `at_most_a2` takes what is unknown at rated current; `at_least_a2` takes it as none.
    """

    at_most_a2: Floats
    at_least_a2: Floats


def follow(
    connector: Indices,
    time_ms: Times,
    current_a: Floats,
    ratings: Sequence[Ratings],
    state: State,
) -> Load:
    """The load at each reading; carries `state` (LOAD_DTYPE[connectors]) forward."""
    runs = Runs.of(connector)
    square_a2 = current_a * current_a
    elapsed = elapsed_ms(runs, time_ms, state["last_ms"], connector)
    seen = (elapsed >= 0) & (elapsed <= gap_limits_ms(ratings)[connector])
    between_a2 = (runs.previous(square_a2, state["square_a2"]) + square_a2) / 2
    rated_a2 = column(ratings, "rated_current_a")[connector] ** 2
    bounds = []
    constants = time_constants_s(ratings, default=DEFAULT_TIME_CONSTANTS_S)
    for name, constant_s in zip(("fast", "slow"), constants, strict=True):
        gain = _gain(elapsed, constant_s[connector])
        load_a2 = first_order(runs, state[f"{name}_a2"], gain, np.where(seen, between_a2, 0.0))
        known = first_order(runs, state[f"{name}_known"], gain, seen.astype(np.float64))
        state[f"{name}_a2"][runs.owner] = load_a2[runs.ends]
        state[f"{name}_known"][runs.owner] = known[runs.ends]
        bounds.append((load_a2, load_a2 + (1.0 - known) * rated_a2))
    state["last_ms"][runs.owner] = time_ms[runs.ends]
    state["square_a2"][runs.owner] = square_a2[runs.ends]
    (fast, fast_most), (slow, slow_most) = bounds
    return Load(at_most_a2=np.maximum(fast_most, slow_most), at_least_a2=np.minimum(fast, slow))


def _gain(elapsed: Times, constant_s: Floats) -> Floats:
    """1 − e^(−dt/τ); 0 at a connector's first reading, of which nothing is known before."""
    return np.where(elapsed > 0, -np.expm1(-elapsed / (constant_s * 1000.0)), 0.0)
