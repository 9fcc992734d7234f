"""What happens to connectors and to what their devices tell, ten seconds at a time (numba).

Finer than any detector's model on purpose: contact and lug as two thermal nodes a pole, the lugs
of the two poles joined; constriction and bulk resistance with temperature coefficients of their
own; convection that grows with the rise and with speed; air that warms in the bay. A connector
with a fault of its own is carried twice: as it is, and as its fault-free, noise-free twin, which
says from when on the fault could be seen.

Everything random comes from the connector's own generator (xorshift64*, Vigna 2016), so that
readings don't depend on how many connectors or hours are asked for at a time.
"""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from benchmarks.warning.faults import Kind, Shape
from benchmarks.warning.units import (
    AUXILIARY,
    BUS,
    CAR,
    CONTACT_PER_K,
    COPPER_PER_K,
    INLET,
    INVERTER,
    QUANTITIES,
    TAXI,
)

Record = Any
"""A record of UNIT or of STATE, or an array of them: numba sees its fields, mypy can't."""
Floats = NDArray[np.float64]
Pair = tuple[float, float]
"""Of the positive and the negative pole."""
Ohms = tuple[float, float, float, float]
"""Constriction of the poles as they are, then as their twins' are."""
Nodes = tuple[float, float, float, float]
"""°C of contact positive, contact negative, lug positive, lug negative."""
Out = tuple[NDArray[np.int64], NDArray[np.int64], Floats]

STEP_S = 10
MINUTE_S = 60
DAY_S = 86_400
WARM_UP_S = 6 * 3600
"""Lived before the first reading: nobody knows how warm a connector is when it is first met."""

VISIBLE_READINGS = 5
SIGHTINGS = 64
"""Kept of each connector: when the first readings that differ arrived."""
VISIBLE_K = 3.0
VISIBLE_RESISTANCE = 1.25
VISIBLE_INSULATION = 0.5
LOADED_SHARE = 0.15
"""Of rated current, from which on a voltage drop says something about resistance."""
MELTED_C = 350.0
LARGEST_GROWTH = 80.0
AFTER_LIMIT_S = 12 * 3600
"""What burns is still heard for so long."""
AWAKE_S = 600
"""A device reports on for so long after its vehicle was parked."""

PARKED, DRIVING, CHARGING = 0, 1, 2
SEEN_TEMPERATURE, SEEN_DROP, SEEN_INSULATION, SEEN_INTERLOCK = 1, 2, 3, 4

_FLOATS = (
    "mode_end_s", "segment_end_s", "level", "charge", "charge_from_s", "awake_until_s", "due_s",
    "fast_pos_c", "fast_neg_c", "slow_pos_c", "slow_neg_c",
    "twin_fast_pos_c", "twin_fast_neg_c", "twin_slow_pos_c", "twin_slow_neg_c",
    "weather", "damp", "wet", "bay_k", "ambient_c", "humidity_pct", "insulation_kohm",
    "twin_insulation_kohm", "vibration_g", "growth", "next_step_s", "wobble", "flutter",
    "flutter_until_s", "mated_pos", "mated_neg", "cooling", "outage_until_s", "current_a",
    "shown_pos_c", "shown_neg_c", "shown_until_s", "stuck_c", "limit_s", "onset_seen_s",
)  # fmt: skip
_INTEGERS = ("mode", "highway", "cycles", "outage_lost", "opened", "open", "stuck", "sightings",
             "seen_by")  # fmt: skip
STATE = np.dtype(
    [("random", "<u8")]
    + [(name, "<f8") for name in _FLOATS]
    + [(name, "<i8") for name in _INTEGERS]
)
"""A connector's life between two calls. `limit_s`: when its limit was reached, −1: not yet."""

_NORMAL = np.array([NormalDist().inv_cdf((at + 0.5) / 16384) for at in range(16384)])
_COLUMN = {name: at for at, name in enumerate(QUANTITIES)}
_CURRENT, _VOLTAGE = _COLUMN["current_a"], _COLUMN["voltage_v"]
_POS, _NEG, _AMBIENT = (
    _COLUMN["temperature_pos_c"], _COLUMN["temperature_neg_c"], _COLUMN["ambient_c"]
)  # fmt: skip
_DROP_POS, _DROP_NEG = _COLUMN["drop_pos_mv"], _COLUMN["drop_neg_mv"]
_INSULATION, _INTERLOCK = _COLUMN["insulation_kohm"], _COLUMN["interlock"]
_HUMIDITY, _VIBRATION = _COLUMN["humidity_pct"], _COLUMN["vibration_g"]
_MATED, _CYCLES = _COLUMN["mated"], _COLUMN["mating_cycles"]

