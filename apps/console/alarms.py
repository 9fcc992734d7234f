"""Alarms: what is open, the story of one, and what a person can do about it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from apps.accounts.access import check
from apps.accounts.permissions import Permission
from apps.alarms import operations, queries, truth
from apps.alarms.models import Alarm, Cause, Outcome, Pole, Severity, State
from apps.alarms.truth import Found
from apps.console.evidence import in_order
from apps.console.people import PersonRequest, for_people
from apps.console.urgency import worst_first
from apps.notifications.queries import deliveries_of
from apps.telemetry.errors import TelemetryError
from apps.telemetry.tenant import TenantTelemetry
from apps.warning.queries import version_named
from ohmwatch.findings import TIME_LEFT_UNKNOWN
from ohmwatch.readings import QUANTITIES

PAGE = 50
TABS = {"open": gettext_lazy("Open"), "cleared": gettext_lazy("Cleared"), "": gettext_lazy("All")}


class NoteForm(forms.Form):
    text = forms.CharField(
        label=gettext_lazy("Note"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": gettext_lazy("Write what was found or done, then save.")},
    )


class InspectionForm(forms.Form):
    """What a person found who looked at the connector."""

    outcome = forms.ChoiceField(label=gettext_lazy("What was found"), choices=Outcome.choices)
    cause = forms.ChoiceField(
        label=gettext_lazy("Cause"),
        required=False,
        choices=[("", gettext_lazy("not known")), *Cause.choices],
    )
    pole = forms.ChoiceField(label=gettext_lazy("Pole"), choices=Pole.choices, required=False)
    resistance_mohm = forms.FloatField(
        label=gettext_lazy("Contact resistance measured"),
        required=False,
        help_text=gettext_lazy("In milliohm, as 2.1"),
    )
    found_on = forms.DateField(
        label=gettext_lazy("Found on"), widget=forms.DateInput(attrs={"type": "date"})
    )
    text = forms.CharField(
        label=gettext_lazy("In words"),
        max_length=2000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
    )

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.fields["resistance_mohm"].unit = "mΩ"  # type: ignore[attr-defined]
        self.fields["resistance_mohm"].widget.attrs["step"] = "any"

    def found(self, now: datetime) -> Found:
        """The day that was chosen: today is now."""
        said = self.cleaned_data
        day = said["found_on"]
        at = datetime.combine(day, datetime.min.time(), tzinfo=UTC)
        measured = said["resistance_mohm"]
        is_fault = said["outcome"] == Outcome.FAULT
        return Found(
            outcome=said["outcome"],
            found_at=now if day >= now.date() and day <= (now + timedelta(days=1)).date() else at,
            cause=said["cause"] if is_fault else "",
            pole=said["pole"] if is_fault else "",
            resistance_uohm=None if measured is None else measured * 1000,
            text=said["text"],
        )


@for_people
def alarm_list(request: PersonRequest) -> HttpResponse:
    """Open alarms, worst first; the others newest first."""
    tab = request.GET.get("state", State.OPEN)
    tab = tab if tab in TABS else State.OPEN
    alarms = queries.alarms(for_user=request.user, state=tab or None)
    severity = request.GET.get("severity", "")
    if severity in Severity.values:
        alarms = alarms.filter(severity=severity)
    ordered = worst_first(alarms) if tab == State.OPEN else alarms
    page = Paginator(ordered, PAGE).get_page(request.GET.get("page"))
    context = {"page_obj": page, "tab": tab, "tabs": TABS.items(), "severity": severity}
    return render(request, "console/alarms.html", context | {"severities": Severity.choices})


@for_people
@require_GET
def alarm_count(request: PersonRequest) -> HttpResponse:
    """How many alarms are open, for the figure in the menu."""
    return JsonResponse({"open": queries.alarms(for_user=request.user, state=State.OPEN).count()})


@for_people
def alarm_page(request: PersonRequest, pk: UUID) -> HttpResponse:
    return _alarm_page(request, pk, NoteForm())


def _evidence_range(alarm: Alarm) -> str:
    """The charts' address for the hours around the alarm's beginning."""
    start, end = alarm.since - timedelta(hours=2), alarm.last_measured_at + timedelta(minutes=30)
    return f"start={int(start.timestamp() * 1000)}&end={int(end.timestamp() * 1000)}"


def _is_less_sure(figures: Mapping[str, Any]) -> bool:
    """Whether a sensor of the connector is not trusted, whatever the alarm is about."""
    trust = figures.get("trust")
    return isinstance(trust, float | int) and trust < 1.0


def _alarm_page(
    request: PersonRequest, pk: UUID, form: NoteForm, inspecting: InspectionForm | None = None
) -> HttpResponse:
    alarm = queries.alarm_for(user=request.user, pk=pk)
    figures = dict(alarm.evidence)
    held_since = figures.pop(operations.HELD_OPEN_SINCE, None)
    unforeseen = figures.pop(TIME_LEFT_UNKNOWN, "")
    context = {
        "alarm": alarm,
        "events": list(queries.events_of(for_user=request.user, alarm=alarm))[::-1],
        "deliveries": deliveries_of(for_user=request.user, alarm=alarm),
        "may_act": request.user.can(Permission.ACKNOWLEDGE),
        "form": form,
        "may_inspect": request.user.can(Permission.INSPECT),
        "inspecting": inspecting or InspectionForm(initial={"found_on": timezone.now().date()}),
        "inspections": truth.inspections_of(for_user=request.user, alarm=alarm),
        "judged_by": version_named(alarm.rule_id, alarm.rule_version),
        "evidence": in_order(figures),
        "held_since": datetime.fromisoformat(held_since) if held_since else None,
        "unforeseen": unforeseen,
        "less_sure": _is_less_sure(figures),
        "evidence_range": _evidence_range(alarm),
        "story": queries.story_of(for_user=request.user, alarm=alarm),
        "flaps": alarm.state == State.OPEN and alarm.pk in queries.flapping([alarm.pk]),
    }
    return render(request, "console/alarm.html", context)


@for_people
@require_GET
def alarm_readings(request: PersonRequest, pk: UUID) -> HttpResponse:
    """A part of an alarm's page, asked for on its own: the few readings that show it."""
    alarm = queries.alarm_for(user=request.user, pk=pk)
    context: dict[str, Any] = {"alarm": alarm}
    try:
        shown = queries.shown_by(alarm, telemetry=TenantTelemetry(request.tenant.slug))
    except TelemetryError as error:
        context["failed"] = error.code
    else:
        context |= _as_table(shown)
    return render(request, "console/alarm_readings.html", context)


