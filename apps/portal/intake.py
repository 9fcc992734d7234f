"""What came in: received, stored, duplicate, quarantined by reason, over several stretches; and the
fields that nobody knows."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import redis
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.portal.overview import Lag
from apps.portal.people import StaffRequest, for_staff
from apps.telemetry import board
from apps.telemetry.answers import AccountLine
from apps.telemetry.errors import TelemetryError
from apps.telemetry.tenant import TenantTelemetry

STRETCHES = {
    _("Last hour"): timedelta(hours=1),
    _("24 hours"): timedelta(hours=24),
    _("7 days"): timedelta(days=7),
    _("30 days"): timedelta(days=30),
}


@dataclass(frozen=True)
class Row:
    """A count over each stretch; `reason` is a refusal's code."""

    title: object
    numbers: list[int]
    reason: str = ""


@for_staff()
def intake(request: StaffRequest) -> HttpResponse:
    """The account over several stretches; how far behind; what came late; which unknown fields."""
    now = timezone.now()
    telemetry = TenantTelemetry(request.tenant.slug)
    context: dict[str, Any] = {"now": now, "stretches": list(STRETCHES)}
    try:
        lines = accounts(telemetry, now)
        newest = telemetry.states(sort="newest", size=1).states
        context |= {"rows": rows(lines), "lines": lines}
        context["lag"] = Lag.of(newest[0]) if newest else None
    except TelemetryError as error:
        context["failed"] = error.code
    try:
        context["late"] = board.counts(request.tenant.slug).get("late", 0)
        context["unknown"] = board.unknown_fields(request.tenant.slug)
    except redis.RedisError:
        context.setdefault("late", None)
    return render(request, "portal/intake.html", context)


def accounts(telemetry: TenantTelemetry, now: datetime) -> list[AccountLine]:
    """The account over each stretch up to now."""
    return [telemetry.account(now - stretch, now) for stretch in STRETCHES.values()]


def rows(lines: list[AccountLine]) -> list[Row]:
    """The counts side by side; the reasons that occur, the most frequent of the longest first."""
    reasons = sorted(
        {reason for line in lines for reason in line.quarantined},
        key=lambda reason: -lines[-1].quarantined.get(reason, 0),
    )
    return [
        Row(_("Received"), [line.received for line in lines]),
        Row(_("Stored"), [line.stored for line in lines]),
        Row(_("Duplicates"), [line.duplicate for line in lines]),
        Row(_("Quarantined"), [line.quarantined_total for line in lines]),
        *(
            Row(reason, [line.quarantined.get(reason, 0) for line in lines], reason)
            for reason in reasons
        ),
    ]