_FRETTING, _LOOSENING, _ASSEMBLY = int(Kind.FRETTING), int(Kind.LOOSENING), int(Kind.ASSEMBLY)
_COOLING, _DRY, _WET = int(Kind.COOLING), int(Kind.INSULATION_DRY), int(Kind.INSULATION_WET)
_OPEN, _INTERMITTENT = int(Kind.INTERLOCK_OPEN), int(Kind.INTERLOCK_INTERMITTENT)
_STUCK, _DRIFTING, _OFFSET = int(Kind.STUCK), int(Kind.DRIFTING), int(Kind.OFFSET)
_NOISY, _SWAPPED = int(Kind.NOISY), int(Kind.SWAPPED)
_SCALE, _CLOCK = int(Kind.SCALE), int(Kind.CLOCK)
_LINEAR, _POWER, _EXPONENTIAL = int(Shape.LINEAR), int(Shape.POWER), int(Shape.EXPONENTIAL)
_STEPS = int(Shape.STEPS)

_A, _B, _C = np.uint64(12), np.uint64(25), np.uint64(27)
_FACTOR, _ELEVEN, _FIFTY = np.uint64(2685821657736338717), np.uint64(11), np.uint64(50)


@njit(cache=True)
def _bits(s: Record) -> np.uint64:
    x = s.random
    x ^= x >> _A
    x ^= x << _B
    x ^= x >> _C
    s.random = x
    return x * _FACTOR


@njit(cache=True)
def _uniform(s: Record) -> float:
    return float(_bits(s) >> _ELEVEN) * (1.0 / 9007199254740992.0)


@njit(cache=True)
def _between(s: Record, low: float, high: float) -> float:
    return low + (high - low) * _uniform(s)


@njit(cache=True)
def _normal(s: Record) -> float:
    return _NORMAL[_bits(s) >> _FIFTY]


@njit(cache=True)
def _exponential(s: Record, mean: float) -> float:
    return -mean * math.log(1.0 - _uniform(s))


# ---- use ------------------------------------------------------------------------------------


@njit(cache=True)
def _hour(u: Record, time_s: float) -> float:
    return (time_s / 3600.0 + u.hour_shift) % 24.0


@njit(cache=True)
def _next_mode(u: Record, s: Record, time_s: float) -> None:
    """What the vehicle does next, and for how long."""
    if s.mode == DRIVING and s.charge < 0.35:
        s.mode = CHARGING
        s.charge_from_s = time_s
        s.mode_end_s = time_s + _between(s, 1500.0, 3600.0) * (1.8 if u.use == BUS else 1.0)
        _mate(u, s)
    elif s.mode == PARKED:
        s.mode = DRIVING
        drive_s = _drive_s(u, s)
        s.mode_end_s = time_s + drive_s
        s.charge -= drive_s / 3600.0 * (0.14 if u.use == BUS else 0.25)
        s.highway = _uniform(s) < (0.4 if u.use == CAR else 0.15)
        s.due_s = min(s.due_s, time_s + u.phase_s)
    else:
        if s.mode == CHARGING:
            s.charge = _between(s, 0.75, 0.9)
        s.mode = PARKED
        s.awake_until_s = time_s + AWAKE_S
        s.mode_end_s = time_s + _pause_s(u, s, _hour(u, time_s))
    s.segment_end_s = time_s


@njit(cache=True)
def _drive_s(u: Record, s: Record) -> float:
    if u.use == CAR:
        return min(1800.0 * math.exp(0.6 * _normal(s)), 4 * 3600.0)
    if u.use == TAXI:
        return _between(s, 1500.0, 4800.0)
    return _between(s, 3000.0, 9000.0)


