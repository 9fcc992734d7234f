"""Connector models: what the manufacturer makes and what each is rated for."""

import re
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.accounts.permissions import Permission
from apps.catalog import operations, queries
from apps.catalog.models import ConnectorModel, Position
from apps.portal.people import StaffRequest, for_staff
from apps.portal.sheets import Sheet, number, with_unit
from config.presentation import QUANTITY_WORDS

PAGE = 50
_PAIR = re.compile(r"(-?\d+(?:\.\d+)?):(\d+(?:\.\d+)?)")


class DeratingField(forms.CharField):
    """`40:250 70:180 85:120` as [[40.0, 250.0], …]: ambient °C and the current in A allowed."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value) or ""
        pairs = [_PAIR.fullmatch(part) for part in text.replace(",", " ").split()]
        if not all(pairs):
            raise forms.ValidationError(
                _("Write pairs of ambient in °C and current in A, as in 40:250 70:180 85:120.")
            )
        return [[float(pair[1]), float(pair[2])] for pair in pairs if pair]


class NumbersField(forms.CharField):
    """`80 780` as [80.0, 780.0]."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value) or ""
        try:
            return [float(part) for part in text.replace(",", " ").split()]
        except ValueError:
            raise forms.ValidationError(_("Write one or two numbers, as in 80 780.")) from None


class ModelSheet(Sheet):
    """The ratings of the catalogue, named as everywhere."""

    groups = (
        (_("What it is"), ("code", "name", "position", "reports", "interval_s")),
        (
            _("Current, voltage, temperature"),
            ("rated_current_a", "rated_voltage_v", "temperature_limit_c", "derating"),
        ),
        (
            _("Heat"),
            (
                "temperature_rise_rated_k",
                "temperature_rise_limit_k",
                "thermal_resistance_k_per_w",
                "thermal_time_constants_s",
            ),
        ),
        (
            _("Contact, insulation, life"),
            (
                "contact_resistance_new_uohm",
                "contact_resistance_end_uohm",
                "insulation_minimum_kohm",
                "rated_mating_cycles",
            ),
        ),
    )

    code = forms.CharField(label=_("Code"), max_length=40, help_text=_("As on the data sheet."))
    name = forms.CharField(label=_("Name"), max_length=120)
    position = forms.CharField(
        label=_("Position"),
        max_length=32,
        widget=forms.Select(choices=Position.choices),
        help_text=_("Where connectors of this model usually sit."),
    )
    reports = forms.MultipleChoiceField(
        label=_("Its devices report"),
        choices=list(QUANTITY_WORDS.items()),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    interval_s = number(_("A reading every"), "s")
    rated_current_a = number(_("Rated current"), "A", required=True)
    rated_voltage_v = number(_("Rated voltage"), "V", required=True)
    temperature_limit_c = number(_("Temperature limit at the contact"), "°C", required=True)
    derating = DeratingField(
        label=_("Derating curve"),
        required=False,
        help_text=_("Ambient in °C and the current in A allowed there: 40:250 70:180 85:120"),
    )
    temperature_rise_rated_k = number(_("Rise at rated current when new"), "K")
    temperature_rise_limit_k = number(_("Rise allowed at rated current"), "K")
    thermal_resistance_k_per_w = number(_("Thermal resistance"), "K/W")
    thermal_time_constants_s = with_unit(
        NumbersField(
            label=_("Thermal time constants"), required=False, help_text=_("One or two: 80 780")
        ),
        "s",
    )
    contact_resistance_new_uohm = number(_("Contact resistance when new"), "µΩ")
    contact_resistance_end_uohm = number(_("Contact resistance at end of life"), "µΩ")
    insulation_minimum_kohm = number(_("Least insulation resistance"), "kΩ")
    rated_mating_cycles = forms.IntegerField(label=_("Rated mating cycles"), required=False)


def _as_typed(model: ConnectorModel) -> dict[str, Any]:
    """A model's ratings as the sheet takes them."""
    typed = {name: getattr(model, name) for name in ("code", *operations.RATINGS)}
    typed["derating"] = " ".join(f"{ambient:g}:{current:g}" for ambient, current in model.derating)
    typed["thermal_time_constants_s"] = " ".join(f"{t:g}" for t in model.thermal_time_constants_s)
    return typed


@for_staff()
def model_list(request: StaffRequest) -> HttpResponse:
    serving = Count("connectors", filter=Q(connectors__state="in_service"))
    found = queries.models(for_user=request.user).annotate(serving=serving).order_by("code")
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    return render(request, "portal/models.html", {"page_obj": page})


@for_staff()
def model_page(request: StaffRequest, pk: UUID) -> HttpResponse:
    model = queries.model_for(user=request.user, pk=pk)
    return render(request, "portal/model.html", {"model": model})


@for_staff(Permission.EDIT_CATALOG)
def model_add(request: StaffRequest) -> HttpResponse:
    form = ModelSheet(request.POST or None)
    if request.method == "POST" and form.is_valid():
        model = form.carry_out(operations.add_model, **form.cleaned_data)
        if model:
            messages.success(request, gettext("The model is in the catalogue."))
            return redirect("portal:model", pk=model.pk)
    return render(request, "portal/model_edit.html", {"form": form})


@for_staff(Permission.EDIT_CATALOG)
def model_edit(request: StaffRequest, pk: UUID) -> HttpResponse:
    model = queries.model_for(user=request.user, pk=pk)
    form = ModelSheet(request.POST or None, initial=_as_typed(model))
    form.fields["code"].disabled = True
    if request.method == "POST" and form.is_valid():
        ratings = {name: form.cleaned_data[name] for name in operations.RATINGS}
        if form.carry_out(operations.change_model, model=model, **ratings):
            messages.success(request, gettext("Saved. Detection judges by it within seconds."))
            return redirect("portal:model", pk=pk)
    return render(request, "portal/model_edit.html", {"form": form, "model": model})
