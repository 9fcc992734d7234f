"""Organisations, their vehicles, and the connectors in them."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from apps.accounts import queries as accounts
from apps.accounts.models import Organisation, OrganisationKind, User
from apps.accounts.operations import create_organisation
from apps.accounts.permissions import Permission
from apps.catalog import queries as catalog
from apps.catalog.models import ConnectorModel, Position
from apps.fleet import operations, queries
from apps.fleet.models import Connector, Vehicle
from apps.portal.people import StaffRequest, for_staff
from apps.portal.sheets import Sheet

PAGE = 50


class OrganisationSheet(Sheet):
    name = forms.CharField(label=_("Name"), max_length=120)
    kind = forms.ChoiceField(label=_("Kind"), choices=OrganisationKind.choices)


class VehicleSheet(Sheet):
    organisation = forms.ModelChoiceField(Organisation.objects.none(), label=_("Organisation"))
    vin = forms.CharField(
        label=_("VIN"),
        max_length=17,
        help_text=_("17 letters and digits, without I, O and Q; typing errors are noticed."),
    )
    plate = forms.CharField(label=_("Plate"), max_length=20, required=False)
    label = forms.CharField(
        label=_("What its people call it"), max_length=80, required=False, help_text=_("Taxi 12")
    )

    def __init__(self, *args: Any, user: User, vehicle: Vehicle | None = None, **more: Any) -> None:
        super().__init__(*args, **more)
        chooser = self.fields["organisation"]
        assert isinstance(chooser, forms.ModelChoiceField)
        chooser.queryset = accounts.organisations(for_user=user)
        self.fields["vin"].disabled = vehicle is not None


class ConnectorSheet(Sheet):
    """A new unit; without a VIN it lies in store."""

    model = forms.ModelChoiceField(ConnectorModel.objects.none(), label=_("Model"))
    serial = forms.CharField(label=_("Serial number"), max_length=64)
    batch = forms.CharField(label=_("Batch"), max_length=64, required=False)
    vin = forms.CharField(
        label=_("VIN of its vehicle"),
        max_length=17,
        required=False,
        help_text=_("Empty: it lies in store."),
    )
    position = forms.ChoiceField(
        label=_("Position"), choices=[("", _("as its model")), *Position.choices], required=False
    )

    def __init__(self, *args: Any, user: User, **more: Any) -> None:
        super().__init__(*args, **more)
        self.user = user
        chooser = self.fields["model"]
        assert isinstance(chooser, forms.ModelChoiceField)
        chooser.queryset = catalog.models(for_user=user)

    def clean_vin(self) -> Vehicle | None:
        return _vehicle_of(self.cleaned_data["vin"], self.user)


class PlaceSheet(Sheet):
    """Where a unit is now."""

    vin = forms.CharField(label=_("VIN of its vehicle"), max_length=17)
    position = forms.ChoiceField(label=_("Position"), choices=Position.choices)

    def __init__(self, *args: Any, user: User, **more: Any) -> None:
        super().__init__(*args, **more)
        self.user = user

    def clean_vin(self) -> Vehicle | None:
        return _vehicle_of(self.cleaned_data["vin"], self.user)


def _vehicle_of(vin: str, user: User) -> Vehicle | None:
    if not vin:
        return None
    vehicle = queries.vehicles(for_user=user).filter(vin=vin.strip().upper()).first()
    if vehicle is None:
        raise forms.ValidationError(_("No vehicle has this VIN: add the vehicle first."))
    return vehicle


@for_staff()
def organisation_list(request: StaffRequest) -> HttpResponse:
    found = (
        accounts.organisations(for_user=request.user)
        .annotate(
            vehicle_count=Count("vehicles", distinct=True),
            people_count=Count("people", distinct=True),
        )
        .order_by("name")
    )
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    return render(request, "portal/organisations.html", {"page_obj": page})


@for_staff(Permission.EDIT_FLEET)
def organisation_add(request: StaffRequest) -> HttpResponse:
    form = OrganisationSheet(request.POST or None)
    if request.method == "POST" and form.is_valid():
        organisation = form.carry_out(create_organisation, **form.cleaned_data)
        if organisation:
            messages.success(request, gettext("Added. Now its vehicles."))
            return redirect("portal:organisation", pk=organisation.pk)
    return render(request, "portal/organisation_edit.html", {"form": form})


@for_staff()
def organisation_page(request: StaffRequest, pk: UUID) -> HttpResponse:
    organisation = accounts.organisation_for(user=request.user, pk=pk)
    vehicles = queries.vehicles(for_user=request.user).filter(organisation=organisation)
    counted = vehicles.annotate(connector_count=Count("connectors")).order_by(
        "label", "plate", "vin"
    )
    page = Paginator(counted, PAGE).get_page(request.GET.get("page"))
    context = {"organisation": organisation, "page_obj": page}
    return render(request, "portal/organisation.html", context)


@for_staff(Permission.EDIT_FLEET)
def vehicle_add(request: StaffRequest) -> HttpResponse:
    initial = {"organisation": request.GET.get("organisation")}
    form = VehicleSheet(request.POST or None, user=request.user, initial=initial)
    if request.method == "POST" and form.is_valid():
        vehicle = form.carry_out(operations.add_vehicle, now=timezone.now(), **form.cleaned_data)
        if vehicle:
            messages.success(request, gettext("Added. Now its connectors."))
            return redirect("portal:vehicle-edit", pk=vehicle.pk)
    return render(request, "portal/vehicle_edit.html", {"form": form})


@for_staff(Permission.EDIT_FLEET)
def vehicle_edit(request: StaffRequest, pk: UUID) -> HttpResponse:
    vehicle = queries.vehicle_for(user=request.user, pk=pk)
    names = ("organisation", "vin", "plate", "label")
    initial = {name: getattr(vehicle, name) for name in names}
    form = VehicleSheet(request.POST or None, user=request.user, vehicle=vehicle, initial=initial)
    if request.method == "POST" and form.is_valid():
        changes = {name: form.cleaned_data[name] for name in ("organisation", "plate", "label")}
        if form.carry_out(operations.change_vehicle, vehicle=vehicle, **changes):
            messages.success(request, gettext("Saved."))
            return redirect("console:vehicle", pk=pk)
    connectors = queries.connectors(for_user=request.user).filter(vehicle=vehicle)
    context = {"form": form, "vehicle": vehicle, "connectors": connectors}
    return render(request, "portal/vehicle_edit.html", context)


@for_staff(Permission.EDIT_FLEET)
def connector_add(request: StaffRequest) -> HttpResponse:
    initial = {"vin": request.GET.get("vin"), "model": request.GET.get("model")}
    form = ConnectorSheet(request.POST or None, user=request.user, initial=initial)
    if request.method == "POST" and form.is_valid():
        unit = dict(form.cleaned_data)
        vehicle = unit.pop("vin")
        installed_at = timezone.now() if vehicle else None
        connector = form.carry_out(
            operations.add_connector, vehicle=vehicle, installed_at=installed_at, **unit
        )
        if connector:
            messages.success(request, gettext("Added. Now give it a device's channel."))
            return redirect("console:connector", pk=connector.pk)
    return render(request, "portal/connector_edit.html", {"form": form})


@for_staff(Permission.EDIT_FLEET)
def connector_edit(request: StaffRequest, pk: UUID) -> HttpResponse:
    """Put a unit into a vehicle or move it; its history stays with it."""
    connector = queries.connector_for(user=request.user, pk=pk)
    form = PlaceSheet(request.POST or None, user=request.user, initial=_place_of(connector))
    if request.method == "POST" and form.is_valid():
        place = {"vehicle": form.cleaned_data["vin"], "position": form.cleaned_data["position"]}
        install = operations.install_connector
        if form.carry_out(install, connector=connector, now=timezone.now(), **place):
            messages.success(request, gettext("Saved."))
            return redirect("console:connector", pk=pk)
    context = {"form": form, "connector": connector}
    return render(request, "portal/connector_edit.html", context)


def _place_of(connector: Connector) -> dict[str, str]:
    vin = connector.vehicle.vin if connector.vehicle else ""
    return {"vin": vin, "position": connector.position}


@for_staff(Permission.EDIT_FLEET)
@require_POST
def connector_retire(request: StaffRequest, pk: UUID) -> HttpResponse:
    connector = queries.connector_for(user=request.user, pk=pk)
    operations.retire_connector(connector=connector)
    messages.success(request, gettext("Retired. Its history stays; new readings are refused."))
    return redirect("console:connector", pk=pk)