@njit(cache=True)
def _pause_s(u: Record, s: Record, hour: float) -> float:
    """Until the next start: short by day, until the morning by night, weeks now and then."""
    if _uniform(s) < u.parked_week / max(u.trips_a_day, 1.0):
        return _between(s, 4.0, 9.0) * DAY_S
    if hour < 5.5 or hour > 22.0:
        return ((30.0 - hour) % 24.0 + _between(s, -0.5, 1.5)) * 3600.0
    if u.use == CAR:
        return 300.0 + _exponential(s, 13.0 / u.trips_a_day) * 3600.0
    if u.use == TAXI:
        return _between(s, 240.0, 1500.0)
    return _between(s, 180.0, 700.0)


@njit(cache=True)
def _mate(u: Record, s: Record) -> None:
    """The plug goes in anew: its contacts meet a little differently each time."""
    s.cycles += 1
    if u.position == INLET:
        s.mated_pos = math.exp(u.mating_spread * _normal(s))
        s.mated_neg = math.exp(u.mating_spread * _normal(s))


@njit(cache=True)
def _next_segment(u: Record, s: Record, time_s: float) -> None:
    """The next stretch of about constant current, as a share of rated current."""
    if s.mode != DRIVING:
        s.level = 0.0
        s.segment_end_s = s.mode_end_s
        return
    chance = _uniform(s)
    if u.position == AUXILIARY:
        s.level = u.load * _between(s, 0.7, 1.5)
        s.segment_end_s = time_s + _exponential(s, 900.0)
    elif chance < 0.15:
        s.level = -u.load * _between(s, 0.2, 1.0)
        s.segment_end_s = time_s + _exponential(s, 20.0)
    elif chance < (0.2 if s.highway else 0.35):
        s.level = 0.0
        s.segment_end_s = time_s + _exponential(s, 40.0)
    elif s.highway:
        s.level = u.load * _between(s, 0.8, 1.8)
        s.segment_end_s = time_s + _exponential(s, 300.0)
    else:
        s.level = u.load * _between(s, 0.2, 1.7)
        s.segment_end_s = time_s + _exponential(s, 90.0)
    s.vibration_g = _between(s, 0.1, 0.8) * (0.3 + abs(s.level))


@njit(cache=True)
def _current_a(u: Record, s: Record, time_s: float) -> float:
    """The current through the connector now, A; negative: charging or recuperation."""
    most = u.rated_a - u.derating_a_k * max(s.ambient_c - u.derating_from_c, 0.0)
    most = max(most, 0.1 * u.rated_a)
    if s.mode == DRIVING:
        if u.position == INLET:
            return 0.0
        if s.level == 0.0:
            return 0.01 * u.rated_a
        amps = u.rated_a * s.level * (1.0 + 0.08 * _normal(s))
        return max(-most, min(1.1 * most, amps))
    if s.mode == CHARGING:
        if u.position == INVERTER:
            return 0.0
        if u.position == AUXILIARY:
            return 0.5 * u.load * u.rated_a
        gone = (time_s - s.charge_from_s) / (s.mode_end_s - s.charge_from_s)
        taper = 1.0 if gone < 0.6 else math.exp(-2.2 * (gone - 0.6))
        share = u.charge_level * taper * (1.0 if u.position == INLET else 0.75)
        return -min(share * u.rated_a, most)
    return 0.0


# ---- air, damp and faults, once a minute -----------------------------------------------------


@njit(cache=True)
def _pass_minute(u: Record, s: Record, time_s: float) -> None:
    hour = _hour(u, time_s)
    s.weather += -s.weather * (MINUTE_S / (2.0 * DAY_S)) + 0.02635 * _normal(s)
    outside_c = u.climate_c + u.season_k * time_s / (35.0 * DAY_S) + u.weather_k * s.weather
    outside_c += u.daily_k * math.sin(2.0 * math.pi * (hour - 9.0) / 24.0)
    bay_k = u.bay_k if s.mode == DRIVING else 0.0
    s.bay_k += (bay_k - s.bay_k) * (MINUTE_S / 1800.0)
    s.ambient_c = outside_c + s.bay_k
    x = (time_s - u.onset_s) / u.tau_s if time_s > u.onset_s else 0.0
    _dampen(u, s, hour, x)
    if u.kind == _FRETTING or u.kind == _LOOSENING or u.kind == _ASSEMBLY:
        _grow(u, s, time_s, x)
    elif u.kind == _COOLING and x > 0.0:
        s.cooling = 1.0 - (1.0 - u.size) * min((time_s - u.onset_s) / u.ramp_s, 1.0)
    elif u.kind == _OPEN or u.kind == _INTERMITTENT:
        _let_loop_open(u, s, x)
    if u.glitches_a_day > 0.0 and s.mode == DRIVING:
        s.opened |= _uniform(s) < u.glitches_a_day * MINUTE_S / DAY_S * 8.0


