"""Ground truth: what people found at connectors, and how right detectors and rules were by it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from uuid import UUID

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from apps.accounts.models import User
from apps.accounts.permissions import Permission
from apps.alarms.models import Alarm, Cause, Inspection, Kind, Outcome, Pole
from apps.alarms.numbering import Numbers
from apps.alarms.operations import Journal
from apps.fleet.models import Connector

CAUGHT_WITHIN = timedelta(days=90)
"""An alarm announced a failure if it opened at most so long before it was found."""

SAME_FAILURE = timedelta(days=7)
"""Faults found at one connector within it are one failure, first found when the first was."""


@dataclass(frozen=True, slots=True)
class Found:
    """What somebody found. `resistance_uohm` in µΩ, where it was measured."""

    outcome: str
    found_at: datetime
    cause: str = ""
    pole: str = ""
    resistance_uohm: float | None = None
    text: str = ""


# --- entering -------------------------------------------------------------------------------------


def record(*, user: User, alarm: Alarm, found: Found, now: datetime) -> Inspection:
    """Ties what was found to an alarm, as an event of its story. Later entries correct earlier.

    Raises PermissionDenied, and ValidationError by field.
    """
    if not user.can(Permission.INSPECT):
        raise PermissionDenied
    _check(found, now=now)
    with transaction.atomic():
        row = _row(user, alarm.connector, found, now)
        row.alarm = alarm
        row.save()
        journal = Journal(now, Numbers())
        journal.write(
            alarm,
            Kind.INSPECTED,
            reason=f"found_{found.outcome}",
            actor=None if _is_key(user) else user,
            text=found.text.strip()[:2000],
            evidence=_as_evidence(found, user),
        )
        journal.close()
    return row


def record_failure(*, user: User, connector: Connector, found: Found, now: datetime) -> Inspection:
    """Notes a fault of which nobody was warned, by the tenant's staff: what recall is about.

    Raises PermissionDenied, and ValidationError by field.
    """
    if not (user.is_staff_of_tenant and user.can(Permission.INSPECT)):
        raise PermissionDenied
    if found.outcome != Outcome.FAULT:
        raise ValidationError({"outcome": [_("Without an alarm only a fault is worth a note.")]})
    _check(found, now=now)
    row = _row(user, connector, found, now)
    row.save()
    return row


def _check(found: Found, *, now: datetime) -> None:
    errors: dict[str, list[str]] = {}
    if found.outcome not in Outcome.values:
        errors["outcome"] = [_("Say what was found.")]
    if found.cause and (found.cause not in Cause.values or found.outcome != Outcome.FAULT):
        errors["cause"] = [_("Only a fault has a cause, one of those that are offered.")]
    if found.pole not in Pole.values:
        errors["pole"] = [_("There is no such pole.")]
    if found.resistance_uohm is not None and not 0 < found.resistance_uohm <= 1e9:
        errors["resistance_uohm"] = [_("A resistance is above zero, in µΩ.")]
    if found.found_at > now + timedelta(minutes=5):
        errors["found_at"] = [_("This lies in the future.")]
    if errors:
        raise ValidationError(errors)


def _row(user: User, connector: Connector, found: Found, now: datetime) -> Inspection:
    return Inspection(
        connector=connector,
        outcome=found.outcome,
        cause=found.cause,
        pole=found.pole,
        resistance_uohm=found.resistance_uohm,
        text=found.text.strip()[:2000],
        found_at=found.found_at,
        entered_at=now,
        entered_by=None if _is_key(user) else user,
    )


def _is_key(user: User) -> bool:
    """Whether a system asks with an API key: whom that stands for is in no table."""
    return user._state.adding


def _as_evidence(found: Found, user: User) -> dict[str, float | str]:
    said: dict[str, float | str] = {"outcome": found.outcome}
    if _is_key(user):
        said["entered_by"] = user.username
    if found.cause:
        said["cause"] = found.cause
    if found.pole:
        said["pole"] = found.pole
    if found.resistance_uohm is not None:
        said["resistance_uohm"] = found.resistance_uohm
    return said


# --- asking ---------------------------------------------------------------------------------------


def inspections_of(*, for_user: User, alarm: Alarm) -> QuerySet[Inspection]:
    """What was found about an alarm that this person may see, newest first."""
    if not for_user.can(Permission.VIEW_FLEET):
        return Inspection.objects.none()
    return Inspection.objects.filter(alarm=alarm).select_related("entered_by")


@dataclass(frozen=True, slots=True)
class Failure:
    """A fault that was confirmed, of whichever alarm or of none."""

    connector: UUID
    model: str
    found_at: datetime


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What stands of one connector's inspections: a fault, or nothing."""

    connector: UUID
    model: str
    found_at: datetime
    outcome: str

    @property
    def month(self) -> str:
        """Of the finding, UTC: 2026-11."""
        return month_of(self.found_at)


@dataclass(frozen=True, slots=True)
class Verdict:
    """An alarm and what the newest inspection said of it."""

    connector: UUID
    detector: str
    rule: UUID | None
    model: str
    opened_at: datetime
    outcome: str = ""


@dataclass(frozen=True)
class Score:
    """How right something was.

    `precision` of the alarms that were inspected with an outcome; `recall` of all failures;
    `leads_days` from alarm to finding. None where there is nothing to divide by.
    """

    name: str
    confirmed: int
    nothing: int
    unclear: int
    failures: int
    leads_days: tuple[float, ...]

    @property
    def precision(self) -> float | None:
        judged = self.confirmed + self.nothing
        return self.confirmed / judged if judged else None

    @property
    def recall(self) -> float | None:
        return len(self.leads_days) / self.failures if self.failures else None

    @property
    def lead_days(self) -> float | None:
        """The median."""
        return median(self.leads_days) if self.leads_days else None


