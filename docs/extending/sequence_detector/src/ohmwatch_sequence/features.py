"""What the network is shown of a slot, in numbers around one."""

from collections.abc import Sequence

import numpy as np

from ohmwatch.detector import Floats, Ratings
from ohmwatch_sequence.slots import Slots

FEATURES = ("load", "last_load", "ambient", "empty", "fast", "slow")
AMBIENT_C = 20.0
"""Taken where ambient isn't measured."""
LONGEST_EMPTY = 12
"""Slots without a reading after which everything has cooled."""
CONSTANTS_S = (80.0, 800.0)
"""Taken where the model's ratings state none."""


def features(slots: Slots, ratings: Sequence[Ratings]) -> np.ndarray:
    """float32[n, len(FEATURES)]. No temperature of a pole is among them: a network that saw it
    would take a fault for the usual."""
    constants = np.array([_constants_s(each) for each in ratings]).reshape(-1, 2)[slots.who]
    ambient_c = slots.means[:, 1]
    empty = np.where(slots.empty < 0, LONGEST_EMPTY, np.minimum(slots.empty, LONGEST_EMPTY))
    return np.column_stack(
        [
            slots.means[:, 0],
            slots.last_load,
            np.where(np.isnan(ambient_c), AMBIENT_C, ambient_c) / 50.0,
            empty / LONGEST_EMPTY,
            constants[:, 0] / 100.0,
            constants[:, 1] / 1000.0,
        ]
    ).astype(np.float32)


def observed(slots: Slots, ratings: Sequence[Ratings]) -> Floats:
    """float64[n, 3]: rise of the positive and the negative pole and their difference, each as a
    share of the rise that the model is rated for; NaN where not measured or not rated."""
    rated_k = np.array([each.temperature_rise_rated_k for each in ratings], dtype=np.float64)
    rated_k = np.where(rated_k > 0, rated_k, np.nan)
    return np.asarray(slots.means[:, 2:5] / rated_k[slots.who, None])


def _constants_s(ratings: Ratings) -> tuple[float, float]:
    constants = ratings.thermal_time_constants_s
    return (constants[0], constants[1]) if len(constants) == 2 else CONSTANTS_S