@njit(cache=True)
def _dampen(u: Record, s: Record, hour: float, x: float) -> None:
    """Humidity in the housing, and the insulation that it leaves."""
    s.damp += -s.damp * (MINUTE_S / 43_200.0) + 0.0527 * _normal(s)
    s.wet *= 1.0 - MINUTE_S / 9000.0
    if _uniform(s) < 0.12 * MINUTE_S / DAY_S * (3.0 if 4.0 < hour < 8.0 else 0.6):
        s.wet = 1.0
    base = min(max(u.humidity_pct + 7.0 * s.damp, 8.0), 90.0)
    healthy = base + s.wet * (97.0 - base)
    s.twin_insulation_kohm = _insulation_kohm(u, healthy, u.humidity_factor)
    s.humidity_pct, s.insulation_kohm = healthy, s.twin_insulation_kohm
    if u.kind == _WET and x > 0.0:
        base = min(base + min(5.0 * x, 30.0), 97.0)
        s.humidity_pct = base + s.wet * (98.0 - base)
        factor = u.humidity_factor * (1.0 + 0.3 * x)
        s.insulation_kohm = _insulation_kohm(u, s.humidity_pct, factor)
    elif u.kind == _DRY and x > 0.0:
        s.insulation_kohm = max(s.twin_insulation_kohm * math.exp(-x), 5.0)
    if (u.kind == _WET or u.kind == _DRY) and s.insulation_kohm < u.insulation_minimum_kohm:
        s.limit_s = s.limit_s if s.limit_s >= 0.0 else -2.0


@njit(cache=True)
def _insulation_kohm(u: Record, humidity_pct: float, factor: float) -> float:
    return u.insulation_kohm * math.exp(-factor * max(humidity_pct - 45.0, 0.0) / 10.0)


@njit(cache=True)
def _grow(u: Record, s: Record, time_s: float, x: float) -> None:
    """The excess of contact resistance over new, as a share of new; fretting makes it unsteady."""
    s.wobble += -s.wobble * (MINUTE_S / 10_800.0) + 0.1054 * _normal(s)
    if x <= 0.0:
        s.growth = 0.0
        return
    if u.shape == _EXPONENTIAL:
        begin = u.size if u.kind == _ASSEMBLY else 0.0
        s.growth = begin + u.size * (math.exp(min(x, 12.0)) - 1.0)
    elif u.shape == _LINEAR:
        s.growth = 10.0 * u.size * x
    elif u.shape == _POWER:
        s.growth = 3.0 * u.size * x**u.power
    elif u.shape == _STEPS:
        shaken = u.kind != _LOOSENING or s.mode == DRIVING
        if s.next_step_s == 0.0:
            s.next_step_s = u.onset_s
        if shaken and time_s >= s.next_step_s:
            s.growth = (s.growth + 0.5 * u.size) * _between(s, 1.3, 2.4)
            s.next_step_s = time_s + _exponential(s, 0.7 * u.tau_s)
    else:
        s.growth = u.size
    s.growth = min(s.growth, LARGEST_GROWTH)


@njit(cache=True)
def _let_loop_open(u: Record, s: Record, x: float) -> None:
    """Moments in which the interlock is open; more and more, then for good."""
    if x <= 0.0:
        return
    if u.kind == _OPEN or x > 6.0:
        s.open = 1
        s.limit_s = s.limit_s if s.limit_s >= 0.0 else -2.0
        return
    shaken = 2.0 if s.mode == DRIVING else 0.1
    a_minute = u.size * math.exp(x) * shaken * MINUTE_S / DAY_S
    s.opened |= _uniform(s) < a_minute


# ---- heat ------------------------------------------------------------------------------------


@njit(cache=True)
def _resistance_factor(u: Record, s: Record, pole: int, time_s: float) -> float:
    """Of the constriction against new: ageing, mating, fault."""
    factor = 1.0 + u.ageing_a_day * time_s / DAY_S
    factor *= s.mated_pos if pole == 0 else s.mated_neg
    return factor


