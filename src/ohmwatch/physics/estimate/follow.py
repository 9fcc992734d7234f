"""The recursion over a batch: each reading into its connector's record, what is known out of it."""

import math
from collections.abc import Sequence

import numpy as np

from ohmwatch.compiled import compiled, inlined
from ohmwatch.detector import Batch, Floats, Ratings, State
from ohmwatch.physics.estimate.duty import end_day_of_use, note_duty, usual_load
from ohmwatch.physics.estimate.episodes import (
    BASE_EPISODES,
    LOADED,
    close,
    is_over,
    note_drop,
    pair_shift_k,
)
from ohmwatch.physics.estimate.lag import slow_constant_s
from ohmwatch.physics.estimate.outlook import (
    add_point,
    forecast,
    growth_to_limit,
    why_unforeseen,
)
from ohmwatch.physics.estimate.record import (
    AIR,
    APART,
    COMMON,
    COOLING,
    DROP_NEG,
    DROP_POS,
    NEG,
    POS,
    parameters_of,
)
from ohmwatch.physics.estimate.sensors import (
    LEAP_K,
    LIES,
    STILL_K,
    TRUSTED,
    air_shift_k,
    is_at_rest,
    is_noisy,
    is_stuck,
    leapt_k,
    note_rest,
    note_sensor,
    shift_k,
    still_k,
    trust,
)
from ohmwatch.physics.estimate.thermal import (
    filter_reading,
    follow_ambient,
    follow_load,
    mixed_load,
    start,
    start_episode,
)
from ohmwatch.physics.estimate.turning import has_turned

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

OF_CONTACTS = (
    "apart",  # the poles' heating against one another, less the unit's own, in rated rises
    "apart_up",  # evidence that the positive pole has grown, in logs of odds
    "apart_down",  # … the negative
    "common",
    "common_up",
    "cooling",
    "cooling_up",
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
    "left_s",
    "left_from_s",
    "left_to_s",
    "apart_base",
    "common_base",
    "load",
)
OF_PRESENT = (
    "apart_now_k",  # heating of the positive over the negative pole in the present episode
    "apart_now_sd_k",
    "slower_fit",  # over 0: more heat explains the mean of the poles better than slower cooling
    "left_why",  # 0: the time left is told; else which of outlook's reasons it is not
    "limit_share",  # growth of the worse pole over the growth that takes it to its limit
    "turned",  # 1: the poles' difference has turned round at once and stands, as sensors' do
    "usual_load",  # 99th percentile of the unit's duty, that the time left is told for
)
OF_HISTORY = (
    "news",  # 1: an episode ended, 2: the sensors are seen otherwise than at the reading before
    "apart_since_ms",
    "common_since_ms",
    "cooling_since_ms",
    "drop_since_ms",
    "apart_sd",
    "witnesses",
    "flutter",
    "resistance_pos_base_uohm",
    "resistance_neg_base_uohm",
    "anew_ms",  # since when the unit's own base holds: first seen, or mated anew
    "learnt_ms",  # when an episode last taught something; NaN: none did
    "mating_step_pos",  # heating after the newest mating over that before it, in logs; NaN: unknown
    "mating_step_neg",
    "slow_constant_s",  # with which the unit's housing follows its load; NaN: its data don't tell
    "slow_constant_sd_s",
)
OF_SENSORS = (
    "trust_pos",
    "trust_neg",
    "trust_air",
    "still_pos_k",
    "still_neg_k",
    "stuck_pos",
    "stuck_neg",
    "still_air_s",
    "shift_pos_k",
    "shift_neg_k",
    "shift_air_k",
    "noise_pos_k",
    "noise_neg_k",
    "noise_air_k",
    "most_share",  # largest current of a day over that of the unit's first days
    "most_today",  # the same of the present day so far,
    "most_last",  # … and of the newest whole one; NaN in the first days
    "delayed_s",
    "leapt_pos_k",
    "leapt_neg_k",
    "leapt_air_k",
    "noisy_pos",
    "noisy_neg",
    "noisy_air",
    "apart_newest",  # as apart, of the newest episode alone
    "pair_shift_k",  # of the poles' sensors against one another, by the unit's first days
    "turn_doubt",  # evidence that the poles' difference did more than turn round, or less
    "drop_denies",  # 1: the measured drops show no growth of the pole that heats more
    "pair_k",  # … and what they differed by in those days, load or not
    "alone",  # 1: of the positive pole alone a temperature was ever heard, −1: of the negative
)
TOLD = OF_CONTACTS + OF_PRESENT + OF_HISTORY + OF_SENSORS
"""What each reading is told, in this order; `estimate.<name>` in the batch."""

