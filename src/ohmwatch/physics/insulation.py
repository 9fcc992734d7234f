"""The insulation resistance that a connector's own beginning lets expect, and how far it fell.

Surface conduction grows exponentially with the water that plastic adsorbs, so the logarithm of
the insulation falls in a straight line over relative humidity above about 45 % and does not care
below. What is left over after that, in log kΩ, is the state of the insulation itself: leakage
paths add up, so a growing one shows as a straight or bending fall of the logarithm.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from ohmwatch.compiled import compiled
from ohmwatch.detector import Batch, Flags, Floats, Ratings, State
from ohmwatch.physics.heat import column

DC_KOHM_PER_V = 0.1
"""ISO 6469-3: at least 100 Ω for each volt of working voltage in a DC circuit."""

DRY_PCT = 45.0
"""Relative humidity below which less than a layer of water lies on a polymer's surface."""

_WET = (97.0 - DRY_PCT) / 10.0
"""Condensing air: a cold connector on a damp morning."""

WETTING = -0.25
"""Prior: log kΩ for each 10 % of humidity above DRY_PCT; a decade over 90 %, as clean polyamide
does, to a decade over 30 %, are within two of its standard deviations, 0.15."""

_PRIOR_H = 0.5
"""The prior's weight: hours of readings that spread over 10 % of humidity."""

_NOISE = 0.1
"""Log kΩ: what an hour of readings is off, by the monitor and by weather that is not humidity."""

_LEARN_MS, _LEARN_CALENDAR_MS, _LEARN_LEAST_MS = 24 * 3_600_000, 48 * 3_600_000, 2 * 3_600_000
"""The baseline is learnt from a day of readings, or two days with at least two hours of them."""

_VOUCHES_MS = 1_800_000
"""A reading speaks for half an hour before it at most: a gap adds no evidence."""

_UP_MS, _DOWN_MS, _DOWN_UNMEASURED_MS = 1_800_000, 4 * 3_600_000, 10 * 3_600_000
"""Dry readings are believed soon, falls slowly: dew and monitors' dips pass within hours. Where
humidity is not measured, a fall must outlast a wet start by far."""

_LARGEST_STEP = 1.5
"""Log kΩ: a single reading further off than this says no more than this."""

_BEGUN = 0.15
"""Log kΩ below the baseline from which on a fall has begun: noise of what is kept, twice."""

_RECENT_MS = 24 * 3_600_000
"""Readings that vouch for so long tell what dampness does to the insulation of late."""

_RECENT_PRIOR_H = 2.0
"""Weight of the prior that a fall is the same in dry air and in damp: hours over 10 % of spread."""

_LEAST_FALL = 0.02
"""Log kΩ: below, nothing falls."""

_BETTER_MS = 3 * 86_400_000
"""Insulation that is better than its baseline takes the baseline along: the beginning was wet."""

COURSE_DTYPE = np.dtype(
    [
        ("last_ms", "<i8"),
        ("began_ms", "<i8"),
        ("learnt_ms", "<i4"),
        ("turned_ms", "<i8"),
        ("humid", "?"),
        ("weight_h", "<f4"),
        ("damp", "<f4"),
        ("usual", "<f4"),
        ("spread", "<f4"),
        ("joint", "<f4"),
        ("level", "<f4"),
        ("recent_h", "<f4"),  # of the newest readings: hours, dampness, what is left over,
        ("recent_damp", "<f4"),
        ("recent_off", "<f4"),
        ("recent_spread", "<f4"),  # … and how they go together
        ("recent_joint", "<f4"),
    ]
)
"""State of a connector's course. Zeros: never seen."""


@dataclass(frozen=True, slots=True)
class Course:
    """At each reading (float64[n]), NaN while the baseline is learnt: log kΩ below the baseline,
    its fall a second; and log kΩ now in the air of the beginning, now in condensing air, and as
    it would be in the air of now without a fall.

    Of condensing air once more, now by what dampness has done of late and not at the beginning:
    log kΩ `soaked`, its fall a second, and the share of it that dampness makes (`leaning`, NaN
    where humidity is not measured). A seal that lets water in shows as a fall that leans.
    """

    drop: Floats
    fall_a_second: Floats
    usual: Floats
    wet: Floats
    expected: Floats
    soaked: Floats
    soaked_fall_a_second: Floats
    leaning: Floats

    def rows(self, chosen: Flags) -> "Course":
        """The readings where `chosen` (bool[n]) is true."""
        return Course(*(getattr(self, each.name)[chosen] for each in fields(self)))


def insulation_minimum_kohm(ratings: Sequence[Ratings]) -> Floats:
    """The least allowed insulation of each connector in kΩ; NaN where nothing says."""
    stated = column(ratings, "insulation_minimum_kohm")
    by_voltage = DC_KOHM_PER_V * column(ratings, "rated_voltage_v")
    chosen: Floats = np.where(np.isnan(stated) | (stated <= 0), by_voltage, stated)
    return np.where(chosen > 0, chosen, np.nan)


