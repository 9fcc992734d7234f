"""Stories told anew: late readings have shown that a connector's findings were others.

What was told is never changed. Steps that the true findings give and nobody has told are added, at
their own time; what was told and is not so is withdrawn by an event of its own that names it; what
is so with other evidence is told again in the place of the first. Nobody is woken: what still holds
now is stated by the next reading.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from apps.alarms.models import Alarm, AlarmEvent, Kind, Severity, State
from apps.alarms.numbering import Numbers
from apps.alarms.operations import (
    HELD_OPEN_SINCE,
    KINDS,
    Journal,
    evidence_for,
    evidence_of,
    finite,
    judged_by,
    milliseconds,
)
from apps.fleet.models import Connector
from apps.telemetry.slices import from_ms
from ohmwatch import findings as core
from ohmwatch.findings import Finding
from ohmwatch.lifecycle import (
    FLAPS,
    REOPEN_WITHIN_S,
    Action,
    ClearedAlarm,
    OpenAlarm,
    Reason,
    decide,
    is_fresh,
)

NEAR = timedelta(seconds=REOPEN_WITHIN_S)
BEGINS = frozenset({Kind.OPENED, Kind.REOPENED})
STEPS = frozenset({*BEGINS, Kind.WORSENED, Kind.EASED, Kind.CLEARED})

JudgedBy = tuple[str, str, str, int]
"""Detector, its version, the rule that made it judge so (or empty), the rule's version."""


@dataclass(frozen=True)
class Retelling:
    """What is true of a connector after `since_ms`, up to and with `until_ms` (device time).

    `findings` are all that there were, in order of measurement. `judged_by` names, by condition,
    who judges now: conditions that are not in it keep their story, and so do those that somebody
    else had judged.
    """

    connector: str
    since_ms: int
    until_ms: int
    findings: Sequence[Finding]
    judged_by: Mapping[str, JudgedBy]


def correct(retellings: Iterable[Retelling], *, judged_at: datetime) -> list[AlarmEvent]:
    """Brings the stories of the current tenant's connectors to what is true; the events written.

    Joins the caller's transaction. Once more changes nothing.
    """
    with transaction.atomic():
        there = set(
            Connector.objects.values_list("pk", flat=True).filter(
                pk__in={UUID(each.connector) for each in retellings}
            )
        )
        told = [each for each in retellings if UUID(each.connector) in there]
        known = {each.connector: _Known.of(UUID(each.connector)) for each in told}
        stories = [
            _Story(each, condition, known[each.connector])
            for each in told
            for condition in sorted(known[each.connector].conditions(each))
        ]
        if not stories:
            return []
        journal = Journal(judged_at, Numbers())
        for story in stories:
            story.correct(journal)
        return journal.close()


class Outcome(StrEnum):
    """What became of a step that was told, or is true."""

    SAME = "same"
    DIFFERS = "differs"  # told with other evidence
    UNTRUE = "untrue"  # told, and nothing true stands behind it
    UNTOLD = "untold"  # true, and nobody told it


@dataclass(frozen=True)
class Verdict:
    """A step of a connector's story against what is true. `number` is the event's, if any."""

    outcome: Outcome
    condition: str
    kind: str
    severity: str
    measured_at: datetime
    number: int | None = None


def compare(told: Retelling, *, now: datetime) -> list[Verdict]:
    """What is told of a connector of the current tenant against what is true, in order of time.

    Nothing is written. Of conditions that somebody else had judged there is nothing.
    """
    known = _Known.of(UUID(told.connector))
    found: list[Verdict] = []
    for condition in sorted(known.conditions(told)):
        found += _Story(told, condition, known).verdicts(now=now)
    return sorted(found, key=lambda each: (each.measured_at, each.condition, each.kind))


@dataclass
class _Known:
    """What was told of a connector, by condition, in the order in which it happened."""

    events: dict[str, list[AlarmEvent]]
    open: dict[str, Alarm]

    @classmethod
    def of(cls, connector: UUID) -> "_Known":
        events: defaultdict[str, list[AlarmEvent]] = defaultdict(list)
        for event in sorted(_standing(connector), key=lambda e: (_happened_ms(e), e.number)):
            events[event.alarm.condition].append(event)
        alarms = Alarm.objects.filter(connector=connector, state=State.OPEN)
        return cls(dict(events), {each.condition: each for each in alarms})

    def conditions(self, told: Retelling) -> set[str]:
        """Those of which there is anything to tell."""
        lately = {
            condition
            for condition, events in self.events.items()
            if _happened_ms(events[-1]) > told.since_ms
        }
        found = {each.condition for each in told.findings} | lately | self.open.keys()
        return found & told.judged_by.keys()