BASE_DAYS = 4.0
"""Of the largest current of a day: healthy vehicles' stay within 15 % of the mean of these."""

LATE_S = 3 * 3600.0
LATE_MS = 20 * 60_000
"""A reading that comes so much after its measurement was held back, or its clock is behind."""

GROWS = 6.0
"""Logs of odds of a growth from which on it is carried to its limit."""

_COLUMN = {name: number for number, name in enumerate(TOLD)}
PREFIX = "estimate."


def follow(batch: Batch, ratings: Sequence[Ratings], state: State) -> dict[str, Floats]:
    """Carries `state` (CONTACT_DTYPE[connectors]) forward; the columns of TOLD, float64[n]."""
    measured = np.empty((len(batch), len(MEASURED)))
    for number, name in enumerate(MEASURED):
        measured[:, number] = batch.column(name)
    told = np.empty((len(TOLD), _apart(len(batch))))
    _follow(
        batch.connector.copy(),
        batch.time_ms.copy(),
        batch.arrived_ms.copy(),
        measured,
        parameters_of(ratings),
        state,
        told,
    )
    return {PREFIX + name: told[number, : len(batch)] for number, name in enumerate(TOLD)}


def _apart(size: int) -> int:
    """Room for so many numbers, an odd number of a processor's cache lines: of columns that are
    filled side by side, no two then ask for the same place in the cache."""
    lines = (size + 7) // 8
    return 8 * (lines | 1)


@compiled
def _follow(connector, time_ms, arrived_ms, measured, parameters, state, told):  # type: ignore[no-untyped-def]
    for at in range(len(time_ms)):
        owner = connector[at]
        s, p = state[owner], parameters[owner]
        if not math.isnan(p.rated_a):
            if s.first_ms == 0:
                start(s, p, time_ms[at])
            _take_in(s, p, time_ms[at], arrived_ms[at], measured[at])
        _tell(s, p, time_ms[at], told, at)


@inlined
def _take_in(s, p, t_ms, arrived_ms, values):  # type: ignore[no-untyped-def]
    current_a, pos_c, neg_c, ambient_c = values[0], values[1], values[2], values[3]
    _note_delay(s, t_ms, arrived_ms)
    _note_mating(s, p, t_ms, values[6], values[7])
    spiked = note_sensor(s, p, AIR, t_ms, ambient_c, False)
    if spiked or trust(s, AIR, t_ms) == LIES:
        ambient_c = math.nan
    air_known = follow_ambient(s, p, t_ms, ambient_c)
    since_s = (t_ms - s.last_ms) / 1000.0 if s.last_ms > 0 else 0.0
    if not math.isnan(current_a):
        seen = follow_load(s, p, t_ms, current_a, pos_c, neg_c)
        s.day_most_a = max(s.day_most_a, abs(current_a))
        if seen and mixed_load(s) > LOADED:
            under_load_s = min(since_s, p.gap_ms / 1000.0)
            s.loaded_s += under_load_s
            note_duty(s, mixed_load(s), under_load_s)
    at_rest = is_at_rest(s, p)
    if note_sensor(s, p, POS, t_ms, pos_c, at_rest):
        pos_c = math.nan
    if note_sensor(s, p, NEG, t_ms, neg_c, at_rest):
        neg_c = math.nan
    if at_rest:
        note_rest(s, t_ms, pos_c, neg_c, air_known)
    _estimate(s, p, t_ms, pos_c, neg_c, air_known, at_rest)
    if not math.isnan(current_a):
        own_k = s.felt_c + s.common.heat_k * mixed_load(s)
        note_drop(
            s,
            p,
            0,
            current_a,
            values[4],
            pos_c if trust(s, POS, t_ms) == TRUSTED and pos_c > -99.0 else own_k,
        )
        note_drop(
            s,
            p,
            1,
            current_a,
            values[5],
            neg_c if trust(s, NEG, t_ms) == TRUSTED and neg_c > -99.0 else own_k,
        )
    s.last_ms = t_ms
    over = is_over(s, p, t_ms, at_rest)
    if over > 0:
        close(s, p, t_ms)
        _look_ahead(s, p, t_ms)
    elif over < 0:
        start_episode(s, p, t_ms)