@njit(cache=True)
def _flutter(u: Record, s: Record, time_s: float) -> float:
    """A loose contact under vibration: worse for moments, by a factor; 1 where it holds."""
    if u.kind != _LOOSENING or s.growth <= 0.0 or s.mode != DRIVING:
        return 1.0
    if time_s >= s.flutter_until_s:
        loose = min(0.1 + 0.1 * s.growth, 0.5)
        s.flutter = 1.0 + _between(s, 0.3, 1.5) if _uniform(s) < loose else 1.0
        s.flutter_until_s = time_s + 10.0 + _exponential(s, 40.0)
    return s.flutter


@njit(cache=True)
def _heat(u: Record, square_a2: float, air: Pair, cooling: float, ohm: Pair, nodes: Nodes) -> Nodes:
    """Ten seconds of heat; all in and out a tuple: fast_pos, fast_neg, slow_pos, slow_neg, °C."""
    fast_pos, fast_neg, slow_pos, slow_neg = nodes
    g_pos = u.g_slow * cooling * (1.0 + u.convection_k * (slow_pos - air[0] - u.nominal_rise_k))
    g_neg = u.g_slow * cooling * (1.0 + u.convection_k * (slow_neg - air[1] - u.nominal_rise_k))
    across_w = u.g_between * (slow_pos - slow_neg)
    in_pos_w = u.g_fast * (fast_pos - slow_pos)
    in_neg_w = u.g_fast * (fast_neg - slow_neg)
    hot_pos = square_a2 * ohm[0] * (1.0 + CONTACT_PER_K * (fast_pos - 20.0))
    hot_neg = square_a2 * ohm[1] * (1.0 + CONTACT_PER_K * (fast_neg - 20.0))
    lug_pos = square_a2 * u.bulk_pos_ohm * (1.0 + COPPER_PER_K * (slow_pos - 20.0))
    lug_neg = square_a2 * u.bulk_neg_ohm * (1.0 + COPPER_PER_K * (slow_neg - 20.0))
    slow_pos_w = lug_pos + in_pos_w - g_pos * (slow_pos - air[0]) - across_w
    slow_neg_w = lug_neg + in_neg_w - g_neg * (slow_neg - air[1]) + across_w
    return (
        min(fast_pos + STEP_S / u.c_fast * (hot_pos - in_pos_w), MELTED_C),
        min(fast_neg + STEP_S / u.c_fast * (hot_neg - in_neg_w), MELTED_C),
        min(slow_pos + STEP_S / u.c_slow * slow_pos_w, MELTED_C),
        min(slow_neg + STEP_S / u.c_slow * slow_neg_w, MELTED_C),
    )


@njit(cache=True)
def _warm(u: Record, s: Record, time_s: float) -> Pair:
    """Current and heat of this step, of the connector and of its twin."""
    s.current_a = _current_a(u, s, time_s)
    square_a2 = s.current_a * s.current_a
    day = max(math.sin(2.0 * math.pi * (_hour(u, time_s) - 6.0) / 24.0), 0.0)
    air = (s.ambient_c + 0.5 * u.sun_k * day, s.ambient_c - 0.5 * u.sun_k * day)
    moving = 1.0 + (u.vehicle_cooling if s.mode == DRIVING and s.level != 0.0 else 0.0)
    ohm = (
        u.contact_pos_ohm * _resistance_factor(u, s, 0, time_s),
        u.contact_neg_ohm * _resistance_factor(u, s, 1, time_s),
    )
    if 0 < u.kind <= _COOLING:
        nodes = (s.twin_fast_pos_c, s.twin_fast_neg_c, s.twin_slow_pos_c, s.twin_slow_neg_c)
        nodes = _heat(u, square_a2, air, moving, ohm, nodes)
        s.twin_fast_pos_c, s.twin_fast_neg_c, s.twin_slow_pos_c, s.twin_slow_neg_c = nodes
        ohm = _with_fault(u, s, time_s, ohm)
    nodes = (s.fast_pos_c, s.fast_neg_c, s.slow_pos_c, s.slow_neg_c)
    nodes = _heat(u, square_a2, air, moving * s.cooling, ohm, nodes)
    s.fast_pos_c, s.fast_neg_c, s.slow_pos_c, s.slow_neg_c = nodes
    if 0 < u.kind <= _COOLING and max(nodes[0], nodes[1]) >= u.limit_c and s.limit_s == -1.0:
        s.limit_s = -2.0
    return ohm