def _standing(connector: UUID) -> QuerySet[AlarmEvent]:
    """Events that nothing has corrected, of those that findings or ends wrote."""
    flaps = Q(kind=Kind.EVIDENCE, reason=str(Reason.COMES_AND_GOES))
    steps = Q(kind__in=STEPS) | flaps
    return AlarmEvent.objects.filter(
        steps, alarm__connector=connector, corrected_by=None
    ).select_related("alarm")


@dataclass(frozen=True)
class Step:
    """What a finding did to its alarm, and how bad that was then."""

    kind: Kind
    severity: core.Severity
    finding: Finding
    reason: str

    @property
    def key(self) -> tuple[str, str, int]:
        return _key(self.kind, self.severity.name.lower(), self.finding.measured_ms)


def _key(kind: str, severity: str, measured_ms: int) -> tuple[str, str, int]:
    """What makes two steps the same: that an alarm opened once more depends on the one before."""
    return ("begins" if kind in BEGINS else kind), severity, measured_ms


@dataclass
class Course:
    """How an alarm stands, finding after finding, by the decisions of `ohmwatch.lifecycle`."""

    open: OpenAlarm | None = None
    since_ms: int | None = None  # where a finding has told it
    cleared: ClearedAlarm | None = None
    opened_ms: tuple[int, ...] = ()
    newest: Finding | None = None
    steps: list[Step] = field(default_factory=list)

    def take(self, finding: Finding, *, now: datetime) -> None:
        decision = decide(self.open, finding, now=now, cleared=self.cleared)
        if decision.action is Action.NOTHING:
            return
        severity = finding.severity or (self.open.severity if self.open else None)
        assert severity is not None
        self.newest = finding
        if decision.action in KINDS:
            kind = KINDS[decision.action]
            self.steps.append(Step(kind, severity, finding, str(decision.reason)))
        if decision.action in (Action.OPEN, Action.REOPEN):
            self.begin(severity, finding.measured_ms)
            self.since_ms = min(finding.since_ms, finding.measured_ms)
        elif decision.action is Action.CLEAR:
            self.end(finding.measured_ms)
        elif self.open is not None:
            self.open = replace(
                self.open,
                severity=severity,
                last_measured_ms=finding.measured_ms,
                flaps=self.open.flaps or decision.action is Action.FLAP,
            )

    def begin(self, severity: core.Severity, measured_ms: int) -> None:
        self.opened_ms = (*self.opened_ms, measured_ms)[-FLAPS:]
        self.open = OpenAlarm(severity, measured_ms, measured_ms, opened_ms=self.opened_ms)
        self.since_ms = None

    def end(self, measured_ms: int) -> None:
        self.open, self.cleared = None, ClearedAlarm(measured_ms)

    def recall(self, event: AlarmEvent) -> None:
        """Takes in an event as it was told."""
        measured_ms = _happened_ms(event)
        severity = core.Severity[Severity(event.severity).name]
        if event.kind in BEGINS:
            self.begin(severity, measured_ms)
        elif event.kind == Kind.CLEARED:
            if self.open is not None:
                self.end(self.open.last_measured_ms if event.measured_at is None else measured_ms)
        elif self.open is not None:
            flaps = self.open.flaps or event.kind == Kind.EVIDENCE
            self.open = replace(
                self.open, severity=severity, last_measured_ms=measured_ms, flaps=flaps
            )


