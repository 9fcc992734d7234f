"""The quarantine: what was refused, why, its bytes; taken along as a file, and taken in anew."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from apps.accounts.permissions import Permission
from apps.portal.people import StaffRequest, for_staff
from apps.quarantine import operations, queries
from apps.quarantine.asking import STATES, Asked
from apps.quarantine.files import download_of
from apps.quarantine.models import Replay
from apps.quarantine.wakeups import wake
from apps.telemetry.answers import QuarantinedMessage
from apps.telemetry.errors import TelemetryError
from apps.telemetry.quarantine import RefusedFilter, TenantQuarantine
from apps.telemetry.tenant import TenantTelemetry
from ohmwatch.refusals import Reason

PAGE = 50
RUNS_SHOWN = 5


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
    filters = Asked.of(request.GET).filters
    after = request.GET.get("after", "")
    return download_of(TenantQuarantine(request.tenant.slug), filters, after)


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
