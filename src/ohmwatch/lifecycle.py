"""What an alarm does next when a finding comes, and for which named reason.

Pure: no clock but `now`, no store. `apps.alarms` asks, and writes what it is told.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ohmwatch.findings import Finding, Severity

FRESH_S = 3600.0
"""Seconds between measurement and judgement beyond which a finding is old news: told to nobody."""

REOPEN_WITHIN_S = 24 * 3600.0
"""Device seconds after clearing within which the same condition is an occurrence of the same
alarm: a connector that is hot each afternoon is one story, not one a day."""


class Action(StrEnum):
    """What becomes of the alarm; all but NOTHING and REFRESH write an event."""

    NOTHING = "nothing"
    OPEN = "open"
    REOPEN = "reopen"
    WORSEN = "worsen"
    EASE = "ease"
    CLEAR = "clear"
    REFRESH = "refresh"  # newest evidence and measured_at into the alarm; no event
    EVIDENCE = "evidence"  # the same as an event: there is something to tell


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


@dataclass(frozen=True, slots=True)
class OpenAlarm:
    """The open alarm of a (connector, condition), as far as the decision needs it.

    `told` is false while all its news were too old to wake anybody (Decision.tell).
    """

    severity: Severity
    since_ms: int
    last_measured_ms: int
    told: bool = True


@dataclass(frozen=True, slots=True)
class ClearedAlarm:
    """The newest cleared alarm of a (connector, condition). `last_measured_ms`: device time."""

    last_measured_ms: int


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
) -> Decision:
    """The next step of the alarm for this finding's connector and condition.

    `alarm` is the open one, if any; `cleared` the newest cleared one, asked only without an
    open one. The same finding applied twice changes nothing the second time.
    """
    fresh = is_fresh(finding, now=now)
    if alarm is None:
        return _without_alarm(finding, cleared, fresh)
    if finding.measured_ms < alarm.last_measured_ms:
        return Decision(Action.NOTHING, Reason.OLDER_THAN_KNOWN)
    if finding.severity is None:
        return Decision(Action.CLEAR, Reason.ENDED_FOR_HOLD_TIME, tell=fresh and alarm.told)
    if finding.severity > alarm.severity:
        return Decision(Action.WORSEN, Reason.SEVERITY_ROSE, tell=fresh)
    if finding.severity < alarm.severity:
        return Decision(Action.EASE, Reason.SEVERITY_FELL, tell=fresh)
    if fresh and not alarm.told:
        return Decision(Action.EVIDENCE, Reason.STILL_HOLDS_NOW, tell=True)
    if finding.measured_ms == alarm.last_measured_ms:
        return Decision(Action.NOTHING, Reason.ALREADY_KNOWN)
    return Decision(Action.REFRESH, Reason.ALREADY_KNOWN)


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
