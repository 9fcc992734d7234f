"""What rules in shadow state: by the decisions of an alarm's life, kept and told to nobody.

Each step is kept for a while, so that late readings can correct what was counted (`retell`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Self
from uuid import UUID

from django.db import transaction

from apps.fleet.models import Connector
from apps.telemetry.slices import from_ms
from apps.warning.models import Rule, ShadowAlarm, ShadowStep
from ohmwatch.findings import Finding, Severity
from ohmwatch.lifecycle import Action, ClearedAlarm, OpenAlarm, decide

Key = tuple[UUID, UUID, str]
"""Rule, connector, condition: at most one open each."""

WITHOUT_CHANGE = frozenset({Action.NOTHING, Action.REFRESH, Action.EVIDENCE})

KEPT = timedelta(days=3)
"""Of steps, but for the newest before: no late reading reaches further back."""


@dataclass(frozen=True)
class Retold:
    """What rules in shadow state of a connector after `since_ms` (device time), in order.

    `rules` names those that were asked once more, each with its condition.
    """

    connector: str
    since_ms: int
    findings: Sequence[Finding]
    rules: Mapping[str, str]


def note_findings(findings: Sequence[Finding], *, judged_at: datetime) -> int:
    """Takes in what shadows of the current tenant state, in order; returns how many changes.

    Joins the caller's transaction, as apply_findings of the alarms does. The same findings once
    more change nothing. Of rules and connectors that are gone nothing is kept.
    """
    known = _of_known(findings)
    if not known:
        return 0
    rows = _rows_of(known)
    changes = 0
    for finding in known:
        row = rows.get(_key(finding))
        stand = _next(_Stand.of(row) if row else None, finding, now=judged_at)
        if stand is not None:
            rows[_key(finding)] = _write(stand, row, finding, judged_at)
            changes += 1
    return changes


def retell(told: Iterable[Retold], *, judged_at: datetime) -> int:
    """Brings what shadows of the current tenant have counted to what is true; how many stories were
    not.

    Joins the caller's transaction. Once more changes nothing. Stories of which the beginning was
    not kept stay as they are.
    """
    with transaction.atomic():
        return sum(_retell(each, judged_at) for each in told)


# --- one step ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stand:
    """How an alarm in shadow is after a finding. `begins`: it is one from this finding on."""

    since: datetime
    measured_at: datetime
    severity: str
    worst_severity: str
    pole: str
    occurrences: int
    is_open: bool
    evidence: Mapping[str, Any]
    begins: bool = field(default=False)

    @classmethod
    def of(cls, row: ShadowAlarm) -> Self:
        return cls(
            since=row.since,
            measured_at=row.last_measured_at,
            severity=row.severity,
            worst_severity=row.worst_severity,
            pole=row.pole,
            occurrences=row.occurrences,
            is_open=row.ended_at is None,
            evidence=row.evidence,
        )

    @classmethod
    def at(cls, step: ShadowStep) -> Self:
        return cls(**{name: getattr(step, name) for name in _of_a_stand()})

    def as_step(self) -> dict[str, Any]:
        """What a step keeps of it."""
        return {name: getattr(self, name) for name in _of_a_stand()}

    def put_into(self, row: ShadowAlarm, *, judged_at: datetime) -> None:
        row.since, row.last_measured_at = self.since, self.measured_at
        row.severity, row.worst_severity = self.severity, self.worst_severity
        row.pole, row.occurrences = self.pole, self.occurrences
        row.evidence = dict(self.evidence)
        row.ended_at = None if self.is_open else judged_at


def _of_a_stand() -> list[str]:
    """The names of its fields, which a step has too."""
    return [each.name for each in fields(_Stand)]


def _next(stand: _Stand | None, finding: Finding, *, now: datetime) -> _Stand | None:
    """How the alarm is with this finding; None where that changes nothing."""
    is_open = stand is not None and stand.is_open
    decision = decide(
        _as_open(stand) if stand and is_open else None,
        finding,
        now=now,
        cleared=ClearedAlarm(_milliseconds(stand.measured_at)) if stand and not is_open else None,
    )
    if decision.action in WITHOUT_CHANGE:
        return None
    if decision.action is Action.OPEN or stand is None:
        stand = _begun(finding)
    elif decision.action is Action.REOPEN:
        stand = replace(stand, occurrences=stand.occurrences + 1, is_open=True, begins=False)
    else:
        stand = replace(stand, is_open=decision.action is not Action.CLEAR, begins=False)
    return _with(finding, stand)


def _begun(finding: Finding) -> _Stand:
    since = from_ms(min(finding.since_ms, finding.measured_ms))
    return _Stand(since, since, "", "", "", 1, is_open=True, evidence={}, begins=True)


def _with(finding: Finding, stand: _Stand) -> _Stand:
    stand = replace(
        stand,
        measured_at=max(from_ms(finding.measured_ms), stand.since),
        evidence={
            name: value if isinstance(value, str) or abs(value) < float("inf") else None
            for name, value in finding.evidence.items()
        },
    )
    if finding.severity is None:
        return stand
    worst = Severity[stand.worst_severity.upper()] if stand.worst_severity else finding.severity
    return replace(
        stand,
        severity=finding.severity.name.lower(),
        pole=str(finding.pole),
        worst_severity=max(worst, finding.severity).name.lower(),
    )


def _write(
    stand: _Stand, row: ShadowAlarm | None, finding: Finding, judged_at: datetime
) -> ShadowAlarm:
    """The row as it is now, which is a new one where the alarm is."""
    if row is None or stand.begins:
        rule, connector, condition = _key(finding)
        row = ShadowAlarm(
            rule_id=rule,
            rule_version=finding.rule_version,
            connector_id=connector,
            condition=condition,
            opened_at=judged_at,
        )
    stand.put_into(row, judged_at=judged_at)
    row.save()
    ShadowStep.objects.create(alarm=row, judged_at=judged_at, **stand.as_step())
    _forget_old(row)
    return row


def _forget_old(row: ShadowAlarm) -> None:
    """Of what lies out of reach, the newest step is where the rest begins."""
    old = ShadowStep.objects.filter(alarm=row, measured_at__lt=row.last_measured_at - KEPT)
    newest = old.order_by("-pk").values_list("pk", flat=True).first()
    if newest is not None:
        old.filter(pk__lt=newest).delete()


# --- told anew --------------------------------------------------------------------------------


def _retell(told: Retold, judged_at: datetime) -> int:
    since = from_ms(told.since_ms)
    there = _of_known(told.findings)
    changed = 0
    for rule, condition in told.rules.items():
        key = UUID(rule), UUID(told.connector), condition
        findings = [each for each in there if _key(each) == key]
        changed += _Story(key, since, findings).correct(judged_at)
    return changed


@dataclass
class _Story:
    """What a rule in shadow has counted of a connector, and the findings that are true."""

    key: Key
    since: datetime
    findings: Sequence[Finding]

    def correct(self, judged_at: datetime) -> bool:
        """Whether anything was another than was counted."""
        rows = ShadowAlarm.objects.filter(
            rule=self.key[0], connector=self.key[1], condition=self.key[2]
        )
        if rows.filter(last_measured_at__gt=self.since, steps=None).exists():
            return False
        steps = ShadowStep.objects.filter(alarm__in=rows).select_related("alarm")
        told = list(steps.filter(measured_at__gt=self.since).order_by("pk"))
        before = steps.filter(measured_at__lte=self.since).order_by("-pk").first()
        if told and before is None and not told[0].begins:
            return False
        row = before.alarm if before else rows.order_by("-last_measured_at").first()
        if before is None and (told or row is None or row.last_measured_at > self.since):
            row = None
        return self._compare(told, before, row, judged_at)

    def _compare(
        self,
        told: Sequence[ShadowStep],
        before: ShadowStep | None,
        row: ShadowAlarm | None,
        judged_at: datetime,
    ) -> bool:
        stand = _Stand.at(before) if before else _Stand.of(row) if row else None
        truth: list[tuple[Finding, _Stand]] = []
        for finding in self.findings:
            stands = _next(truth[-1][1] if truth else stand, finding, now=judged_at)
            if stands is not None:
                truth.append((finding, stands))
        both = zip(told, truth, strict=False)
        same = [step for step, _ in takewhile(lambda each: _Stand.at(each[0]) == each[1][1], both)]
        if len(same) == len(told) == len(truth):
            return False
        row = _rewound(told[len(same) :], [*([before] if before else []), *same], row)
        for finding, stands in truth[len(same) :]:
            row = _write(stands, row, finding, judged_at)
        return True


def _rewound(
    untrue: Sequence[ShadowStep], true: Sequence[ShadowStep], row: ShadowAlarm | None
) -> ShadowAlarm | None:
    """Takes the untrue steps back, the alarms that began with them as well; the alarm at which the
    story is then."""
    ShadowStep.objects.filter(pk__in=[each.pk for each in untrue]).delete()
    begun = [each.alarm_id for each in untrue if each.begins]
    ShadowAlarm.objects.filter(pk__in=begun).delete()
    if not true:
        return row
    last = true[-1]
    _Stand.at(last).put_into(last.alarm, judged_at=last.judged_at)
    last.alarm.save()
    return last.alarm


# --- rows -------------------------------------------------------------------------------------


def _rows_of(findings: Sequence[Finding]) -> dict[Key, ShadowAlarm]:
    """The open row of each key, else the newest that has ended."""
    keys = {_key(finding) for finding in findings}
    found = ShadowAlarm.objects.filter(
        rule__in={rule for rule, _, _ in keys},
        connector__in={connector for _, connector, _ in keys},
        condition__in={condition for _, _, condition in keys},
    ).order_by("rule_id", "connector_id", "condition", "-last_measured_at")
    newest = found.distinct("rule_id", "connector_id", "condition")
    rows = {_key_of(row): row for row in newest}
    return rows | {_key_of(row): row for row in found.filter(ended_at__isnull=True)}


def _of_known(findings: Sequence[Finding]) -> list[Finding]:
    if not findings:
        return []
    rules = set(
        Rule.objects.filter(pk__in={each.rule for each in findings}).values_list("pk", flat=True)
    )
    connectors = set(
        Connector.objects.filter(pk__in={each.connector for each in findings}).values_list(
            "pk", flat=True
        )
    )
    return [
        each for each in findings if UUID(each.rule) in rules and UUID(each.connector) in connectors
    ]


def _as_open(stand: _Stand) -> OpenAlarm:
    return OpenAlarm(
        severity=Severity[stand.severity.upper()],
        since_ms=_milliseconds(stand.since),
        last_measured_ms=_milliseconds(stand.measured_at),
    )


def _key(finding: Finding) -> Key:
    return UUID(finding.rule), UUID(finding.connector), finding.condition


def _key_of(row: ShadowAlarm) -> Key:
    return row.rule_id, row.connector_id, row.condition


def _milliseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
