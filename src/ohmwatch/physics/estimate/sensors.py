"""Whether the temperature sensors can be believed; compiled.

Questions that need no opinion about the contact: does a sensor move when the model says that its
place must have moved; does it agree at rest with the air and with its twin, as it used to; does
it leap, or jump about, more than heat can. What is suspected is held apart until the contact has
rested, or carries so little that a leap of that size would show: a lie stays, and a fault is cold.
Each leap that was taken back adds to what counts as one: a contact that flutters leaps often.
"""

import math

from ohmwatch.compiled import inlined
from ohmwatch.physics.estimate.record import AIR, COMMON, NEG, POS
from ohmwatch.physics.estimate.thermal import mixed_load, pole_heat_k

AT_REST_K = 0.03
"""A rise by load below this is none, also where heat gets away three times as slowly."""

SETTLED = 0.98
"""Share of the load that must be known for a contact to be surely at rest."""

REST_MEMORY = 10.0
REST_BASE = 24.0
LEAST_RESTS = 6.0
"""Readings at rest: of the mean now, of the first mean, and the least that say something."""

NOISE_BASE = 60.0
NOISE_MEMORY = 40.0
LEAST_NOISE_K2 = 0.5
MOST_NOISE_K2 = 12.0
"""Pairs of jumps: of the sensor's own noise, and of the mean now. The least that it is taken for,
for the rounding of a coarse sensor shows at a few places only; the most that a pair teaches."""

LEAP_K = 5.0
SPIKE_K = 20.0
"""No contact and no air leaps so far between two readings: one reading that does is a lie."""

MOST_CLEARED = 15.0
"""Leaps taken back, each of which adds LEAP_K to what counts as one: no contact goes further."""

REFUTABLE_K = 10.0
REFUTED = 0.4
"""Leaps that need no rest to be taken back, being more than air and load are ever unsure by; and
the part of one up to which a load and what it leaves unexplained are small beside it."""

LEAP_FORGOTTEN_MS = 36 * 3_600_000

STILL_K = 2.5
STUCK_K = 5.0
"""K that the model saw a pole go while its sensor stood still: left out; stuck."""

STILL_AIR_READINGS = 60.0
STILL_AIR_S = 10 * 3600.0

SHIFT_K = 3.2
SHIFT_AIR_K = 4.5
"""How far a sensor at rest may come from where it used to be."""

NOISY = 6.0
"""Variance of the jumps at rest over the sensor's own."""

QUIET_K = 0.5
"""A load that warms no contact more can't make one flutter either."""

SINGLE_LIE_K = 40.0
"""A value further off than noise goes, a code for a fault, says nothing of the noise."""

TRUSTED, SUSPECT, LIES = 1.0, 0.5, 0.0


@inlined
def is_at_rest(s, p):  # type: ignore[no-untyped-def]
    """True where load explains no rise, and the air has not just changed."""
    heat_k = max(s.common.heat_k, p.rise_k)
    rested = heat_k * max(s.fast, s.slow) < AT_REST_K and s.slow_known > SETTLED
    return rested and not abs(s.ambient_c - s.felt_c) > 2.0


