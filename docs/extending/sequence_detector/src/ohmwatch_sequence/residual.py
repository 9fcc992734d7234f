"""What is left of a measured rise when the network's is taken away, and when that is too much.

A healthy unit differs from the network's in three ways: its sensors are off by something (what
they say without load), its contact is a little better or worse than its model's (a gain, learned
in its first days), and it scatters. A fault shows as a gain that grows: rise that comes with load.
"""

from typing import Any

import numpy as np

from ohmwatch.detector import Flags, Floats, State

CHANNELS = 3
"""Positive pole, negative pole, their difference."""
NOBODY_KNOWS = np.array([1.0, 1.0, 0.0])
"""The gains of a unit of which nothing is known."""

IDLE, LOADED = 0.06, 0.08
"""Predicted rise as a share of rated, below which a slot shows the sensors' offset, and from which
on a gain."""
HELD_SLOTS = 12
"""After a start that is warmer than known load explains: within an hour that heat is gone."""
WARM = 0.1
OFFSET_PACE, OFFSET_STEP = 1.0 / 16.0, 0.1
"""An idle slot moves the offset by a sixteenth of what it says, taken for a tenth of rated rise at
most …"""
JUMP, JUMP_SLOTS = 0.12, 4
"""… and so many in a row that say more are a sensor that has jumped, which heats nothing."""
RECENT = 0.15
"""Sum of squared predicted rises over which the gain of now is taken: minutes of charging, or
an hour or two of driving."""
LEAST_RECENT = 0.02
YOUNG_SLOTS = 3 * 288
"""Three days in which a unit's own gain and scatter are learned."""
LEAST_LEARNED = 0.5
PRIOR = 0.05
"""What nobody knows weighs as much as such a sum."""
SETTLED_SLOTS = 144
PRIOR_SCATTER, PRIOR_SLOTS = 0.05, 30
WINDOW_SLOTS = 24
"""Over which rise must follow load."""
LEAST_CONTRAST = 0.003
FOLLOWS = 0.6
"""Of an excess: what a line through the window's slots must show of it. A sensor's offset shows
in every slot, a fault's heat in the loaded ones."""
OWN = 0.4
"""Of an excess of the difference: what the hotter pole must show by itself. Else the cooler
pole's sensor is stuck."""
ALLOWED = np.array([0.15, 0.15, 0.06])
SCATTERS, DEVIATIONS = 5.0, 0.5
"""Excess gain that is allowed: this much, five times the unit's own scatter, and half of the
present standard deviation. Chosen with all the others on tuning seeds 2 and 3."""
ALLOWED_NEW = np.array([1.6, 1.6, 0.8])
"""Against the model, where a unit was bad from its first day."""
DOUBTED = 0.75
"""An excess that doesn't follow load is held below what is told, and isn't over either."""

RESIDUAL = [
    ("first", "<i8"),  # the unit's first slot
    ("held", "<i4"),
    ("warm", "?"),
    ("offset", "<f8", (CHANNELS,)),
    ("far", "<i4", (CHANNELS,)),  # idle slots in a row that contradict the offset
    ("recent", "<f8", (2, CHANNELS)),  # sums of predicted × seen and predicted²
    ("misfit", "<f8", (CHANNELS,)),
    ("learned", "<f8", (2, CHANNELS)),
    ("scatter", "<f8", (2, CHANNELS)),  # slots, sum of squared excess
    ("window", "<f8", (5, CHANNELS)),  # 1, predicted, predicted², seen, predicted × seen
]
"""Fields of a detector's record. Rises are shares of the rated one."""


class Excess:
    """What one slot of some connectors says, arrays over them. `gain` float64[n, 3]: by how much
    more than the unit's own rises with load, NaN where the slot doesn't tell; `share` float64[n]:
    of what is allowed, the most of all channels, NaN where none tells."""

    def __init__(self, gain: Floats, share: Floats) -> None:
        self.gain, self.share = gain, share


def follow(
    records: State, slot: np.ndarray, empty: np.ndarray, predicted: Floats, seen: Floats
) -> Excess:
    """Takes one slot of each record in. `slot`, `empty`: int64[n] as in `Slots`; `predicted`
    float64[n], `seen` float64[n, 3]."""
    is_new = records["first"] == 0
    records["first"] = np.where(is_new, slot, records["first"])
    _hold(records, is_new, empty, predicted, seen)
    known = np.isfinite(seen) & (records["held"] == 0)[:, None]
    x = np.repeat(predicted[:, None], CHANNELS, axis=1)
    _settle_offset(records, known & (x < IDLE), seen)
    _look_back(records, known, x, seen)
    loaded = known & (x >= LOADED)
    # A rise of minus once or of four times the rated one was never measured by a good sensor.
    rise = np.where(loaded, np.clip(seen - records["offset"], -1.0, 4.0), 0.0)
    return _judge(records, slot - records["first"], loaded, np.where(loaded, x, 0.0), rise)


def _hold(
    records: State, is_new: Flags, empty: np.ndarray, predicted: Floats, seen: Floats
) -> None:
    """Counts the slots down in which heat of unknown load is still in the connector."""
    poles = seen[:, :2] - records["offset"][:, :2]
    hottest = np.where(np.isfinite(poles), poles, -np.inf).max(axis=1)
    warm = hottest > WARM + 2.0 * predicted
    gap = np.maximum(empty, 0)
    # A sensor that is off looks warm at every start: only the first is held against it.
    begins = is_new | ((gap > 0) & warm & ~records["warm"])
    records["held"] = np.where(begins, HELD_SLOTS, np.maximum(records["held"] - gap - 1, 0))
    records["warm"] = warm


