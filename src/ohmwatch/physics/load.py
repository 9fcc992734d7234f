"""The thermal load of a connector: I² as its contact has felt it, with the contact's own lag.

Each time constant is a first-order low pass of I² (trapezoid between readings). What nobody
saw – before the first reading, and in a gap – is kept as a share of unknown load that fades as
the contact forgets: that share is taken at rated current when a limit is asked for, so that a
connector that comes warm out of a gap is not called faulty.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ohmwatch.compiled import compiled
from ohmwatch.detector import Floats, Indices, Ratings, State, Times
from ohmwatch.physics.heat import column, time_constants_s
from ohmwatch.physics.sequence import gap_limits_ms

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
    fast_s, slow_s = time_constants_s(ratings, default=DEFAULT_TIME_CONSTANTS_S)
    last_ms = np.array(state["last_ms"])
    carried = np.stack([state[name] for name in _CARRIED])
    bounds = np.empty((2, len(time_ms)))
    _follow(
        connector.copy(),
        time_ms.copy(),
        np.array(current_a),
        gap_limits_ms(ratings),
        column(ratings, "rated_current_a") ** 2,
        np.stack([fast_s, slow_s]) * 1000.0,
        last_ms,
        carried,
        bounds,
    )
    state["last_ms"] = last_ms
    for name, values in zip(_CARRIED, carried, strict=True):
        state[name] = values
    return Load(at_most_a2=bounds[0], at_least_a2=bounds[1])


_CARRIED = ("square_a2", "fast_a2", "fast_known", "slow_a2", "slow_known")


@compiled
def _follow(  # type: ignore[no-untyped-def]
    connector, time_ms, current_a, gap_ms, rated_a2, constants_ms, last_ms, carried, bounds
):
    """All readings in order; nothing is known before a connector's first."""
    for at in range(len(time_ms)):
        owner = connector[at]
        square_a2 = current_a[at] * current_a[at]
        elapsed = time_ms[at] - last_ms[owner] if last_ms[owner] > 0 else 0
        seen = 0 < elapsed <= gap_ms[owner]
        between_a2 = (carried[0, owner] + square_a2) / 2 if seen else 0.0
        most_a2, least_a2 = 0.0, math.inf
        for each in range(2):
            load, known = 1 + 2 * each, 2 + 2 * each
            gain = -math.expm1(-elapsed / constants_ms[each, owner])
            carried[load, owner] += gain * (between_a2 - carried[load, owner])
            carried[known, owner] += gain * ((1.0 if seen else 0.0) - carried[known, owner])
            unknown_a2 = (1.0 - carried[known, owner]) * rated_a2[owner]
            most_a2 = max(most_a2, carried[load, owner] + unknown_a2)
            least_a2 = min(least_a2, carried[load, owner])
        bounds[0, at], bounds[1, at] = most_a2, least_a2
        carried[0, owner] = square_a2
        last_ms[owner] = time_ms[at]
