"""The quarantine: what was refused, why, and its bytes."""

from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import render

from apps.accounts.permissions import Permission
from apps.portal.people import StaffRequest, for_staff
from apps.telemetry.answers import QuarantinedMessage
from apps.telemetry.errors import TelemetryError
from apps.telemetry.store import TenantTelemetry
from ohmwatch.refusals import Reason

PAGE = 50
SHOWN_BYTES = 64 * 1024


@for_staff(Permission.SEE_QUARANTINE)
def message_list(request: StaffRequest) -> HttpResponse:
    reason, device = request.GET.get("reason", ""), request.GET.get("device", "").strip()
    reasons = [each.value for each in Reason]
    context: dict[str, Any] = {"reason": reason, "device": device, "reasons": reasons}
    known = reason if reason in reasons else None
    try:
        context["page"] = TenantTelemetry(request.tenant.slug).quarantine(
            reason=known, device=device or None, after=request.GET.get("after", ""), size=PAGE
        )
    except TelemetryError as error:
        context["failed"] = error.code
    return render(request, "portal/quarantine.html", context)


@for_staff(Permission.SEE_QUARANTINE)
def message_page(request: StaffRequest, pk: str) -> HttpResponse:
    message = _message(request, pk)
    context = {"message": message, "text": _as_text(message.payload[:SHOWN_BYTES])}
    return render(request, "portal/quarantined.html", context)


@for_staff(Permission.SEE_QUARANTINE)
def message_bytes(request: StaffRequest, pk: str) -> HttpResponse:
    """The message as it came, as a download: never shown as a page of ours."""
    message = _message(request, pk)
    return HttpResponse(
        message.payload,
        content_type="application/octet-stream",
        headers={"Content-Disposition": 'attachment; filename="refused-message.bin"'},
    )


def _message(request: StaffRequest, pk: str) -> QuarantinedMessage:
    message = TenantTelemetry(request.tenant.slug).quarantine_message(pk)
    if message is None:
        raise Http404
    return message


def _as_text(payload: bytes) -> str:
    """Text where it is text, else a dump: offset, 16 bytes, and what is printable of them."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        rows = range(0, len(payload), 16)
        return "\n".join(_dump_row(at, payload[at : at + 16]) for at in rows)


def _dump_row(at: int, row: bytes) -> str:
    shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
    return f"{at:06x}  {row.hex(' '):<47}  {shown}"