@njit(cache=True)
def _with_fault(u: Record, s: Record, time_s: float, ohm: Pair) -> Pair:
    worse = _worse(u, s, time_s)
    if u.pole == 0:
        return (ohm[0] * worse, ohm[1])
    return (ohm[0], ohm[1] * worse)


@njit(cache=True)
def _worse(u: Record, s: Record, time_s: float) -> float:
    """The faulted contact's constriction resistance as a multiple of its twin's."""
    if u.kind == _COOLING or s.growth <= 0.0:
        return 1.0
    unsteady = math.exp(0.12 * s.wobble) if u.kind != _ASSEMBLY else 1.0
    return (1.0 + s.growth * unsteady) * _flutter(u, s, time_s)


# ---- what the device tells -------------------------------------------------------------------


@njit(cache=True)
def _rounded(value: float, step: float) -> float:
    return step * math.floor(value / step + 0.5) if step > 0.0 else value


@njit(cache=True)
def _temperature(
    u: Record, s: Record, true_c: float, offset_k: float, sensor: int, time_s: float
) -> float:
    """What a temperature sensor says: 0 positive, 1 negative pole, 2 ambient."""
    shown = true_c + offset_k + u.noise_k * _normal(s)
    if u.kind >= _STUCK and u.sensor == sensor and time_s >= u.onset_s:
        if u.kind == _STUCK:
            if s.stuck == 0:
                s.stuck, s.stuck_c = 1, shown
            shown = s.stuck_c
        elif u.kind == _DRIFTING:
            shown += u.size * (time_s - u.onset_s) / DAY_S
        elif u.kind == _OFFSET:
            shown += u.size
        elif u.kind == _NOISY:
            shown += u.size * _normal(s)
    if _uniform(s) < u.spike:
        shown = 215.0 if _uniform(s) < 0.5 else -40.0
    return max(-60.0, min(_rounded(shown, u.step_k), 399.0))


@njit(cache=True)
def _measure(u: Record, s: Record, time_s: float, ohm: Ohms, row: Floats) -> None:
    """All quantities as the device shows them now, into `row` (float64[13])."""
    amps = s.current_a * (1.0 + u.current_noise * _normal(s)) + 0.1 * _normal(s)
    if u.kind == _SCALE and time_s >= u.onset_s:
        amps *= u.size
    row[_CURRENT] = _rounded(amps, u.current_step_a)
    row[_VOLTAGE] = _rounded(u.rated_v * (0.72 + 0.18 * s.charge) + 0.5 * _normal(s), 0.1)
    pos_c, neg_c = s.fast_pos_c, s.fast_neg_c
    if u.kind == _SWAPPED and time_s >= u.onset_s:
        pos_c, neg_c = neg_c, pos_c
    row[_POS] = _temperature(u, s, pos_c, u.offset_pos_k, 0, time_s)
    row[_NEG] = _temperature(u, s, neg_c, u.offset_neg_k, 1, time_s)
    warmed_k = u.self_heating * (0.5 * (s.slow_pos_c + s.slow_neg_c) - s.ambient_c)
    row[_AMBIENT] = _temperature(u, s, s.ambient_c + warmed_k, u.offset_ambient_k, 2, time_s)
    pos_mv, neg_mv = _drops_mv(u, s, ohm)
    row[_DROP_POS] = _rounded(pos_mv + 0.15 * _normal(s), 0.1)
    row[_DROP_NEG] = _rounded(neg_mv + 0.15 * _normal(s), 0.1)
    insulation = min(s.insulation_kohm * math.exp(0.02 * _normal(s)), 50_000.0)
    row[_INSULATION] = _rounded(insulation, 10.0)
    mated = u.position != INLET or s.mode == CHARGING
    row[_INTERLOCK] = 1.0 if mated and s.open == 0 and s.opened == 0 else 0.0
    row[_HUMIDITY] = _rounded(min(max(s.humidity_pct + _normal(s), 0.0), 100.0), 1.0)
    shaking = s.vibration_g if s.mode == DRIVING else 0.01
    row[_VIBRATION] = _rounded(shaking * math.exp(0.2 * _normal(s)), 0.01)
    row[_MATED] = 1.0 if mated else 0.0
    row[_CYCLES] = s.cycles
    for column in range(len(row)):
        # A state comes with every reading: an unplugged inlet without it would look faulty.
        is_state = column == _INTERLOCK or column >= _MATED
        if not u.reports >> column & 1 or (not is_state and _uniform(s) < u.empty):
            row[column] = np.nan
    if u.changes_only:
        _leave_out_unchanged(s, time_s, row)


