"""Load, air and heat of one connector as they move from reading to reading; compiled.

A contact's steady rise over the air is heating times load (I²·R·Rth, IEC 60512-5-2), and it nears
that through two first-order lags: the contact's own and its housing's. Both poles carry the same
current in the same air, so their mean and their difference are filtered apart: what the air, the
housing and the load do to both is in the mean alone, and the difference is clean.
"""

import math

from ohmwatch.compiled import inlined
from ohmwatch.physics.estimate.lag import (
    FAST_SHARE,
    bias_slope,
    follow_bias,
    follow_swing,
    forget_offset,
    note_lag,
    start_lag,
)
from ohmwatch.physics.estimate.record import APART, COMMON, NEG, PER_K, POS, REFERENCE_C

NO_LOAD = 0.03**2
COLD_K = 4.0
"""Of the rated current, squared, and K over the air: what a resting contact may show."""

ONE_SIDED = 0.4
"""Of the load that one pole's warmth speaks of: that of the other's, below which one of them lies.
Both carried the same current, and each is known by its own heating."""

FADED = 0.4
UNFADED = 0.75
"""Of a warmth without current: what a pause must leave of it by cooling to say anything, and what
is left of it where it is none."""

SLOWER = 1.8
"""Times the thermal resistance to the air, and with it the housing's time constant, of the
reduced cooling that is looked for."""

AMBIENT_HELD_MS = 3_600_000
"""Air changes slowly: a value holds for an hour."""

INDEPENDENT_S = 60.0
"""Readings nearer to one another than this repeat the same errors of model and surroundings."""

SENSOR_K2 = 0.4**2
"""Variance of one temperature reading: noise and the rounding of a coarse sensor."""

NOISES = 300.0
MOST_NOISE_K2 = 3.0**2
"""Readings from which the sensors' own noise is learnt, and the most of it that is granted."""

SURROUNDINGS_K = 1.5
SURROUNDINGS_S = 3 * 3600.0
"""How far, and for how long, the air that cools a contact differs from the air measured."""

USUAL_AIR_S = 86_400.0
MOST_AIR_K2 = 6.0**2
"""How long the mean of that difference is learnt, and how unsure one may ever be of it."""

UNKNOWN_AIR_K_PER_S = 1.5 / 60.0
"""Root of time over which unmeasured air wanders: 1.5 K in an hour."""

UNKNOWN_AIR_K2 = 15.0**2

WANDER_K2_PER_S = 0.4**2 / (6 * 3600.0)
"""How a healthy pair of sensors may come to differ, a variance in time: the sun is on one side."""

AT_REST_K2 = 0.2**2
"""At rest the sensors' difference shows by itself, and is followed quickly."""

UNLIKELY = 3.0
"""Standard deviations beyond which an innovation counts less the larger it is."""


@inlined
def mixed_load(s):  # type: ignore[no-untyped-def]
    """The load that the rise follows."""
    return FAST_SHARE * s.fast + (1.0 - FAST_SHARE) * s.slow


@inlined
def pole_heat_k(s, p, place):  # type: ignore[no-untyped-def]
    """The heating of a pole as the present filters see it, between nothing and six times new."""
    side = 0.5 if place == POS else -0.5
    heat_k = s.common.heat_k + side * s.apart.heat_k
    return min(max(heat_k, 0.3 * p.rise_k), 6.0 * p.rise_k)


@inlined
def _is_warmed(s, p, dt_ms, pos_c, neg_c):  # type: ignore[no-untyped-def]
    """Whether the poles are warm after a pause as only a load in it can have made them.

    A sensor that came to lie in the pause is warm alone, or as warm as at its beginning.
    """
    fading = math.exp(-dt_ms / (1000.0 * p.slow_s))
    left_k = max(s.common.heat_k, p.rise_k) * s.slow * fading
    if not max(pos_c, neg_c) > s.felt_c + max(s.common.offset_k, 0.0) + left_k + COLD_K:
        return False
    pos = _warmth_k(s, POS, pos_c) / pole_heat_k(s, p, POS)
    neg = _warmth_k(s, NEG, neg_c) / pole_heat_k(s, p, NEG)
    if min(pos, neg) < ONE_SIDED * max(pos, neg):
        return False
    faded = _has_faded(s, POS, pos_c) or _has_faded(s, NEG, neg_c)
    return faded or fading > FADED


