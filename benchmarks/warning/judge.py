"""What an engine's alarms are worth, measured against the truth of a set.

Each rule is the issue's; where it leaves room, the stricter reading is taken:

- a *warning* is an event that opens an alarm at `warning` or above, or worsens one to it, about
  the connector (not about a sensor), said after the fault began. An alarm that stood before the
  fault did is no warning;
- a fault that was never warned of has a lead of 0 in the median; a lead longer than the
  information limit allows counts as all of it;
- a cause is named where the condition names one ("hot" doesn't), by the first that does;
- each time an alarm on a healthy connector rises to `warning` it is a false alarm, whatever it
  was about and however often it comes back.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.warning.events import Said
from benchmarks.warning.faults import (
    CAUSES,
    CONNECTOR_FAULTS,
    TRAITS,
    Cause,
    Kind,
    accuses_connector,
)
from benchmarks.warning.truth import Truth
from ohmwatch.findings import Severity

HOUR_MS = 3_600_000
YEAR_MS = 365.25 * 24 * HOUR_MS
LAST_DAY_MS = 24 * HOUR_MS
"""A fault that became visible in the last day of what was heard is asked of nobody."""
HORIZON_MS = 25 * 24 * HOUR_MS
"""After the last reading, how long the truth was followed to see whether a limit came."""
RISES = ("opened", "worsened")


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `all`; the value is NaN of none."""

    hits: int
    all: int

    @property
    def value(self) -> float:
        return self.hits / self.all if self.all else float("nan")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The figures of the issue's table, and the few beside it. Rates are a connector-year.

    `leads` holds, for each fault that was visible before its limit, the share of the possible
    lead that the warning left (0: no warning); `warned_before_h` the hours. `intervals` holds
    for each judged 80 % interval where the limit fell in it: −1 and 1 are its ends on a
    logarithmic scale of time left, inside is held.
    """

    warned: Share
    warned_an_hour: Share
    leads: tuple[float, ...]
    warned_before_h: tuple[float, ...]
    found_without_limit: Share
    warned_without_limit: Share
    cause_right: Share
    pole_wrong: Share
    healthy_years: float
    false_alarms: int
    false_criticals: int
    notices: int
    sensors_accused: Share
    sensors_found: Share
    intervals: tuple[float, ...]

    @property
    def median_lead(self) -> float:
        return _quantile(self.leads, 0.5)

    @property
    def tenth_lead(self) -> float:
        return _quantile(self.leads, 0.1)

    @property
    def intervals_held(self) -> Share:
        return Share(sum(abs(each) <= 1.0 for each in self.intervals), len(self.intervals))

    def a_year(self, count: int) -> float:
        """A count of false alarms as a rate a connector-year."""
        return count / self.healthy_years if self.healthy_years else float("nan")


@dataclass(frozen=True, slots=True)
class Case:
    """One connector: what is true of it and all that was said about it, in order."""

    truth: Truth
    said: tuple[Said, ...]

    def first(self, least: Severity) -> Said | None:
        """The first rise to `least` or above about the connector itself, once it is faulty."""
        return next(
            (
                said
                for said in self.said
                if _rises_to(said, least)
                and accuses_connector(said.alarm.condition)
                and self._is_after_onset(said)
            ),
            None,
        )

    def warned_ms(self, least: Severity = Severity.WARNING) -> int | None:
        """When the first warning was said."""
        first = self.first(least)
        return None if first is None else first.said_ms

    def lead_share(self, least: Severity = Severity.WARNING) -> float:
        """The share of the possible lead that the warning left; the fault must allow one."""
        warned_ms, limit_ms = self.warned_ms(least), self.truth.reached_ms
        assert limit_ms is not None
        assert self.truth.visible_ms is not None
        if warned_ms is None:
            return 0.0
        return float(np.clip((limit_ms - warned_ms) / (limit_ms - self.truth.visible_ms), 0, 1))

    def named(self) -> Said | None:
        """The statement that names the cause: the first warning to do so, else the first at all."""
        naming = [
            said
            for said in self.said
            if said.alarm.event in RISES
            and said.alarm.condition in CAUSES
            and self._is_after_onset(said)
        ]
        warnings = [said for said in naming if _rises_to(said, Severity.WARNING)]
        return next(iter(warnings or naming), None)

    def cause_is_right(self) -> bool:
        """Whether the named cause is the true one; none named is not right."""
        named = self.named()
        return named is not None and CAUSES[named.alarm.condition] == _cause(self.truth)

    def pole_is_wrong(self) -> bool | None:
        """Whether the first statement with a pole accuses another; None: none was named."""
        poles = (
            said.alarm.pole
            for said in self.said
            if _rises_to(said, Severity.NOTICE)
            and accuses_connector(said.alarm.condition)
            and self._is_after_onset(said)
            and said.alarm.pole
        )
        pole = next(poles, None)
        return None if pole is None else pole != self.truth.pole

    def stood(self, least: Severity) -> list[tuple[int, int]]:
        """From when to when an alarm about the connector stood at `least` or above, by condition.

        What was never cleared or eased stood until the connector was last heard.
        """
        since: dict[str, int] = {}
        stretches = []
        for said in self.said:
            condition = said.alarm.condition
            severity = said.alarm.severity if said.alarm.event != "cleared" else None
            holds = severity is not None and severity >= least
            if holds and accuses_connector(condition):
                since.setdefault(condition, said.said_ms)
            elif condition in since:
                stretches.append((since.pop(condition), said.said_ms))
        last_ms = self.truth.heard_until_ms
        return stretches + [(begin, max(begin, last_ms)) for begin in since.values()]

    def _is_after_onset(self, said: Said) -> bool:
        return self.truth.onset_ms is not None and said.said_ms >= self.truth.onset_ms


def cases(truths: Iterable[Truth], said: Iterable[Said]) -> list[Case]:
    """Each connector with what was said about it, in the order in which it counts."""
    of: dict[str, list[Said]] = defaultdict(list)
    for each in said:
        of[each.alarm.connector].append(each)
    return [
        Case(truth, tuple(sorted(of[truth.connector], key=lambda each: each.said_ms)))
        for truth in truths
    ]


def judge(judged: Sequence[Case]) -> Verdict:
    """The whole verdict over a set's connectors."""
    faults = [case for case in judged if case.truth.kind in CONNECTOR_FAULTS]
    limited = [case for case in faults if case.truth.is_visible_before_limit]
    timely = [case for case in limited if _room_ms(case.truth) >= HOUR_MS]
    unlimited = [case for case in faults if _is_found_without_limit(case.truth)]
    found = [case for case in (*limited, *unlimited) if case.first(Severity.NOTICE)]
    poles = [
        case.pole_is_wrong()
        for case in found
        if case.truth.pole and case.pole_is_wrong() is not None
    ]
    healthy = [case for case in judged if case.truth.kind == Kind.HEALTHY]
    sensors = [case for case in judged if _cause(case.truth) is Cause.SENSOR]
    return Verdict(
        warned=_share(_is_warned_before(case, 0) for case in limited),
        warned_an_hour=_share(_is_warned_before(case, HOUR_MS) for case in timely),
        leads=tuple(case.lead_share() for case in limited),
        warned_before_h=tuple(_lead_h(case) for case in limited),
        found_without_limit=_share(case.first(Severity.NOTICE) for case in unlimited),
        warned_without_limit=_share(case.first(Severity.WARNING) for case in unlimited),
        cause_right=_share(case.cause_is_right() for case in found),
        pole_wrong=_share(poles),
        healthy_years=sum(_years(case.truth) for case in healthy),
        false_alarms=sum(_rises(case, Severity.WARNING) for case in healthy),
        false_criticals=sum(_rises(case, Severity.CRITICAL) for case in healthy),
        notices=sum(_rises(case, Severity.NOTICE) for case in healthy),
        sensors_accused=_share(case.first(Severity.WARNING) for case in sensors),
        sensors_found=_share(_is_sensor_found(case) for case in sensors),
        intervals=tuple(at for case in faults for at in _intervals(case)),
    )