@dataclass
class _Story:
    """A condition of a connector: what was told of it, and what is true."""

    told: Retelling
    condition: str
    known: _Known

    @property
    def events(self) -> list[AlarmEvent]:
        return self.known.events.get(self.condition, [])

    def correct(self, journal: Journal) -> None:
        course, pairs, alarm = self._compared(journal.judged_at)
        if pairs is None:
            return
        changes = _Changes(self, course, pairs, alarm)
        if changes.any():
            changes.write(journal)
        elif course.newest is not None and self.condition in self.known.open:
            changes.hold_open(self.known.open[self.condition], journal.judged_at)

    def verdicts(self, *, now: datetime) -> list[Verdict]:
        _course, pairs, _alarm = self._compared(now)
        if pairs is None:
            return []
        found = [self._untrue(event) for event in pairs.untrue]
        for step, event in pairs.steps:
            outcome = Outcome.UNTOLD
            if event is not None:
                outcome = Outcome.SAME if _says_the_same(step, event) else Outcome.DIFFERS
            found.append(
                Verdict(
                    outcome,
                    self.condition,
                    str(step.kind.value),
                    step.severity.name.lower(),
                    from_ms(step.finding.measured_ms),
                    event.number if event else None,
                )
            )
        return found

    def _untrue(self, event: AlarmEvent) -> Verdict:
        about = (event.kind, event.severity, _happened(event), event.number)
        return Verdict(Outcome.UNTRUE, self.condition, *about)

    def _compared(self, now: datetime) -> "tuple[Course, _Pairs | None, Alarm | None]":
        """What is true, against what was told; no pairs where another had judged. The alarm is that
        at which the story was before."""
        since_ms, until_ms = self.told.since_ms, self.told.until_ms
        before = [each for each in self.events if _happened_ms(each) <= since_ms]
        after = self.events[len(before) :]
        ends = [each for each in after if each.measured_at is None]
        within = [each for each in after if each.measured_at is not None]
        who = self.told.judged_by[self.condition]
        course = self._truth(before, ends, now)
        alarm = before[-1].alarm if before else None
        if any(_who(each) != who or _happened_ms(each) > until_ms for each in within):
            return course, None, alarm
        return course, _paired(course.steps, within), alarm

    def _truth(
        self, before: Sequence[AlarmEvent], ends: Sequence[AlarmEvent], now: datetime
    ) -> Course:
        """The true course, with the ends that no finding wrote: a person's, a calm's, a rule's."""
        course = Course()
        for event in before:
            course.recall(event)
        waiting = list(ends)
        for finding in self.told.findings:
            if finding.condition != self.condition:
                continue
            while waiting and _happened_ms(waiting[0]) <= finding.measured_ms:
                course.recall(waiting.pop(0))
            course.take(finding, now=now)
        for event in waiting:
            course.recall(event)
        return course


@dataclass
class _Pairs:
    """The true steps with the events that told them; events that nothing true stands behind."""

    steps: list[tuple[Step, AlarmEvent | None]]
    untrue: list[AlarmEvent]


def _paired(steps: Sequence[Step], events: Sequence[AlarmEvent]) -> _Pairs:
    waiting: defaultdict[tuple[str, str, int], list[AlarmEvent]] = defaultdict(list)
    for event in events:
        waiting[_key(event.kind, event.severity, _happened_ms(event))].append(event)
    pairs = [(step, waiting[step.key].pop(0) if waiting[step.key] else None) for step in steps]
    left = sorted((e for several in waiting.values() for e in several), key=lambda e: e.number)
    return _Pairs(pairs, left)