@inlined
def _warmth_k(s, place, value_c):  # type: ignore[no-untyped-def]
    """How much warmer than the air, against the sensor's first rests."""
    return value_c - s.felt_c - s.sensors[place].base_k


@inlined
def _has_faded(s, place, value_c):  # type: ignore[no-untyped-def]
    """Whether the pole's warmth is another than at its reading before, as heat's would be."""
    own = s.sensors[place]
    before_k = own.last_c - own.last_felt_c - own.base_k
    now_k = _warmth_k(s, place, value_c)
    return not before_k * UNFADED < now_k < before_k / UNFADED and value_c == value_c


@inlined
def follow_load(s, p, t_ms, current_a, pos_c, neg_c):  # type: ignore[no-untyped-def]
    """Moves the lagged loads on to a reading with a current; true where no gap is behind it.

    A pause that begins and ends without current, and at whose end nothing is warm as by a load,
    is a parked vehicle whose device sleeps: no gap in what is known of the load.
    """
    dt_ms = t_ms - s.current_ms
    ratio = current_a / p.rated_a
    seen = s.current_ms > 0 and dt_ms <= p.gap_ms
    if not seen and s.current_ms > 0 and max(ratio * ratio, s.load) < NO_LOAD:
        seen = not _is_warmed(s, p, dt_ms, pos_c, neg_c)
    warm_c = s.felt_c + s.common.heat_k * mixed_load(s)
    load = ratio * ratio * (1.0 + PER_K * (min(max(warm_c, -40.0), 150.0) - REFERENCE_C))
    if s.current_ms > 0:
        between = 0.5 * (s.load + load) if seen else 0.0
        known = 1.0 if seen else 0.0
        gain = -math.expm1(-dt_ms / (1000.0 * p.fast_s))
        s.fast += gain * (between - s.fast)
        s.fast_known += gain * (known - s.fast_known)
        follow_swing(s, dt_ms / (1000.0 * p.slow_s), between)
        gain = -math.expm1(-dt_ms / (1000.0 * p.slow_s))
        s.slow += gain * (between - s.slow)
        s.slow_known += gain * (known - s.slow_known)
        gain = -math.expm1(-dt_ms / (1000.0 * SLOWER * p.slow_s))
        s.late += gain * (between - s.late)
        s.late_known += gain * (known - s.late_known)
    s.load = load
    s.current_ms = t_ms
    return seen


@inlined
def follow_ambient(s, p, t_ms, ambient_c):  # type: ignore[no-untyped-def]
    """Moves the air that the contact feels on; true where its value is known well enough."""
    if not math.isnan(ambient_c):
        if s.ambient_ms == 0 or t_ms - s.ambient_ms > AMBIENT_HELD_MS:
            s.felt_c = ambient_c
        else:
            gain = -math.expm1(-(t_ms - s.ambient_ms) / (1000.0 * p.slow_s))
            s.felt_c += gain * (ambient_c - s.felt_c)
        s.ambient_c = ambient_c
        s.ambient_ms = t_ms
    return s.ambient_ms > 0 and t_ms - s.ambient_ms <= AMBIENT_HELD_MS


@inlined
def start_episode(s, p, t_ms):  # type: ignore[no-untyped-def]
    """Forgets the heating, keeps the offsets: what an episode says is its own."""
    s.common.ho = s.apart.ho = s.cooling.ho = 0.0
    s.cooling.heat_k = 0.0
    s.cooling.hh = (2.0 * p.rise_k) ** 2
    s.common.hh = (1.5 * p.rise_k) ** 2
    s.apart.hh = (1.5 * p.rise_k) ** 2
    s.began_ms = t_ms
    s.loaded_s = 0.0
    for pole in range(2):
        s.drop[pole].square = 0.0
        s.drop[pole].product = 0.0
        s.drop[pole].count = 0.0


