"""From what the contacts stage knows to findings: what the detectors that stand on it share."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ohmwatch.conditions import THERMAL, Condition, Pole
from ohmwatch.detector import Batch, Columns, Detector, Flags, Floats, Ratings, State
from ohmwatch.findings import TIME_LEFT_UNKNOWN, UNFORESEEN, Finding
from ohmwatch.physics.estimate.follow import PREFIX
from ohmwatch.physics.estimate.record import DEFAULT_RISE_K, PER_K, REFERENCE_C
from ohmwatch.physics.heat import column
from ohmwatch.physics.hold import Level, as_findings, judge

HOT_DAY_C = 40.0
"""Ambient for which margins are told, that of rated currents in most catalogues."""

MOST_RISE_K = 500.0
"""By then the housing has given way."""

KNOWN_WITNESSES = 5.0
"""Half hours of load after which the stage has the say about what a unit is used to."""

LIES = 0.0
SUSPECT = 0.5
"""Of `trust_pos`, `trust_neg`, `trust_air`; 1 is trusted."""


def known(batch: Batch, name: str) -> Floats:
    """A column of the contacts stage, float64[n]; NaN where the stage did not run."""
    return batch.column(PREFIX + name)


def with_known(batch: Batch, columns: Mapping[str, Floats]) -> Batch:
    """The batch with a stage's columns among its values."""
    return batch.with_columns(columns)


def why_unforeseen(batch: Batch) -> list[str]:
    """Of each reading, why the contacts stage tells no time left; "" where it does."""
    codes = np.nan_to_num(known(batch, "left_why"), nan=1.0).astype(np.intp)
    return [UNFORESEEN[code] for code in codes.tolist()]


@dataclass(frozen=True, slots=True)
class Margins:
    """At rated current and HOT_DAY_C, K to the temperature limit, float64[n]; NaN: unknown.

    `worst_k` of the worse pole; `from_k`, `to_k` its 80 % interval.
    """

    worst_k: Floats
    from_k: Floats
    to_k: Floats


EPISODE = 1.0
"""Bit of `news`: an episode of load has ended at this reading, and was told to the channels."""


def news(batch: Batch, *, episodes_only: bool = False) -> Batch:
    """The readings at which the stage knows something new: of many, few."""
    values = batch.values
    if not isinstance(values, Columns):
        return _news(batch, episodes_only)
    return values.part(f"news {episodes_only}", lambda: _news(batch, episodes_only))


def _news(batch: Batch, episodes_only: bool) -> Batch:
    column = batch.values.get(PREFIX + "news")
    if column is None:
        return batch.rows(np.zeros(len(batch), dtype=np.bool_))
    at = np.flatnonzero(column)
    if episodes_only:
        at = at[column[at] % 2.0 == EPISODE]
    return batch.rows(at)


def steady_rise_k(heating_k: Floats, ambient_c: float = HOT_DAY_C) -> Floats:
    """The rise at rated current of a contact with this heating, copper's own warming included.

    From rise = heating · (1 + α·(ambient + rise − reference)); MOST_RISE_K where it runs away.

    >>> steady_rise_k(np.array([30.0, 300.0])).round(1).tolist()
    [36.6, 500.0]
    """
    cold = 1.0 + PER_K * (ambient_c - REFERENCE_C)
    left = np.maximum(1.0 - PER_K * heating_k, 1e-6)
    return np.minimum(heating_k * cold / left, MOST_RISE_K)


