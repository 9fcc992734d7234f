"""What an episode of load says about the contacts, and what many episodes say together; compiled.

An episode is as much load as a steady estimate needs. Its estimates stand by themselves (the
heating of the one before is forgotten), so that a row of them is a row of independent witnesses.
Each channel keeps the unit's own mean from its first episodes, and two cumulative sums of
log-likelihood ratios (Page 1954, Biometrika 41): of a level that has risen by the channel's
`STEP` against one that has not, and the same for a fall. A level within half a step of its base
adds nothing, however long it lasts, and no single episode can add more than ONE_WITNESS.
"""

import math

from ohmwatch.compiled import inlined
from ohmwatch.physics.estimate.record import (
    AIR,
    APART,
    COMMON,
    COOLING,
    DROP_NEG,
    DROP_POS,
    NEG,
    PER_K,
    POS,
    REFERENCE_C,
)
from ohmwatch.physics.estimate.sensors import SHIFT_K, TRUSTED, trust
from ohmwatch.physics.estimate.thermal import start_episode

LOADED = 0.02
"""Load from which on a contact warms noticeably: 14 % of rated current."""

SHORTEST_S = 600.0
LONGEST_S = 5_400.0
"""Loaded seconds of an episode; the shorter where the poles' difference is sharp."""

SHARP = 0.03
DULL = 0.25
"""Relative standard deviation of the heating that ends an episode early, or makes it void."""

GIVEN_UP_MS = 36 * 3_600_000
"""Device time after which an episode that says nothing starts again."""

LEAST_DROP_SHARE = 0.1
"""Of the rated current: below, a voltage drop is mostly noise."""

LEAST_DROPS = 10.0
DROP_NOISE_MV2 = 0.5**2

BASE_EPISODES = 5.0
BASE_MS = 24 * 3_600_000
MOST_EPISODES = 40.0
"""Of which a unit's own mean is made: at least so many, over at least a day; at most so many."""

UNSEEN_AIR = 0.8**2
"""Variance of slower cooling where no air is measured: a warm afternoon looks the same."""

WITNESS_MS = 1_800_000
"""Episodes nearer to one another share the same sun and air: they count in part."""

UNSURE = 1.25
"""Standard deviations of a unit's own mean by which a change must be more than that."""

MOST_ALIKE = 0.7
"""Of the correlation of successive episodes, that is held against them."""

ONE_WITNESS = 4.0
MOST_PLAIN = 3.0
MOST_EVIDENCE = 60.0

STEPS = (0.28, 0.09, 0.16, 0.16, 0.7)
APART_STEP_K = 2.2
"""Of COMMON, APART, DROP_POS, DROP_NEG: the change looked for, in logs, and of APART in parts of
the rise at rated current; yet never less than would show as APART_STEP_K in the unit's own use."""

MATED_STEP = 0.13
"""The same of APART where a plug is mated in daily use, and its contacts meet anew each time: more
of a unit that heats more."""

FLOORS = (0.05**2, 0.012**2, 0.02**2, 0.02**2, 0.12**2)
"""Their variance from one episode to another in a healthy contact: draught, driving wind."""

DROP_SHARE = 0.4
"""Of the growth that the heat speaks of, the least that measured drops must show of it: they hold
the bulk of the contact as well."""

DROP_HELD_MS = 6 * 3_600_000
"""How long what they showed speaks of what a pole heats now."""

TURN_FORM = 0.3
"""Of a pair's own difference, by which it may miss its opposite where sensors changed places: sun
and draught stay where they are."""

FORM = 0.03
"""Of a pair's own difference, by which it varies with load and air: convection grows with heat."""