def follow_insulation(batch: Batch, state: State) -> Course:
    """The course at each reading, all with `insulation_kohm` above 0; carries `state` forward."""
    damp = np.maximum(batch.column("humidity_pct") - DRY_PCT, 0.0) / 10.0
    kept = np.array(state)
    course = np.full((8, len(batch)), np.nan)
    _follow(
        batch.connector.copy(),
        batch.time_ms.copy(),
        np.log(batch.column("insulation_kohm")),
        damp,
        kept,
        course,
    )
    for name in COURSE_DTYPE.names or ():
        state[name] = kept[name]
    return Course(*course)


@compiled
def _follow(connector, time_ms, log_kohm, damp, kept, course):  # type: ignore[no-untyped-def]
    """All readings in order."""
    for at in range(len(time_ms)):
        own = kept[connector[at]]
        x = damp[at]
        if x == x:
            own.humid = True
        elif own.humid:
            continue  # a unit that measures humidity, in a reading that doesn't: no comparison
        else:
            x = 0.0
        if own.began_ms == 0:
            own.began_ms = own.last_ms = time_ms[at]
        vouched_ms = min(time_ms[at] - own.last_ms, _VOUCHES_MS)
        own.last_ms = time_ms[at]
        if _is_learning(own, time_ms[at]):
            _learn(own, log_kohm[at], x, vouched_ms)
            own.turned_ms = time_ms[at]
            continue
        slope = _slope(own)
        expected = own.usual + slope * (x - own.damp)
        _judge(own, log_kohm[at] - expected, x, vouched_ms)
        _note_recent(own, log_kohm[at] - expected, x, vouched_ms)
        drop = -own.level
        if drop < _BEGUN:
            own.turned_ms = time_ms[at]
        lasted_s = max(time_ms[at] - own.turned_ms, 60_000) / 1000.0
        course[0, at] = drop
        course[1, at] = max(drop - _BEGUN, 0.0) / lasted_s
        course[2, at] = own.usual + own.level
        course[3, at] = own.usual + own.level + slope * (_WET - own.damp)
        course[4, at] = expected
        leans = own.recent_joint / (own.recent_spread + _RECENT_PRIOR_H)
        fallen = max(-(own.recent_off + leans * (_WET - own.recent_damp)), drop)
        course[5, at] = own.usual + slope * (_WET - own.damp) - fallen
        course[6, at] = max(fallen - _BEGUN, _LEAST_FALL) / lasted_s
        if own.humid:
            course[7, at] = -leans * _WET / max(fallen, _BEGUN)


@compiled
def _is_learning(own, now_ms):  # type: ignore[no-untyped-def]
    if own.learnt_ms >= _LEARN_MS:
        return False
    return now_ms - own.began_ms < _LEARN_CALENDAR_MS or own.learnt_ms < _LEARN_LEAST_MS


@compiled
def _learn(own, log_kohm, x, vouched_ms):  # type: ignore[no-untyped-def]
    """Weighted means and spreads, updated one by one (West 1979)."""
    hours = max(vouched_ms, 1_000) / 3_600_000.0
    own.learnt_ms += vouched_ms
    own.weight_h += hours
    off = x - own.damp
    own.damp += off * hours / own.weight_h
    own.usual += (log_kohm - own.usual) * hours / own.weight_h
    own.spread += hours * off * (x - own.damp)
    own.joint += hours * off * (log_kohm - own.usual)


@compiled
def _slope(own):  # type: ignore[no-untyped-def]
    """Log kΩ for each 10 % of humidity: the prior, as far as the unit has not shown its own."""
    return (own.joint + _PRIOR_H * WETTING) / (own.spread + _PRIOR_H)


@compiled
def _note_recent(own, residual, x, vouched_ms):  # type: ignore[no-untyped-def]
    """What is left over against dampness, forgetting: a straight line through the newest day."""
    keep = math.exp(-vouched_ms / _RECENT_MS)
    hours = max(vouched_ms, 1_000) / 3_600_000.0
    own.recent_h = keep * own.recent_h + hours
    off = x - own.recent_damp
    own.recent_damp += off * hours / own.recent_h
    own.recent_off += (residual - own.recent_off) * hours / own.recent_h
    own.recent_spread = keep * own.recent_spread + hours * off * (x - own.recent_damp)
    own.recent_joint = keep * own.recent_joint + hours * off * (residual - own.recent_off)


@compiled
def _judge(own, residual, x, vouched_ms):  # type: ignore[no-untyped-def]
    """Lets the level follow what humidity does not explain; wetter air than learnt says less."""
    step = min(max(residual - own.level, -_LARGEST_STEP), _LARGEST_STEP)
    if step > 0.0:
        own.level += step * -math.expm1(-vouched_ms / _UP_MS)
    else:
        doubt = _NOISE / math.sqrt(own.spread + _PRIOR_H) * (x - own.damp) / _BEGUN
        constant_ms = _DOWN_MS if own.humid else _DOWN_UNMEASURED_MS
        own.level += step * -math.expm1(-vouched_ms / constant_ms) / (1.0 + doubt * doubt)
    if own.level > 0.0:
        better = own.level * -math.expm1(-vouched_ms / _BETTER_MS)
        own.usual += better
        own.level -= better