def _cause(truth: Truth) -> Cause | None:
    return TRAITS[truth.kind].cause


def _share(hits: Iterable[object]) -> Share:
    known = [bool(hit) for hit in hits]
    return Share(sum(known), len(known))


def _room_ms(truth: Truth) -> int:
    """The lead that the information limit allows."""
    assert truth.reached_ms is not None
    assert truth.visible_ms is not None
    return truth.reached_ms - truth.visible_ms


def _is_warned_before(case: Case, before_ms: int) -> bool:
    warned_ms, limit_ms = case.warned_ms(), case.truth.reached_ms
    assert limit_ms is not None
    # At the limit is not before it.
    return warned_ms is not None and warned_ms < limit_ms and warned_ms <= limit_ms - before_ms


def _lead_h(case: Case) -> float:
    warned_ms, limit_ms = case.warned_ms(), case.truth.reached_ms
    assert limit_ms is not None
    return 0.0 if warned_ms is None else max(0.0, (limit_ms - warned_ms) / HOUR_MS)


def _is_found_without_limit(truth: Truth) -> bool:
    """Whether it reached no limit and could be seen for a day at least."""
    return (
        truth.reached_ms is None
        and truth.visible_ms is not None
        and truth.visible_ms <= truth.heard_until_ms - LAST_DAY_MS
    )


