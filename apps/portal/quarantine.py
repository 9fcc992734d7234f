"""The quarantine: what was refused, why, its bytes; taken along as a file, and taken in anew."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from apps.accounts.permissions import Permission
from apps.portal.people import StaffRequest, for_staff
from apps.quarantine import operations, queries
from apps.quarantine.models import Replay
from apps.quarantine.wakeups import wake
from apps.telemetry.answers import QuarantinedMessage
from apps.telemetry.errors import TelemetryError
from apps.telemetry.quarantine import RefusedFilter, TenantQuarantine
from apps.telemetry.slices import to_ms
from apps.telemetry.store import TenantTelemetry
from ohmwatch.refusals import Reason

PAGE = 50
FILE_BYTES = 32 * 1024 * 1024
"""A download ends after this much; its last line says where the next one begins."""
RUNS_SHOWN = 5
STATES = {"": _("All"), "waiting": _("Still here"), "replayed": _("Became readings")}


@dataclass(frozen=True)
class Asked:
    """What a person chose: as filters for the store, and as text for the form."""

    reason: str
    device: str
    state: str
    start: str
    end: str

    @classmethod
    def of(cls, said: QueryDict) -> "Asked":
        reason, state = said.get("reason", ""), said.get("state", "")
        return cls(
            reason=reason if reason in set(Reason) else "",
            device=said.get("device", "").strip()[:64],
            state=state if state in STATES else "",
            start=said.get("from", "") if _moment(said.get("from", "")) else "",
            end=said.get("to", "") if _moment(said.get("to", "")) else "",
        )

    def chosen(self) -> dict[str, Any]:
        """As the store's questions take it."""
        return {
            "reason": self.reason or None,
            "device": self.device or None,
            "state": self.state,
            "start": _moment(self.start),
            "end": _moment(self.end),
        }

    @property
    def filters(self) -> RefusedFilter:
        said = self.chosen()
        start, end = said.pop("start"), said.pop("end")
        return RefusedFilter(
            **said,
            start_ms=to_ms(start) if start else None,
            end_ms=to_ms(end) if end else None,
        )

    @property
    def is_narrow(self) -> bool:
        return any((self.reason, self.device, self.state, self.start, self.end))

    def fields(self) -> dict[str, str]:
        """As the form sends it, for forms and links that mean the same messages."""
        return {
            "reason": self.reason,
            "device": self.device,
            "state": self.state,
            "from": self.start,
            "to": self.end,
        }


def _moment(text: str) -> datetime | None:
    """What a date and time field says; without an offset it is UTC."""
    try:
        found = parse_datetime(text)
    except ValueError:
        return None
    if found is None or not 1970 <= found.year < 9000:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@for_staff(Permission.SEE_QUARANTINE)
def message_list(request: StaffRequest) -> HttpResponse:
    asked = Asked.of(request.GET)
    context: dict[str, Any] = {
        "asked": asked,
        "reasons": [each.value for each in Reason],
        "states": STATES.items(),
        "runs": queries.replays(for_user=request.user)[:RUNS_SHOWN],
        "may_replay": request.user.can(Permission.REPLAY_QUARANTINE),
    }
    after = request.GET.get("after", "")
    try:
        context["page"] = _telemetry(request).quarantine(**asked.chosen(), after=after, size=PAGE)
    except TelemetryError as error:
        context["failed"] = error.code
    return render(request, "portal/quarantine.html", context)


@for_staff(Permission.SEE_QUARANTINE)
def message_page(request: StaffRequest, pk: str) -> HttpResponse:
    message = _message(request, pk)
    context = {
        "message": message,
        "may_replay": request.user.can(Permission.REPLAY_QUARANTINE),
    }
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


@for_staff(Permission.SEE_QUARANTINE)
def download(request: StaffRequest) -> HttpResponse:
    """All that fits, a JSON object a line, with the bytes as base64."""
    quarantine = TenantQuarantine(request.tenant.slug)
    asked = Asked.of(request.GET)
    try:
        found = quarantine.messages(asked.filters, after=request.GET.get("after", ""))
        lines = b"".join(_lines(found))
    except TelemetryError as error:
        return HttpResponse(error.code + "\n", status=503, content_type="text/plain")
    return HttpResponse(
        lines,
        content_type="application/x-ndjson",
        headers={"Content-Disposition": 'attachment; filename="quarantine.ndjson"'},
    )


def _lines(found: Iterator[QuarantinedMessage]) -> Iterator[bytes]:
    written = 0
    for message in found:
        line = orjson.dumps(_as_fields(message)) + b"\n"
        written += len(line)
        yield line
        if written > FILE_BYTES:
            yield orjson.dumps({"continued": True, "after": message.position}) + b"\n"
            return


def _as_fields(message: QuarantinedMessage) -> dict[str, Any]:
    return {
        "id": message.id,
        "arrived": message.arrived_at.isoformat().replace("+00:00", "Z"),
        "reason": message.reason,
        "field": message.field,
        "detail": message.detail,
        "identity": message.identity,
        "topic": message.topic,
        "content_type": message.content_type,
        "readings": message.count,
        "rows": message.rows,
        "messages": message.messages,
        "dropped_bytes": message.dropped_bytes,
        "replay": message.replay_state,
        "payload_base64": base64.b64encode(message.payload).decode(),
    }


# --- replays ----------------------------------------------------------------------------------


@for_staff(Permission.REPLAY_QUARANTINE)
@require_POST
def replay(request: StaffRequest) -> HttpResponse:
    """Begins a run: over one message (POST `message`), or over all that fit the filter."""
    filters = Asked.of(request.POST).filters
    if message := request.POST.get("message", ""):
        filters = RefusedFilter(message=_message(request, message).id)
    run = operations.request_replay(by=request.user, filters=filters, now=timezone.now())
    transaction.on_commit(lambda: wake(run))
    return redirect("portal:replay", pk=run.pk)


@for_staff(Permission.SEE_QUARANTINE)
def replay_page(request: StaffRequest, pk: UUID) -> HttpResponse:
    """How far a run is and what came of it; asks for itself again while it goes on."""
    run = queries.replay_for(user=request.user, pk=pk)
    context = {"run": run, "may_replay": request.user.can(Permission.REPLAY_QUARANTINE)}
    return render(request, "portal/replay.html", context)


@for_staff(Permission.REPLAY_QUARANTINE)
@require_POST
def replay_cancel(request: StaffRequest, pk: UUID) -> HttpResponse:
    run: Replay = queries.replay_for(user=request.user, pk=pk)
    if operations.cancel_replay(replay=run):
        transaction.on_commit(lambda: wake(run))
        messages.success(request, gettext("It ends after the messages that it has in hand."))
    return redirect("portal:replay", pk=run.pk)


def _telemetry(request: StaffRequest) -> TenantTelemetry:
    return TenantTelemetry(request.tenant.slug)


def _message(request: StaffRequest, pk: str) -> QuarantinedMessage:
    message = _telemetry(request).quarantine_message(pk)
    if message is None:
        raise Http404
    return message