def margins(batch: Batch, ratings: Sequence[Ratings]) -> Margins:
    """What is left at rated load on a hot day, of each reading's connector."""
    limit_c = column(ratings, "temperature_limit_c")[batch.connector]
    heating_k = np.fmax(known(batch, "heating_pos_k"), known(batch, "heating_neg_k"))
    spread_k = 1.28 * known(batch, "heating_sd_k")
    room_k = limit_c - HOT_DAY_C
    return Margins(
        worst_k=room_k - steady_rise_k(heating_k),
        from_k=room_k - steady_rise_k(heating_k + spread_k),
        to_k=room_k - steady_rise_k(np.maximum(heating_k - spread_k, 0.0)),
    )


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known of each reading's contacts besides margin and ageing, of n readings.

    `left_s`, `left_from_s`, `left_to_s` (float64[n]): the time to the limit with its 80 % interval;
    where it is not told, `why` (n of UNFORESEEN) says why not. `learnt_ms`: when a load last taught
    something, NaN where none did: what came since is no news of the contacts. `step_pos`,
    `step_neg`: the heating after the newest mating over that before it, less 1; NaN: unknown.
    """

    left_s: Floats
    left_from_s: Floats
    left_to_s: Floats
    why: list[str]
    learnt_ms: Floats
    step_pos: Floats
    step_neg: Floats


def knowledge(batch: Batch) -> Knowledge:
    """Of each reading's connector; all of it unknown where the stage did not run."""
    why = why_unforeseen(batch)
    is_told = np.array([not each for each in why], dtype=np.bool_)
    names = ("left_s", "left_from_s", "left_to_s")
    left_s, from_s, to_s = (np.where(is_told, known(batch, name), np.nan) for name in names)
    steps = (np.expm1(known(batch, f"mating_step_{pole}")) for pole in ("pos", "neg"))
    return Knowledge(left_s, from_s, to_s, why, known(batch, "learnt_ms"), *steps)


@dataclass(frozen=True, slots=True)
class Ageing:
    """How far each reading's contact has come from its own base, float64[n]; NaN: unknown.

    `change` is the growth of the worse pole's heating as a share of the model's typical rise,
    `change_sd` its standard deviation, `since_ms` when the base began.
    """

    change: Floats
    change_sd: Floats
    since_ms: Floats


def ageing(batch: Batch, ratings: Sequence[Ratings]) -> Ageing:
    """What can be compared between units of a model, of each reading's connector."""
    rise_k = rises_k(ratings)
    rise_k = np.where(np.isnan(rise_k), DEFAULT_RISE_K, rise_k)[batch.connector]
    both = np.exp(known(batch, "common_base")) * np.expm1(known(batch, "common"))
    change_sd = known(batch, "heating_sd_k") / rise_k
    change = np.fmax(np.abs(known(batch, "apart")), both)
    return Ageing(
        change=np.where(np.isnan(change_sd), np.nan, change),
        change_sd=change_sd,
        since_ms=known(batch, "anew_ms"),
    )


def state(
    detector: Detector,
    batch: Batch,
    ratings: Sequence[Ratings],
    holds: State,
    *,
    levels: Sequence[Level],
    excess: Sequence[Floats],
    pole: Callable[[int], Pole],
    evidence: Callable[[], Mapping[str, Floats]],
    since_ms: Floats | None = None,
    time_left: bool = False,
) -> list[Finding]:
    """Findings where the levels' excess says so; carries `holds` (hold_dtype) forward.

    `evidence` is asked where something is said, which is seldom. Where `since_ms` is given, a
    finding has lasted since then: the change came before there was enough evidence of it. With
    `time_left` it says how long there is until the limit, or in the evidence why that can't be
    said.
    """
    clean = [np.where(np.isnan(each), -np.inf, each) for each in excess]
    said = judge(batch.connector, batch.time_ms, clean, levels, ratings, holds)
    if not said:
        return []
    left = _left(batch, ratings) if time_left else {}
    shown = {**evidence(), "trust": least_trust(batch), **left}
    findings = as_findings(detector, batch, said, pole=pole, evidence=shown)
    for number, at in enumerate(said):
        finding = findings[number]
        if since_ms is not None and not finding.ended and since_ms[at.index] > 0:
            began_ms = min(finding.since_ms, int(since_ms[at.index]))
            finding = replace(finding, since_ms=began_ms)
        if time_left and not finding.ended:
            finding = _with_time_left(finding, batch, at.index)
        findings[number] = finding
    return findings


