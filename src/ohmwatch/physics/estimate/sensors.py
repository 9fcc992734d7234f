"""Whether a pole's temperature sensor can be believed; compiled.

Three questions that need no opinion about the contact: does it move when the model says that the
pole must have moved; does it agree with the air at rest, as it used to; does it jump about more
than it used to.
"""

import math

from ohmwatch.compiled import inlined
from ohmwatch.physics.estimate.thermal import mixed_load

AT_REST_K = 1.0
"""A rise by load below this is none."""

SETTLED = 0.98
"""Share of the load that must be known for a contact to be surely at rest."""

REST_MEMORY_S = 2_400.0
REST_BASE_S = 7_200.0
NOISE_BASE = 300.0
NOISE_MEMORY = 120.0
NOISE_K2 = 0.05**2


@inlined
def is_at_rest(s, p, air_known):  # type: ignore[no-untyped-def]
    """True where load explains no rise."""
    heat_k = max(s.common.heat_k, p.rise_k)
    rested = heat_k * max(s.fast, s.slow) < AT_REST_K and s.slow_known > SETTLED
    return rested and air_known and abs(s.ambient_c - s.felt_c) < 3.0


@inlined
def note_sensor(s, p, pole, t_ms, pole_c, at_rest):  # type: ignore[no-untyped-def]
    """One temperature of a pole."""
    if math.isnan(pole_c):
        return
    own = s.sensors[pole]
    dt_s = (t_ms - own.last_ms) / 1000.0
    in_sight = own.last_ms > 0 and dt_s * 1000.0 <= p.gap_ms
    model_k = s.felt_c + p.rise_k * mixed_load(s)
    if in_sight and pole_c == own.last_c:
        own.unchanged_s += dt_s
        if s.slow_known > 0.9:
            own.low_k = min(own.low_k, model_k)
            own.high_k = max(own.high_k, model_k)
    elif pole_c != own.last_c:
        own.unchanged_s = 0.0
        own.low_k = own.high_k = model_k
    if in_sight and dt_s <= 120.0:
        _note_noise(own, pole_c - own.last_c - (model_k - own.last_k))
    if at_rest:
        _note_rest(own, pole_c - s.felt_c, min(dt_s, 120.0) if in_sight else 1.0)
    own.last_c = pole_c
    own.last_k = model_k
    own.last_ms = t_ms


@inlined
def _note_noise(own, jump_k):  # type: ignore[no-untyped-def]
    square = min(0.5 * jump_k * jump_k, 400.0)
    if own.noise_count < NOISE_BASE:
        own.noise_count += 1.0
        own.noise_base_k2 += (square - own.noise_base_k2) / own.noise_count
        own.noise_k2 = own.noise_base_k2
    else:
        own.noise_k2 += (square - own.noise_k2) / NOISE_MEMORY


@inlined
def _note_rest(own, rise_k, weight_s):  # type: ignore[no-untyped-def]
    own.rest_s += weight_s
    share = weight_s / min(own.rest_s + 60.0, REST_MEMORY_S)
    own.rest_k += min(share, 1.0) * (rise_k - own.rest_k)
    if own.base_s < REST_BASE_S:
        own.base_s += weight_s
        own.base_k += weight_s / own.base_s * (rise_k - own.base_k)


@inlined
def stuck_k(own):  # type: ignore[no-untyped-def]
    """How far the model saw the pole go since the sensor last moved, K; 0 in the short."""
    return own.high_k - own.low_k if own.unchanged_s >= 600.0 else 0.0


@inlined
def drift_k(own):  # type: ignore[no-untyped-def]
    """How far the sensor has gone from the air at rest, against its first rests; NaN unknown."""
    if own.rest_s < 1_800.0 or own.base_s < 1_800.0:
        return math.nan
    return own.rest_k - own.base_k


@inlined
def noise_ratio(own):  # type: ignore[no-untyped-def]
    """Variance of the sensor's jumps now over what it used to be."""
    if own.noise_count < NOISE_BASE:
        return 1.0
    return (own.noise_k2 + NOISE_K2) / (own.noise_base_k2 + NOISE_K2)