@inlined
def note_drop(s, p, pole, current_a, drop_mv, temperature_c):  # type: ignore[no-untyped-def]
    """A voltage drop under current, referred to REFERENCE_C."""
    if math.isnan(drop_mv) or abs(current_a) < LEAST_DROP_SHARE * p.rated_a:
        return
    warm = 1.0 + PER_K * (min(max(temperature_c, -40.0), 200.0) - REFERENCE_C)
    sums = s.drop[pole]
    sums.square += current_a * current_a
    sums.product += current_a * drop_mv / warm
    sums.count = min(sums.count + 1.0, 255.0)


@inlined
def is_over(s, p, t_ms, at_rest):  # type: ignore[no-untyped-def]
    """Whether the present episode has said what it can: 1, or is to be forgotten: −1, else 0.

    A rest ends it: what the next drive shows may be days younger.
    """
    if s.loaded_s >= SHORTEST_S:
        apart = math.sqrt(s.apart.hh) / p.rise_k
        common = math.sqrt(s.common.hh) / p.rise_k
        if apart < SHARP and common < 2.0 * DULL:
            return 1
        if (s.loaded_s >= LONGEST_S or at_rest) and min(apart, common) < DULL:
            return 1
    if at_rest and max(s.drop[0].count, s.drop[1].count) >= LEAST_DROPS:
        return 1
    return -1 if t_ms - s.began_ms > GIVEN_UP_MS else 0


@inlined
def _alone(c):  # type: ignore[no-untyped-def]
    """The share of an episode that its predecessor has not told: (1 − ρ) / (1 + ρ), the effective
    sample size of a first-order autoregressive series (Bayley & Hammersley 1946)."""
    rho = min(max(c.likeness / max(c.scatter, 0.5), 0.0), MOST_ALIKE)
    return (1.0 - rho) / (1.0 + rho)


@inlined
def _learn(c, value, variance, share):  # type: ignore[no-untyped-def]
    """One more episode into the unit's own mean."""
    weight = share * _alone(c) / variance
    if c.count >= 1.0:
        away = abs(value - c.base) / math.sqrt(variance * max(c.scatter, 1.0))
        weight /= max(1.0, away / 2.0)
    c.precision += weight
    c.base += weight / c.precision * (value - c.base)
    c.count += share


@inlined
def _add_evidence(c, change, variance, step, least, share, t_ms):  # type: ignore[no-untyped-def]
    """The episode's log-likelihood ratios into both cumulative sums."""
    # What is far beyond the step needs fewer witnesses, nearer to one another.
    plain = min(max(abs(change) / (1.5 * step), 1.0), MOST_PLAIN)
    share = min(share * plain, 1.0)
    rise = share * step / variance * (change - least)
    fall = share * step / variance * (-change - least)
    if c.up <= 0.0:
        c.up_ms = t_ms
    if c.down <= 0.0:
        c.down_ms = t_ms
    most = share * ONE_WITNESS * (0.5 + 0.5 * plain)
    c.up = min(max(c.up + min(max(rise, -most), most), 0.0), MOST_EVIDENCE)
    c.down = min(max(c.down + min(max(fall, -most), most), 0.0), MOST_EVIDENCE)


@inlined
def _doubt_turn(s, change, variance, least, step, share):  # type: ignore[no-untyped-def]
    """Evidence that the poles' difference, if it changes, is not just turned round.

    Sensors that change places do exactly that, and it stays so; a contact that grows passes it. An
    episode in which they do shows something between, so that less than turned round is slow to
    count; more is plain at once.
    """
    c = s.channels[APART]
    if c.up <= 0.0 and c.down <= 0.0:
        s.over_turn = s.under_turn = 0.0
        return
    side = 1.0 if c.up > c.down else -1.0
    over = side * (change + 2.0 * c.base)
    least += TURN_FORM * abs(c.base)
    plain = min(max(over / (1.5 * step), 1.0), MOST_PLAIN)
    more = min(share * plain, 1.0)
    most = more * ONE_WITNESS * (0.5 + 0.5 * plain)
    said = min(max(more * step / variance * (over - least), -most), most)
    s.over_turn = min(max(s.over_turn + said, 0.0), MOST_EVIDENCE)
    most = share * ONE_WITNESS
    said = min(max(share * step / variance * (-over - least), -most), most)
    s.under_turn = min(max(s.under_turn + said, 0.0), MOST_EVIDENCE)