@dataclass
class _Changes:
    """What is to be written of one condition."""

    story: _Story
    course: Course
    pairs: _Pairs
    alarm: Alarm | None
    """The alarm that the story is at; moves on from step to step."""
    rows: dict[UUID, Alarm] = field(default_factory=dict)

    def any(self) -> bool:
        return bool(self.pairs.untrue) or any(
            event is None or not _says_the_same(step, event) for step, event in self.pairs.steps
        )

    def write(self, journal: Journal) -> None:
        known = Alarm.objects.filter(
            connector=UUID(self.story.told.connector), condition=self.story.condition
        ).order_by("opened_at")
        self.rows = {each.pk: each for each in known}
        open_now = next((each for each in self.rows.values() if each.state == State.OPEN), None)
        for event in self.pairs.untrue:
            journal.write(
                self.rows[event.alarm_id],
                Kind.WITHDRAWN,
                reason=str(Reason.LATE_READINGS),
                severity=event.severity,
                corrects=event,
            )
        ended = False
        for step, told in self.pairs.steps:
            ended = self._tell(step, told, journal, open_now)
        if self.course.open is not None:
            self.hold_open(open_now or self.alarm, journal.judged_at)
        elif open_now is not None:
            self._close(open_now, journal, is_told=ended)
        for row in self.rows.values():
            self._count(row, journal)

    def _tell(
        self, step: Step, event: AlarmEvent | None, journal: Journal, open_now: Alarm | None
    ) -> bool:
        """Adds the step to its alarm, unless it was told so; whether it was the end of that which
        is open now, and is told as such."""
        if event is not None:
            self.alarm = self.rows[event.alarm_id]
            if _says_the_same(step, event):
                return False
        elif step.kind in BEGINS or self.alarm is None:
            self.alarm = self._alarm_for(step, journal.judged_at)
        alarm = self.alarm
        ends_it = step.kind == Kind.CLEARED and alarm is open_now
        journal.write(
            alarm,
            step.kind,
            reason=step.reason,
            finding=step.finding,
            severity=step.severity.name.lower(),
            corrects=event,
            tell=ends_it
            and bool(alarm.told_severity)
            and is_fresh(step.finding, now=journal.judged_at),
        )
        return ends_it

    def _alarm_for(self, step: Step, now: datetime) -> Alarm:
        """The alarm whose story is near; else one that is over already, until it is held open."""
        at = from_ms(step.finding.measured_ms)
        near = [(abs(_happened(each) - at), self.rows[each.alarm_id]) for each in self.story.events]
        apart, nearest = min(near, key=lambda each: each[0], default=(NEAR, None))
        if nearest is not None and apart < NEAR:
            return nearest
        finding = step.finding
        alarm = Alarm(
            connector_id=UUID(self.story.told.connector),
            condition=self.story.condition,
            severity=step.severity.name.lower(),
            pole=str(finding.pole),
            state=State.CLEARED,
            since=from_ms(min(finding.since_ms, finding.measured_ms)),
            last_measured_at=at,
            opened_at=now,
            cleared_at=now,
            evidence=evidence_of(finding.evidence),
            time_left_s=finite(finding.time_left_s),
            **judged_by(finding),
        )
        alarm.save()
        self.rows[alarm.pk] = alarm
        return alarm

    def hold_open(self, alarm: Alarm | None, now: datetime) -> None:
        """Lets the alarm stand as it is in truth, now."""
        truth, newest = self.course.open, self.course.newest
        if alarm is None or truth is None:
            return
        if alarm.state != State.OPEN:
            alarm.state, alarm.cleared_at, alarm.opened_at = State.OPEN, None, now
            alarm.told_severity, alarm.acknowledged_at, alarm.acknowledged_by = "", None, None
        severity = Severity[truth.severity.name]
        if severity.rank > Severity(alarm.severity).rank:  # nobody has acknowledged this
            alarm.acknowledged_at, alarm.acknowledged_by = None, None
        alarm.severity = severity
        if self.course.since_ms is not None:
            alarm.since = from_ms(self.course.since_ms)
        if newest is not None:
            held_since = alarm.evidence.get(HELD_OPEN_SINCE) if newest.ended else None
            alarm.evidence = evidence_for(newest, now)
            if held_since is not None:
                alarm.evidence[HELD_OPEN_SINCE] = held_since
            alarm.time_left_s = finite(newest.time_left_s)
            for name, value in judged_by(newest).items():
                setattr(alarm, name, value)
            if newest.severity is not None:
                alarm.pole = str(newest.pole)
        alarm.last_measured_at = max(from_ms(truth.last_measured_ms), alarm.since)
        alarm.save()

    def _close(self, alarm: Alarm, journal: Journal, *, is_told: bool) -> None:
        """Ends what is open and should not be; those hear who had heard of it."""
        alarm.state, alarm.cleared_at = State.CLEARED, journal.judged_at
        if not is_told:
            journal.write(
                alarm,
                Kind.CLEARED,
                reason=str(Reason.LATE_READINGS),
                tell=bool(alarm.told_severity),
            )

    def _count(self, alarm: Alarm, journal: Journal) -> None:
        """Occurrences as they were in truth."""
        gone = {each.corrects_id for each in journal.events if each.corrects_id}
        own = [
            each
            for each in (*self.story.events, *journal.events)
            if each.alarm_id == alarm.pk and each.kind in BEGINS and each.pk not in gone
        ]
        alarm.occurrences = max(1, len(own))
        alarm.save()


def _says_the_same(step: Step, event: AlarmEvent) -> bool:
    return bool(event.evidence == evidence_of(step.finding.evidence))


def _who(event: AlarmEvent) -> JudgedBy:
    rule = str(event.rule_id) if event.rule_id else ""
    return event.detector, event.detector_version, rule, event.rule_version or 0


def _happened(event: AlarmEvent) -> datetime:
    """By the device's clock; what no finding wrote, when it was written."""
    return event.measured_at or event.judged_at


def _happened_ms(event: AlarmEvent) -> int:
    return milliseconds(_happened(event))
