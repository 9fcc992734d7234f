"""How long a unit's housing keeps its heat: the slow time constant, as far as data tell; compiled.

The filter of the poles' mean follows the heating through the model's time constants. If the unit's
own is another, its innovations move with the load's swing: what the lagged load changes with the
logarithm of the constant. That logarithm is a constant bias of the filter, and is estimated beside
it (Friedland 1969, IEEE Transactions on Automatic Control 14), which needs no third state of it:
`heat` and `offset` are what the bias has made of the filter's own two, and only what these leave
over is evidence. Only changes of load teach it: of a steady one, nothing is learnt, nor without
air that is measured, for a day warms as a slow housing does.

It is the constant of the slower of two lags side by side, FAST_SHARE of the rise in the other. A
ladder of two nodes (contact, lug, air) shows one that is longer than its lug's own heat capacity
over its conductance, by some exp(3.3 · fast / slow): the contact's heat leaves through the lug.
"""

import math

from ohmwatch.compiled import inlined

FAST_SHARE = 0.4
"""Of the whole rise, the share that comes with the contact's own, short time constant."""

PRIOR_VAR = 0.4**2
"""Variance of the logarithm, of units about their model, whose constants are stated one way or
another."""

WANDER_VAR_PER_S = 0.1**2 / (10 * 86_400.0)
"""How it may change, a variance in time: a hose, a bracket, dust."""

ALIKE = 3.0
"""Readings of one drive share what the model leaves out: so many say what one would."""

FORM_VAR = 0.15**2
"""Variance of the logarithm by what two lags leave out of the form of a rise."""

TOLD_VAR = 0.12**2
"""Variance of the logarithm, besides that, from which on the data tell it."""

UNLIKELY_VAR = 9.0
"""Square of the innovation, in its variance, beyond which a reading says something else."""


@inlined
def start_lag(s):  # type: ignore[no-untyped-def]
    """As the model says."""
    s.lag.log_var = PRIOR_VAR


@inlined
def follow_swing(s, share, between):  # type: ignore[no-untyped-def]
    """Before the slow load moves on by a `share` of its time constant towards `between`."""
    left = math.exp(-share)
    s.lag.swing = left * (s.lag.swing - share * (between - s.slow))


@inlined
def forget_offset(s, dt_s, keep):  # type: ignore[no-untyped-def]
    """Time passes: what the filter keeps of its offset, it keeps of the bias in it."""
    s.lag.offset *= keep
    s.lag.log_var = min(s.lag.log_var + WANDER_VAR_PER_S * dt_s, PRIOR_VAR)


@inlined
def bias_slope(s, load):  # type: ignore[no-untyped-def]
    """By how much the innovation changes with the logarithm, K."""
    own_k = (1.0 - FAST_SHARE) * s.common.heat_k * s.lag.swing
    return load * s.lag.heat + s.lag.offset + own_k


@inlined
def note_lag(s, load, measured_k, variance):  # type: ignore[no-untyped-def]
    """Before a reading goes into the mean's filter: what it says of the time constant."""
    f, lag = s.common, s.lag
    expected = load * (f.hh * load + 2.0 * f.ho) + f.oo + variance
    error = measured_k - f.heat_k * load - f.offset_k
    slope = bias_slope(s, load)
    whole = slope * slope * lag.log_var + ALIKE * expected
    if error * error < UNLIKELY_VAR * expected:
        gain = lag.log_var * slope / whole
        lag.log += gain * (error - slope * lag.log)
        lag.log_var -= gain * slope * lag.log_var


@inlined
def follow_bias(s, slope, gain_h, gain_o):  # type: ignore[no-untyped-def]
    """What a reading with this slope has made of the bias in the filter's heating and offset."""
    s.lag.heat -= gain_h * slope
    s.lag.offset -= gain_o * slope


@inlined
def slow_constant_s(s, p):  # type: ignore[no-untyped-def]
    """The unit's own, s, and its standard deviation; NaN where its data do not tell it."""
    if s.first_ms == 0 or not s.lag.log_var < TOLD_VAR:
        return math.nan, math.nan
    constant_s = p.slow_s * math.exp(s.lag.log)
    return constant_s, constant_s * math.sqrt(s.lag.log_var + FORM_VAR)
