"""What the manufacturer's people see first: counts, trouble, whether all is accounted for, lag."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Organisation, User
from apps.alarms.models import Severity
from apps.alarms.queries import alarms
from apps.catalog.queries import models
from apps.devices.queries import devices
from apps.fleet.queries import connectors, vehicles
from apps.notifications.queries import contacts
from apps.portal.base import with_connectors
from apps.portal.people import StaffRequest, for_staff
from apps.telemetry.answers import State
from apps.telemetry.errors import TelemetryError
from apps.telemetry.tenant import TenantTelemetry

WORST = 8
ACCOUNTED = timedelta(hours=24)


@dataclass(frozen=True)
class Step:
    """A step of setting up that ticks itself off."""

    title: str | Promise
    url: str
    done: bool


@dataclass(frozen=True)
class Lag:
    """How far behind the newest reading is: from measured to arrived to judged, in s."""

    newest: State
    travel_s: float
    judging_s: float | None

    @classmethod
    def of(cls, newest: State) -> "Lag | None":
        if newest.measured_ms is None or newest.arrived_ms is None:
            return None
        judged = newest.judged_ms
        judging_s = None if judged is None else max(0, judged - newest.arrived_ms) / 1000
        return cls(newest, max(0, newest.arrived_ms - newest.measured_ms) / 1000, judging_s)


def _counts(user: User) -> dict[str, int]:
    return {
        "models": models(for_user=user).count(),
        "organisations": Organisation.objects.count(),
        "vehicles": vehicles(for_user=user).count(),
        "connectors": connectors(for_user=user).filter(state="in_service").count(),
        "devices": devices(for_user=user).count(),
        "contacts": contacts(for_user=user).filter(verified_at__isnull=False).count(),
        "online": devices(for_user=user).filter(online=True).count(),
    }


def _open_by_severity(user: User) -> list[tuple[str, int]]:
    rows = alarms(for_user=user, state="open").order_by().values("severity").annotate(n=Count("pk"))
    found = {row["severity"]: row["n"] for row in rows}
    return [(each.value, found.get(each.value, 0)) for each in reversed(Severity)]


def _steps(counts: dict[str, int], heard: bool) -> list[Step]:
    return [
        Step(_("Add a connector model"), reverse("portal:model-add"), counts["models"] > 0),
        Step(
            _("Add an organisation that owns vehicles"),
            reverse("portal:organisation-add"),
            counts["organisations"] > 0,
        ),
        Step(_("Add a vehicle"), reverse("portal:vehicle-add"), counts["vehicles"] > 0),
        Step(_("Install a connector"), reverse("portal:connector-add"), counts["connectors"] > 0),
        Step(_("Enrol a device"), reverse("portal:device-add"), counts["devices"] > 0),
        Step(_("Add a contact"), reverse("console:contact-add"), counts["contacts"] > 0),
        Step(_("See the first reading arrive"), reverse("portal:devices"), heard),
    ]


@for_staff()
def overview(request: StaffRequest) -> HttpResponse:
    counts = _counts(request.user)
    context: dict[str, Any] = {
        "counts": counts,
        "open_by_severity": _open_by_severity(request.user),
        "newest_alarms": alarms(for_user=request.user, state="open")[:WORST],
    }
    telemetry = TenantTelemetry(request.tenant.slug)
    try:
        newest = telemetry.states(sort="newest", size=1).states
        worst = telemetry.states(sort="worst", size=WORST).states
        context["worst"] = with_connectors(worst, user=request.user)
        context["lag"] = Lag.of(newest[0]) if newest else None
    except TelemetryError as error:
        context["failed"] = error.code
    heard = bool(context.get("lag")) or "failed" in context
    steps = _steps(counts, heard)
    context["steps"] = [] if all(step.done for step in steps) else steps
    return render(request, "portal/overview.html", context)


@for_staff()
def account(request: StaffRequest) -> HttpResponse:
    """The account of the last day, as a part of the overview that is asked for on its own."""
    now = timezone.now()
    context: dict[str, Any] = {"now": now}
    try:
        context["account"] = TenantTelemetry(request.tenant.slug).account(now - ACCOUNTED, now)
    except TelemetryError as error:
        context["failed"] = error.code
    return render(request, "portal/account.html", context)


@for_staff()
def alarm_list(request: StaffRequest) -> HttpResponse:
    """Alarms have one page for everybody."""
    return redirect("console:alarms")
