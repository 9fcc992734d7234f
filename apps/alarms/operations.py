"""What changes alarms: findings and people. Each change is an event, its outbox in the same commit.

`ohmwatch.lifecycle.decide` says what happens next and why; here it is written down.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet

from apps.accounts.models import User
from apps.accounts.permissions import Permission
from apps.alarms import signals
from apps.alarms.models import Alarm, AlarmEvent, Consumer, Kind, Outbox, Severity, State
from apps.alarms.numbering import Numbers
from apps.fleet.models import Connector
from apps.telemetry.slices import from_ms
from apps.tenants.lookups import key_of
from apps.tenants.schema import current_schema
from ohmwatch import findings as core
from ohmwatch.findings import Finding
from ohmwatch.lifecycle import (
    FLAP_WINDOW_S,
    FLAPS,
    Action,
    ClearedAlarm,
    Companion,
    Decision,
    OpenAlarm,
    Reason,
    decide,
    ends_story,
    is_calm,
    is_fresh,
)

log = structlog.get_logger(__name__)

Key = tuple[UUID, str]
"""A connector and a condition: at most one open alarm each."""

KINDS = {
    Action.OPEN: Kind.OPENED,
    Action.REOPEN: Kind.REOPENED,
    Action.WORSEN: Kind.WORSENED,
    Action.EASE: Kind.EASED,
    Action.CLEAR: Kind.CLEARED,
    Action.EVIDENCE: Kind.EVIDENCE,
    Action.FLAP: Kind.EVIDENCE,
}
WITHOUT_EVENT = frozenset({Action.NOTHING, Action.REFRESH, Action.HOLD})
HELD_OPEN_SINCE = "held_open_since"
"""In an alarm's evidence: its condition ended then, but it flaps. The next finding drops it."""

TOLD = frozenset({Kind.OPENED, Kind.REOPENED, Kind.WORSENED, Kind.EVIDENCE, Kind.CLEARED})
"""Kinds that people are told of; the others are for those who look."""


class NotOpen(Exception):
    """The alarm is over: there is nothing left to acknowledge."""

    code = "alarm_not_open"


def apply_findings(findings: Sequence[Finding], *, judged_at: datetime) -> list[AlarmEvent]:
    """Lets findings open, change and clear alarms of the current tenant, in their order.

    Joins the caller's transaction, so that a checkpoint commits with it or not at all. The same
    findings once more change nothing. Findings of connectors that don't exist are logged and
    left out: they must not hold up the others.
    """
    with transaction.atomic():
        known = _of_known_connectors(findings)
        if not known:
            return []
        stories = _Stories.load(known)
        if all(stories.decide(each, now=judged_at).action in WITHOUT_EVENT for each in known):
            for finding in known:
                stories.refresh(finding, now=judged_at)
            return []
        numbers = Numbers()
        stories = _Stories.load(known)  # again: until here somebody else may have written
        journal = Journal(judged_at, numbers)
        for finding in known:
            stories.apply(finding, journal)
        return journal.close()


def acknowledge(*, user: User, alarm: Alarm, now: datetime) -> AlarmEvent | None:
    """Notes that this person has the alarm in hand. None where somebody already had it.

    Raises PermissionDenied, and NotOpen for an alarm that is over.
    """
    if not user.can(Permission.ACKNOWLEDGE):
        raise PermissionDenied
    with transaction.atomic():
        journal = Journal(now, Numbers())
        alarm.refresh_from_db()
        if alarm.state != State.OPEN:
            raise NotOpen
        if alarm.acknowledged_at is not None:
            return None
        alarm.acknowledged_at, alarm.acknowledged_by = now, user
        alarm.save(update_fields=["acknowledged_at", "acknowledged_by"])
        journal.write(alarm, Kind.ACKNOWLEDGED, reason="by_person", actor=user)
        return journal.close()[0]


def note(*, user: User, alarm: Alarm, text: str, now: datetime) -> AlarmEvent:
    """Adds what a person found or did to the alarm's story. Raises PermissionDenied."""
    if not user.can(Permission.ACKNOWLEDGE):
        raise PermissionDenied
    with transaction.atomic():
        journal = Journal(now, Numbers())
        journal.write(alarm, Kind.NOTED, reason="by_person", actor=user, text=text.strip()[:2000])
        return journal.close()[0]