@inlined
def start(s, p, t_ms):  # type: ignore[no-untyped-def]
    """A connector never seen: the model's typical heating, nothing known of offsets."""
    s.first_ms = s.anew_ms = t_ms
    s.common.heat_k = p.rise_k
    s.common.oo = UNKNOWN_AIR_K2
    s.common.fit = 1.0
    s.cooling.oo = UNKNOWN_AIR_K2
    s.apart.oo = 1.0
    s.apart.fit = 1.0
    start_lag(s)
    s.felt_c = REFERENCE_C
    s.ambient_c = math.nan
    s.left_s = s.left_from_s = s.left_to_s = math.nan
    for place in range(3):
        s.sensors[place].last_c = s.sensors[place].step_k = math.nan
    for number in range(5):
        s.channels[number].scatter = 1.0
        s.channels[number].newest = math.nan
    s.cycles = math.nan
    s.mated = math.nan
    start_episode(s, p, t_ms)


@inlined
def pass_time(s, dt_s, air_known):  # type: ignore[no-untyped-def]
    """Lets the offsets wander for a while."""
    for f in (s.common, s.cooling):
        if air_known:
            keep = math.exp(-dt_s / SURROUNDINGS_S)
            f.offset_k = s.air_k + keep * (f.offset_k - s.air_k)
            f.ho *= keep
            f.oo = min(f.oo, MOST_AIR_K2)
            f.oo = keep * keep * f.oo + (1.0 - keep * keep) * SURROUNDINGS_K**2
        else:
            f.oo = min(f.oo + UNKNOWN_AIR_K_PER_S**2 * dt_s, UNKNOWN_AIR_K2)
    forget_offset(s, dt_s, math.exp(-dt_s / SURROUNDINGS_S) if air_known else 1.0)
    if air_known:
        s.air_k += min(dt_s / USUAL_AIR_S, 1.0) * (s.common.offset_k - s.air_k)
    s.apart.oo = min(s.apart.oo + WANDER_K2_PER_S * dt_s, MOST_AIR_K2)


@inlined
def correct(f, load, measured_k, variance):  # type: ignore[no-untyped-def]
    """One reading into a filter; the gains of its heating and of its offset."""
    error = measured_k - f.heat_k * load - f.offset_k
    _note_noise(f, error)
    hx = f.hh * load + f.ho
    ox = f.ho * load + f.oo
    expected = load * hx + ox + variance
    size = abs(error) / math.sqrt(expected)
    if size > UNLIKELY:
        # An outlier, or an offset that has leapt: believe it less, and doubt the offset.
        expected += variance * (size / UNLIKELY - 1.0) * size
        f.oo += 0.02 * min(error * error, 400.0)
    gain_h = hx / expected
    gain_o = ox / expected
    f.heat_k += gain_h * error
    f.offset_k += gain_o * error
    f.hh -= gain_h * hx
    f.ho -= gain_h * ox
    f.oo -= gain_o * ox
    f.fit += 0.02 * (min(size * size, 100.0) - f.fit)
    return gain_h, gain_o


@inlined
def _note_noise(f, error_k):  # type: ignore[no-untyped-def]
    """The sensors' own noise, rounding included, from the unit's first readings.

    Noise leaps back, what the model leaves out doesn't: minus the product of two steps in a row
    is the variance of the noise. Learnt once: what begins to flutter later is the contact.
    """
    if f.noises >= NOISES:
        return
    step_k = error_k - f.error_k
    f.noises += 1.0
    if f.noises > 2.0:
        square = min(max(-step_k * f.step_k, -MOST_NOISE_K2), MOST_NOISE_K2)
        f.noise_k2 += (square - f.noise_k2) / (f.noises - 1.0)
    f.error_k, f.step_k = error_k, step_k


@inlined
def noise_k2(f, usual_k2):  # type: ignore[no-untyped-def]
    """How much more the sensors' own noise is than usual, K²."""
    return max(f.noise_k2 * f.noises / NOISES - usual_k2, 0.0)


