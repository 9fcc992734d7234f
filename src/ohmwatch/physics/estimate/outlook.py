"""When a growing contact resistance will reach its limit; compiled.

The course of a unit's own change is kept as points, dense now and sparse in the past. Growth laws
of contact resistance are laid through it. Smooth ones have an amplitude by weighted least squares:
exponential (fretting and relaxation that feed on their own heat), from an onset or under way
since before the first reading, and powers from an onset (oxidation by diffusion: ½; wear: 1;
runaway: 2, 3). A contact that loosens grows by leaps instead: a level that stands still and is
multiplied at random moments (a compound Poisson process), followed through the course by a filter
for each of some rates. Each law has the evidence exp(−χ²/2), to a power under 1, for errors that
lie near in time are alike; what is not decided is averaged (Hoeting et al. 1999, Statistical
Science 14: Bayesian model averaging). Of the mixture the 10th, 50th and 90th percentile of the
time to the limit are told.
"""

import math

import numpy as np

from ohmwatch.compiled import inlined
from ohmwatch.physics.estimate.duty import usual_load
from ohmwatch.physics.estimate.record import APART, COMMON, PER_K, POINTS, REFERENCE_C

EXPONENTIALS, POWERS, UNDER_WAY = 16, 24, 6
SMOOTH = EXPONENTIALS + POWERS + UNDER_WAY
"""Smooth laws: exponentials from nothing, 4 powers from each of 6 onsets, and exponentials that
the first reading found under way."""

FASTEST_DAYS = 0.4
NEXT = 1.5
"""E-folding time of the fastest exponential, and the ratio of each to the next: to 175 days."""

UNDER_WAY_SPANS = np.array([0.15, 0.3, 0.6, 1.2, 2.5, 6.0])
"""E-folding times of those under way, in parts of the time for which the unit has been seen."""

RATES = np.array([2.0, 1.0, 0.5, 0.25, 0.12, 0.05, 0.02])
"""Leaps a day. A rate counts in proportion to itself: n of them in T days promise n + 1 more."""

LEAP, LEAP_SD = 0.85, 0.3
SEED = 0.9
"""What a leap adds, and its spread, in parts of the level and of SEED, which a contact that has
not grown yet has in it."""

LEAPS = 12
"""That are looked ahead."""

SHARES = np.array([0.01, 0.01, 0.38, 0.6])
SHARES_HIGH = np.array([0.11, 0.11, 0.56, 0.2])
STAYS_HIGH = 0.02
HIGH = 0.25
"""What is believed before any course was seen of exponentials, powers, growth under way, and
leaps; and the same of a contact that was HIGH from the first day, in parts of the rated rise,
whose fault is older than its readings and may also STAY as it is."""

TEMPER = 0.24
"""The power of the evidence: about four points of a course tell what one would tell, had they
errors of their own. Chosen on the tuning seeds, as are the shares and the widths."""

LONGEST_DAYS = 3650.0
BEYOND_DAYS = 0.9 * LONGEST_DAYS
"""A middle of the interval beyond which no limit is within reach."""

LEAST_POINTS = 4
LITTLE_LOAD_SHARE = 0.02
"""Of the rated current's square: who never carried more has a limit that nobody can know."""

FORESEEN, TOO_FEW_POINTS, NOT_GROWING, LIMIT_UNKNOWN, LITTLE_LOAD, OUT_OF_REACH = range(6)
"""Whether the time left is told, or why not."""

OFFSET_SD = 0.02
"""How well a unit's base is known: the course may begin so far off it."""

POINT_DAYS = 0.125
"""Episodes nearer to one another are one point of the course: they share their errors."""

POINT_SD = 0.025
WOBBLE = 0.08
WOBBLE_BASE = 0.01
"""Standard deviation of a point: of the estimate, of the growth itself, as its share, and as a
share of what the poles differed by from the first day."""

LIMIT_SD = 0.1
LEAPT_LIMIT = -0.3
"""How well the growth that reaches the limit is known, in logarithms, by the 99th percentile of the
unit's duty; loose contacts flutter, so that theirs is reached sooner."""

NORMAL = np.array([-1.44, -0.62, 0.0, 0.62, 1.44])
NORMAL_SHARES = np.array([0.16, 0.24, 0.2, 0.24, 0.16])
"""A normal distribution as five points."""

LEAST_BASE = 0.2
"""Of the rated rise: a base below is one that has not been seen under load."""