@inlined
def _estimate(s, p, t_ms, pos_c, neg_c, air_known, at_rest):  # type: ignore[no-untyped-def]
    """The poles' temperatures into the filters, without those that lie."""
    if s.current_ms == 0 or t_ms - s.current_ms > p.gap_ms or s.slow_known < 0.5:
        return
    if _is_left_out(s, POS, t_ms):
        pos_c = math.nan
    if _is_left_out(s, NEG, t_ms):
        neg_c = math.nan
    if not (math.isnan(pos_c) and math.isnan(neg_c)):
        load = filter_reading(s, p, t_ms, pos_c, neg_c, air_known, at_rest)
        _note_peak(s, p, t_ms, load)


@inlined
def _is_left_out(s, place, t_ms):  # type: ignore[no-untyped-def]
    own = s.sensors[place]
    return trust(s, place, t_ms) == LIES or still_k(own) > STILL_K


@inlined
def _note_delay(s, t_ms, arrived_ms):  # type: ignore[no-untyped-def]
    """For how long all readings have come much later than measured: a clock that is behind."""
    if arrived_ms - t_ms < LATE_MS:
        s.delayed_ms = 0
        s.delayed_s = 0.0
    elif s.delayed_ms == 0:
        s.delayed_ms = arrived_ms
    else:
        s.delayed_s = (arrived_ms - s.delayed_ms) / 1000.0


@inlined
def _note_mating(s, p, t_ms, mated, cycles):  # type: ignore[no-untyped-def]
    """A connector that a workshop opened and closed starts anew."""
    reopened = not math.isnan(mated) and mated > 0.5 and s.mated == 0
    counted = not math.isnan(cycles) and cycles > s.cycles
    if (reopened or counted) and not p.routine:
        _keep_heating(s)
        for number in range(5):
            c = s.channels[number]
            c.precision = c.count = c.up = c.down = c.level = 0.0
            c.scatter = 1.0
        s.anew_ms = t_ms
        s.point_count = 0
        s.left_s = s.left_from_s = s.left_to_s = math.nan
        start_episode(s, p, t_ms)
    if not math.isnan(mated):
        s.mated = 1 if mated > 0.5 else 0
    if not math.isnan(cycles):
        s.cycles = cycles


@inlined
def _heatings(s):  # type: ignore[no-untyped-def]
    """What the positive and the negative pole heat, in rated rises."""
    common, apart = s.channels[COMMON], s.channels[APART]
    mean, half = math.exp(common.base + common.level), 0.5 * apart.base
    return mean + half + max(apart.level, 0.0), mean - half + max(-apart.level, 0.0)


@inlined
def _keep_heating(s):  # type: ignore[no-untyped-def]
    """What the contacts heat before they are mated anew, if that is known: the step is asked."""
    if s.channels[COMMON].count >= BASE_EPISODES:
        pos, neg = _heatings(s)
        s.before_pos, s.before_neg = _as_thousandths(pos), _as_thousandths(neg)


@inlined
def _as_thousandths(heating):  # type: ignore[no-untyped-def]
    """Of its logarithm, as an integer that is not 0."""
    kept = round(1000.0 * min(max(math.log(max(heating, 1e-6)), -30.0), 30.0))
    return kept if kept != 0 else 1


@inlined
def _mating_step(s, before, side):  # type: ignore[no-untyped-def]
    """By which the newest mating has changed the heating of a pole, in logs."""
    if before == 0 or s.channels[COMMON].count < BASE_EPISODES:
        return math.nan
    heating = math.exp(s.channels[COMMON].base) + 0.5 * side * s.channels[APART].base
    return math.log(max(heating, 1e-6)) - before / 1000.0


@inlined
def _note_peak(s, p, t_ms, load):  # type: ignore[no-untyped-def]
    """The hottest hours of a day by load and air, averaged over days: the unit's usual peak."""
    day = t_ms // 86_400_000
    if day != s.day:
        if s.day_most_a > 0.1 * p.rated_a:
            _note_most(s)
        if s.day_peak > 0.05:
            end_day_of_use(s)
            share = 1.0 if s.peak == 0.0 else 0.3
            s.peak += share * (s.day_peak - s.peak)
            s.peak_c += share * (s.day_peak_c - s.peak_c)
        s.day = day
        s.day_peak = s.day_most_a = 0.0
    if load > s.day_peak:
        s.day_peak = load
        s.day_peak_c = s.felt_c