@njit(cache=True)
def _drops_mv(u: Record, s: Record, ohm: Ohms) -> Pair:
    pos = ohm[0] * (1.0 + CONTACT_PER_K * (s.fast_pos_c - 20.0))
    neg = ohm[1] * (1.0 + CONTACT_PER_K * (s.fast_neg_c - 20.0))
    pos += u.bulk_pos_ohm * (1.0 + COPPER_PER_K * (s.slow_pos_c - 20.0))
    neg += u.bulk_neg_ohm * (1.0 + COPPER_PER_K * (s.slow_neg_c - 20.0))
    return 1000.0 * s.current_a * pos, 1000.0 * s.current_a * neg


@njit(cache=True)
def _leave_out_unchanged(s: Record, time_s: float, row: Floats) -> None:
    """Temperatures are sent when they moved by a kelvin, and every ten minutes."""
    due = time_s >= s.shown_until_s
    moved = abs(row[_POS] - s.shown_pos_c) >= 1.0 or abs(row[_NEG] - s.shown_neg_c) >= 1.0
    if due or moved:
        s.shown_pos_c, s.shown_neg_c, s.shown_until_s = row[_POS], row[_NEG], time_s + 600.0
    else:
        row[_POS], row[_NEG] = np.nan, np.nan


@njit(cache=True)
def _arrival_s(u: Record, s: Record, time_s: float) -> float:
    """When the reading comes to us; −1: never."""
    arrived_s = time_s + _between(s, 0.1, 1.5)
    if time_s < s.outage_until_s:
        if s.outage_lost:
            return -1.0
        return s.outage_until_s + _between(s, 0.1, 60.0)
    if _uniform(s) < u.outages_a_day * u.interval_s / DAY_S:
        s.outage_until_s = time_s + 600.0 * math.exp(1.5 * abs(_normal(s)))
        s.outage_lost = _uniform(s) < 0.3
    if _uniform(s) < u.loss:
        return -1.0
    if _uniform(s) < u.late:
        return arrived_s + 60.0 * math.exp(2.0 * abs(_normal(s)))
    return arrived_s


@njit(cache=True)
def _sight(
    u: Record, s: Record, ohm: Ohms, row: Floats, arrived_s: float, sightings: Floats
) -> None:
    """Notes the reading if in it the connector differs from its twin as one could see."""
    if s.sightings >= SIGHTINGS:
        return
    seen_by = 0
    if u.kind <= _COOLING:
        seen_by = _seen_in_heat(u, s, ohm, row)
    elif u.kind <= _WET:
        halved = s.insulation_kohm <= VISIBLE_INSULATION * s.twin_insulation_kohm
        seen_by = SEEN_INSULATION if halved and row[_INSULATION] >= 0.0 else 0
    elif row[_INTERLOCK] == 0.0 and (s.opened or s.open):
        # What is unplugged is open without any fault.
        seen_by = SEEN_INTERLOCK if u.position != INLET or s.mode == CHARGING else 0
    if seen_by:
        sightings[s.sightings] = arrived_s
        s.sightings += 1
        s.seen_by = s.seen_by if s.seen_by else seen_by


@njit(cache=True)
def _seen_in_heat(u: Record, s: Record, ohm: Ohms, row: Floats) -> int:
    if row[_POS] > -99.0 and abs(s.fast_pos_c - s.twin_fast_pos_c) >= VISIBLE_K:
        return SEEN_TEMPERATURE
    if row[_NEG] > -99.0 and abs(s.fast_neg_c - s.twin_fast_neg_c) >= VISIBLE_K:
        return SEEN_TEMPERATURE
    measured = row[_DROP_POS] if u.pole == 0 else row[_DROP_NEG]
    if u.kind == _COOLING or measured != measured:
        return 0
    if abs(s.current_a) < LOADED_SHARE * u.rated_a:
        return 0
    bulk = u.bulk_pos_ohm if u.pole == 0 else u.bulk_neg_ohm
    healthy = ohm[2 + u.pole]
    worse = (ohm[u.pole] + bulk) / (healthy + bulk)
    return SEEN_DROP if worse >= VISIBLE_RESISTANCE else 0