def clear(*, user: User, alarm: Alarm, now: datetime) -> AlarmEvent | None:
    """Ends an alarm by hand, for a fault that no reading can show as repaired.

    None where it was over already. Raises PermissionDenied.
    """
    if not (user.can(Permission.ACKNOWLEDGE) and user.is_staff_of_tenant):
        raise PermissionDenied
    with transaction.atomic():
        journal = Journal(now, Numbers())
        alarm.refresh_from_db()
        if alarm.state != State.OPEN:
            return None
        alarm.state, alarm.cleared_at = State.CLEARED, now
        alarm.save(update_fields=["state", "cleared_at"])
        told = bool(alarm.told_severity)
        journal.write(alarm, Kind.CLEARED, reason="by_person", actor=user, tell=told)
        return journal.close()[0]


def settle_held(*, now: datetime) -> list[AlarmEvent]:
    """Clears the current tenant's alarms that flapped, and have stayed quiet for long enough."""
    if not any(_is_quiet(alarm, now) for alarm in _held_alarms()):
        return []
    with transaction.atomic():
        journal = Journal(now, Numbers())
        for alarm in filter(lambda held: _is_quiet(held, now), _held_alarms()):
            others = Alarm.objects.filter(connector=alarm.connector_id, state=State.OPEN)
            companions = [_as_companion(each) for each in others.exclude(pk=alarm.pk)]
            alarm.state, alarm.cleared_at = State.CLEARED, now
            alarm.save(update_fields=["state", "cleared_at"])
            tell = bool(alarm.told_severity) and ends_story(alarm.condition, companions)
            journal.write(alarm, Kind.CLEARED, reason=str(Reason.STAYED_QUIET), tell=tell)
        return journal.close()


def _held_alarms() -> QuerySet[Alarm]:
    return Alarm.objects.filter(state=State.OPEN, evidence__has_key=HELD_OPEN_SINCE).order_by("pk")


def _is_quiet(alarm: Alarm, now: datetime) -> bool:
    return is_calm(datetime.fromisoformat(alarm.evidence[HELD_OPEN_SINCE]), now=now)


@dataclass
class Journal:
    """Collects the events of one transaction; `close` writes them with all that must be told."""

    judged_at: datetime
    numbers: Numbers
    events: list[AlarmEvent] = field(default_factory=list)
    outbox: list[Outbox] = field(default_factory=list)

    def write(
        self,
        alarm: Alarm,
        kind: Kind,
        *,
        reason: str,
        finding: Finding | None = None,
        tell: bool = False,
        actor: User | None = None,
        text: str = "",
        evidence: Mapping[str, float | str] | None = None,
        severity: str = "",
        corrects: AlarmEvent | None = None,
    ) -> None:
        shown = finding.evidence if finding else evidence or {}
        event = AlarmEvent(
            number=self.numbers.next(),
            alarm=alarm,
            kind=kind,
            severity=severity or alarm.severity,
            corrects=corrects,
            reason=reason,
            measured_at=from_ms(finding.measured_ms) if finding else None,
            arrived_at=from_ms(finding.arrived_ms) if finding else None,
            judged_at=self.judged_at,
            evidence=evidence_of(shown),
            actor=actor,
            note=text,
            **(judged_by(finding) if finding else {}),
            old_news=finding is not None and not is_fresh(finding, now=self.judged_at),
        )
        consumers = [Consumer.LIVE, Consumer.INDEX]
        if tell and kind in TOLD:
            consumers.append(Consumer.NOTIFY)
        self.events.append(event)
        self.outbox += [Outbox(event=event, consumer=consumer) for consumer in consumers]

    def close(self) -> list[AlarmEvent]:
        self.numbers.save()
        AlarmEvent.objects.bulk_create(self.events)
        Outbox.objects.bulk_create(self.outbox)
        if self.events:
            notify = any(entry.consumer == Consumer.NOTIFY for entry in self.outbox)
            numbers = [event.number for event in self.events]
            announce = partial(_announce, current_schema(), numbers, notify=notify)
            transaction.on_commit(announce)
        return self.events