@inlined
def mismatch_k2(s, p):  # type: ignore[no-untyped-def]
    """Variance of the mean rise by what the model leaves out: its lags, and loads unseen."""
    heat_k = max(s.common.heat_k, p.rise_k)
    lag = 0.15 * heat_k * (s.fast - s.slow)
    unseen = heat_k * max(1.0 - s.slow_known, 0.0)
    form = 0.02 * heat_k * mixed_load(s)
    return lag * lag + unseen * unseen + form * form


@inlined
def mismatch_apart_k2(s, p):  # type: ignore[no-untyped-def]
    """The same of the poles' difference: what both share cancels, as far as they are alike."""
    share = min(abs(s.apart.heat_k) / max(s.common.heat_k, 1.0), 1.5)
    heat_k = max(s.common.heat_k, p.rise_k)
    lag = (0.03 + 0.15 * share) * heat_k * (s.fast - s.slow)
    unseen = (0.1 + share) * heat_k * max(1.0 - s.slow_known, 0.0)
    form = 0.01 * heat_k * mixed_load(s)
    return lag * lag + unseen * unseen + form * form


@inlined
def late_load(s):  # type: ignore[no-untyped-def]
    """What the load would heat more, were SLOWER true: the same heat, kept for longer."""
    return (1.0 - FAST_SHARE) * (SLOWER * s.late - s.slow)


@inlined
def _filter_cooling(s, p, load, rise_k, variance):  # type: ignore[no-untyped-def]
    """What the unit's own heating leaves unexplained, against what reduced cooling would add.

    Of the better pole: a contact that ages must not pass for cooling.
    """
    common, apart = s.channels[COMMON], s.channels[APART]
    if common.count < 1.0:
        return
    own_k = p.rise_k * math.exp(common.base)
    aged_k = 0.5 * abs(s.apart.heat_k - apart.base * p.rise_k) if apart.count > 0.0 else 0.0
    unseen = 1.5 * own_k * max(1.0 - s.late_known, 0.0)
    left_k = rise_k - (own_k + aged_k) * load
    correct(s.cooling, late_load(s), left_k, variance + unseen * unseen)


@inlined
def filter_reading(s, p, t_ms, pos_c, neg_c, air_known, at_rest):  # type: ignore[no-untyped-def]
    """Takes the poles' temperatures in."""
    dt_s = (t_ms - s.filtered_ms) / 1000.0 if s.filtered_ms > 0 else INDEPENDENT_S
    pass_time(s, dt_s, air_known)
    if at_rest:
        s.apart.oo = max(s.apart.oo, AT_REST_K2)
    s.filtered_ms = t_ms
    repeats = max(INDEPENDENT_S / max(dt_s, 0.1), 1.0)
    load = mixed_load(s)
    both = not (math.isnan(pos_c) or math.isnan(neg_c))
    mean_c = 0.5 * (pos_c + neg_c) if both else (neg_c if math.isnan(pos_c) else pos_c)
    if not both:
        # One pole alone is the mean and its half of the difference.
        side = 0.5 if not math.isnan(pos_c) else -0.5
        mean_c -= side * (s.apart.heat_k * load + s.apart.offset_k)
    variance = (SENSOR_K2 + mismatch_k2(s, p)) * repeats + noise_k2(s.common, SENSOR_K2)
    if air_known:
        note_lag(s, load, mean_c - s.felt_c, variance)
    slope = bias_slope(s, load)
    gain_h, gain_o = correct(s.common, load, mean_c - s.felt_c, variance)
    follow_bias(s, slope, gain_h, gain_o)
    _filter_cooling(s, p, load, mean_c - s.felt_c, variance)
    if both:
        variance = (2.0 * SENSOR_K2 + mismatch_apart_k2(s, p)) * repeats
        variance += noise_k2(s.apart, 2.0 * SENSOR_K2)
        correct(s.apart, load, pos_c - neg_c, variance)
    return load
