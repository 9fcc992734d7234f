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
from ohmwatch.physics.estimate.record import APART, COMMON, DROP_NEG, DROP_POS, PER_K, REFERENCE_C
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

DROP_NOISE_MV2 = 0.5**2

BASE_EPISODES = 6.0
MOST_EPISODES = 40.0
ONE_WITNESS = 4.0
MOST_EVIDENCE = 60.0

STEPS = (0.22, 0.09, 0.16, 0.16)
FLOORS = (0.05**2, 0.012**2, 0.02**2, 0.02**2)
"""Of COMMON, APART, DROP_POS, DROP_NEG in logs: the change looked for, and the variance from one
episode to another of a healthy contact (draught, sun, driving wind; none in the difference)."""


@inlined
def note_drop(s, p, pole, current_a, drop_mv, temperature_c):  # type: ignore[no-untyped-def]
    """A voltage drop under current, referred to REFERENCE_C."""
    if math.isnan(drop_mv) or abs(current_a) < LEAST_DROP_SHARE * p.rated_a:
        return
    warm = 1.0 + PER_K * (min(max(temperature_c, -40.0), 200.0) - REFERENCE_C)
    sums = s.drop[pole]
    sums.square += current_a * current_a
    sums.product += current_a * drop_mv / warm
    sums.count += 1.0


@inlined
def is_over(s, p, t_ms):  # type: ignore[no-untyped-def]
    """Whether the present episode has said what it can: 1, or is to be forgotten: −1, else 0."""
    if s.loaded_s >= SHORTEST_S:
        apart = math.sqrt(s.apart.hh) / p.rise_k
        common = math.sqrt(s.common.hh) / p.rise_k
        if apart < SHARP and common < 2.0 * DULL:
            return 1
        if s.loaded_s >= LONGEST_S and min(apart, common) < DULL:
            return 1
    return -1 if t_ms - s.began_ms > GIVEN_UP_MS else 0


@inlined
def _learn(c, value, variance, trusted):  # type: ignore[no-untyped-def]
    """One more episode into the unit's own mean."""
    weight = trusted / variance
    if c.count >= 1.0:
        away = abs(value - c.base) / math.sqrt(variance * max(c.scatter, 1.0))
        weight /= max(1.0, away / 2.0)
    c.precision += weight
    c.base += weight / c.precision * (value - c.base)
    c.count += 1.0


@inlined
def _add_evidence(c, change, variance, step, t_ms):  # type: ignore[no-untyped-def]
    """The episode's log-likelihood ratios into both cumulative sums."""
    rise = step / variance * (change - 0.5 * step)
    fall = step / variance * (-change - 0.5 * step)
    if c.up <= 0.0:
        c.up_ms = t_ms
    if c.down <= 0.0:
        c.down_ms = t_ms
    c.up = min(max(c.up + min(max(rise, -ONE_WITNESS), ONE_WITNESS), 0.0), MOST_EVIDENCE)
    c.down = min(max(c.down + min(max(fall, -ONE_WITNESS), ONE_WITNESS), 0.0), MOST_EVIDENCE)


@inlined
def hear(c, number, value, variance, t_ms):  # type: ignore[no-untyped-def]
    """What a channel makes of an episode's value (a logarithm) with its variance."""
    own = variance + FLOORS[number]
    c.newest = value
    c.newest_ms = t_ms
    if c.count < BASE_EPISODES:
        before = value - c.base
        _learn(c, value, own, 1.0)
        if c.count > 1.0:
            c.scatter += (min(before * before / own, 9.0) - c.scatter) / (c.count + 5.0)
        c.level, c.level_var = value - c.base, own
        return
    change = value - c.base
    total = own * max(c.scatter, 0.5) + 1.0 / c.precision
    gain = c.level_var / (c.level_var + total)
    gain = max(gain, 0.3)
    c.level += gain * (change - c.level)
    c.level_var = max((1.0 - gain) * c.level_var, 0.15 * total)
    _add_evidence(c, change, total, STEPS[number], t_ms)
    if c.up < ONE_WITNESS and c.down < ONE_WITNESS:
        share = 1.0 / min(c.count + 5.0, 40.0)
        c.scatter += share * (min(change * change / own, 9.0) - c.scatter)
        if c.count < MOST_EPISODES:
            _learn(c, value, own * max(c.scatter, 0.5), 1.0)


@inlined
def close(s, p, t_ms):  # type: ignore[no-untyped-def]
    """Tells the channels what the episode said, and starts the next."""
    mean_k = max(s.common.heat_k, 0.05 * p.rise_k)
    half_k = 0.5 * s.apart.heat_k
    pos_k = max(mean_k + half_k, 0.05 * p.rise_k)
    neg_k = max(mean_k - half_k, 0.05 * p.rise_k)
    common_var = s.common.hh / (mean_k * mean_k)
    apart_var = s.apart.hh * (mean_k / (pos_k * neg_k)) ** 2
    two_poles = math.sqrt(s.apart.hh) < DULL * p.rise_k
    apart = s.channels[APART]
    better = math.log(mean_k / p.rise_k)
    if two_poles:
        lean = math.log(pos_k / neg_k)
        lean_var = apart_var + common_var * (2.0 * half_k * mean_k / (pos_k * neg_k)) ** 2
        hear(apart, APART, lean, lean_var, t_ms)
        if lean > apart.base:
            better = math.log(neg_k / p.rise_k) + 0.5 * apart.base
        else:
            better = math.log(pos_k / p.rise_k) - 0.5 * apart.base
    if common_var < 4.0 * DULL * DULL:
        hear(s.channels[COMMON], COMMON, better, common_var, t_ms)
    for pole in range(2):
        sums = s.drop[pole]
        if sums.count >= 10.0 and sums.product > 0.0:
            ohm = sums.product / sums.square
            variance = DROP_NOISE_MV2 / sums.square / (ohm * ohm)
            number = DROP_POS if pole == 0 else DROP_NEG
            hear(s.channels[number], number, math.log(1000.0 * ohm), variance, t_ms)
    s.episodes += 1
    start_episode(s, p, t_ms)