@dataclass
class _Stories:
    """The connectors' open alarms, and the newest cleared one of each condition at hand.

    `courses`: of those that findings say have ended, what tells whether they flap.
    """

    open: dict[Key, Alarm]
    cleared: dict[Key, Alarm]
    courses: "dict[Key, _Course]"

    @classmethod
    def load(cls, findings: Sequence[Finding]) -> "_Stories":
        keys = {_key(finding) for finding in findings}
        rows = Alarm.objects.filter(connector__in={connector for connector, _ in keys})
        cleared = rows.filter(
            state=State.CLEARED, condition__in={condition for _, condition in keys}
        ).order_by("connector_id", "condition", "-last_measured_at")
        open_now = {_key_of(alarm): alarm for alarm in rows.filter(state=State.OPEN)}
        past = {_key_of(alarm): alarm for alarm in cleared.distinct("connector_id", "condition")}
        return cls(open=open_now, cleared=past, courses=_courses(findings, {**past, **open_now}))

    def decide(self, finding: Finding, *, now: datetime) -> Decision:
        key = _key(finding)
        alarm, past = self.open.get(key), self.cleared.get(key)
        course = self.courses.get(key, _NO_COURSE)
        return decide(
            _as_open(alarm, course) if alarm else None,
            finding,
            now=now,
            cleared=ClearedAlarm(milliseconds(past.last_measured_at)) if past else None,
            companions=self._companions(key),
        )

    def _companions(self, key: Key) -> list[Companion]:
        return [
            _as_companion(alarm)
            for other, alarm in self.open.items()
            if other[0] == key[0] and other != key
        ]

    def refresh(self, finding: Finding, *, now: datetime) -> None:
        """Takes the newest evidence into the open alarm, unless it has newer.

        An end that changes nothing, because the alarm flaps, is noted since when it holds.
        """
        measured_at = from_ms(finding.measured_ms)
        alarm = self.open.get(_key(finding))
        if alarm is None:
            return
        taken: dict[str, Any] = {
            "last_measured_at": measured_at,
            "evidence": evidence_for(finding, now),
            "time_left_s": finite(finding.time_left_s),
            **judged_by(finding),
        }
        if finding.severity is not None:
            taken["pole"] = str(finding.pole)
        Alarm.objects.filter(
            pk=alarm.pk, state=State.OPEN, last_measured_at__lt=measured_at
        ).update(**taken)

    def apply(self, finding: Finding, journal: Journal) -> None:
        decision = self.decide(finding, now=journal.judged_at)
        if decision.action is Action.NOTHING:
            return
        if decision.action in (Action.REFRESH, Action.HOLD):
            self.refresh(finding, now=journal.judged_at)
            return
        tell = decision.tell
        if decision.action in (Action.OPEN, Action.REOPEN):
            alarm = self._begin(finding, decision.action, journal.judged_at)
        else:
            alarm = self.open[_key(finding)]
        if decision.action is Action.CLEAR:
            # Who heard of it at any severity hears of its end, unless that is old news, or
            # something else of the same story stays open.
            tell = bool(alarm.told_severity) and is_fresh(finding, now=journal.judged_at)
            tell = tell and ends_story(alarm.condition, self._companions(_key(finding)))
            self._end(alarm, journal.judged_at)
        _take_in(finding, alarm, journal.judged_at, worse=decision.action is Action.WORSEN)
        if decision.action is Action.FLAP:
            self.courses[_key(finding)] = replace(self.courses[_key(finding)], flaps=True)
        elif tell and decision.action not in (Action.CLEAR, Action.EASE):
            alarm.told_severity = alarm.severity
        alarm.save()
        journal.write(
            alarm,
            KINDS[decision.action],
            reason=str(decision.reason),
            finding=finding,
            tell=tell,
        )

    def _begin(self, finding: Finding, action: Action, now: datetime) -> Alarm:
        key = _key(finding)
        if action is Action.REOPEN:
            alarm = self.cleared.pop(key)
            alarm.occurrences += 1
        else:
            alarm = Alarm(connector_id=key[0], condition=key[1])
        alarm.state, alarm.cleared_at = State.OPEN, None
        alarm.opened_at, alarm.since = now, from_ms(min(finding.since_ms, finding.measured_ms))
        alarm.acknowledged_at, alarm.acknowledged_by, alarm.told_severity = None, None, ""
        self.open[key] = alarm
        opened_ms = (*self.courses.get(key, _NO_COURSE).opened_ms, finding.measured_ms)
        self.courses[key] = _Course(opened_ms[-FLAPS:])
        return alarm

    def _end(self, alarm: Alarm, now: datetime) -> None:
        alarm.state, alarm.cleared_at = State.CLEARED, now
        self.cleared[_key_of(alarm)] = self.open.pop(_key_of(alarm))


@dataclass(frozen=True)
class _Course:
    """When an alarm opened of late (device time, ms), and whether it was said that it flaps."""

    opened_ms: tuple[int, ...] = ()
    flaps: bool = False


_NO_COURSE = _Course()