def _settle_offset(records: State, idle: Flags, seen: Floats) -> None:
    """What sensors say without load is their offset; after a jump all else begins anew."""
    deviation = np.where(idle, seen - records["offset"], 0.0)
    is_far = np.abs(deviation) > JUMP
    records["far"] = np.where(idle, np.where(is_far, records["far"] + 1, 0), records["far"])
    jumped = records["far"] >= JUMP_SLOTS
    step = OFFSET_PACE * np.clip(deviation, -OFFSET_STEP, OFFSET_STEP)
    records["offset"] += np.where(jumped, deviation, step)
    records["far"] = np.where(jumped, 0, records["far"])
    for name in ("recent", "window"):
        records[name] = np.where(jumped[:, None, :], 0.0, records[name])
    records["misfit"] = np.where(jumped, 0.0, records["misfit"])


def _look_back(records: State, known: Flags, x: Floats, seen: Floats) -> None:
    """The sums of a straight line, forgotten over WINDOW_SLOTS."""
    x, y = np.where(known, x, 0.0), np.where(known, seen, 0.0)
    kept = np.where(known, 1.0 - 1.0 / WINDOW_SLOTS, 1.0)
    new = np.stack([known.astype(np.float64), x, x * x, y, x * y], axis=1)
    records["window"] = records["window"] * kept[:, None, :] + new


def _judge(records: State, age: np.ndarray, loaded: Flags, x: Floats, rise: Floats) -> Excess:
    recent = records["recent"]
    kept = RECENT / (RECENT + x * x)
    records["recent"] = recent = recent * kept[:, None, :] + np.stack([x * rise, x * x], axis=1)
    learns = loaded & ((age < YOUNG_SLOTS)[:, None] | (records["learned"][:, 1] < LEAST_LEARNED))
    records["learned"] += np.stack(
        [np.where(learns, x * rise, 0.0), np.where(learns, x * x, 0.0)], axis=1
    )
    own = (records["learned"][:, 0] + PRIOR * NOBODY_KNOWS) / (records["learned"][:, 1] + PRIOR)
    tells = loaded & (recent[:, 1] > LEAST_RECENT)
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = np.where(tells, recent[:, 0] / recent[:, 1], np.nan)
    misfit = np.where(tells, (rise - gain * x) ** 2 * x * x, 0.0)
    records["misfit"] = np.where(loaded, records["misfit"] * kept + misfit, records["misfit"])
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = np.sqrt(records["misfit"]) / recent[:, 1]
    excess = gain - own
    settled = (age > SETTLED_SLOTS) & (age < YOUNG_SLOTS)
    allowed = ALLOWED + SCATTERS * _scatter(records, tells & settled[:, None], excess)
    slope = _slope(records["window"])
    shares = [
        _share(excess, allowed + DEVIATIONS * deviation, slope - own),
        _share(gain - NOBODY_KNOWS, ALLOWED_NEW + DEVIATIONS * deviation, slope - NOBODY_KNOWS),
    ]
    share = np.maximum(*shares)
    perhaps_jumped = (records["far"] > 0).any(axis=1)
    share = np.where(perhaps_jumped, np.minimum(share, DOUBTED), share)
    return Excess(excess, np.where(np.isinf(share), np.nan, share))


def _scatter(records: State, counts: Flags, excess: Floats) -> Floats:
    """A unit's own scatter of its gain, from its days of learning."""
    records["scatter"] += np.stack(
        [counts.astype(np.float64), np.where(counts, excess**2, 0.0)], axis=1
    )
    slots, squares = records["scatter"][:, 0], records["scatter"][:, 1]
    scatter = np.sqrt((squares + PRIOR_SLOTS * PRIOR_SCATTER**2) / (slots + PRIOR_SLOTS))
    return np.asarray(scatter)


def _slope(window: Floats) -> Floats:
    """Of the line through the window's slots; NaN where load hardly changed."""
    n, sx, sxx, sy, sxy = (window[:, at] for at in range(5))
    with np.errstate(invalid="ignore", divide="ignore"):
        contrast = sxx - sx * sx / n
        return np.where(contrast > LEAST_CONTRAST, (sxy - sx * sy / n) / contrast, np.nan)


def _share(excess: Floats, allowed: Floats, slope: Floats) -> Floats:
    """Of what is allowed, the most of all channels, float64[n]; −inf where none tells."""
    which: Any = np.array([0.0, 0.0, 1.0])
    sign = np.where(which, np.sign(excess), 1.0)  # poles may differ either way
    upward = excess * sign
    with np.errstate(invalid="ignore"):
        share = np.where(np.isfinite(upward), upward / allowed, -np.inf)
        sound = slope * sign >= FOLLOWS * upward
        hotter = np.where(excess[:, 2] > 0, excess[:, 0], excess[:, 1])
        sound[:, 2] &= ~(hotter < OWN * upward[:, 2])
    return np.asarray(np.where(sound, share, np.minimum(share, DOUBTED)).max(axis=1))