@inlined
def note_sensor(s, p, place, t_ms, value_c, at_rest):  # type: ignore[no-untyped-def]
    """One temperature; whether it has leapt as no heat can, and is to be left out."""
    if math.isnan(value_c):
        return False
    spiked = False
    own = s.sensors[place]
    dt_s = (t_ms - own.last_ms) / 1000.0
    in_sight = own.last_ms > 0 and dt_s * 1000.0 <= max(p.gap_ms, 4_000_000)
    new_k = s.felt_c + p.rise_k * mixed_load(s) if place != AIR else 0.0
    if in_sight and value_c == own.last_c:
        own.unchanged = min(own.unchanged + 1.0, 255.0)
        own.unchanged_s += dt_s
        if s.slow_known > 0.9:
            own.low_k = min(own.low_k, new_k)
            own.high_k = max(own.high_k, new_k)
    elif value_c != own.last_c:
        own.unchanged = own.unchanged_s = 0.0
        own.low_k = own.high_k = new_k
    if in_sight:
        moved_k = 0.0
        if place != AIR:
            warmed = mixed_load(s) - own.last_load
            moved_k = s.felt_c - own.last_felt_c + pole_heat_k(s, p, place) * warmed
        jump_k = value_c - own.last_c - moved_k
        of_noise = place == AIR or at_rest or p.rise_k * s.load < QUIET_K
        of_noise = of_noise and abs(jump_k) < SINGLE_LIE_K
        _note_noise(own, jump_k if of_noise else math.nan, _restless(s, p, place))
        explained_k = 0.6 * abs(moved_k)
        noise_k = 3.0 * math.sqrt(max(own.noise_base_k2, 0.0))
        # What happened in a gap, or to a contact whose load is unknown, is no leap.
        followed = at_rest or s.slow_known > 0.9
        least_k = LEAP_K * (1.0 + own.cleared) + explained_k + noise_k
        spiked = abs(jump_k) > SPIKE_K + explained_k + noise_k
        if followed and abs(jump_k) > least_k:
            own.jump_k += jump_k
            own.jump_ms = t_ms
        elif place != AIR and followed and abs(own.jump_k) > REFUTABLE_K:
            _refute(s, p, place, value_c)
    own.last_c = value_c
    own.last_felt_c = s.felt_c
    own.last_load = mixed_load(s)
    own.last_ms = t_ms
    return spiked


@inlined
def _refute(s, p, place, value_c):  # type: ignore[no-untyped-def]
    """Takes a leap back where the load is small and the pole as warm as it makes it: a sensor that
    leapt would show the leap still, a contact that heated so has cooled down.
    """
    own = s.sensors[place]
    load_k = pole_heat_k(s, p, place) * mixed_load(s)
    usual_k = own.base_k if s.ambient_ms > 0 else s.common.offset_k
    away_k = value_c - s.felt_c - usual_k - load_k
    if max(load_k, abs(away_k)) < REFUTED * abs(own.jump_k):
        _take_back(own)


@inlined
def _restless(s, p, place):  # type: ignore[no-untyped-def]
    """How many times the jumps' variance a pole that heats more than it did may show: what a load
    between two readings leaves in them goes with its heat.
    """
    if place == AIR:
        return 1.0
    usual_k = p.rise_k * math.exp(s.channels[COMMON].base)
    return max(pole_heat_k(s, p, place) / usual_k, 1.0) ** 2


@inlined
def _note_noise(own, jump_k, restless):  # type: ignore[no-untyped-def]
    """Noise leaps back, heat doesn't: minus the product of two jumps in a row is its variance."""
    if not (math.isnan(own.step_k) or math.isnan(jump_k)):
        square = -jump_k * own.step_k
        if own.noises < NOISE_BASE:
            own.noises += 1.0
            square = min(max(square, -MOST_NOISE_K2), MOST_NOISE_K2)
            own.noise_base_k2 += (square - own.noise_base_k2) / own.noises
            own.noise_k2 = own.noise_base_k2
        else:
            allowed_k2 = NOISY * max(own.noise_base_k2, LEAST_NOISE_K2)
            most = 0.5 * NOISE_MEMORY * allowed_k2
            own.noise_k2 += (min(max(square, -most), most) - own.noise_k2) / NOISE_MEMORY
            allowed_k2 *= restless
            if own.noise_k2 > allowed_k2:
                own.noisy = 1.0
            elif own.noise_k2 < 0.2 * allowed_k2:
                own.noisy = 0.0
    own.step_k = jump_k


@inlined
def note_rest(s, t_ms, pos_c, neg_c, air_known):  # type: ignore[no-untyped-def]
    """What the sensors show of a contact at rest; at most one reading in two minutes."""
    if t_ms - s.rest_ms < 120_000:
        return
    s.rest_ms = t_ms
    if air_known:
        as_ever = _note_shift(s.sensors[POS], pos_c - s.felt_c)
        as_ever = _note_shift(s.sensors[NEG], neg_c - s.felt_c) and as_ever
        if as_ever:
            s.sensors[AIR].jump_k = 0.0
    air = s.sensors[AIR]
    # What the poles are to one another says nothing about a leap of the air.
    leapt_k, air.jump_k = air.jump_k, 0.0
    as_ever = _note_shift(air, pos_c - neg_c)
    air.jump_k = leapt_k
    if as_ever and not air_known and pos_c == pos_c and neg_c == neg_c:
        _take_back(s.sensors[POS])
        _take_back(s.sensors[NEG])