def _courses(findings: Sequence[Finding], alarms: Mapping[Key, Alarm]) -> dict[Key, _Course]:
    """Of the alarms that some finding says have ended."""
    ended = {_key(each): each for each in findings if each.ended}
    known = {alarms[key].pk: key for key in ended if key in alarms}
    if not known:
        return {}
    since_ms = min(each.measured_ms for each in ended.values()) - int(FLAP_WINDOW_S * 1000)
    opened = Q(kind__in=(Kind.OPENED, Kind.REOPENED), measured_at__gte=from_ms(since_ms))
    flapped = Q(reason=str(Reason.COMES_AND_GOES))
    standing = AlarmEvent.objects.filter(corrected_by=None, alarm__in=known)
    events = standing.filter(opened | flapped).order_by("number")
    found: dict[Key, _Course] = {}
    for event in events:
        key = known[event.alarm_id]
        found[key] = _with_step(found.get(key, _NO_COURSE), event, alarms[key])
    return found


def _with_step(course: _Course, event: AlarmEvent, alarm: Alarm) -> _Course:
    if event.reason == Reason.COMES_AND_GOES:
        return replace(course, flaps=event.judged_at >= alarm.opened_at)
    assert event.measured_at is not None
    opened_ms = (*course.opened_ms, milliseconds(event.measured_at))
    return _Course(opened_ms[-FLAPS:])


def evidence_for(finding: Finding, now: datetime) -> dict[str, float | str | None]:
    """The finding's evidence, for an open alarm; of an end, with since when it is held open."""
    evidence = evidence_of(finding.evidence)
    return {**evidence, HELD_OPEN_SINCE: now.isoformat()} if finding.ended else evidence


def _take_in(finding: Finding, alarm: Alarm, now: datetime, *, worse: bool) -> None:
    alarm.last_measured_at = max(from_ms(finding.measured_ms), alarm.since)
    is_open = alarm.state == State.OPEN
    alarm.evidence = evidence_for(finding, now) if is_open else evidence_of(finding.evidence)
    alarm.time_left_s = finite(finding.time_left_s)
    for name, value in judged_by(finding).items():
        setattr(alarm, name, value)
    if finding.severity is not None:
        alarm.severity, alarm.pole = Severity[finding.severity.name], str(finding.pole)
    if worse:  # who acknowledged the lesser one has not seen this
        alarm.acknowledged_at, alarm.acknowledged_by = None, None


def judged_by(finding: Finding) -> dict[str, Any]:
    """The fields of `Judged`; a rule that is no key is none."""
    by_rule = bool(finding.rule) and key_of(finding.rule) is not None
    return {
        "detector": finding.detector[:80],
        "detector_version": finding.detector_version[:40],
        "rule_id": UUID(finding.rule) if by_rule else None,
        "rule_version": finding.rule_version if by_rule else None,
    }


def evidence_of(evidence: Mapping[str, float | str]) -> dict[str, float | str | None]:
    """Evidence as JSON that Postgres takes: what is not finite is null."""
    return {
        str(name): value if isinstance(value, str) else finite(value)
        for name, value in evidence.items()
    }


def _of_known_connectors(findings: Sequence[Finding]) -> list[Finding]:
    named = [finding for finding in findings if key_of(finding.connector)]
    there = set(
        Connector.objects.filter(pk__in={_key(each)[0] for each in named}).values_list(
            "pk", flat=True
        )
    )
    known = [finding for finding in named if _key(finding)[0] in there]
    if len(known) < len(findings):
        log.warning("findings_of_unknown_connectors", left_out=len(findings) - len(known))
    return known


def _announce(schema: str, numbers: list[int], *, notify: bool) -> None:
    for receiver, outcome in signals.events_written.send_robust(
        sender=AlarmEvent, schema=schema, numbers=numbers, notify=notify
    ):
        if isinstance(outcome, Exception):
            # The outbox keeps what was not said; the sweep says it some seconds later.
            name = getattr(receiver, "__name__", str(receiver))
            log.warning("announcement_failed", receiver=name, error=repr(outcome))


def _as_companion(alarm: Alarm) -> Companion:
    told = core.Severity[Severity(alarm.told_severity).name] if alarm.told_severity else None
    return Companion(alarm.condition, told)


def _as_open(alarm: Alarm, course: _Course) -> OpenAlarm:
    severity = Severity(alarm.severity)
    told = bool(alarm.told_severity) and Severity(alarm.told_severity).rank >= severity.rank
    return OpenAlarm(
        severity=core.Severity[severity.name],
        since_ms=milliseconds(alarm.since),
        last_measured_ms=milliseconds(alarm.last_measured_at),
        told=told,
        opened_ms=course.opened_ms,
        flaps=course.flaps,
    )


def _key(finding: Finding) -> Key:
    return UUID(finding.connector), finding.condition


def _key_of(alarm: Alarm) -> Key:
    return alarm.connector_id, alarm.condition


def milliseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


def finite(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return float(value)