def _with_time_left(finding: Finding, batch: Batch, index: int) -> Finding:
    left_s = float(known(batch, "left_s")[index])
    (why,) = why_unforeseen(batch.rows(np.array([index])))
    if why or not math.isfinite(left_s):
        said = {TIME_LEFT_UNKNOWN: why or UNFORESEEN[1]}
        return replace(finding, evidence={**finding.evidence, **said})
    return replace(finding, time_left_s=left_s)


def least_trust(batch: Batch) -> Floats:
    """The least trust in any of the three temperature sensors, float64[n]."""
    places = [known(batch, f"trust_{place}") for place in ("pos", "neg", "air")]
    return np.fmin(np.fmin(places[0], places[1]), places[2])


DAY_MS = 86_400_000


MOST_SCALE_LOG = 1.3
UNEXPLAINED_LOG = 0.45
"""Growth of heating, in logs, that no scale of a current explains: shown at half, it is broken.
And the growth that must be left over once a smaller largest current of a day has explained what it
can: three times what air and surroundings put into the heating of an hour."""


def same_current(
    batch: Batch, since_ms: Floats, least_share: float, change: Floats | float = 0.0
) -> Flags:
    """Where a day that began after `since_ms` saw as much current as the unit's first days.

    What seems to heat more since then is not a current that is shown too small. Nor is it where
    heating has grown by a `change`, in logs, that is more than a current smaller by so much
    explains: heat goes by its square.
    """
    begun = np.asarray(batch.time_ms // DAY_MS - np.nan_to_num(since_ms) // DAY_MS)
    today = np.where(begun >= 1, known(batch, "most_today"), np.nan)
    last = np.where(begun >= 2, known(batch, "most_last"), np.nan)
    share = np.fmax(today, last)
    explained = -2.0 * np.log(np.clip(share, 1e-6, 1.0))
    grown = change > np.where(np.isnan(share), MOST_SCALE_LOG, explained + UNEXPLAINED_LOG)
    return np.asarray((share >= least_share) | grown | (change > MOST_SCALE_LOG))


def _left(batch: Batch, ratings: Sequence[Ratings]) -> dict[str, Floats]:
    rated_a = column(ratings, "rated_current_a")[batch.connector]
    return {
        "time_left_from_s": known(batch, "left_from_s"),
        "time_left_to_s": known(batch, "left_to_s"),
        "duty_p99_a": rated_a * np.sqrt(known(batch, "usual_load")),
    }


def contact_evidence(batch: Batch, ratings: Sequence[Ratings], worse: Flags) -> dict[str, Floats]:
    """What is told about a contact; `worse` (bool[n]) is true where the positive pole is meant."""
    margin = margins(batch, ratings)
    return {
        "heating_k": np.where(worse, known(batch, "heating_pos_k"), known(batch, "heating_neg_k")),
        "heating_sd_k": known(batch, "heating_sd_k"),
        "resistance_uohm": np.where(
            worse, known(batch, "resistance_pos_uohm"), known(batch, "resistance_neg_uohm")
        ),
        "margin_k": margin.worst_k,
        "margin_from_k": margin.from_k,
        "margin_to_k": margin.to_k,
        "mating_step_pct": 100.0
        * np.expm1(
            np.where(worse, known(batch, "mating_step_pos"), known(batch, "mating_step_neg"))
        ),
        "thermal_time_constant_s": known(batch, "slow_constant_s"),
        "thermal_time_constant_sd_s": known(batch, "slow_constant_sd_s"),
        "episodes": known(batch, "episodes"),
        "current_a": batch.column("current_a"),
    }


def measures_positive(batch: Batch) -> Flags:
    """Where the pole that is measured, of a unit that measures one, is the positive, bool[n].

    A reading may lack what its device measures: the pole is asked of all that was heard.
    """
    alone, shown = known(batch, "alone"), ~np.isnan(batch.column("temperature_pos_c"))
    return np.asarray((alone > 0.0) | (shown & ~(alone < 0.0)))


MORE_HEAT = 0.24
"""Growth of heating, in logs, for each part of cooling slower by 1.8 that would explain the same.
Of one pole alone, reduced cooling showed at most 0.16 of it, a contact that grew at least 0.32."""

MORE_HEAT_EVIDENCE = 6.0


def heats_more(batch: Batch) -> Flags:
    """Where, of one pole alone, more heat explains what slower cooling would explain too, bool[n].

    A contact that has grown heats more from the first minute of a load on; heat that gets away
    more slowly is missed only after minutes.
    """
    is_alone = np.isnan(known(batch, "apart_sd"))
    heat, slower = known(batch, "common"), known(batch, "cooling")
    seen = (known(batch, "common_up") >= MORE_HEAT_EVIDENCE) & (heat > MORE_HEAT * slower)
    return np.asarray(is_alone & (seen | (known(batch, "slower_fit") > 0.0)))


def air_moved_since(batch: Batch, since_ms: Floats) -> Flags:
    """Where the air shown has changed after `since_ms`, bool[n]: else its sensor may hang."""
    return np.asarray(~(batch.time_ms - 1000.0 * known(batch, "still_air_s") < since_ms))


CHANGE = 6.0
"""Logs of odds from which on something has changed: nearly those of a notice."""

_OF_A_POLE = ("apart_up", "apart_down")
_OF_BOTH = ("common_up", "cooling_up")


def heats_anew(batch: Batch, least_share: float) -> Flags:
    """Where the stage sees that a unit heats more than it did, and not a sensor of it, bool[n].

    What one pole gains over the other no current explains; what both gain may be a current that is
    shown too small, until a day has shown as much of it as the unit's first did. True where the
    stage did not run.
    """
    pole = np.fmax(*(known(batch, name) for name in _OF_A_POLE)) >= CHANGE
    both = np.fmax(*(known(batch, name) for name in _OF_BOTH)) >= CHANGE
    since_ms = np.fmax(known(batch, "common_since_ms"), known(batch, "cooling_since_ms"))
    both &= same_current(batch, since_ms, least_share, known(batch, "common"))
    both &= least_trust(batch) == 1.0
    both &= air_moved_since(batch, since_ms)
    return np.asarray(pole | both | np.isnan(known(batch, "witnesses")))


SCALE_EVIDENCE = 12.0
SCALE_SHARE = 0.12
SCALE_DROP_LOG = 0.1


def is_rescaled(
    batch: Batch,
    *,
    evidence: float = SCALE_EVIDENCE,
    share: float = SCALE_SHARE,
    drop_log: float = SCALE_DROP_LOG,
) -> Flags:
    """Where current and heating have changed against one another, bool[n].

    `evidence`: logs of odds that both poles' heating has changed; `share`: by how much the largest
    current of a day has, the other way; `drop_log`: logs by which both measured resistances have.
    """
    most = known(batch, "most_share")
    pos, neg = known(batch, "drop_pos"), known(batch, "drop_neg")
    up, down = known(batch, "common_up") >= evidence, known(batch, "common_down") >= evidence
    smaller = (most < 1.0 - share) | (np.fmin(pos, neg) > drop_log)
    larger = (most > 1.0 + share) | (np.fmax(pos, neg) < -drop_log)
    return np.asarray((up & smaller) | (down & larger))


LATE_S = 3 * 3600.0
"""As in sensor_implausible: all readings have come long after they were measured."""


def trust_of(batch: Batch) -> Floats:
    """How far what each reading measures is to be trusted, float64[n]; NaN: nothing is known.

    The least trust in a temperature sensor; SUSPECT at most where the scale of the current has
    changed or the clock is behind, for those have no place of their own, and where the poles'
    sensors have changed places.
    """
    trust = least_trust(batch)
    doubted = is_rescaled(batch) | (known(batch, "delayed_s") > LATE_S)
    doubted |= known(batch, "turned") > 0.0
    return np.where(doubted & ~np.isnan(trust), np.minimum(trust, SUSPECT), trust)


_OURS = frozenset(Condition)


def rests_on_heat(condition: str) -> bool:
    """Whether temperature and current are what a finding is made of; of a plug-in's, perhaps."""
    return condition in THERMAL or condition not in _OURS


class Doubts:
    """Says of findings that rest on temperatures how far what they saw is to be trusted.

    Whatever detector states one, also a plug-in's that asks no sensor: which of them lie is
    known to the contacts stage, and a fault that a lying sensor shows is less sure.
    """

    def __init__(self, batch: Batch) -> None:
        """`batch` with the stage's columns, sorted by connector, then time."""
        self._batch = batch

    def of(self, findings: Sequence[Finding]) -> list[Finding]:
        """The findings, in their order; `trust` is in the evidence of those that it concerns."""
        concerned = [at for at, each in enumerate(findings) if rests_on_heat(each.condition)]
        if not (concerned and len(self._batch)):
            return list(findings)
        found = list(findings)
        rows = self._rows([findings[at] for at in concerned])
        wanted, where = np.unique(rows, return_inverse=True)
        trust = trust_of(self._batch.rows(np.maximum(wanted, 0)))[where]
        trust[rows < 0] = math.nan
        for at, least in zip(concerned, trust.tolist(), strict=True):
            if not math.isnan(least):
                evidence = {**found[at].evidence, "trust": least}
                found[at] = replace(found[at], evidence=evidence)
        return found

    def _rows(self, findings: Sequence[Finding]) -> NDArray[np.intp]:
        """The reading that each needed; −1: none of these, as a plug-in may have it."""
        connector, time_ms = self._batch.connector, self._batch.time_ms
        owner = np.array([self._owners.get(each.connector, -1) for each in findings])
        measured_ms = np.array([each.measured_ms for each in findings])
        starts = np.searchsorted(connector, owner)
        ends = np.searchsorted(connector, owner, side="right")
        rows = np.array(
            [
                start + np.searchsorted(time_ms[start:end], at_ms)
                for start, end, at_ms in zip(starts, ends, measured_ms, strict=True)
            ],
            dtype=np.intp,
        )
        there = (owner >= 0) & (rows < ends)
        there[there] = time_ms[rows[there]] == measured_ms[there]
        return np.where(there, rows, -1)

    @cached_property
    def _owners(self) -> dict[str, int]:
        return {name: at for at, name in enumerate(self._batch.connectors)}


def believed(batch: Batch, *, suspects: bool = False) -> Batch:
    """The batch without temperatures of sensors that lie (or, with `suspects`, may lie)."""
    least = SUSPECT if suspects else LIES
    trusted = {
        quantity: np.where(known(batch, f"trust_{place}") <= least, np.nan, batch.values[quantity])
        for quantity, place in _PLACES.items()
        if quantity in batch.values
    }
    return batch.with_columns(trusted)


_PLACES = {"temperature_pos_c": "pos", "temperature_neg_c": "neg", "ambient_c": "air"}


def which(worse: Flags) -> Callable[[int], Pole]:
    """The pole by a column that is true where the positive one is meant."""
    return lambda index: Pole.POSITIVE if worse[index] else Pole.NEGATIVE


def rises_k(ratings: Sequence[Ratings]) -> Floats:
    """The typical rise at rated current of each connector's model, K; NaN where none is stated."""
    rated_k = column(ratings, "temperature_rise_rated_k")
    by_limit: Floats = 0.7 * column(ratings, "temperature_rise_limit_k")
    return np.where(np.isnan(rated_k), by_limit, rated_k)
