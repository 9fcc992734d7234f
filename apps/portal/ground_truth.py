"""Ground truth: how right each detector and rule was, by what workshops found."""

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.accounts.permissions import Permission
from apps.alarms import truth
from apps.alarms.models import Cause, Outcome, Pole
from apps.alarms.truth import Failure, Found, Verdict
from apps.fleet.queries import connectors
from apps.portal.people import StaffRequest, for_staff
from apps.portal.sheets import Sheet, number
from apps.warning import queries
from config.words import detector_word


class FailureSheet(Sheet):
    """A fault of which nobody was warned."""

    serial = forms.CharField(label=_("Connector, by serial number"), max_length=64)
    found_on = forms.DateField(label=_("Found on"), widget=forms.DateInput(attrs={"type": "date"}))
    cause = forms.ChoiceField(label=_("Cause"), choices=Cause.choices)
    pole = forms.ChoiceField(label=_("Pole"), choices=Pole.choices, required=False)
    resistance_uohm = number(_("Contact resistance measured"), "µΩ")
    text = forms.CharField(
        label=_("In words"),
        max_length=2000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
    )


@for_staff()
def truth_page(request: StaffRequest) -> HttpResponse:
    """Scores by detector and rule, by model and by month; filtered by model and month."""
    told = truth.verdicts(for_user=request.user)
    failures = truth.all_failures(for_user=request.user)
    codes = sorted({each.model for each in told} | {each.model for each in failures})
    months = sorted(
        {truth.month_of(each.opened_at) for each in told}
        | {truth.month_of(each.found_at) for each in failures},
        reverse=True,
    )
    model, month = request.GET.get("model", ""), request.GET.get("month", "")
    told = [each for each in told if _fits(each.model, each.opened_at, model, month)]
    failures = [each for each in failures if _fits(each.model, each.found_at, model, month)]
    context: dict[str, Any] = {
        "any": bool(codes),
        "models": codes,
        "months": months,
        "model": model,
        "month": month,
        "tables": _tables(request, told, failures),
        "may_inspect": request.user.can(Permission.INSPECT),
    }
    return render(request, "portal/truth.html", context)


def _tables(
    request: StaffRequest, told: list[Verdict], failures: list[Failure]
) -> list[tuple[str, list[truth.Score]]]:
    names = {row.pk: row.name for row in queries.rules(for_user=request.user)}

    def ruled(each: Verdict) -> str:
        default = gettext("the detector's defaults")
        rule = names.get(each.rule, gettext("a rule that was removed")) if each.rule else default
        return f"{detector_word(each.detector)} · {rule}"

    return [
        (
            gettext("By detector"),
            truth.scores(told, failures, by=lambda each: detector_word(each.detector)),
        ),
        (gettext("By rule"), truth.scores(told, failures, by=ruled)),
        (
            gettext("By connector model"),
            truth.scores(told, failures, by=lambda each: each.model, of=lambda each: each.model),
        ),
        (
            gettext("By month"),
            truth.scores(
                told,
                failures,
                by=lambda each: truth.month_of(each.opened_at),
                of=lambda each: truth.month_of(each.found_at),
            ),
        ),
    ]


def _fits(own_model: str, at: datetime, model: str, month: str) -> bool:
    return model in ("", own_model) and month in ("", truth.month_of(at))


@for_staff(Permission.INSPECT)
def failure_add(request: StaffRequest) -> HttpResponse:
    form = FailureSheet(request.POST or None)
    if request.method == "POST" and form.is_valid():
        said = form.cleaned_data
        connector = connectors(for_user=request.user).filter(serial=said["serial"].strip()).first()
        if connector is None:
            form.add_error("serial", gettext("No connector has this serial number."))
        elif form.carry_out(
            truth.record_failure,
            user=request.user,
            connector=connector,
            found=Found(
                outcome=Outcome.FAULT.value,
                found_at=datetime.combine(said["found_on"], datetime.min.time(), tzinfo=UTC),
                cause=said["cause"],
                pole=said["pole"],
                resistance_uohm=said["resistance_uohm"],
                text=said["text"],
            ),
            now=timezone.now(),
        ):
            messages.success(request, gettext("Noted. It counts as a failure nobody was told of."))
            return redirect("portal:truth")
    return render(request, "portal/failure_add.html", {"form": form})
