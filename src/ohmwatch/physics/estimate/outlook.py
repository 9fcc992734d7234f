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

FASTEST_DAYS = 0.4
NEXT = 1.5
"""E-folding time of the fastest exponential, and the ratio of each to the next: to 175 days."""

LONGEST_DAYS = 3650.0
OFFSET_SD = 0.02
"""How well a unit's base is known: the course may begin so far off it."""

POINT_DAYS = 0.125
"""Episodes nearer to one another are one point of the course: they share their errors."""

POINT_SD = 0.025
WOBBLE = 0.15
"""Standard deviation of a point: of the estimate, and of the growth itself, as its share."""

AMPLITUDES = np.array([-1.2, 0.0, 1.2])
AMPLITUDE_SHARES = np.array([0.3, 0.4, 0.3])
TIMES = np.array([-1.35, -0.65, 0.0, 0.65, 1.35])
TIME_SHARES = np.array([0.14, 0.22, 0.28, 0.22, 0.14])
"""Of each law's amplitude, in its standard deviations, and of its time left: no contact keeps to a
law, and no vehicle to a load. In logarithms of time; the further to go, the wider: TIME_SD, and
TIME_SD_A_FOLD more for each e-fold of growth that is still to come. The widths are chosen on the
tuning seeds for calibration."""

TIME_SD = 0.52
TIME_SD_A_FOLD = 0.2

NEXT_PEAK_DAYS = 0.7
"""Where usual load would reach the limit already, the time until it comes."""


@inlined
def add_point(s, day, apart, common):  # type: ignore[no-untyped-def]
    """One more episode into the course; where there is no room, two points of the past join."""
    count = s.point_count
    if count > 0 and day - s.points[count - 1].day < POINT_DAYS:
        at = s.points[count - 1]
        at.weight += 1.0
        at.apart += (apart - at.apart) / min(at.weight, 6.0)
        at.common += (common - at.common) / min(at.weight, 6.0)
        return
    if count == POINTS:
        _thin_out(s)
    at = s.points[s.point_count]
    at.day = day
    at.apart = apart
    at.common = common
    at.weight = 1.0
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
    one.weight = min(whole, 100.0)
    for number in range(chosen + 1, POINTS - 1):
        here, following = s.points[number], s.points[number + 1]
        here.day, here.weight = following.day, following.weight
        here.apart, here.common = following.apart, following.common
    s.point_count -= 1


@inlined
def _form(law, span, since):  # type: ignore[no-untyped-def]
    """The shape of a growth law `since` days after the first of `span` days."""
    if law < 16:
        return math.exp((since - span) / (FASTEST_DAYS * NEXT**law))
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
        return math.log(ratio) * FASTEST_DAYS * NEXT**law
    power = (law - 16) % 4
    onset = span * ((law - 16) // 4) / 6.0
    exponent = 2.0 if power == 0 else 1.0 / power
    return max(span - onset, 1e-6) * (ratio**exponent - 1.0)


@inlined
def _fit(s, law, side):  # type: ignore[no-untyped-def]
    """Amplitude, its standard deviation and chi-square of a law through the course."""
    count = s.point_count
    first = s.points[0].day
    span = s.points[count - 1].day - first
    ff = fo = fy = oy = 0.0
    oo = 1.0 / OFFSET_SD**2
    yy = 0.0
    for number in range(count):
        at = s.points[number]
        growth = side * at.apart if side != 0.0 else math.exp(min(at.common, 4.0)) - 1.0
        own = POINT_SD * POINT_SD / min(at.weight, 3.0)
        weight = 1.0 / (own + (WOBBLE * growth) ** 2)
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
def forecast(s, side, growth_limit):  # type: ignore[no-untyped-def]
    """Seconds to the limit, into `left_from_s`, `left_s`, `left_to_s`; NaN where data are thin.

    `side`: 1 or −1 for the pole whose heating grows against the other's, 0 for both.
    `growth_limit`: the relative growth over the base at which the limit is reached.
    """
    s.left_s = s.left_from_s = s.left_to_s = math.nan
    count = s.point_count
    if count < 4 or math.isnan(growth_limit):
        return
    span = s.points[count - 1].day - s.points[0].day
    amplitudes, deviations, weights = np.zeros(LAWS), np.zeros(LAWS), np.zeros(LAWS)
    least = math.inf
    for law in range(LAWS):
        amplitudes[law], deviations[law], weights[law] = _fit(s, law, side)
        least = min(least, weights[law])
    nodes, times = len(AMPLITUDES), len(TIMES)
    days, shares = np.zeros(LAWS * nodes * times), np.zeros(LAWS * nodes * times)
    place = 0
    for law in range(LAWS):
        prior = 0.5 / 16.0 if law < 16 else 0.5 / 24.0
        evidence = prior * math.exp(-0.5 * min(weights[law] - least, 600.0))
        for node in range(nodes):
            size = amplitudes[law] + AMPLITUDES[node] * deviations[law]
            reach, spread = LONGEST_DAYS, TIME_SD
            if size >= growth_limit:
                reach = NEXT_PEAK_DAYS
            elif size > 1e-4:
                ratio = growth_limit / size
                reach = NEXT_PEAK_DAYS + _reach(law, span, ratio)
                spread += TIME_SD_A_FOLD * min(math.log(ratio), 4.0)
            for time in range(times):
                days[place] = min(reach * math.exp(spread * TIMES[time]), LONGEST_DAYS)
                shares[place] = evidence * AMPLITUDE_SHARES[node] * TIME_SHARES[time]
                place += 1
    _tell_quantiles(s, days, shares)


@inlined
def _tell_quantiles(s, days, shares):  # type: ignore[no-untyped-def]
    """The 10th, 50th and 90th percentile of the mixture."""
    order = np.argsort(days)
    total, passed = shares.sum(), 0.0
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
