"""What an alarm does next when a finding comes, and for which named reason.

Pure: no clock but `now`, no store. `apps.alarms` asks, and writes what it is told.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from ohmwatch.conditions import Condition
from ohmwatch.findings import Finding, Severity

FRESH_S = 3600.0
"""Seconds between measurement and judgement beyond which a finding is old news: told to nobody."""

REOPEN_WITHIN_S = 24 * 3600.0
"""Device seconds after clearing within which the same condition is an occurrence of the same
alarm: a connector that is hot each afternoon is one story, not one a day."""

FLAPS = 4
"""Openings within FLAP_WINDOW_S (device seconds) of the last that make an alarm flap."""

FLAP_WINDOW_S = 6 * 3600.0

CALM_S = 2 * 3600.0
"""How long a flapping alarm is held open after its condition has ended."""

_CONTACT = frozenset(
    {
        Condition.CONTACT_RESISTANCE_RISING,
        Condition.CONTACT_RESISTANCE_HIGH,
        Condition.CONTACT_LOOSE,
    }
)
_HEATING = _CONTACT | {Condition.COOLING_REDUCED, Condition.OVERCURRENT}

CAUSES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        Condition.OVERTEMPERATURE: _HEATING | {Condition.TEMPERATURE_RISE_HIGH},
        Condition.TEMPERATURE_RISE_HIGH: _HEATING,
        Condition.POLE_IMBALANCE: _CONTACT,
        Condition.AGEING_OUTLIER: _CONTACT,
        Condition.CONTACT_RESISTANCE_HIGH: frozenset(
            {Condition.CONTACT_RESISTANCE_RISING, Condition.CONTACT_LOOSE}
        ),
        Condition.CONTACT_RESISTANCE_RISING: frozenset({Condition.CONTACT_LOOSE}),
        Condition.INSULATION_LOW: frozenset({Condition.INSULATION_FALLING}),
        Condition.INTERLOCK_OPEN: frozenset({Condition.INTERLOCK_INTERMITTENT}),
    }
)
"""Which conditions of a connector another of its conditions can be the consequence of."""


def is_one_story(one: str, other: str) -> bool:
    """Whether one of two conditions of a connector explains the other.

    >>> is_one_story("overtemperature", "contact_loose")
    True
    >>> is_one_story("overtemperature", "insulation_low")
    False
    """
    return one in CAUSES.get(other, ()) or other in CAUSES.get(one, ())


class Action(StrEnum):
    """What becomes of the alarm; all but NOTHING, REFRESH and HOLD write an event."""

    NOTHING = "nothing"
    OPEN = "open"
    REOPEN = "reopen"
    WORSEN = "worsen"
    EASE = "ease"
    CLEAR = "clear"
    REFRESH = "refresh"  # newest evidence and measured_at into the alarm; no event
    EVIDENCE = "evidence"  # the same as an event: there is something to tell
    HOLD = "hold"  # the condition ended, but it flaps: open until it stays quiet; no event
    FLAP = "flap"  # the same as an event, the first time: that it comes and goes is told


class Reason(StrEnum):
    """Why; lands in the event's row, in a metric's label and in the story that people read."""

    FIRST_FINDING = "first_finding"
    CAME_BACK = "came_back"
    SEVERITY_ROSE = "severity_rose"
    SEVERITY_FELL = "severity_fell"
    ENDED_FOR_HOLD_TIME = "ended_for_hold_time"
    ALREADY_KNOWN = "already_known"
    STILL_HOLDS_NOW = "still_holds_now"
    NOTHING_OPEN = "nothing_open"
    OLDER_THAN_KNOWN = "older_than_known"
    CONSEQUENCE = "consequence_of_a_known_cause"
    CAUSE_FOUND = "cause_of_what_is_known"
    COMES_AND_GOES = "comes_and_goes"
    STAYED_QUIET = "stayed_quiet"
    LATE_READINGS = "late_readings"


@dataclass(frozen=True, slots=True)
class OpenAlarm:
    """The open alarm of a (connector, condition), as far as the decision needs it.

    `told` is false while all its news were too old to wake anybody (Decision.tell).
    `opened_ms` are the newest openings of this and former occurrences, device time, oldest
    first; `flaps` is true once it was said of this occurrence that it comes and goes.
    """

    severity: Severity
    since_ms: int
    last_measured_ms: int
    told: bool = True
    opened_ms: tuple[int, ...] = ()
    flaps: bool = False


@dataclass(frozen=True, slots=True)
class ClearedAlarm:
    """The newest cleared alarm of a (connector, condition). `last_measured_ms`: device time."""

    last_measured_ms: int


@dataclass(frozen=True, slots=True)
class Companion:
    """Another open alarm of the same connector. `told`: the severity that people heard, if any."""

    condition: str
    told: Severity | None

    @property
    def told_rank(self) -> int:
        """0 where nobody was told."""
        return self.told or 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, why, and whether the event may wake somebody."""

    action: Action
    reason: Reason
    tell: bool = False