@njit(cache=True)
def _report(
    u: Record, s: Record, time_s: float, ohm: Ohms, out: Out, count: int, sightings: Floats
) -> int:
    """The reading of this instant, if it gets through, once or twice; the rows written so far."""
    times, arrivals, values = out
    own_s = time_s + _between(s, 0.0, 0.9)
    arrived_s = _arrival_s(u, s, own_s)
    _measure(u, s, time_s, ohm, values[count])
    if arrived_s < 0.0:
        return count
    if u.kind != 0 and u.kind < _STUCK and time_s >= u.onset_s:
        _sight(u, s, ohm, values[count], arrived_s, sightings)
    s.opened = 0
    if u.kind == _CLOCK and time_s >= u.onset_s:
        own_s += u.size
    times[count], arrivals[count] = int(own_s * 1000.0), int(arrived_s * 1000.0)
    if _uniform(s) >= u.twice:
        return count + 1
    times[count + 1] = times[count]
    arrivals[count + 1] = arrivals[count] + int(_exponential(s, 120_000.0))
    values[count + 1] = values[count]
    return count + 2


@njit(cache=True)
def _is_heard(s: Record, time_s: float, until_s: float) -> bool:
    return time_s < until_s and (s.limit_s < 0.0 or time_s < s.limit_s + AFTER_LIMIT_S)


@njit(cache=True)
def _live(
    u: Record,
    s: Record,
    from_s: int,
    to_s: int,
    heard_until_s: float,
    out: Out,
    count: int,
    sightings: Floats,
) -> int:
    """One connector from `from_s` to `to_s`; the rows written so far."""
    for time_s in range(from_s, to_s, STEP_S):
        if time_s >= s.mode_end_s:
            _next_mode(u, s, time_s)
        if time_s >= s.segment_end_s:
            _next_segment(u, s, time_s)
        if time_s % MINUTE_S == 0:
            _pass_minute(u, s, time_s)
        faulted = _warm(u, s, time_s)
        if s.limit_s == -2.0:
            s.limit_s = time_s
        if time_s >= s.due_s and time_s >= 0:
            awake = s.mode != PARKED or time_s < s.awake_until_s
            s.due_s = time_s + (u.interval_s if awake else u.heartbeat_s)
            if _is_heard(s, time_s, heard_until_s):
                healthy_pos = u.contact_pos_ohm * _resistance_factor(u, s, 0, time_s)
                healthy_neg = u.contact_neg_ohm * _resistance_factor(u, s, 1, time_s)
                ohm = (faulted[0], faulted[1], healthy_pos, healthy_neg)
                count = _report(u, s, time_s, ohm, out, count, sightings)
    return count


@njit(cache=True)
def advance(
    units: Record,
    states: Record,
    from_s: int,
    to_s: int,
    heard_until_s: float,
    out: Out,
    owner: NDArray[np.int32],
    sightings: Floats,
) -> int:
    """All connectors from `from_s` to `to_s` (multiples of a minute); the rows written.

    `out`: time_ms, arrived_ms (int64[rows], since the set's start) and values (float64[rows,
    13]); `owner` (int32[rows]) says whose a row is. Rows are by connector, then time.
    `sightings` float64[n, SIGHTINGS]. Readings are heard until `heard_until_s`.
    """
    count = 0
    for at in range(len(units)):
        begin = count
        count = _live(units[at], states[at], from_s, to_s, heard_until_s, out, count, sightings[at])
        owner[begin:count] = at
    return count


@njit(cache=True)
def run_out(units: Record, states: Record, from_s: int, to_s: int) -> None:
    """Connectors whose resistance or insulation grows on without a reading, until their limit."""
    nothing = (np.zeros(2, np.int64), np.zeros(2, np.int64), np.zeros((2, 13)))
    for at in range(len(units)):
        u, s = units[at], states[at]
        if u.kind == 0 or u.kind >= _STUCK:
            continue
        time_s = from_s
        while time_s < to_s and s.limit_s < 0.0:
            _live(u, s, time_s, time_s + DAY_S, 0.0, nothing, 0, nothing[2][0])
            time_s += DAY_S
