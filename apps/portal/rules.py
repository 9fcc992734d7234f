"""Rules: what judges whom, every version of it, and what a rule in shadow would have raised."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from apps.accounts.models import User
from apps.accounts.permissions import Permission
from apps.accounts.queries import organisations
from apps.alarms.models import Severity
from apps.catalog.models import Position
from apps.catalog.queries import models
from apps.fleet.models import Connector
from apps.portal.people import StaffRequest, for_staff
from apps.portal.rule_words import Line, differences, lines_of, parameter_label, spelt
from apps.portal.sheets import Sheet, Title, with_unit
from apps.warning import naming, operations, queries
from apps.warning.detectors import Described, known_detectors
from apps.warning.models import Mode, Rule, RuleVersion
from apps.warning.operations import PARAMETER, Content
from ohmwatch.detector import Detector
from ohmwatch.parameters import Parameter, parameters_of
from ohmwatch.rules import SILENT

PAGE = 50
SHADOWS = 20
SEVERITY = "severity-"


class WordsField(forms.CharField):
    """Values separated by commas, spaces or new lines, as a list without repeats."""

    widget = forms.Textarea(attrs={"rows": 2})

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value) or ""
        return list(dict.fromkeys(text.replace(",", " ").split()))


def _several(label: Title, choices: Sequence[tuple[str, str]]) -> forms.Field:
    return forms.MultipleChoiceField(
        label=label, choices=choices, required=False, widget=forms.CheckboxSelectMultiple
    )


class RuleSheet(Sheet):
    """One rule. The parameters' fields are made from what the detector declares."""

    name = forms.CharField(
        label=_("Name"), max_length=120, help_text=_("By which people find it in an alarm.")
    )
    mode = forms.ChoiceField(
        label=_("What it does"),
        choices=Mode.choices,
        help_text=_("In shadow it judges and is counted, but tells nobody."),
    )
    share_pct = with_unit(
        forms.FloatField(
            label=_("Share of these connectors"),
            min_value=0,
            max_value=100,
            help_text=_("Begin with a few: who is reached at a tenth stays reached at a fifth."),
        ),
        "%",
    )

    def __init__(self, *args: Any, user: User, detector: Detector, **more: Any) -> None:
        super().__init__(*args, **more)
        self.detector = detector
        parameters = parameters_of(detector)
        selecting = _selecting_fields(user)
        self.fields |= selecting
        self.fields |= {PARAMETER + each.name: _parameter_field(each) for each in parameters}
        self.fields |= {SEVERITY + each.value: _severity_field(each) for each in Severity}
        self.groups = (  # type: ignore[misc]
            (_("What it is"), ("name", "mode", "share_pct")),
            (_("Which connectors: all that fit each line that is filled in"), tuple(selecting)),
            (
                _("Parameters: left empty, the detector's default holds"),
                tuple(PARAMETER + each.name for each in parameters),
            ),
            (_("Severities"), tuple(SEVERITY + each.value for each in Severity)),
        )

    def clean(self) -> dict[str, Any]:
        """Adds `content`, unless a name is of nothing."""
        cleaned = super().clean() or {}
        selection = {name: cleaned.get(name) or [] for name in queries.LOOKUPS}
        try:
            chosen = naming.keyed(selection)
        except ValidationError as refusal:
            self._note(refusal)
            return cleaned
        cleaned["content"] = Content(
            name=cleaned.get("name", ""),
            mode=cleaned.get("mode", ""),
            share_pct=cleaned.get("share_pct") or 0.0,
            selection=chosen,
            parameters=_given(cleaned, PARAMETER),
            severities=_given(cleaned, SEVERITY),
        )
        return cleaned


def _given(cleaned: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value
        for name, value in cleaned.items()
        if name.startswith(prefix) and value not in (None, "")
    }


def _selecting_fields(user: User) -> dict[str, forms.Field]:
    used = set(Connector.objects.order_by().values_list("position", flat=True).distinct())
    words = {value: str(word) for value, word in Position.choices}
    known = [(value, words.get(value, value)) for value in sorted(used | set(words))]
    codes = models(for_user=user).order_by("code").values_list("code", "name")
    owners = organisations(for_user=user).order_by("name").values_list("pk", "name")
    return {
        "model": _several(_("Connector models"), [(code, f"{code} · {n}") for code, n in codes]),
        "position": _several(_("Positions"), known),
        "organisation": _several(_("Organisations"), [(str(pk), name) for pk, name in owners]),
        "batch": WordsField(label=_("Batches"), required=False),
        "vehicle": WordsField(label=_("Vehicles, by VIN"), required=False),
        "connector": WordsField(label=_("Connectors, by serial number"), required=False),
    }


