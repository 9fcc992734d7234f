"""Which of a tenant's connectors age ahead of their like, and what becomes of those alarms."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

from apps.alarms.models import Alarm, AlarmEvent, State
from apps.alarms.operations import apply_findings
from apps.fleet.models import Connector
from apps.warning.detectors import fleet_detectors
from apps.warning.models import ShadowAlarm
from apps.warning.queries import core_rules, dimensions_of
from apps.warning.shadows import note_findings
from ohmwatch.findings import Finding
from ohmwatch.fleet import AgeingOutlier, Standing
from ohmwatch.rules import Judge, Rulebook

AT_ONCE = 1_000
"""Connectors whose rows are in memory at a time."""


def judge_ageing(standings: Sequence[Standing], *, now: datetime) -> list[AlarmEvent]:
    """Compares the current tenant's connectors by its rules: opens, refreshes, clears alarms.

    All of a group are fellows, whatever rule judges them. The same standings once more change
    nothing.
    """
    with transaction.atomic():
        in_force: list[Finding] = []
        in_shadow: list[Finding] = []
        for judge, connectors in _judged(standings).values():
            findings = _stated(judge, connectors, standings)
            (in_shadow if judge.is_shadow else in_force).extend(findings)
        note_findings(in_shadow, judged_at=now)
        return apply_findings(in_force, judged_at=now)


def _judged(standings: Sequence[Standing]) -> Mapping[int, tuple[Judge, set[str]]]:
    """Each judge, by its identity, with the connectors that it judges."""
    detectors = fleet_detectors()
    rules = [each for each in core_rules() if each.detector in detectors]
    book = Rulebook(rules, list(detectors.values()))
    found: dict[int, tuple[Judge, set[str]]] = {}
    names = [each.connector for each in standings]
    for first in range(0, len(names), AT_ONCE):
        rows = Connector.objects.filter(pk__in=names[first : first + AT_ONCE])
        for row in rows.select_related("model", "vehicle"):
            for judge in book.plan_for(str(row.pk), dimensions_of(row)).judges:
                found.setdefault(id(judge), (judge, set()))[1].add(str(row.pk))
    return found


def _stated(judge: Judge, connectors: set[str], standings: Sequence[Standing]) -> list[Finding]:
    detector = judge.detector
    assert isinstance(detector, AgeingOutlier)
    found = detector.compare(standings, stated=_open(judge))
    return [judge.state(each) for each in found if each.connector in connectors]


def _open(judge: Judge) -> set[str]:
    """Of whom it is said already, by what is in force or by this shadow."""
    condition = judge.detector.condition
    if judge.is_shadow:
        shadows = ShadowAlarm.objects.filter(rule=UUID(judge.rule), ended_at__isnull=True)
        return {str(each) for each in shadows.values_list("connector", flat=True)}
    rows = Alarm.objects.filter(condition=condition, state=State.OPEN)
    return {str(each) for each in rows.values_list("connector", flat=True)}