@inlined
def _note_most(s):  # type: ignore[no-untyped-def]
    """The largest current of a day, against that of the unit's first days."""
    s.most_days = min(s.most_days + 1.0, 255.0)
    s.most_last_a = s.day_most_a
    s.most_a += (s.day_most_a - s.most_a) / min(s.most_days, 2.0)
    if s.most_days <= BASE_DAYS:
        s.most_base_a += (s.day_most_a - s.most_base_a) / s.most_days


@inlined
def _look_ahead(s, p, t_ms):  # type: ignore[no-untyped-def]
    """A point of the course, and the time left where there is evidence that it goes anywhere."""
    apart, common = s.channels[APART], s.channels[COMMON]
    lean = apart.newest - apart.base if apart.count > 0.0 else 0.0
    both = common.newest - common.base if common.count > 0.0 else 0.0
    for number, sign in ((DROP_POS, 1.0), (DROP_NEG, -1.0)):
        c = s.channels[number]
        if apart.count == 0.0 and c.count > 0.0 and c.newest_ms == t_ms:
            lean += sign * (c.newest - c.base)
    add_point(s, t_ms / 86_400_000.0 - s.first_ms / 86_400_000.0, lean, both)
    s.turned = has_turned(s)
    s.limit_share = 0.0
    side = _leaning_side(s)
    if math.isnan(side):
        # Both poles alike: cooling, which doesn't grow by a law.
        s.left_s = s.left_from_s = s.left_to_s = math.nan
        return
    growth = growth_to_limit(s, p, side)
    grown = math.exp(common.level) - 1.0 if side == 0.0 else side * apart.level
    s.limit_share = grown / max(growth, 0.02) if growth == growth else 0.0
    forecast(s, side, growth)


@inlined
def _leaning_side(s):  # type: ignore[no-untyped-def]
    """1 or −1: the pole that there is evidence of; 0: one that is measured alone; NaN: none."""
    apart, common = s.channels[APART], s.channels[COMMON]
    if apart.count == 0.0 and common.up >= GROWS and s.slower_fit > 0.0:
        return 0.0
    if max(apart.up, apart.down) < GROWS:
        return math.nan
    return 1.0 if apart.up > apart.down else -1.0


@inlined
def _tell(s, p, t_ms, told, at):  # type: ignore[no-untyped-def]
    """What is known now, into the reading's columns."""
    row = 0
    for value in _of_contacts(s, p):
        told[row, at] = value
        row += 1
    for value in _of_present(s, p):
        told[row, at] = value
        row += 1
    for value in _of_history(s, p, t_ms):
        told[row, at] = value
        row += 1
    for value in _of_sensors(s, t_ms):
        told[row, at] = value
        row += 1


@inlined
def _of_contacts(s, p):  # type: ignore[no-untyped-def]
    apart, common = s.channels[APART], s.channels[COMMON]
    pos, neg = s.channels[DROP_POS], s.channels[DROP_NEG]
    mean_k = p.rise_k * math.exp(common.base + common.level)
    heating_pos, heating_neg = _heatings(s)
    known = common.count > 0.0
    return (
        apart.level + 0.0,
        apart.up + 0.0,
        apart.down + 0.0,
        common.level + 0.0,
        common.up + 0.0,
        s.channels[COOLING].level + 0.0,
        s.channels[COOLING].up + 0.0,
        common.down + 0.0,
        pos.level + 0.0 if pos.count > 0.0 else math.nan,
        pos.up + 0.0,
        neg.level + 0.0 if neg.count > 0.0 else math.nan,
        neg.up + 0.0,
        p.rise_k * heating_pos if known else math.nan,
        p.rise_k * heating_neg if known else math.nan,
        math.sqrt(mean_k**2 * common.level_var + p.rise_k**2 * apart.level_var)
        if known
        else math.nan,
        math.exp(pos.base + pos.level) if pos.count > 0.0 else math.nan,
        math.exp(neg.base + neg.level) if neg.count > 0.0 else math.nan,
        float(s.episodes),
        s.left_s + 0.0,
        s.left_from_s + 0.0,
        s.left_to_s + 0.0,
        apart.base + 0.0,
        common.base + 0.0,
        mixed_load(s),
    )


@inlined
def _of_present(s, p):  # type: ignore[no-untyped-def]
    return (
        s.apart.heat_k,
        math.sqrt(s.apart.hh),
        s.slower_fit + 0.0,
        float(why_unforeseen(s, p, _leaning_side(s))),
        s.limit_share + 0.0,
        float(s.turned),
        usual_load(s) + 0.0,
    )


