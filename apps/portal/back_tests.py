"""Back-tests: what a rule would have done over stored history, beside the rules in force."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from apps.accounts.permissions import Permission
from apps.alarms.models import Outcome
from apps.alarms.truth import CAUGHT_WITHIN, Confirmed, confirmed
from apps.fleet.models import Connector
from apps.fleet.queries import connectors
from apps.portal.people import StaffRequest, for_staff
from apps.portal.rule_words import lines_of
from apps.portal.rules import Card, RuleSheet, why_silent
from apps.portal.sheets import Sheet
from apps.warning import backtests, queries
from apps.warning.detectors import fleet_detectors, reading_detectors
from apps.warning.models import BackTest, Rule
from apps.warning.operations import Content
from ohmwatch.backtest.sides import Side

PAGE = 50
USUAL = timedelta(days=30)
LISTED = 100


class Stretch(Sheet):
    """On which connectors, and from which day to which."""

    truth = forms.ChoiceField(
        label=_("Judge on"),
        required=False,
        help_text=_(
            "A set of ground truth is judged whole: its connectors, replaced ones too, from 90 days"
            " before its first finding to its last. The days below don't count then."
        ),
    )
    start = forms.DateField(label=_("From"), widget=forms.DateInput(attrs={"type": "date"}))
    end = forms.DateField(label=_("Up to and with"), widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, *args: Any, confirmed: Sequence[Confirmed], **more: Any) -> None:
        super().__init__(*args, **more)
        self.confirmed = confirmed
        choices = self.fields["truth"]
        assert isinstance(choices, forms.ChoiceField)
        choices.choices = [("", _("All connectors that the rule selects")), *_sets(confirmed)]

    def chosen(self) -> list[Confirmed]:
        """What is confirmed in the set; empty where none is chosen."""
        said = self.cleaned_data.get("truth")
        return [each for each in self.confirmed if said in _names_of(each)] if said else []

    def truth_set(self) -> backtests.TruthSet | None:
        chosen = self.chosen()
        if not chosen:
            return None
        model, _slash, month = self.cleaned_data["truth"].rpartition("/")
        return backtests.TruthSet(tuple({each.connector for each in chosen}), model, month)

    def range(self, now: datetime) -> tuple[datetime, datetime]:
        """Start and end in UTC; the last day is whole, or goes up to now."""
        if chosen := self.chosen():
            last = min(max(each.found_at for each in chosen), now)
            first = min(each.found_at for each in chosen) - CAUGHT_WITHIN
            return max(first, last - backtests.LONGEST), last
        midnight = datetime.min.time()
        start = datetime.combine(self.cleaned_data["start"], midnight, tzinfo=now.tzinfo)
        end = datetime.combine(self.cleaned_data["end"], midnight, tzinfo=now.tzinfo)
        return start, min(end + timedelta(days=1), now)


def _names_of(each: Confirmed) -> tuple[str, ...]:
    """The sets that it is in, as `model/month`; one of both may be left empty."""
    return ("/", f"{each.model}/", f"/{each.month}", f"{each.model}/{each.month}")


def _sets(confirmed: Sequence[Confirmed]) -> list[tuple[str, str]]:
    """Each set that is not empty: of all, by model, by month, by both."""
    counts: dict[str, Counter[str]] = {}
    for each in confirmed:
        for name in _names_of(each):
            counts.setdefault(name, Counter())[each.outcome] += 1
    return [(name, _set_word(name, counts[name])) for name in sorted(counts, key=_in_order)]


def _in_order(name: str) -> tuple[int, str]:
    model, _slash, month = name.rpartition("/")
    return bool(model) + bool(month), name


def _set_word(name: str, counts: Counter[str]) -> str:
    model, _slash, month = name.rpartition("/")
    return gettext(
        "Ground truth, %(model)s, %(month)s: %(faults)d faults, %(nothings)d nothings"
    ) % {
        "model": model or gettext("all models"),
        "month": month or gettext("all months"),
        "faults": counts[Outcome.FAULT],
        "nothings": counts[Outcome.NOTHING],
    }


@for_staff()
def back_test_list(request: StaffRequest) -> HttpResponse:
    found = backtests.back_tests(for_user=request.user)
    context = {
        "page_obj": Paginator(found, PAGE).get_page(request.GET.get("page")),
        "may_edit": request.user.can(Permission.EDIT_RULES),
        "busy": found.filter(state__in=["waiting", "running"]).exists(),
    }
    return render(request, "portal/backtests.html", context)


@for_staff(Permission.EDIT_RULES)
def back_test_add(request: StaffRequest) -> HttpResponse:
    """Over which days; of the rule that the address names, or of a detector with other numbers."""
    now = timezone.now()
    known = reading_detectors()
    rule, content, asked = _asked(request)
    if rule is not None and asked in fleet_detectors():
        raise Http404
    if rule is not None and asked not in known:
        messages.error(request, why_silent(rule.detector))
        return redirect("portal:rule", pk=rule.pk)
    detector = known.get(asked)
    if detector is None:
        cards = [Card.of(each, 0) for each in known.values()]
        rules = queries.rules(for_user=request.user)
        return render(request, "portal/backtest_choose.html", {"detectors": cards, "rules": rules})
    days = {"start": (now - USUAL).date(), "end": now.date()}
    found = confirmed(for_user=request.user)
    stretch = Stretch(request.POST or None, initial=days, confirmed=found)
    sheet = None
    if rule is None:
        typed = {"mode": "live", "share_pct": 100.0, "name": gettext("Trial")}
        sheet = RuleSheet(request.POST or None, initial=typed, user=request.user, detector=detector)
    if request.method == "POST" and stretch.is_valid() and (sheet is None or sheet.is_valid()):
        said = content if sheet is None else sheet.cleaned_data["content"]
        start, end = stretch.range(now)
        row = stretch.carry_out(
            backtests.request,
            user=request.user,
            detector=detector.name,
            content=said,
            start=start,
            end=end,
            now=now,
            rule=rule,
            truth=stretch.truth_set(),
        )
        if row:
            return redirect("portal:backtest", pk=row.pk)
    context = {
        "stretch": stretch,
        "sheet": sheet,
        "rule": rule,
        "detector": Card.of(detector, 0),
        "lines": lines_of(content) if content else [],
    }
    return render(request, "portal/backtest_add.html", context)


def _asked(request: StaffRequest) -> tuple[Rule | None, Content | None, str]:
    if asked := request.GET.get("rule"):
        rule = queries.rule_for(user=request.user, pk=asked)
        return rule, replace(Content.of(rule), share_pct=100.0), rule.detector
    return None, None, request.GET.get("detector", "")


@dataclass(frozen=True)
class Column:
    """One side of a result."""

    title: str
    said: dict[str, Any]


@for_staff()
def back_test_page(request: StaffRequest, pk: UUID) -> HttpResponse:
    row = backtests.back_test_for(user=request.user, pk=pk)
    context: dict[str, Any] = {
        "test": row,
        "lines": lines_of(Content.of(row)),
        "may_edit": request.user.can(Permission.EDIT_RULES),
    }
    if (summary := row.result.get("summary")) is not None:
        context |= _result(request, row, summary)
    return render(request, "portal/backtest.html", context)


def _result(request: StaffRequest, row: BackTest, summary: dict[str, Any]) -> dict[str, Any]:
    tried, held = summary[Side.TRIED.value], summary[Side.IN_FORCE.value]
    rows = tried["rows"][:LISTED]
    missed = tried.get("missed_at", [])
    named = [*rows, *tried["caught"], *held["caught"], *missed]
    known = connectors(for_user=request.user).in_bulk({UUID(each["connector"]) for each in named})
    both = {(each["connector"], each["condition"]) for each in held["rows"]}
    days = sorted({*tried["by_day"], *held["by_day"]})
    return {
        "summary": summary,
        "columns": [Column(gettext("This rule"), tried), Column(gettext("In force"), held)],
        "channels": sorted({*tried["messages"], *held["messages"]}),
        "rows": [_shown(each, known, both) for each in rows],
        "days": [(day, tried["by_day"].get(day, 0), held["by_day"].get(day, 0)) for day in days],
        "most": max([*tried["by_day"].values(), *held["by_day"].values(), 1]),
        "caught": [
            {**each, "connector": known.get(UUID(each["connector"]))} for each in tried["caught"]
        ],
        "missed": [{**each, "connector": known.get(UUID(each["connector"]))} for each in missed],
    }


def _shown(
    row: dict[str, Any], known: dict[UUID, Connector], both: set[tuple[str, str]]
) -> dict[str, Any]:
    """An alarm with its connector, and the address of the charts around its beginning."""
    hour_ms = 3_600_000
    return {
        **row,
        "connector": known.get(UUID(row["connector"])),
        "also": (row["connector"], row["condition"]) in both,
        "range": f"start={row['since_ms'] - hour_ms}&end={row['measured_ms'] + hour_ms}",
    }


@for_staff(Permission.EDIT_RULES)
@require_POST
def back_test_cancel(request: StaffRequest, pk: UUID) -> HttpResponse:
    row = backtests.back_test_for(user=request.user, pk=pk)
    if backtests.cancel(user=request.user, back_test=row, now=timezone.now()):
        messages.success(request, gettext("Cancelled."))
    return redirect("portal:backtest", pk=pk)
