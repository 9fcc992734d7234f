"""When a growing contact resistance will reach its limit; compiled.

The course of a unit's own change is kept as points, dense now and sparse in the past. Growth laws
of contact resistance are laid through it: exponential (fretting and relaxation that feed on their
own heat), linear and power laws from an onset (oxidation by diffusion: ½; wear: 1; runaway: 2, 3).
Each law has an amplitude by weighted least squares and the evidence exp(−χ²/2); what is not
decided is averaged (Hoeting et al. 1999, Statistical Science 14: Bayesian model averaging). Of the
mixture the 10th, 50th and 90th percentile of the time to the limit are told.
"""

import math

import numpy as np

from ohmwatch.compiled import inlined
from ohmwatch.physics.estimate.record import POINTS

LAWS = 40
"""16 exponentials, and 4 powers from each of 6 onsets."""

AMPLITUDES = 5
LONGEST_DAYS = 3650.0
OFFSET_SD = 0.02
"""How well a unit's base is known: the course may begin so far off it."""

SPREAD = np.array([-1.5, -0.7, 0.0, 0.7, 1.5])
SHARE = np.array([0.12, 0.24, 0.28, 0.24, 0.12])


@inlined
def add_point(s, day, apart, common, variance):  # type: ignore[no-untyped-def]
    """One more point of the course; where there is no room, two of the past become one."""
    if s.point_count == POINTS:
        _thin_out(s)
    at = s.points[s.point_count]
    at.day = day
    at.apart = apart
    at.common = common
    at.weight = 1.0 / variance
    s.point_count += 1


@inlined
def _thin_out(s):  # type: ignore[no-untyped-def]
    newest = s.points[POINTS - 1].day
    span = newest - s.points[0].day + 1e-3
    chosen, least = 0, math.inf
    for number in range(POINTS - 1):
        before, after = s.points[number], s.points[number + 1]
        density = (after.day - before.day) / (newest - after.day + 0.03 * span)
        if density < least:
            chosen, least = number, density
    one, other = s.points[chosen], s.points[chosen + 1]
    whole = one.weight + other.weight
    share = other.weight / whole
    one.day += share * (other.day - one.day)
    one.apart += share * (other.apart - one.apart)
    one.common += share * (other.common - one.common)
    one.weight = min(whole, 4e4)
    for number in range(chosen + 1, POINTS - 1):
        here, following = s.points[number], s.points[number + 1]
        here.day, here.weight = following.day, following.weight
        here.apart, here.common = following.apart, following.common
    s.point_count -= 1


@inlined
def _form(law, span, since):  # type: ignore[no-untyped-def]
    """The shape of a growth law `since` days after the first of `span` days."""
    if law < 16:
        return math.exp((since - span) / (0.25 * 1.45**law))
    power = (law - 16) % 4
    onset = span * ((law - 16) // 4) / 6.0
    run = (since - onset) / max(span - onset, 1e-6)
    if run <= 0.0:
        return 0.0
    if power == 0:
        return math.sqrt(run)
    if power == 1:
        return run
    return run * run if power == 2 else run * run * run


@inlined
def _reach(law, span, ratio):  # type: ignore[no-untyped-def]
    """Days from now until the shape, 1 now, has become `ratio`."""
    if law < 16:
        return math.log(ratio) * 0.25 * 1.45**law
    power = (law - 16) % 4
    onset = span * ((law - 16) // 4) / 6.0
    exponent = 2.0 if power == 0 else 1.0 / power
    return max(span - onset, 1e-6) * (ratio**exponent - 1.0)


@inlined
def _fit(s, law, side, inflation):  # type: ignore[no-untyped-def]
    """Amplitude, its standard deviation and chi-square of a law through the course."""
    count = s.point_count
    first = s.points[0].day
    span = s.points[count - 1].day - first
    ff = fo = fy = oy = 0.0
    oo = 1.0 / OFFSET_SD**2
    yy = 0.0
    for number in range(count):
        at = s.points[number]
        growth = side * at.apart if side != 0.0 else at.common
        weight = at.weight / inflation / (1.0 + 0.1 * max(growth, 0.0)) ** 2
        form = _form(law, span, at.day - first)
        ff += weight * form * form
        fo += weight * form
        fy += weight * form * growth
        oo += weight
        oy += weight * growth
        yy += weight * growth * growth
    determinant = ff * oo - fo * fo
    if determinant <= 1e-9 * ff * oo:
        return 0.0, 1.0, 1e9
    amplitude = (fy * oo - oy * fo) / determinant
    offset = (oy * ff - fy * fo) / determinant
    return amplitude, math.sqrt(oo / determinant), yy - amplitude * fy - offset * oy


@inlined
def forecast(s, side, growth_limit, inflation):  # type: ignore[no-untyped-def]
    """Seconds to the limit, into `left_from_s`, `left_s`, `left_to_s`; NaN where data are thin.

    `side`: 1 or −1 for the pole whose heating grows against the other's, 0 for both.
    `growth_limit`: the relative growth over the base at which the limit is reached.
    """
    s.left_s = s.left_from_s = s.left_to_s = math.nan
    count = s.point_count
    span = s.points[count - 1].day - s.points[0].day if count else 0.0
    if count < 5 or span <= 0.02 or math.isnan(growth_limit):
        return
    amplitudes, deviations, weights = np.zeros(LAWS), np.zeros(LAWS), np.zeros(LAWS)
    least = math.inf
    for law in range(LAWS):
        amplitudes[law], deviations[law], weights[law] = _fit(s, law, side, inflation)
        least = min(least, weights[law])
    days, shares = np.full(LAWS * AMPLITUDES, LONGEST_DAYS), np.zeros(LAWS * AMPLITUDES)
    for law in range(LAWS):
        prior = 0.5 / 16.0 if law < 16 else 0.5 / 24.0
        evidence = prior * math.exp(-0.5 * min(weights[law] - least, 600.0))
        for number in range(AMPLITUDES):
            place = law * AMPLITUDES + number
            shares[place] = evidence * SHARE[number]
            size = amplitudes[law] + SPREAD[number] * deviations[law]
            if growth_limit <= size:
                days[place] = 0.0
            elif size > 1e-4:
                days[place] = min(_reach(law, span, growth_limit / size), LONGEST_DAYS)
    order = np.argsort(days)
    total = shares.sum()
    passed = 0.0
    for place in order:
        before = passed / total
        passed += shares[place]
        after = passed / total
        left_s = 86_400.0 * days[place]
        if before < 0.1 <= after:
            s.left_from_s = left_s
        if before < 0.5 <= after:
            s.left_s = left_s
        if before < 0.9 <= after:
            s.left_to_s = left_s