@inlined
def _news(s, t_ms):  # type: ignore[no-untyped-def]
    """What has changed since the reading before."""
    news, flags = 0.0, 0
    for place in (POS, NEG, AIR):
        flags = 8 * flags + int(2.0 * trust(s, place, t_ms))
        flags = 2 * flags + (1 if is_noisy(s.sensors[place]) else 0)
        flags = 2 * flags + (1 if abs(leapt_k(s.sensors[place], t_ms)) >= LEAP_K else 0)
    flags = 2 * flags + (1 if s.delayed_s > LATE_S else 0)
    if s.episodes & 255 != s.told:
        news += 1.0
    if flags != s.flags:
        news += 2.0
    s.told, s.flags = s.episodes & 255, flags
    return news


@inlined
def _of_history(s, p, t_ms):  # type: ignore[no-untyped-def]
    common, apart = s.channels[COMMON], s.channels[APART]
    pos, neg = s.channels[DROP_POS], s.channels[DROP_NEG]
    constant_s, constant_sd_s = slow_constant_s(s, p)
    return (
        _news(s, t_ms),
        float(apart.up_ms if apart.up > apart.down else apart.down_ms),
        float(common.up_ms),
        float(s.channels[COOLING].up_ms),
        float(pos.up_ms if pos.up > neg.up else neg.up_ms),
        math.sqrt(1.0 / apart.precision) if apart.precision > 0.0 else math.nan,
        max(apart.count, common.count) + 0.0,
        s.flutter / max(s.flutter_base, 0.2) + 0.0,
        math.exp(pos.base) if pos.count > 0.0 else math.nan,
        math.exp(neg.base) if neg.count > 0.0 else math.nan,
        float(s.anew_ms),
        s.first_ms + 1000.0 * s.learnt_s if s.learnt_s > 0 else math.nan,
        _mating_step(s, s.before_pos, 1.0),
        _mating_step(s, s.before_neg, -1.0),
        constant_s,
        constant_sd_s,
    )


@inlined
def _newest(c):  # type: ignore[no-untyped-def]
    return c.newest - c.base if c.count > 0.0 else math.nan


@inlined
def _of_most(s, current_a):  # type: ignore[no-untyped-def]
    return current_a / max(s.most_base_a, 1e-6)


@inlined
def _alone(s):  # type: ignore[no-untyped-def]
    pos, neg = s.sensors[POS].last_ms > 0, s.sensors[NEG].last_ms > 0
    return (1.0 if pos else 0.0) - (1.0 if neg else 0.0)


@inlined
def _of_sensors(s, t_ms):  # type: ignore[no-untyped-def]
    return (
        trust(s, POS, t_ms),
        trust(s, NEG, t_ms),
        trust(s, AIR, t_ms),
        still_k(s.sensors[POS]) + 0.0,
        still_k(s.sensors[NEG]) + 0.0,
        1.0 if is_stuck(s.sensors[POS]) else 0.0,
        1.0 if is_stuck(s.sensors[NEG]) else 0.0,
        s.sensors[AIR].unchanged_s + 0.0,
        shift_k(s.sensors[POS]) + air_shift_k(s) + 0.0,
        shift_k(s.sensors[NEG]) + air_shift_k(s) + 0.0,
        air_shift_k(s) + 0.0,
        math.sqrt(max(s.sensors[POS].noise_k2, 0.0)),
        math.sqrt(max(s.sensors[NEG].noise_k2, 0.0)),
        math.sqrt(max(s.sensors[AIR].noise_k2, 0.0)),
        _of_most(s, s.most_a) if s.most_days > BASE_DAYS else 1.0,
        _of_most(s, s.day_most_a) if s.most_days >= BASE_DAYS else math.nan,
        _of_most(s, s.most_last_a) if s.most_days > BASE_DAYS else math.nan,
        s.delayed_s + 0.0,
        leapt_k(s.sensors[POS], t_ms) + 0.0,
        leapt_k(s.sensors[NEG], t_ms) + 0.0,
        leapt_k(s.sensors[AIR], t_ms) + 0.0,
        1.0 if is_noisy(s.sensors[POS]) else 0.0,
        1.0 if is_noisy(s.sensors[NEG]) else 0.0,
        1.0 if is_noisy(s.sensors[AIR]) else 0.0,
        _newest(s.channels[APART]),
        pair_shift_k(s) + 0.0,
        max(s.over_turn, s.under_turn) + 0.0,
        float(s.drop_denies),
        s.pair_k + 0.0,
        _alone(s),
    )
