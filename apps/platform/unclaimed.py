"""Refused messages that no tenant could be told for: operators see them, nobody else.

Once the manufacturer that their topic names is there, an operator has them taken in for it, by a
replay like any other. Its run is the tenant's, and its engineers see how far it is.
"""

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST
from django_tenants.utils import tenant_context

from apps.platform.doors import for_operators
from apps.quarantine.asking import Asked
from apps.quarantine.files import download_of
from apps.quarantine.models import Replay
from apps.quarantine.operations import request_unclaimed
from apps.quarantine.wakeups import wake
from apps.telemetry.answers import QuarantinedMessage
from apps.telemetry.documents import PLATFORM
from apps.telemetry.errors import TelemetryError
from apps.telemetry.quarantine import TenantQuarantine
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.models import Tenant
from apps.tenants.queries import ready_tenants
from ohmwatch.refusals import Reason

PAGE = 50


@require_GET
@for_operators
def message_list(request: HttpRequest) -> HttpResponse:
    """Newest first, by what was asked for; a page at a time."""
    asked = Asked.of(request.GET)
    context: dict[str, Any] = {
        "asked": asked,
        "reasons": [each.value for each in Reason],
        "claimant": _claimant(asked.maker),
    }
    try:
        context["page"] = TenantTelemetry(PLATFORM).quarantine(
            **asked.chosen(), after=request.GET.get("after", ""), size=PAGE
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


@require_GET
@for_operators
def download(request: HttpRequest) -> HttpResponse:
    """All that fits, a JSON object a line, with the bytes as base64."""
    filters, after = Asked.of(request.GET).filters, request.GET.get("after", "")
    return download_of(TenantQuarantine(PLATFORM), filters, after)


@require_POST
@for_operators
def replay(request: HttpRequest) -> HttpResponse:
    """Takes what fits in for the manufacturer that it names, if that is a tenant by now."""
    asked = Asked.of(request.POST)
    tenant = _claimant(asked.maker)
    if tenant is None:
        raise Http404("no such manufacturer")
    with tenant_context(tenant):
        run = request_unclaimed(filters=asked.filters, now=timezone.now())
    transaction.on_commit(lambda: _wake(tenant, run))
    messages.success(request, _("%(name)s gets its messages.") % {"name": tenant.name})
    return redirect("unclaimed")


def _wake(tenant: Tenant, run: Replay) -> None:
    with tenant_context(tenant):
        wake(run)


def _claimant(maker: str) -> Tenant | None:
    return next((tenant for tenant in ready_tenants() if tenant.slug == maker), None)


def _message(pk: str) -> QuarantinedMessage:
    message = TenantTelemetry(PLATFORM).quarantine_message(pk)
    if message is None:
        raise Http404("no such message")
    return message
