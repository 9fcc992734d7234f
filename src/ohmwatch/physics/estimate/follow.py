"""The recursion over a batch: each reading into its connector's record, what is known out of it."""

import math
from collections.abc import Sequence

import numpy as np

from ohmwatch.compiled import compiled, inlined
from ohmwatch.detector import Batch, Floats, Ratings, State
from ohmwatch.physics.estimate.episodes import close, is_over, note_drop
from ohmwatch.physics.estimate.outlook import add_point, forecast
from ohmwatch.physics.estimate.record import (
    APART,
    COMMON,
    DROP_NEG,
    DROP_POS,
    PER_K,
    REFERENCE_C,
    parameters_of,
)
from ohmwatch.physics.estimate.sensors import (
    drift_k,
    is_at_rest,
    noise_ratio,
    note_sensor,
    stuck_k,
)
from ohmwatch.physics.estimate.thermal import (
    filter_reading,
    follow_ambient,
    follow_load,
    mixed_load,
    start,
    start_episode,
)

MEASURED = (
    "current_a",
    "temperature_pos_c",
    "temperature_neg_c",
    "ambient_c",
    "drop_pos_mv",
    "drop_neg_mv",
    "mated",
    "mating_cycles",
)
"""What the recursion reads, in this order."""

TOLD = (
    "apart",  # log of the poles' heating against one another, less the unit's own; pos is worse
    "apart_up",  # evidence that the positive pole has grown, in logs of odds
    "apart_down",  # … the negative
    "common",
    "common_up",
    "common_down",
    "drop_pos",
    "drop_pos_up",
    "drop_neg",
    "drop_neg_up",
    "heating_pos_k",
    "heating_neg_k",
    "heating_sd_k",
    "resistance_pos_uohm",
    "resistance_neg_uohm",
    "episodes",
    "stuck_pos_k",
    "stuck_neg_k",
    "drift_pos_k",
    "drift_neg_k",
    "noise_pos",
    "noise_neg",
    "left_s",
    "left_from_s",
    "left_to_s",
    "apart_base",
    "common_base",
    "load",
)
"""What each reading is told, in this order; `estimate.<name>` in the batch."""

_COLUMN = {name: number for number, name in enumerate(TOLD)}
PREFIX = "estimate."


def follow(batch: Batch, ratings: Sequence[Ratings], state: State) -> dict[str, Floats]:
    """Carries `state` (CONTACT_DTYPE[connectors]) forward; the columns of TOLD, float64[n]."""
    measured = np.empty((len(batch), len(MEASURED)))
    for number, name in enumerate(MEASURED):
        measured[:, number] = batch.column(name)
    told = np.empty((len(TOLD), len(batch)))
    connector, time_ms = batch.connector.copy(), batch.time_ms.copy()
    _follow(connector, time_ms, measured, parameters_of(ratings), state, told)
    return {PREFIX + name: told[number] for number, name in enumerate(TOLD)}


@compiled
def _follow(connector, time_ms, measured, parameters, state, told):  # type: ignore[no-untyped-def]
    for at in range(len(time_ms)):
        owner = connector[at]
        s, p = state[owner], parameters[owner]
        if not math.isnan(p.rated_a):
            if s.first_ms == 0:
                start(s, p, time_ms[at])
            _take_in(s, p, time_ms[at], measured[at])
        _tell(s, p, told, at)


@inlined
def _take_in(s, p, t_ms, values):  # type: ignore[no-untyped-def]
    current_a, pos_c, neg_c, ambient_c = values[0], values[1], values[2], values[3]
    _note_mating(s, p, t_ms, values[6], values[7])
    air_known = follow_ambient(s, p, t_ms, ambient_c)
    since_s = (t_ms - s.last_ms) / 1000.0 if s.last_ms > 0 else 0.0
    if not math.isnan(current_a):
        seen = follow_load(s, p, t_ms, current_a, pos_c, neg_c)
        if seen and mixed_load(s) > 0.02:
            s.loaded_s += min(since_s, p.gap_ms / 1000.0)
    at_rest = is_at_rest(s, p, air_known)
    note_sensor(s, p, 0, t_ms, pos_c, at_rest)
    note_sensor(s, p, 1, t_ms, neg_c, at_rest)
    fresh = s.current_ms > 0 and t_ms - s.current_ms <= p.gap_ms and s.slow_known > 0.5
    if fresh and not (math.isnan(pos_c) and math.isnan(neg_c)):
        load = filter_reading(s, p, t_ms, pos_c, neg_c, air_known, at_rest)
        _note_peak(s, t_ms, load)
    if not math.isnan(current_a):
        own_k = s.felt_c + s.common.heat_k * mixed_load(s)
        note_drop(s, p, 0, current_a, values[4], own_k if math.isnan(pos_c) else pos_c)
        note_drop(s, p, 1, current_a, values[5], own_k if math.isnan(neg_c) else neg_c)
    s.last_ms = t_ms
    over = is_over(s, p, t_ms)
    if over > 0:
        close(s, p, t_ms)
        _look_ahead(s, p, t_ms)
    elif over < 0:
        start_episode(s, p, t_ms)


