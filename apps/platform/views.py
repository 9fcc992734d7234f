"""The operator's portal: tenants, and whether the platform is ready."""

from datetime import datetime

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.notifications.budget import sms_of_the_day
from apps.partitions.arrears import given_up
from apps.platform.acquisition import board
from apps.platform.doors import for_operators
from apps.platform.forms import CountriesForm, TenantForm
from apps.platform.health import check_dependencies, plugins
from apps.platform.overview import tenant_rows
from apps.telemetry.board import last_account
from apps.tenants.lookups import find_or_404
from apps.tenants.models import Tenant
from apps.tenants.operations import change_countries, register_tenant
from apps.tenants.queries import tenants
from apps.tenants.tasks import build

_PAGE_SIZE = 50


@require_GET
@for_operators
def tenant_list(request: HttpRequest) -> HttpResponse:
    page = Paginator(tenants(), _PAGE_SIZE).get_page(request.GET.get("page"))
    rows = tenant_rows(page=page.object_list)
    context = {"rows": rows, "page_obj": page, **_account(now=timezone.now())}
    return render(request, "platform/tenants.html", context)


@require_http_methods(["GET", "POST"])
@for_operators
def tenant_create(request: HttpRequest) -> HttpResponse:
    form = TenantForm(request.POST or None)
    if form.is_valid() and (tenant := _register(form)):
        messages.success(request, _("%(name)s is being created.") % {"name": tenant.name})
        return redirect("tenant-list")
    return render(request, "platform/tenant_create.html", {"form": form})


@require_http_methods(["GET", "POST"])
@for_operators
def tenant_countries(request: HttpRequest, pk: str) -> HttpResponse:
    """Where a manufacturer's SMS may go, and how many went out today."""
    tenant = find_or_404(tenants(), pk)
    initial = {"country": tenant.country, "sms_countries": " ".join(tenant.sms_countries)}
    form = CountriesForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        change_countries(tenant=tenant, **form.cleaned_data)
        messages.success(request, _("Saved. It holds from the next message on."))
        return redirect("tenant-list")
    context = {"form": form, "of": tenant, "sms": sms_of_the_day(tenant, now=timezone.now())}
    return render(request, "platform/tenant_countries.html", context)


@require_POST
@for_operators
def tenant_retry(request: HttpRequest, pk: str) -> HttpResponse:
    tenant = find_or_404(Tenant.objects.all(), pk)
    _build_later(tenant)
    messages.success(request, _("%(name)s is tried again.") % {"name": tenant.name})
    return redirect("tenant-list")


@require_GET
@for_operators
def readiness(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    found = board(now=now)
    context = {
        "checks": check_dependencies(),
        "plugins": plugins(),
        "given_up": given_up(),
        **_account(now=now),
        "slots": found.slots,
        "counts": found.counts,
    }
    return render(request, "platform/readiness.html", context)


def _account(*, now: datetime) -> dict[str, object]:
    """What the pages say of the account; an old one says nothing of now."""
    account = last_account()
    overdue = account is not None and account.is_overdue(now)
    return {"account": account, "account_overdue": overdue}


def _register(form: TenantForm) -> Tenant | None:
    said = form.cleaned_data
    try:
        with transaction.atomic():
            tenant = register_tenant(
                slug=said["slug"],
                name=said["name"],
                plan=said["plan"],
                country=said["country"],
                sms_countries=said["sms_countries"],
                now=timezone.now(),
            )
            _build_later(tenant)
    except ValidationError as error:
        _show(form, error)
        return None
    return tenant


def _build_later(tenant: Tenant) -> None:
    transaction.on_commit(lambda: build.delay(tenant=str(tenant.pk)))


def _show(form: TenantForm, error: ValidationError) -> None:
    """At the field that it is about; what is derived from the short name is about that."""
    for field, texts in error.message_dict.items():
        if field == "schema_name":
            continue
        form.add_error(field if field in form.fields else None, texts)