def _is_sensor_found(case: Case) -> bool:
    onset_ms = case.truth.onset_ms
    return onset_ms is not None and any(
        said.alarm.event in RISES
        and CAUSES.get(said.alarm.condition) is Cause.SENSOR
        and said.said_ms >= onset_ms
        for said in case.said
    )


def _rises_to(said: Said, least: Severity) -> bool:
    severity = said.alarm.severity
    return said.alarm.event in RISES and severity is not None and severity >= least


def _rises(case: Case, level: Severity) -> int:
    """How often an alarm rose from under `level` to it or above."""
    standing: dict[str, int] = {}
    rises = 0
    for said in case.said:
        now = int(said.alarm.severity or 0) if said.alarm.event != "cleared" else 0
        before = standing.get(said.alarm.condition, 0)
        # An alarm that is opened again without having been cleared was told again.
        before = 0 if said.alarm.event == "opened" else before
        rises += before < level <= now
        standing[said.alarm.condition] = now
    return rises


def _years(truth: Truth) -> float:
    return (truth.heard_until_ms - truth.first_ms) / YEAR_MS


def _intervals(case: Case) -> list[float]:
    """Where the limit fell in each interval that was stated before it."""
    limit_ms, positions = case.truth.limit_ms, []
    for said in case.said:
        from_ms, to_ms = said.alarm.limit_from_ms, said.alarm.limit_to_ms
        if from_ms is None or to_ms is None or not case._is_after_onset(said):
            continue
        if limit_ms is None:
            if to_ms <= case.truth.heard_until_ms + HORIZON_MS:
                positions.append(float("inf"))  # said to come by then; it didn't
        elif said.said_ms < limit_ms:
            positions.append(_position(said.said_ms, from_ms, to_ms, limit_ms))
    return positions


def _position(said_ms: int, from_ms: int, to_ms: int, limit_ms: int) -> float:
    """−1 at the interval's beginning, 1 at its end, in the logarithm of the time left."""
    left = np.log(np.maximum(np.array([from_ms, to_ms, limit_ms]) - said_ms, 1000.0))
    half = (left[1] - left[0]) / 2
    middle = (left[1] + left[0]) / 2
    return float((left[2] - middle) / half) if half > 0 else float("inf")


def _quantile(values: Sequence[float], share: float) -> float:
    return float(np.quantile(values, share)) if values else float("nan")