def _parameter_field(parameter: Parameter) -> forms.Field:
    bounds = gettext("Default %(default)s, allowed %(minimum)s to %(maximum)s.") % {
        "default": f"{parameter.default:g}",
        "minimum": spelt(parameter.minimum),
        "maximum": spelt(parameter.maximum),
    }
    reason = parameter.reason[:1].upper() + parameter.reason[1:]
    kind: Any = forms.IntegerField if parameter.kind is int else forms.FloatField
    if parameter.kind is bool:
        return forms.TypedChoiceField(
            label=parameter_label(parameter.name),
            required=False,
            choices=[("", _("Default")), ("1", _("Yes")), ("0", _("No"))],
            coerce=lambda text: text == "1",
            empty_value=None,
        )
    # The reasons are the data sheet's own words, which are English.
    help_text = format_html('{} <span lang="en">{}</span>', bounds, reason)
    field = kind(label=parameter_label(parameter.name), required=False, help_text=help_text)
    field.widget.attrs |= {"step": "any", "placeholder": f"{parameter.default:g}"}
    return with_unit(field, parameter.unit) if parameter.unit else field


def _severity_field(severity: Severity) -> forms.Field:
    stated = [("", _("As the detector states it"))]
    others = [(each.value, each.label) for each in Severity if each != severity]
    return forms.ChoiceField(
        label=_("%(severity)s is stated as") % {"severity": severity.label},
        required=False,
        choices=[*stated, *others, (SILENT, _("Not stated at all"))],
    )


def _as_typed(content: Content) -> dict[str, Any]:
    words = naming.spoken(content.selection)
    typed: dict[str, Any] = {"name": content.name, "mode": content.mode}
    typed["share_pct"] = content.share_pct
    for name in ("batch", "vehicle", "connector"):
        typed[name] = " ".join(words.get(name, []))
    for name in ("model", "position", "organisation"):
        typed[name] = list(content.selection.get(name, []))
    for name, value in content.parameters.items():
        typed[PARAMETER + name] = (1 if value else 0) if isinstance(value, bool) else value
    return typed | {SEVERITY + name: meant for name, meant in content.severities.items()}


@dataclass(frozen=True)
class Told:
    """A version with what it changed of the one before; of the first one: all that it says."""

    version: RuleVersion
    lines: list[Line]


def _history(versions: Sequence[RuleVersion]) -> list[Told]:
    before = [*versions[1:], None]
    return [
        Told(
            row,
            differences(
                Content.of(earlier) if earlier is not None else Content(name=""), Content.of(row)
            ),
        )
        for row, earlier in zip(versions, before, strict=True)
    ]


@dataclass(frozen=True)
class Card:
    """A detector: what it is called, what it is for by its data sheet, how many rules it has."""

    name: str
    condition: str
    about: str
    rules: int
    is_switched_off: bool = False

    @classmethod
    def of(cls, detector: Detector, rules: int) -> "Card":
        if isinstance(detector, Described):
            said = (detector.about, rules, detector.is_switched_off)
            return cls(detector.name, detector.condition, *said)
        about = (type(detector).__doc__ or "").strip().partition("\n")[0]
        return cls(detector.name, detector.condition, about, rules)


def why_silent(name: str) -> str:
    """Why a rule's detector judges nobody now; empty where it does."""
    known = known_detectors().get(name)
    if known is None:
        return gettext(
            "Its detector, %(name)s, is not here: the plug-in is not installed where detection"
            " runs, or has not started yet. Until it has, the rule does nothing."
        ) % {"name": name}
    if isinstance(known, Described) and known.is_switched_off:
        return gettext(
            "The plug-in of this detector is switched off, for it failed or took too long: it"
            " judges nobody until detection starts anew."
        )
    return ""


def _cards(rows: Sequence[Rule]) -> list[Card]:
    counts = Counter(row.detector for row in rows)
    return [Card.of(each, counts[name]) for name, each in known_detectors().items()]


@for_staff()
def rule_list(request: StaffRequest) -> HttpResponse:
    rows = list(queries.rules(for_user=request.user))
    shadows = queries.shadow_counts(for_user=request.user)
    context = {
        "rules": [(row, lines_of(Content.of(row)), shadows.get(row.pk)) for row in rows],
        "detectors": _cards(rows),
        "may_edit": request.user.can(Permission.EDIT_RULES),
    }
    return render(request, "portal/rules.html", context)


@for_staff(Permission.EDIT_RULES)
def rule_add(request: StaffRequest) -> HttpResponse:
    """A rule for the detector that the address names; without one, the choice of it."""
    asked = request.GET.get("detector", "")
    detector = known_detectors().get(asked)
    if detector is None:
        cards = _cards(list(queries.rules(for_user=request.user)))
        return render(request, "portal/rule_add.html", {"detectors": cards})
    typed = {"mode": Mode.SHADOW.value, "share_pct": 100.0}
    form = RuleSheet(request.POST or None, initial=typed, user=request.user, detector=detector)
    if request.method == "POST" and form.is_valid():
        rule = form.carry_out(
            operations.make_rule,
            user=request.user,
            detector=detector.name,
            content=form.cleaned_data["content"],
            now=timezone.now(),
        )
        if rule:
            messages.success(request, gettext("Saved. Detection judges by it within seconds."))
            return redirect("portal:rule", pk=rule.pk)
    context = {"form": form, "detector": Card.of(detector, 0)}
    return render(request, "portal/rule_edit.html", context)


