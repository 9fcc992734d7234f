"""A connector: its live values, its charts, its alarms."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from apps.alarms.models import State
from apps.alarms.queries import alarms
from apps.catalog.models import ConnectorModel
from apps.console.people import PersonRequest, for_people
from apps.console.readouts import read_out
from apps.console.series import QUANTITIES, Range, chart_of
from apps.console.urgency import worst_first
from apps.devices.models import Channel
from apps.devices.trial import publish_command
from apps.fleet import queries
from apps.fleet.models import Connector
from apps.telemetry.errors import TelemetryError
from apps.telemetry.tenant import TenantTelemetry

RANGES = ("1h", "24h", "7d", "30d")
CHART_RATINGS = (
    "temperature_limit_c",
    "temperature_rise_limit_k",
    "rated_current_a",
    "rated_voltage_v",
    "insulation_minimum_kohm",
)


def _drawn_limits(model: ConnectorModel) -> dict[str, Any]:
    return {name: getattr(model, name) for name in CHART_RATINGS}


def _channel_of(connector: Connector) -> Channel | None:
    return Channel.objects.select_related("device").filter(connector=connector).first()


def _first_reading(channel: Channel | None) -> dict[str, Any]:
    """The channel, and a command that sends a reading for it: what helps while none has come."""
    if channel is None:
        return {"channel": None}
    return {"channel": channel, "snippet": publish_command(channel.device, number=channel.number)}


@for_people
def connector_page(request: PersonRequest, pk: UUID) -> HttpResponse:
    connector = queries.connector_for(user=request.user, pk=pk)
    readouts = read_out([connector], telemetry=TenantTelemetry(request.tenant.slug))
    shown = alarms(for_user=request.user).filter(connector=connector)
    context: dict[str, Any] = {
        "connector": connector,
        "readout": readouts.rows[0],
        "readouts": readouts,
        "open_alarms": worst_first(shown.filter(state=State.OPEN)),
        "past_alarms": shown.filter(state=State.CLEARED)[:5],
        "limits": _drawn_limits(connector.model),
        "ranges": RANGES,
        "stale_after_ms": int(max(3 * (connector.model.interval_s or 0), 30) * 1000),
    }
    if request.user.is_staff_of_tenant:
        context |= _first_reading(_channel_of(connector))
    return render(request, "console/connector.html", context)


@for_people
@require_GET
def series(request: PersonRequest, pk: UUID) -> HttpResponse:
    """?start=…&end=… in ms since 1970 UTC; the last day without them."""
    connector = queries.connector_for(user=request.user, pk=pk)
    try:
        span = Range.asked(request.GET.get("start"), request.GET.get("end"), now=timezone.now())
        telemetry = TenantTelemetry(request.tenant.slug, retention=request.tenant.retention)
        found = telemetry.series(
            connector.pk, QUANTITIES, start=span.start, end=span.end, points=span.points
        )
    except ValueError as error:
        return JsonResponse({"code": "range_invalid", "detail": str(error)}, status=400)
    except TelemetryError as error:
        return JsonResponse({"code": error.code}, status=400 if error.permanent else 503)
    return JsonResponse(chart_of(found, connector=connector, user=request.user, span=span))