def failures_at(connectors: Iterable[UUID], *, since: datetime, until: datetime) -> list[Failure]:
    """Confirmed failures of these connectors, since ≤ found < until, in order."""
    rows = _faults().filter(connector__in=list(connectors))
    return _merged(rows.filter(found_at__gte=since, found_at__lt=until))


def all_failures(*, for_user: User) -> list[Failure]:
    """Every confirmed failure of the tenant, for its staff, in order."""
    return _merged(_faults()) if _is_staff(for_user) else []


def confirmed(*, for_user: User, model: str = "", month: str = "") -> list[Confirmed]:
    """All that was confirmed, faults and nothings, of a model and a month; empty: of all."""
    if not _is_staff(for_user):
        return []
    rows = _standing().filter(outcome__in=[Outcome.FAULT, Outcome.NOTHING])
    found = (
        Confirmed(row.connector_id, row.connector.model.code, row.found_at, row.outcome)
        for row in rows.select_related("connector__model").order_by("found_at", "pk")
    )
    return [each for each in found if model in ("", each.model) and month in ("", each.month)]


def nothings_at(connectors: Iterable[UUID], *, month: str = "") -> set[UUID]:
    """Those of these connectors where people looked, in that month, and nothing was found."""
    rows = _standing().filter(connector__in=list(connectors), outcome=Outcome.NOTHING)
    return {row.connector_id for row in rows if month in ("", month_of(row.found_at))}


def month_of(instant: datetime) -> str:
    """In UTC, as 2026-11."""
    return instant.astimezone(UTC).strftime("%Y-%m")


def verdicts(*, for_user: User) -> list[Verdict]:
    """Every alarm that was inspected, and every one at a connector that failed; newest first."""
    if not _is_staff(for_user):
        return []
    inspected = Inspection.objects.filter(alarm__isnull=False).order_by(
        "alarm_id", "-entered_at", "-id"
    )
    newest = dict(inspected.distinct("alarm_id").values_list("alarm__pk", "outcome"))
    failed = _faults().order_by().values("connector")
    told = Alarm.objects.filter(pk__in=newest) | Alarm.objects.filter(connector__in=failed)
    return [
        Verdict(
            connector=alarm.connector_id,
            detector=alarm.detector or alarm.condition,
            rule=alarm.rule_id,
            model=alarm.connector.model.code,
            opened_at=alarm.opened_at,
            outcome=newest.get(alarm.pk, ""),
        )
        for alarm in told.select_related("connector__model")
    ]


def scores(
    told: Sequence[Verdict],
    failures: Sequence[Failure],
    *,
    by: Callable[[Verdict], str],
    of: Callable[[Failure], str] | None = None,
) -> list[Score]:
    """A score for each group of alarms. `of` groups the failures alike; without it all count."""
    groups: defaultdict[str, list[Verdict]] = defaultdict(list)
    for each in told:
        groups[by(each)].append(each)
    names = {*groups, *(map(of, failures) if of else ())}
    return [
        _score(
            name,
            groups.get(name, []),
            [each for each in failures if of is None or of(each) == name],
        )
        for name in sorted(names)
    ]


def _score(name: str, told: Sequence[Verdict], failures: Sequence[Failure]) -> Score:
    outcomes = [each.outcome for each in told]
    leads = [lead for each in failures if (lead := _lead_days(each, told)) is not None]
    return Score(
        name=name,
        confirmed=outcomes.count(Outcome.FAULT),
        nothing=outcomes.count(Outcome.NOTHING),
        unclear=outcomes.count(Outcome.UNCLEAR),
        failures=len(failures),
        leads_days=tuple(leads),
    )


def _lead_days(failure: Failure, told: Sequence[Verdict]) -> float | None:
    before = [
        failure.found_at - each.opened_at
        for each in told
        if each.connector == failure.connector
        and timedelta(0) <= failure.found_at - each.opened_at <= CAUGHT_WITHIN
    ]
    return max(before).total_seconds() / 86_400 if before else None


def _is_staff(user: User) -> bool:
    return user.is_staff_of_tenant and user.can(Permission.VIEW_FLEET)


def _faults() -> QuerySet[Inspection]:
    """The faults that stand."""
    return _standing().filter(outcome=Outcome.FAULT)


def _standing() -> QuerySet[Inspection]:
    """The entries that stand: those without an alarm, and of each alarm the newest."""
    newest = (
        Inspection.objects.filter(alarm__isnull=False)
        .order_by("alarm_id", "-entered_at", "-id")
        .distinct("alarm_id")
        .values("pk")
    )
    return Inspection.objects.filter(pk__in=newest) | Inspection.objects.filter(alarm=None)


def _merged(rows: QuerySet[Inspection]) -> list[Failure]:
    found: list[Failure] = []
    last: dict[UUID, datetime] = {}
    for row in rows.select_related("connector__model").order_by("found_at", "pk"):
        known = last.get(row.connector_id)
        last[row.connector_id] = row.found_at
        if known is None or row.found_at - known > SAME_FAILURE:
            found.append(Failure(row.connector_id, row.connector.model.code, row.found_at))
    return found
