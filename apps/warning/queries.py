"""Questions about rules: for people, for detection, for the record."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Count, Q, QuerySet
from psycopg import sql

from apps.accounts.models import User
from apps.accounts.permissions import Permission
from apps.fleet.models import Connector, ConnectorState
from apps.tenants.lookups import find_or_404, key_of
from apps.warning.models import BackTest, Rule, RuleVersion, ShadowAlarm
from ohmwatch import rules as core

LOOKUPS = {
    "model": "model__code",
    "batch": "batch",
    "organisation": "vehicle__organisation",
    "vehicle": "vehicle",
    "position": "position",
    "connector": "pk",
}
"""How a connector's row is found by each dimension of a selection."""


def rules(*, for_user: User) -> QuerySet[Rule]:
    """The tenant's rules that are not removed, for its own staff."""
    return _all_rules(for_user).filter(removed_at__isnull=True)


def rule_for(*, user: User, pk: object) -> Rule:
    """One rule, also one that was removed. Raises Http404."""
    return find_or_404(_all_rules(user), pk)


def versions_of(*, for_user: User, rule: Rule) -> QuerySet[RuleVersion]:
    """Every version of a rule, newest first."""
    if not _may_see(for_user):
        return RuleVersion.objects.none()
    return RuleVersion.objects.filter(rule=rule).select_related("changed_by")


def version_named(rule_id: UUID | None, number: int | None) -> RuleVersion | None:
    """The version that an alarm or an event names; None where it names none."""
    if rule_id is None or number is None:
        return None
    return RuleVersion.objects.filter(rule=rule_id, number=number).first()


def shadow_alarms(*, for_user: User, rule: Rule) -> QuerySet[ShadowAlarm]:
    """What a rule in shadow would have raised, newest first."""
    if not _may_see(for_user):
        return ShadowAlarm.objects.none()
    return ShadowAlarm.objects.filter(rule=rule).select_related(
        "connector__model", "connector__vehicle__organisation"
    )


def shadow_counts(*, for_user: User) -> dict[UUID, int]:
    """How many alarms each rule would have raised in shadow, by rule."""
    if not _may_see(for_user):
        return {}
    rows = ShadowAlarm.objects.order_by().values("rule").annotate(number=Count("pk"))
    return {row["rule"]: row["number"] for row in rows}


def judged_by(row: BackTest) -> QuerySet[Connector]:
    """The connectors of a back-test; of a set of ground truth also those replaced since."""
    if not row.truth:
        return selected(row.selection)
    return _fitting(Connector.objects.filter(pk__in=row.among), row.selection)


def selected(selection: Mapping[str, Sequence[str]]) -> QuerySet[Connector]:
    """The connectors in service that a selection fits, whatever the share."""
    return _fitting(Connector.objects.filter(state=ConnectorState.IN_SERVICE), selection)


def _fitting(
    found: QuerySet[Connector], selection: Mapping[str, Sequence[str]]
) -> QuerySet[Connector]:
    for name, values in selection.items():
        if name in ("organisation", "vehicle", "connector"):
            values = [each for each in values if key_of(each)]
        found = found.filter(Q(**{f"{LOOKUPS[name]}__in": values}))
    return found


def core_rules() -> list[core.Rule]:
    """The rules of the tenant that is set, as detection reads them."""
    return [as_core(row) for row in Rule.objects.filter(removed_at__isnull=True)]


def dimensions_of(connector: Connector) -> dict[str, str]:
    """What telemetry is sliced by, of a connector whose model and vehicle are loaded."""
    vehicle = connector.vehicle
    found = {
        "model": connector.model.code,
        "batch": connector.batch,
        "organisation": str(vehicle.organisation_id) if vehicle else "",
        "vehicle": str(vehicle.pk) if vehicle else "",
        "position": connector.position,
    }
    return {name: value for name, value in found.items() if value}


def as_core(row: Rule, **changes: Any) -> core.Rule:
    """A row as the core reads it, with some of its fields changed."""
    return core.Rule(
        **{
            "id": str(row.pk),
            "version": row.version,
            "detector": row.detector,
            "mode": core.Mode(row.mode),
            "share_pct": row.share_pct,
            "selection": frozen(row.selection),
            "parameters": row.parameters,
            "severities": row.severities,
            **changes,
        }
    )


def frozen(selection: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    """A selection as the core reads it."""
    return {name: frozenset(values) for name, values in selection.items()}


def schemas_switching_off(schemas: Sequence[str]) -> list[str]:
    """In which of these tenants a rule switches a detector off, asked in one statement."""
    if not schemas:
        return []
    one = sql.SQL(
        "SELECT {name} WHERE EXISTS"
        " (SELECT 1 FROM {table} WHERE mode = 'off' AND removed_at IS NULL)"
    )
    query = sql.SQL(" UNION ALL ").join(
        one.format(name=sql.Literal(each), table=sql.Identifier(each, "warning_rule"))
        for each in schemas
    )
    with connection.cursor() as cursor:
        cursor.execute(query.as_string(cursor.cursor))
        return [row[0] for row in cursor.fetchall()]


def _may_see(user: User) -> bool:
    return user.is_staff_of_tenant and user.can(Permission.VIEW_FLEET)


def _all_rules(user: User) -> QuerySet[Rule]:
    return Rule.objects.all() if _may_see(user) else Rule.objects.none()


def detectors_changed_since(since: datetime) -> set[str]:
    """The detectors of which a rule was made, changed, taken back or removed since then."""
    changed = RuleVersion.objects.filter(changed_at__gt=since)
    return set(changed.values_list("rule__detector", flat=True))