@inlined
def _note_likeness(c, before, change, own, rate):  # type: ignore[no-untyped-def]
    """How alike the errors of successive episodes are: one sun, one mating, one draught."""
    if before == before:
        product = min(max(before * change / own, -9.0), 9.0)
        c.likeness += rate * (product - c.likeness)


@inlined
def hear(s, number, value, variance, step, believed, t_ms):  # type: ignore[no-untyped-def]
    """What a channel makes of an episode's value with its variance.

    Where the sensors are not `believed`, it is neither learnt nor evidence.
    """
    c = s.channels[number]
    own = variance + FLOORS[number]
    share = min((t_ms - c.newest_ms) / WITNESS_MS, 1.0)
    c.newest_ms = t_ms
    if not believed:
        return
    s.learnt_s = (t_ms - s.first_ms) // 1000
    last = c.newest - c.base
    c.newest = value
    if c.count < BASE_EPISODES or t_ms - s.anew_ms < BASE_MS:
        before = value - c.base
        _learn(c, value, own * max(c.scatter, 1.0), share)
        if c.count > 1.0:
            c.scatter += share * (min(before * before / own, 9.0) - c.scatter) / (c.count + 5.0)
            _note_likeness(c, last, value - c.base, own, share / (c.count + 5.0))
        c.level, c.level_var = value - c.base, own
        return
    change = value - c.base
    total = own * max(c.scatter, 0.5) + 1.0 / c.precision
    gain = max(c.level_var / (c.level_var + total), 0.3)
    c.level += gain * (change - c.level)
    c.level_var = max((1.0 - gain) * c.level_var, 0.15 * total)
    least = 0.5 * step
    if number != COOLING or s.ambient_ms == 0:
        # A base that is off is off for all of them: no row of witnesses tells that.
        least += UNSURE / math.sqrt(c.precision)
    _add_evidence(c, change, total, step, least, share * _alone(c), t_ms)
    if number == APART:
        _doubt_turn(s, change, total, least, step, share * _alone(c))
    if c.up < ONE_WITNESS and c.down < ONE_WITNESS:
        rate = share / min(c.count + 5.0, 40.0)
        c.scatter += rate * (min(change * change / own, 9.0) - c.scatter)
        _note_likeness(c, last, change, own, rate)
        if c.count < MOST_EPISODES:
            _learn(c, value, own * max(c.scatter, 0.5), share)


@inlined
def _drop_denies(s):  # type: ignore[no-untyped-def]
    """Whether both drops were measured since one pole heats more, and show too little of the growth
    that its heat speaks of.
    """
    apart, pos, neg = s.channels[APART], s.channels[DROP_POS], s.channels[DROP_NEG]
    if min(apart.count, pos.count, neg.count) < BASE_EPISODES:
        return False
    since_ms = apart.up_ms if apart.up > apart.down else apart.down_ms
    oldest_ms = min(pos.newest_ms, neg.newest_ms)
    if oldest_ms < since_ms or apart.newest_ms - oldest_ms > DROP_HELD_MS:
        return False
    side = 1.0 if apart.up > apart.down else -1.0
    heated = min(side * apart.level, side * (apart.newest - apart.base))
    grown = math.log1p(max(heated, 0.0) / math.exp(s.channels[COMMON].base))
    level = side * (pos.level - neg.level)
    newest = side * ((pos.newest - pos.base) - (neg.newest - neg.base))
    return max(level, newest) < DROP_SHARE * grown