@for_staff(Permission.EDIT_RULES)
def rule_edit(request: StaffRequest, pk: UUID) -> HttpResponse:
    rule = queries.rule_for(user=request.user, pk=pk)
    detector = known_detectors().get(rule.detector)
    if rule.removed_at is not None:
        raise Http404
    if detector is None:
        messages.error(request, why_silent(rule.detector))
        return redirect("portal:rule", pk=pk)
    typed = _as_typed(Content.of(rule))
    form = RuleSheet(request.POST or None, initial=typed, user=request.user, detector=detector)
    if request.method == "POST" and form.is_valid():
        seen = request.POST.get("seen", "")
        changed = form.carry_out(
            operations.change_rule,
            user=request.user,
            rule=rule,
            content=form.cleaned_data["content"],
            now=timezone.now(),
            seen_version=int(seen) if seen.isdecimal() else None,
        )
        if changed:
            messages.success(request, gettext("Saved. Detection judges by it within seconds."))
            return redirect("portal:rule", pk=pk)
    context = {"form": form, "detector": Card.of(detector, 1), "rule": rule}
    return render(request, "portal/rule_edit.html", context)


@for_staff()
def rule_page(request: StaffRequest, pk: UUID) -> HttpResponse:
    rule = queries.rule_for(user=request.user, pk=pk)
    versions = queries.versions_of(for_user=request.user, rule=rule)
    page = Paginator(versions, PAGE).get_page(request.GET.get("page"))
    shadows = queries.shadow_alarms(for_user=request.user, rule=rule)
    context = {
        "rule": rule,
        "lines": lines_of(Content.of(rule)),
        "reached": queries.selected(rule.selection).count(),
        "page_obj": page,
        "history": _history(list(page.object_list)),
        "shadows": shadows[:SHADOWS],
        "shadow_count": shadows.count(),
        "modes": Mode.choices,
        "why_silent": why_silent(rule.detector) if rule.removed_at is None else "",
        "may_edit": request.user.can(Permission.EDIT_RULES) and rule.removed_at is None,
    }
    return render(request, "portal/rule.html", context)


@for_staff()
def rule_version(request: StaffRequest, pk: UUID, number: int) -> HttpResponse:
    """A version as it was, and how it differs from what the rule says now."""
    rule = queries.rule_for(user=request.user, pk=pk)
    version = queries.versions_of(for_user=request.user, rule=rule).filter(number=number).first()
    if version is None:
        raise Http404
    then = Content.of(version)
    context = {
        "rule": rule,
        "version": version,
        "lines": lines_of(then),
        "differences": differences(then, Content.of(rule)),
    }
    return render(request, "portal/rule_version.html", context)


@for_staff(Permission.EDIT_RULES)
@require_POST
def rule_mode(request: StaffRequest, pk: UUID) -> HttpResponse:
    """Puts the rule into force, shadow or out of it: POST `mode`, `share_pct`."""
    rule = queries.rule_for(user=request.user, pk=pk)
    mode, share = request.POST.get("mode", ""), request.POST.get("share_pct", "")
    try:
        operations.set_mode(
            user=request.user,
            rule=rule,
            mode=mode,
            share_pct=float(share) if share else None,
            now=timezone.now(),
        )
    except (ValidationError, ValueError, Rule.DoesNotExist):
        messages.error(
            request,
            why_silent(rule.detector) or gettext("Not changed: a share is a number from 0 to 100."),
        )
    else:
        messages.success(request, gettext("Saved. Detection judges by it within seconds."))
    return redirect("portal:rule", pk=pk)


@for_staff(Permission.EDIT_RULES)
@require_POST
def rule_take_back(request: StaffRequest, pk: UUID) -> HttpResponse:
    """What the rule said before its last change holds again."""
    rule = queries.rule_for(user=request.user, pk=pk)
    try:
        operations.take_back(user=request.user, rule=rule, now=timezone.now())
    except Rule.DoesNotExist:
        raise Http404 from None
    messages.success(request, gettext("Taken back. Detection judges as before within seconds."))
    return redirect("portal:rule", pk=pk)


@for_staff(Permission.EDIT_RULES)
@require_POST
def rule_remove(request: StaffRequest, pk: UUID) -> HttpResponse:
    rule = queries.rule_for(user=request.user, pk=pk)
    try:
        operations.remove_rule(user=request.user, rule=rule, now=timezone.now())
    except Rule.DoesNotExist:
        raise Http404 from None
    messages.success(request, gettext("Removed. Its versions stay readable from old alarms."))
    return redirect("portal:rules")
