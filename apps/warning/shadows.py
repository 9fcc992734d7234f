"""What rules in shadow state: by the decisions of an alarm's life, kept and told to nobody."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from apps.fleet.models import Connector
from apps.telemetry.slices import from_ms
from apps.warning.models import Rule, ShadowAlarm
from ohmwatch.findings import Finding, Severity
from ohmwatch.lifecycle import Action, ClearedAlarm, OpenAlarm, decide

Key = tuple[UUID, UUID, str]
"""Rule, connector, condition: at most one open each."""

WITHOUT_CHANGE = frozenset({Action.NOTHING, Action.REFRESH, Action.EVIDENCE})


def note_findings(findings: Sequence[Finding], *, judged_at: datetime) -> int:
    """Takes in what shadows of the current tenant state, in order; returns how many changes.

    Joins the caller's transaction, as apply_findings of the alarms does. The same findings once
    more change nothing. Of rules and connectors that are gone nothing is kept.
    """
    known = _of_known(findings)
    if not known:
        return 0
    rows = _rows_of(known)
    return sum(_apply(each, rows, judged_at) for each in known)


def _apply(finding: Finding, rows: dict[Key, ShadowAlarm], judged_at: datetime) -> bool:
    key = _key(finding)
    row = rows.get(key)
    is_open = row is not None and row.ended_at is None
    decision = decide(
        _as_open(row) if row is not None and is_open else None,
        finding,
        now=judged_at,
        cleared=ClearedAlarm(_milliseconds(row.last_measured_at)) if row and not is_open else None,
    )
    if decision.action in WITHOUT_CHANGE:
        return False
    if decision.action is Action.OPEN or row is None:
        row = rows[key] = _begun(finding, judged_at)
    elif decision.action is Action.REOPEN:
        row.occurrences += 1
        row.ended_at = None
    _take_in(finding, row)
    if decision.action is Action.CLEAR:
        row.ended_at = judged_at
    row.save()
    return True


def _begun(finding: Finding, judged_at: datetime) -> ShadowAlarm:
    rule, connector, condition = _key(finding)
    return ShadowAlarm(
        rule_id=rule,
        rule_version=finding.rule_version,
        connector_id=connector,
        condition=condition,
        since=from_ms(min(finding.since_ms, finding.measured_ms)),
        opened_at=judged_at,
    )


def _take_in(finding: Finding, row: ShadowAlarm) -> None:
    row.last_measured_at = max(from_ms(finding.measured_ms), row.since)
    row.evidence = {
        name: value if isinstance(value, str) or abs(value) < float("inf") else None
        for name, value in finding.evidence.items()
    }
    if finding.severity is None:
        return
    row.severity, row.pole = finding.severity.name.lower(), str(finding.pole)
    worst = Severity[row.worst_severity.upper()] if row.worst_severity else finding.severity
    row.worst_severity = max(worst, finding.severity).name.lower()


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


def _as_open(row: ShadowAlarm) -> OpenAlarm:
    return OpenAlarm(
        severity=Severity[row.severity.upper()],
        since_ms=_milliseconds(row.since),
        last_measured_ms=_milliseconds(row.last_measured_at),
    )


def _key(finding: Finding) -> Key:
    return UUID(finding.rule), UUID(finding.connector), finding.condition


def _key_of(row: ShadowAlarm) -> Key:
    return row.rule_id, row.connector_id, row.condition


def _milliseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