TIME_SD = 0.1
LEAP_TIME_SD = 0.1
PEAK_DAYS, PEAK_SD = 0.8, 0.95
"""No contact keeps to a law, in logarithms of time; and the time until the load comes that takes
what is due to its limit, and its spread: the next drive, or the next after days of rest. Near the
limit that is nearly all of the interval, and the narrower it was the more often it failed."""

BINS = 280
BIN = 0.05
FIRST_BIN_DAYS = 0.005
"""Of the logarithm of time, in which the mixture is summed: to 6 000 days."""

UNLIKELY = 1e-6


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
def _growth(s, side, number):  # type: ignore[no-untyped-def]
    at = s.points[number]
    return side * at.apart if side != 0.0 else math.exp(min(at.common, 4.0)) - 1.0


@inlined
def point_variance(s, number, growth):  # type: ignore[no-untyped-def]
    """Of a point of the course, if the growth that it shows is true."""
    own = POINT_SD * POINT_SD / min(s.points[number].weight, 3.0)
    return own + (WOBBLE * growth) ** 2 + (WOBBLE_BASE * s.channels[APART].base) ** 2


@inlined
def _form(law, span, since):  # type: ignore[no-untyped-def]
    """The shape of a growth law `since` days after the first of `span` days."""
    if law < EXPONENTIALS:
        return math.exp((since - span) / (FASTEST_DAYS * NEXT**law))
    if law >= EXPONENTIALS + POWERS:
        spans = UNDER_WAY_SPANS[law - EXPONENTIALS - POWERS]
        begun = math.exp(-1.0 / spans)
        return (math.exp((since / span - 1.0) / spans) - begun) / (1.0 - begun)
    power = (law - EXPONENTIALS) % 4
    onset = span * ((law - EXPONENTIALS) // 4) / 6.0
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
    if law < EXPONENTIALS:
        return math.log(ratio) * FASTEST_DAYS * NEXT**law
    if law >= EXPONENTIALS + POWERS:
        spans = UNDER_WAY_SPANS[law - EXPONENTIALS - POWERS]
        begun = math.exp(-1.0 / spans)
        return span * spans * math.log(begun + ratio * (1.0 - begun))
    power = (law - EXPONENTIALS) % 4
    onset = span * ((law - EXPONENTIALS) // 4) / 6.0
    exponent = 2.0 if power == 0 else 1.0 / power
    return max(span - onset, 1e-6) * (ratio**exponent - 1.0)


@inlined
def _fit(s, law, side, span):  # type: ignore[no-untyped-def]
    """Amplitude, its standard deviation and chi-square of a smooth law through the course."""
    first = s.points[0].day
    ff = fo = fy = oy = 0.0
    oo = 1.0 / OFFSET_SD**2
    yy = 0.0
    for number in range(s.point_count):
        growth = _growth(s, side, number)
        weight = 1.0 / point_variance(s, number, growth)
        form = _form(law, span, s.points[number].day - first)
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
def least_misfit(s, side):  # type: ignore[no-untyped-def]
    """Chi-square of the smooth law that explains the course best."""
    span = s.points[s.point_count - 1].day - s.points[0].day
    least = 1e9
    for law in range(SMOOTH):
        least = min(least, _fit(s, law, side, span)[2])
    return least


@inlined
def _leapt(level, variance):  # type: ignore[no-untyped-def]
    """A level and its variance after one more leap."""
    size = max(level, 0.0) + SEED
    return level + LEAP * size, variance * (1.0 + LEAP) ** 2 + (LEAP_SD * size) ** 2


@inlined
def _seen(share, level, variance, growth, noise):  # type: ignore[no-untyped-def]
    """How likely a level makes a point, and level and variance once it is known."""
    total = variance + noise
    gain = variance / total
    # Over what the point itself would be under a law that is exact, as chi-square has it.
    likely = share * math.exp(-0.5 * (growth - level) ** 2 / total) * math.sqrt(noise / total)
    return likely, level + gain * (growth - level), (1.0 - gain) * variance


@inlined
def _follow_leaps(s, side, rate):  # type: ignore[no-untyped-def]
    """Level now, its variance, and minus twice the log evidence of leaps at a rate a day.

    Between two points there were none, one, or more, taken for two; of the three a normal
    distribution with their moments is kept.
    """
    level, variance, misfit = 0.0, OFFSET_SD**2, 0.0
    last = s.points[0].day
    for number in range(s.point_count):
        growth = _growth(s, side, number)
        noise = point_variance(s, number, growth)
        expected = rate * max(s.points[number].day - last, 0.0)
        last = s.points[number].day
        none = math.exp(-expected)
        one = expected * none
        level_1, variance_1 = _leapt(level, variance)
        level_2, variance_2 = _leapt(level_1, variance_1)
        more = max(1.0 - none - one, 0.0)
        like_0, level_0, variance_0 = _seen(none, level, variance, growth, noise)
        like_1, level_1, variance_1 = _seen(one, level_1, variance_1, growth, noise)
        like_2, level_2, variance_2 = _seen(more, level_2, variance_2, growth, noise)
        like = like_0 + like_1 + like_2
        misfit -= 2.0 * math.log(like + 1e-30)
        if like <= 0.0:
            level, variance = level_1, variance_1
            continue
        like_0, like_1, like_2 = like_0 / like, like_1 / like, like_2 / like
        level = like_0 * level_0 + like_1 * level_1 + like_2 * level_2
        variance = like_0 * (variance_0 + (level_0 - level) ** 2)
        variance += like_1 * (variance_1 + (level_1 - level) ** 2)
        variance += like_2 * (variance_2 + (level_2 - level) ** 2)
    return level, variance, misfit


@inlined
def _put(bins, days, spread, share):  # type: ignore[no-untyped-def]
    """A share of the mixture: due in so many days, within a spread, and then the next peak."""
    for node in range(len(NORMAL)):
        wait = PEAK_DAYS * math.exp(PEAK_SD * NORMAL[node])
        whole = min(wait + days * math.exp(spread * NORMAL[node]), LONGEST_DAYS)
        place = int(math.log(whole / FIRST_BIN_DAYS) / BIN)
        bins[min(max(place, 0), BINS - 1)] += share * NORMAL_SHARES[node]


@inlined
def _put_smooth(bins, law, span, size, deviation, growth_limit, share):  # type: ignore[no-untyped-def]
    """When a smooth law reaches the limit, over what is not known of its size and of the limit."""
    if size <= 1e-4:
        _put(bins, LONGEST_DAYS, 0.0, share)
        return
    spread = math.sqrt(LIMIT_SD**2 + min(deviation / size, 1.0) ** 2)
    for node in range(len(NORMAL)):
        ratio = growth_limit / size * math.exp(spread * NORMAL[node])
        days = _reach(law, span, ratio) if ratio > 1.0 else 0.0
        _put(bins, days, TIME_SD, share * NORMAL_SHARES[node])


@inlined
def _put_leaps(bins, rate, level, variance, growth_limit, share):  # type: ignore[no-untyped-def]
    """When leaps reach the limit: by how many of them, and how long that many take.

    Their sum is about normal in logarithms of the level. The time of n of them has a gamma
    distribution, by Wilson & Hilferty (1931, PNAS 17); of one, the exponential one.
    """
    level = max(level, 0.01) + SEED
    away = math.log((growth_limit * math.exp(LEAPT_LIMIT) + SEED) / level)
    unsure = LIMIT_SD**2 + min(math.sqrt(variance) / level, 1.0) ** 2
    mean, spread = math.log(1.0 + LEAP), LEAP_SD / (1.0 + LEAP)
    before = 1.0
    for leaps in range(LEAPS):
        gone = (leaps * mean - away) / math.sqrt(unsure + spread * spread * leaps)
        short = 0.5 * math.erfc(gone / math.sqrt(2.0)) if leaps < LEAPS - 1 else 0.0
        due = share * max(before - short, 0.0)
        before = min(before, short)
        if due < UNLIKELY:
            continue
        if leaps == 0:
            _put(bins, 0.0, 0.0, due)
            continue
        for node in range(len(NORMAL)):
            root = 1.0 - 1.0 / (9.0 * leaps) + NORMAL[node] / (3.0 * math.sqrt(leaps))
            days = leaps * max(root, 0.02) ** 3 / rate
            _put(bins, days, LEAP_TIME_SD, due * NORMAL_SHARES[node])


@inlined
def growth_to_limit(s, p, side):  # type: ignore[no-untyped-def]
    """The growth at which the load of the unit's duty takes the contact to its temperature limit.

    In the unit of the course: of one pole (`side` 1 or −1) in parts of the rise at rated current,
    of both (0) in parts of their base. Both poles' resistance follows copper to the limit.
    """
    common, apart = s.channels[COMMON], s.channels[APART]
    load = usual_load(s)
    air_c = s.peak_c if s.peak > 0.0 else s.day_peak_c
    base_k = p.rise_k * (math.exp(common.base) + 0.5 * side * apart.base)
    hotter = 1.0 + PER_K * (p.limit_c - REFERENCE_C)
    usual = 1.0 + PER_K * (air_c + base_k * load - REFERENCE_C)
    growth = (p.limit_c - air_c) / max(base_k * load * hotter / usual, 0.1) - 1.0
    return growth if side == 0.0 else growth * max(base_k / p.rise_k, LEAST_BASE)


@inlined
def why_unforeseen(s, p, side):  # type: ignore[no-untyped-def]
    """0 where `forecast` tells the time left, else which of the reasons there is against it.

    `side` as there; NaN where there is evidence of no growth.
    """
    if s.point_count < LEAST_POINTS:
        return TOO_FEW_POINTS
    if math.isnan(side):
        return NOT_GROWING
    if math.isnan(p.limit_c):
        return LIMIT_UNKNOWN
    if usual_load(s) < LITTLE_LOAD_SHARE:
        return LITTLE_LOAD
    if not s.left_s < BEYOND_DAYS * 86_400.0:
        return OUT_OF_REACH
    return FORESEEN


@inlined
def forecast(s, side, growth_limit):  # type: ignore[no-untyped-def]
    """Seconds to the limit, into `left_from_s`, `left_s`, `left_to_s`; NaN where data are thin.

    `side`: 1 or −1 for the pole whose heating grows against the other's, 0 for both.
    `growth_limit`: the growth at which the limit is reached, in the unit of the course: of one
    pole in parts of the rise at rated current, of both in parts of their base.
    """
    s.left_s = s.left_from_s = s.left_to_s = math.nan
    if s.point_count < LEAST_POINTS or math.isnan(growth_limit):
        return
    growth_limit = max(growth_limit, 0.02)
    span = s.points[s.point_count - 1].day - s.points[0].day
    sizes, deviations = np.zeros(SMOOTH + len(RATES)), np.zeros(SMOOTH + len(RATES))
    misfits = np.zeros(SMOOTH + len(RATES))
    for law in range(SMOOTH):
        sizes[law], deviations[law], misfits[law] = _fit(s, law, side, span)
    for number in range(len(RATES)):
        law = SMOOTH + number
        sizes[law], deviations[law], misfits[law] = _follow_leaps(s, side, RATES[number])
    least = misfits.min()
    high = side * s.channels[APART].base > HIGH
    bins = np.zeros(BINS)
    for law in range(SMOOTH + len(RATES)):
        share = _share(law, high) * math.exp(-0.5 * TEMPER * min(misfits[law] - least, 600.0))
        if share < UNLIKELY:
            continue
        if law < SMOOTH:
            _put_smooth(bins, law, span, sizes[law], deviations[law], growth_limit, share)
        else:
            rate = RATES[law - SMOOTH]
            _put_leaps(bins, rate, sizes[law], deviations[law], growth_limit, share)
    if high:
        still = misfits[SMOOTH:].min() - least
        _put(bins, LONGEST_DAYS, 0.0, STAYS_HIGH * math.exp(-0.5 * TEMPER * min(still, 600.0)))
    _tell_quantiles(s, bins)


@inlined
def _share(law, high):  # type: ignore[no-untyped-def]
    """What is believed of one law before any course was seen."""
    shares = SHARES_HIGH if high else SHARES
    if law < EXPONENTIALS:
        return shares[0] / EXPONENTIALS
    if law < EXPONENTIALS + POWERS:
        return shares[1] / POWERS
    if law < SMOOTH:
        return shares[2] / UNDER_WAY
    return shares[3] * RATES[law - SMOOTH] / len(RATES)


@inlined
def _tell_quantiles(s, bins):  # type: ignore[no-untyped-def]
    """The 10th, 50th and 90th percentile of the mixture."""
    total, passed = bins.sum(), 0.0
    for place in range(BINS):
        if bins[place] <= 0.0:
            continue
        before = passed / total
        passed += bins[place]
        after = passed / total
        s.left_from_s = _crossed(s.left_from_s, 0.1, before, after, place)
        s.left_s = _crossed(s.left_s, 0.5, before, after, place)
        s.left_to_s = _crossed(s.left_to_s, 0.9, before, after, place)


@inlined
def _crossed(known_s, level, before, after, place):  # type: ignore[no-untyped-def]
    """Seconds where a percentile lies in this bin, else what is known of it."""
    if not before < level <= after:
        return known_s
    within = (level - before) / (after - before)
    return 86_400.0 * FIRST_BIN_DAYS * math.exp(BIN * (place + within))
