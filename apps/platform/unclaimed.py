"""Refused messages that no tenant could be told for: operators see them, nobody else."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from apps.platform.doors import for_operators
from apps.telemetry.answers import QuarantinedMessage
from apps.telemetry.documents import PLATFORM
from apps.telemetry.errors import TelemetryError
from apps.telemetry.store import TenantTelemetry
from ohmwatch.refusals import Reason

PAGE = 50


@require_GET
@for_operators
def message_list(request: HttpRequest) -> HttpResponse:
    """Newest first, by reason; a page at a time."""
    reason = request.GET.get("reason", "")
    chosen = reason if reason in set(Reason) else ""
    context: dict[str, Any] = {"reason": chosen}
    try:
        context["page"] = TenantTelemetry(PLATFORM).quarantine(
            reason=chosen or None, after=request.GET.get("after", ""), size=PAGE
        )
    except TelemetryError as error:
        context["failed"] = error.code
    return render(request, "platform/unclaimed.html", context)


@require_GET
@for_operators
def message_page(request: HttpRequest, pk: str) -> HttpResponse:
    return render(request, "platform/unclaimed_message.html", {"message": _message(pk)})


@require_GET
@for_operators
def message_bytes(request: HttpRequest, pk: str) -> HttpResponse:
    """The message as it came, as a download: never shown as a page of ours."""
    return HttpResponse(
        _message(pk).payload,
        content_type="application/octet-stream",
        headers={"Content-Disposition": 'attachment; filename="refused-message.bin"'},
    )


def _message(pk: str) -> QuarantinedMessage:
    message = TenantTelemetry(PLATFORM).quarantine_message(pk)
    if message is None:
        raise Http404("no such message")
    return message
