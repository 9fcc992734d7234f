"""Questions about alarms, each for the person who asks: others' alarms are not there."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Max, QuerySet

from apps.accounts.models import User
from apps.accounts.permissions import Permission
from apps.alarms.models import Alarm, AlarmEvent, Severity, State
from apps.tenants.lookups import find_or_404


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
    return _events(for_user).filter(alarm=alarm)


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