@inlined
def _note_mating(s, p, t_ms, mated, cycles):  # type: ignore[no-untyped-def]
    """A connector that a workshop opened and closed starts anew."""
    reopened = not math.isnan(mated) and mated > 0.5 and s.mated <= 0.5
    counted = not math.isnan(cycles) and cycles > s.cycles
    if (reopened or counted) and not p.routine:
        for number in range(4):
            c = s.channels[number]
            c.precision = c.count = c.up = c.down = c.level = 0.0
            c.scatter = 1.0
        s.point_count = 0
        start_episode(s, p, t_ms)
    if not math.isnan(mated):
        s.mated = mated
    if not math.isnan(cycles):
        s.cycles = cycles


@inlined
def _note_peak(s, t_ms, load):  # type: ignore[no-untyped-def]
    """The hottest hours of a day by load and air, averaged over days: the unit's own duty."""
    day = t_ms // 86_400_000
    if day != s.day:
        if s.day_peak > 0.05:
            share = 1.0 if s.peak == 0.0 else 0.3
            s.peak += share * (s.day_peak - s.peak)
            s.peak_c += share * (s.day_peak_c - s.peak_c)
        s.day = day
        s.day_peak = 0.0
    if load > s.day_peak:
        s.day_peak = load
        s.day_peak_c = s.felt_c


@inlined
def _look_ahead(s, p, t_ms):  # type: ignore[no-untyped-def]
    """A point of the course, and the time left where there is evidence that it goes anywhere."""
    apart, common = s.channels[APART], s.channels[COMMON]
    lean = apart.newest - apart.base if apart.count > 0.0 else 0.0
    both = common.newest - common.base if common.count > 0.0 else 0.0
    variance = 0.012**2 * max(apart.scatter, 0.5) + 0.01**2
    for number, sign in ((DROP_POS, 1.0), (DROP_NEG, -1.0)):
        c = s.channels[number]
        if apart.count == 0.0 and c.count > 0.0 and c.newest_ms == t_ms:
            lean += sign * (c.newest - c.base)
    add_point(s, t_ms / 86_400_000.0 - s.first_ms / 86_400_000.0, lean, both, variance)
    strongest = max(apart.up, apart.down)
    if max(strongest, common.up) < 6.0:
        s.left_s = s.left_from_s = s.left_to_s = math.nan
        return
    side = 0.0
    if strongest >= 6.0:
        side = 1.0 if apart.up > apart.down else -1.0
    peak = max(s.peak, s.day_peak)
    air_c = s.peak_c if s.peak > 0.0 else s.day_peak_c
    base_k = p.rise_k * math.exp(common.base + 0.5 * side * apart.base)
    hotter = 1.0 + PER_K * (p.limit_c - REFERENCE_C)
    usual = 1.0 + PER_K * (air_c + base_k * peak - REFERENCE_C)
    growth = (p.limit_c - air_c) / max(base_k * peak * hotter / usual, 0.1) - 1.0
    forecast(s, side, growth, 1.0)


@inlined
def _tell(s, p, told, at):  # type: ignore[no-untyped-def]
    """What is known now, into the reading's columns."""
    apart, common = s.channels[APART], s.channels[COMMON]
    pos, neg = s.channels[DROP_POS], s.channels[DROP_NEG]
    mean_k = p.rise_k * math.exp(common.base + common.level)
    half = 0.5 * (apart.base + apart.level)
    known = common.count > 0.0
    row = 0
    for value in (
        apart.level,
        apart.up,
        apart.down,
        common.level,
        common.up,
        common.down,
        pos.level,
        pos.up,
        neg.level,
        neg.up,
        mean_k * math.exp(half + abs(half - 0.5 * apart.base)) if known else math.nan,
        mean_k * math.exp(-half + abs(half - 0.5 * apart.base)) if known else math.nan,
        mean_k * math.sqrt(common.level_var + 0.25 * apart.level_var) if known else math.nan,
        math.exp(pos.base + pos.level) if pos.count > 0.0 else math.nan,
        math.exp(neg.base + neg.level) if neg.count > 0.0 else math.nan,
        float(s.episodes),
        stuck_k(s.sensors[0]),
        stuck_k(s.sensors[1]),
        drift_k(s.sensors[0]),
        drift_k(s.sensors[1]),
        noise_ratio(s.sensors[0]),
        noise_ratio(s.sensors[1]),
        s.left_s,
        s.left_from_s,
        s.left_to_s,
        apart.base,
        common.base,
        mixed_load(s),
    ):
        told[row, at] = value
        row += 1