def decide(
    alarm: OpenAlarm | None,
    finding: Finding,
    *,
    now: datetime,
    cleared: ClearedAlarm | None = None,
    companions: Iterable[Companion] = (),
) -> Decision:
    """The next step of the alarm for this finding's connector and condition.

    `alarm` is the open one, if any; `cleared` the newest cleared one, asked only without an
    open one; `companions` are the connector's other open alarms. The same finding applied twice
    changes nothing the second time. Causes and consequences are one story: people hear of it
    again only where it gets worse than they know, and of its end when all of it is over.
    """
    step = _step(alarm, finding, is_fresh(finding, now=now), cleared)
    if not step.tell or step.action is Action.FLAP:
        return step
    if finding.severity is None:
        return replace(step, tell=ends_story(finding.condition, companions))
    known = _loudest(finding.condition, companions)
    if known is None or finding.severity > known.told_rank:
        return step
    is_cause = finding.condition in CAUSES.get(known.condition, ())
    reason = Reason.CAUSE_FOUND if is_cause else Reason.CONSEQUENCE
    if step.action is not Action.EVIDENCE:
        return Decision(step.action, reason)
    # Nothing happened but that nobody was told of it: it is told once its story's other is over.
    again = alarm is not None and finding.measured_ms == alarm.last_measured_ms
    return Decision(Action.NOTHING if again else Action.REFRESH, reason)


def ends_story(condition: str, companions: Iterable[Companion]) -> bool:
    """Whether nothing that people were told of stays open in the story of this condition."""
    return _loudest(condition, companions) is None


def _loudest(condition: str, companions: Iterable[Companion]) -> Companion | None:
    """Of the same story, the one that people were told the worst of."""
    story = [each for each in companions if each.told and is_one_story(each.condition, condition)]
    return max(story, key=lambda each: each.told_rank, default=None)


def is_calm(held_since: datetime, *, now: datetime) -> bool:
    """Whether an alarm that is held open since then, because it flaps, may be cleared."""
    return (now - held_since).total_seconds() >= CALM_S


def _step(
    alarm: OpenAlarm | None, finding: Finding, fresh: bool, cleared: ClearedAlarm | None
) -> Decision:
    """As `decide`, for a connector with no other alarm."""
    if alarm is None:
        return _without_alarm(finding, cleared, fresh)
    if finding.measured_ms < alarm.last_measured_ms:
        return Decision(Action.NOTHING, Reason.OLDER_THAN_KNOWN)
    if finding.severity is None:
        return _end(alarm, finding, fresh)
    if finding.severity > alarm.severity:
        return Decision(Action.WORSEN, Reason.SEVERITY_ROSE, tell=fresh)
    if finding.severity < alarm.severity:
        return Decision(Action.EASE, Reason.SEVERITY_FELL, tell=fresh)
    if fresh and not alarm.told:
        return Decision(Action.EVIDENCE, Reason.STILL_HOLDS_NOW, tell=True)
    if finding.measured_ms == alarm.last_measured_ms:
        return Decision(Action.NOTHING, Reason.ALREADY_KNOWN)
    return Decision(Action.REFRESH, Reason.ALREADY_KNOWN)


def _end(alarm: OpenAlarm, finding: Finding, fresh: bool) -> Decision:
    """The condition has ended: so has the alarm, unless it comes and goes."""
    if alarm.flaps:
        return Decision(Action.HOLD, Reason.COMES_AND_GOES)
    since_ms = finding.measured_ms - FLAP_WINDOW_S * 1000
    if sum(opened_ms >= since_ms for opened_ms in alarm.opened_ms) >= FLAPS:
        return Decision(Action.FLAP, Reason.COMES_AND_GOES, tell=fresh and alarm.told)
    return Decision(Action.CLEAR, Reason.ENDED_FOR_HOLD_TIME, tell=fresh and alarm.told)


def is_fresh(finding: Finding, *, now: datetime) -> bool:
    """Whether the finding is news still: its newest reading is at most FRESH_S old."""
    return now.timestamp() - finding.measured_ms / 1000 <= FRESH_S


def _without_alarm(finding: Finding, cleared: ClearedAlarm | None, fresh: bool) -> Decision:
    if finding.severity is None:
        return Decision(Action.NOTHING, Reason.NOTHING_OPEN)
    if cleared is None:
        return Decision(Action.OPEN, Reason.FIRST_FINDING, tell=fresh)
    quiet_ms = finding.measured_ms - cleared.last_measured_ms
    if quiet_ms <= 0:
        return Decision(Action.NOTHING, Reason.OLDER_THAN_KNOWN)
    if quiet_ms <= REOPEN_WITHIN_S * 1000:
        return Decision(Action.REOPEN, Reason.CAME_BACK, tell=fresh)
    return Decision(Action.OPEN, Reason.FIRST_FINDING, tell=fresh)