@inlined
def _note_flutter(s):  # type: ignore[no-untyped-def]
    """How restless the difference of the poles is under load, against the unit's own ways; and
    whether more heat or slower cooling fits the mean better."""
    unlike = math.log((s.cooling.fit + 0.02) / (s.common.fit + 0.02))
    s.slower_fit += 0.25 * (unlike - s.slower_fit)
    s.flutter += 0.4 * (s.apart.fit - s.flutter)
    if s.channels[APART].count < MOST_EPISODES and s.channels[APART].up < ONE_WITNESS:
        s.flutter_base += 0.1 * (max(s.apart.fit, 0.2) - s.flutter_base)


@inlined
def pair_shift_k(s):  # type: ignore[no-untyped-def]
    """How far the sensors' offset to one another has come, load or not; 0 where it is unknown."""
    return s.apart.offset_k - s.pair_k if s.channels[APART].count >= BASE_EPISODES else 0.0


@inlined
def _note_pair(s):  # type: ignore[no-untyped-def]
    """The sensors' own offset to one another, from the unit's first episodes."""
    count = s.channels[APART].count
    if count < MOST_EPISODES and abs(pair_shift_k(s)) < SHIFT_K:
        s.pair_k += (s.apart.offset_k - s.pair_k) / max(min(count, 10.0), 1.0)


@inlined
def close(s, p, t_ms):  # type: ignore[no-untyped-def]
    """Tells the channels what the episode said, and starts the next."""
    pos = trust(s, POS, t_ms)
    neg = trust(s, NEG, t_ms)
    poles = min(pos, neg) == TRUSTED
    mean_k = max(s.common.heat_k, 0.05 * p.rise_k)
    common_var = s.common.hh / (mean_k * mean_k)
    better_k = mean_k
    if math.sqrt(s.apart.hh) < DULL * p.rise_k:
        lean = s.apart.heat_k / p.rise_k
        common = s.channels[COMMON]
        if max(common.up, common.down) >= ONE_WITNESS:
            # What both poles gain or lose, by cooling or a wrong current, their difference does.
            lean *= math.exp(-common.level)
        peak_k = p.rise_k * max(s.peak, s.day_peak, 0.05)
        step = max(STEPS[APART], APART_STEP_K / peak_k)
        if p.routine:
            step = max(step, MATED_STEP * max(math.exp(s.channels[COMMON].base), 1.0))
        form = FORM * s.channels[APART].base
        hear(s, APART, lean, s.apart.hh / p.rise_k**2 + form * form, step, poles, t_ms)
        change_k = abs(s.apart.heat_k - s.channels[APART].base * p.rise_k)
        better_k = max(mean_k - 0.5 * change_k, 0.05 * p.rise_k)
    if common_var < 4.0 * DULL * DULL:
        believed = poles and trust(s, AIR, t_ms) == TRUSTED
        value = math.log(better_k / p.rise_k)
        hear(s, COMMON, value, common_var, STEPS[COMMON], believed, t_ms)
    own_k = p.rise_k * math.exp(s.channels[COMMON].base)
    cooling_var = s.cooling.hh / (own_k * own_k)
    if s.channels[COMMON].count >= BASE_EPISODES and cooling_var < 1.0:
        believed = poles and trust(s, AIR, t_ms) == TRUSTED
        value = s.cooling.heat_k / own_k
        if s.ambient_ms == 0:
            cooling_var += UNSEEN_AIR
        hear(s, COOLING, value, cooling_var, STEPS[COOLING], believed, t_ms)
    for pole in range(2):
        sums = s.drop[pole]
        if sums.count >= LEAST_DROPS and sums.product > 0.0:
            ohm = sums.product / sums.square
            variance = DROP_NOISE_MV2 / sums.square / (ohm * ohm)
            number = DROP_POS if pole == 0 else DROP_NEG
            hear(s, number, math.log(1000.0 * ohm), variance, STEPS[number], True, t_ms)
    s.drop_denies = 1 if _drop_denies(s) else 0
    _note_flutter(s)
    _note_pair(s)
    s.episodes += 1
    start_episode(s, p, t_ms)
