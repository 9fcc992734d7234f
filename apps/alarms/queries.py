"""Questions about alarms, each for the person who asks: others' alarms are not there."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import F, Max, Q, QuerySet

from apps.accounts.models import User
from apps.accounts.permissions import Permission
from apps.alarms.models import Alarm, AlarmEvent, Kind, Severity, State
from apps.telemetry.answers import Reading
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.lookups import find_or_404
from ohmwatch.lifecycle import CAUSES, Reason, is_one_story

SHOWN_BEFORE, SHOWN_AFTER = 3, 2
SHOWN_WITHIN = timedelta(days=1)
"""Readings that show an alarm: the one that opened it is the last of those before. Further away
they would show another day."""


@dataclass(frozen=True, slots=True)
class Health:
    """A connector by its open alarms: `health` is `ok` or the worst severity."""

    health: str = "ok"
    open_alarms: int = 0
    worst_condition: str = ""


def alarms(*, for_user: User, state: str | None = None) -> QuerySet[Alarm]:
    """The alarms this person may see, newest first; of one state (`open`, `cleared`) if given."""
    found = Alarm.objects.select_related(
        "connector__model", "connector__vehicle__organisation", "acknowledged_by"
    )
    if state is not None:
        found = found.filter(state=state)
    if not for_user.can(Permission.VIEW_FLEET):
        return found.none()
    if for_user.is_staff_of_tenant:
        return found
    return found.filter(connector__vehicle__organisation=for_user.organisation_id)


def alarm_for(*, user: User, pk: object) -> Alarm:
    """One alarm. Raises Http404 where it is missing or not this person's to see."""
    return find_or_404(alarms(for_user=user), pk)


def events_of(*, for_user: User, alarm: Alarm) -> QuerySet[AlarmEvent]:
    """The story of an alarm, in order."""
    return _events(for_user).select_related("corrects", "corrected_by").filter(alarm=alarm)


def events_after(*, for_user: User, number: int) -> QuerySet[AlarmEvent]:
    """What happened after event `number`, in order, as far as this person may see."""
    return _events(for_user).filter(number__gt=number)


def latest_number(*, for_user: User) -> int:
    """The number of the newest event this person may see; 0 where there is none."""
    return _events(for_user).aggregate(newest=Max("number"))["newest"] or 0


def health_of(connectors: Iterable[UUID | str]) -> dict[UUID, Health]:
    """The health of each connector; for workers, which ask for no person."""
    wanted = {UUID(str(connector)) for connector in connectors}
    found: dict[UUID, Health] = {connector: Health() for connector in wanted}
    rows = Alarm.objects.filter(connector__in=wanted, state=State.OPEN)
    for connector, severity, condition in rows.order_by("opened_at").values_list(
        "connector", "severity", "condition"
    ):
        found[connector] = _worse(found[connector], severity, condition)
    return found


@dataclass(frozen=True)
class Story:
    """Alarms of one connector that explain each other: one cause may have several consequences."""

    causes: list[Alarm]
    consequences: list[Alarm]

    def __bool__(self) -> bool:
        return bool(self.causes or self.consequences)


def story_of(*, for_user: User, alarm: Alarm) -> Story:
    """The causes of an alarm and what follows from it, of those that stood at the same time."""
    others = alarms(for_user=for_user).filter(connector=alarm.connector_id).exclude(pk=alarm.pk)
    others = others.filter(Q(cleared_at=None) | Q(cleared_at__gte=alarm.since))
    if alarm.cleared_at is not None:
        others = others.filter(since__lte=alarm.cleared_at)
    near = [each for each in others if is_one_story(each.condition, alarm.condition)]
    above = CAUSES.get(alarm.condition, frozenset())
    return Story(
        causes=[each for each in near if each.condition in above],
        consequences=[each for each in near if each.condition not in above],
    )


@dataclass(frozen=True)
class Shown:
    """The few readings that show an alarm, in order: the one that opened it and its neighbours.

    `opened_at` is when that one was measured. No readings: they are no longer kept.
    """

    opened_at: datetime
    readings: list[Reading]


def shown_by(alarm: Alarm, *, telemetry: TenantTelemetry) -> Shown:
    """The readings that show an alarm, of its newest occurrence. Raises what the store raises."""
    opening = (
        alarm.events.filter(kind__in=(Kind.OPENED, Kind.REOPENED), measured_at__isnull=False)
        .order_by("number")
        .last()
    )
    at = opening.measured_at if opening else alarm.since
    assert at is not None
    found = telemetry.readings_around(
        alarm.connector_id, at, before=SHOWN_BEFORE, after=SHOWN_AFTER, within=SHOWN_WITHIN
    )
    return Shown(at, found)


def flapping(alarms: Iterable[UUID]) -> set[UUID]:
    """Of these alarms, those of whose present occurrence it was said that it comes and goes."""
    said = AlarmEvent.objects.filter(
        alarm__in=set(alarms),
        reason=str(Reason.COMES_AND_GOES),
        judged_at__gte=F("alarm__opened_at"),
    )
    return set(said.values_list("alarm", flat=True))


def _worse(known: Health, severity: str, condition: str) -> Health:
    rank = 0 if known.health == "ok" else Severity(known.health).rank
    if Severity(severity).rank > rank:
        return Health(severity, known.open_alarms + 1, condition)
    return Health(known.health, known.open_alarms + 1, known.worst_condition)


def _events(user: User) -> QuerySet[AlarmEvent]:
    found = AlarmEvent.objects.select_related(
        "alarm__connector__model", "alarm__connector__vehicle__organisation", "actor", "rule"
    ).order_by("number")
    if not user.can(Permission.VIEW_FLEET):
        return found.none()
    if user.is_staff_of_tenant:
        return found
    return found.filter(alarm__connector__vehicle__organisation=user.organisation_id)
