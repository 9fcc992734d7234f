"""The start page of an owner or driver, and a vehicle."""

from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render

from apps.console.garage import named, with_connectors, worst_first
from apps.console.people import PersonRequest, for_people
from apps.console.readouts import read_out
from apps.fleet import queries
from apps.telemetry.tenant import TenantTelemetry

PAGE = 25


@for_people
def home(request: PersonRequest) -> HttpResponse:
    """Staff begin at the overview of their portal, owners and drivers at their vehicles."""
    return redirect("portal:overview" if request.user.is_staff_of_tenant else "console:vehicles")


@for_people
def vehicle_list(request: PersonRequest) -> HttpResponse:
    search = request.GET.get("q", "")
    vehicles = worst_first(named(queries.vehicles(for_user=request.user), search))
    page = Paginator(with_connectors(vehicles), PAGE).get_page(request.GET.get("page"))
    connectors = [connector for vehicle in page for connector in vehicle.serving]  # type: ignore[attr-defined]
    readouts = read_out(connectors, telemetry=TenantTelemetry(request.tenant.slug))
    rows = [(vehicle, readouts.of(each.pk for each in vehicle.serving)) for vehicle in page]  # type: ignore[attr-defined]
    return render(
        request,
        "console/vehicles.html",
        {"page_obj": page, "rows": rows, "search": search, "readouts": readouts},
    )


@for_people
def vehicle_page(request: PersonRequest, pk: UUID) -> HttpResponse:
    vehicle = queries.vehicle_for(user=request.user, pk=pk)
    connectors = list(
        queries.connectors(for_user=request.user).filter(vehicle=vehicle).select_related("model")
    )
    readouts = read_out(connectors, telemetry=TenantTelemetry(request.tenant.slug))
    return render(request, "console/vehicle.html", {"vehicle": vehicle, "readouts": readouts})