def _as_table(shown: queries.Shown) -> dict[str, Any]:
    """The quantities that any of the readings has, and each reading's values of them."""
    names = [name for name in QUANTITIES if any(name in each.values for each in shown.readings)]
    rows = [
        (
            each.measured_at,
            each.measured_at == shown.opened_at,
            [(name, each.values.get(name)) for name in names],
        )
        for each in shown.readings
    ]
    return {"quantities": names, "rows": rows}


@for_people
@require_POST
def acknowledge(request: PersonRequest, pk: UUID) -> HttpResponse:
    alarm = queries.alarm_for(user=request.user, pk=pk)
    try:
        operations.acknowledge(user=request.user, alarm=alarm, now=timezone.now())
    except operations.NotOpen:
        messages.warning(request, gettext("The alarm is over already; nothing is left to do."))
    else:
        messages.success(request, gettext("Acknowledged. Everybody who looks sees that you know."))
    return redirect("console:alarm", pk=pk)


@for_people
@require_POST
def note(request: PersonRequest, pk: UUID) -> HttpResponse:
    """Adds what was found or done to the alarm's story."""
    form = NoteForm(request.POST)
    if not form.is_valid():
        return _alarm_page(request, pk, form)
    alarm = queries.alarm_for(user=request.user, pk=pk)
    text = form.cleaned_data["text"]
    operations.note(user=request.user, alarm=alarm, text=text, now=timezone.now())
    messages.success(request, gettext("The note is part of the alarm's story now."))
    return redirect("console:alarm", pk=pk)


@for_people
@require_POST
def inspection(request: PersonRequest, pk: UUID) -> HttpResponse:
    """Ties what the workshop found to the alarm."""
    alarm = queries.alarm_for(user=request.user, pk=pk)
    check(request.user, Permission.INSPECT)
    form = InspectionForm(request.POST)
    now = timezone.now()
    if form.is_valid():
        try:
            truth.record(user=request.user, alarm=alarm, found=form.found(now), now=now)
        except ValidationError as refusal:
            for name, said in refusal.message_dict.items():
                known = {"found_at": "found_on", "resistance_uohm": "resistance_mohm"}
                form.add_error(known.get(name, name), said)
        else:
            messages.success(request, gettext("Noted. Detectors and rules are measured by it."))
            return redirect("console:alarm", pk=pk)
    return _alarm_page(request, pk, NoteForm(), form)