@inlined
def _note_shift(own, rise_k):  # type: ignore[no-untyped-def]
    """One difference at rest; whether it is as it used to be, or not known to be otherwise."""
    if math.isnan(rise_k) or own.unchanged >= 5.0 or is_noisy(own):
        return True
    own.rests = min(own.rests + 1.0, 255.0)
    own.rest_k += (rise_k - own.rest_k) / min(own.rests, REST_MEMORY)
    if own.bases < REST_BASE:
        own.bases += 1.0
        own.base_k += (rise_k - own.base_k) / own.bases
    if abs(rise_k - own.base_k) < SHIFT_K:
        _take_back(own)
        return True
    return False


@inlined
def _take_back(own):  # type: ignore[no-untyped-def]
    """It leapt under load and is right at rest: a contact does that, a sensor doesn't."""
    if abs(own.jump_k) > 0.0:
        own.jump_k = 0.0
        own.cleared = min(own.cleared + 1.0, MOST_CLEARED)


@inlined
def shift_k(own):  # type: ignore[no-untyped-def]
    """How far the sensor at rest has come from its first rests, K; 0 where that is unknown."""
    if own.bases < REST_BASE:
        return 0.0
    return own.rest_k - own.base_k


@inlined
def air_shift_k(s):  # type: ignore[no-untyped-def]
    """The shift that both poles show against the air: then it is the air's sensor that moved."""
    pos_k, neg_k = shift_k(s.sensors[POS]), shift_k(s.sensors[NEG])
    if s.sensors[NEG].rests == 0.0:
        return 0.0
    if abs(pos_k - neg_k) < max(0.5 * max(abs(pos_k), abs(neg_k)), 1.5):
        return -0.5 * (pos_k + neg_k)
    return 0.0


@inlined
def is_noisy(own):  # type: ignore[no-untyped-def]
    """Whether the sensor jumps about more than it used to."""
    return own.noisy > 0.0


@inlined
def still_k(own):  # type: ignore[no-untyped-def]
    """How far the model saw the place go since the sensor last moved, K."""
    return own.high_k - own.low_k if own.unchanged >= 3.0 else 0.0


@inlined
def is_stuck(own):  # type: ignore[no-untyped-def]
    """Whether the sensor has stood still for good."""
    return still_k(own) > STUCK_K and own.unchanged >= 5.0


@inlined
def leapt_k(own, t_ms):  # type: ignore[no-untyped-def]
    """What the sensor has leapt, as long as no rest has told; 0 after a day and a half."""
    forgotten = t_ms - own.jump_ms > LEAP_FORGOTTEN_MS and abs(shift_k(own)) < SHIFT_K
    if own.jump_ms == 0 or forgotten:
        return 0.0
    return own.jump_k


@inlined
def trust(s, place, t_ms):  # type: ignore[no-untyped-def]
    """TRUSTED, SUSPECT or LIES."""
    own = s.sensors[place]
    if is_noisy(own):
        return LIES
    if place == AIR:
        still = own.unchanged > STILL_AIR_READINGS and own.unchanged_s > STILL_AIR_S
        if still or abs(air_shift_k(s)) > SHIFT_AIR_K:
            return LIES
    else:
        other = s.sensors[NEG if place == POS else POS]
        shift = shift_k(own) + air_shift_k(s)
        if is_stuck(own):
            return LIES
        if abs(shift) > SHIFT_K and abs(shift) >= 0.6 * abs(shift_k(other) + air_shift_k(s)):
            return LIES
        # Without air one can't say which of the two it is.
        if own.bases == 0.0 and abs(shift_k(s.sensors[AIR])) > SHIFT_K:
            return LIES
        if still_k(own) > STILL_K:
            return SUSPECT
    return SUSPECT if abs(leapt_k(own, t_ms)) > 0.6 * LEAP_K else TRUSTED
