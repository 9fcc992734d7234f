"""A rule in words: what it says line by line, and what differs between two versions."""

from dataclasses import dataclass
from typing import Any

from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.alarms.models import Severity
from apps.warning import naming
from apps.warning.models import Mode
from apps.warning.operations import Content
from config.presentation import unit_of
from config.words import position
from ohmwatch.rules import SILENT

DIMENSION_WORDS: dict[str, Any] = {
    "model": gettext_lazy("Connector models"),
    "batch": gettext_lazy("Batches"),
    "organisation": gettext_lazy("Organisations"),
    "vehicle": gettext_lazy("Vehicles"),
    "position": gettext_lazy("Positions"),
    "connector": gettext_lazy("Connectors"),
}
PARAMETER_WORDS: dict[str, Any] = {
    "margin_k": gettext_lazy("Margin to the limit"),
    "allowance_k": gettext_lazy("Allowance over the limit"),
    "hysteresis_k": gettext_lazy("Hysteresis"),
    "hold_s": gettext_lazy("Hold before it counts"),
    "warning_hold_s": gettext_lazy("Hold before a warning"),
    "critical_hold_s": gettext_lazy("Hold before critical"),
    "release_s": gettext_lazy("Hold before it is over"),
}
SHOWN = 8
"""Values of a selection that are written out; the others are counted."""


@dataclass(frozen=True)
class Line:
    """One line of what a rule says. `before` is what another version says; empty: nothing."""

    label: str
    now: str
    before: str = ""


def parameter_label(name: str) -> str:
    """What a parameter is called; one that nobody named is spelt out without its unit."""
    if name in PARAMETER_WORDS:
        return str(PARAMETER_WORDS[name])
    unit, _digits = unit_of(name)
    stem = name.rpartition("_")[0] if unit else name
    return stem.replace("_", " ").capitalize()


def spelt(number: float) -> str:
    """A number in full, with its thousands apart, as the language writes it."""
    whole = number == int(number)
    return formats.number_format(
        int(number) if whole else number, use_l10n=True, force_grouping=True
    )


def lines_of(content: Content) -> list[Line]:
    """What a rule says, without its name, mode and share; what it leaves as it is is left out."""
    said = _said(content)
    return [Line(label, text) for label, text in said.items() if text]


def differences(before: Content, after: Content) -> list[Line]:
    """What the later version says otherwise, name, mode and share too."""
    old, new = _all(before), _all(after)
    return [
        Line(label, new.get(label, ""), old.get(label, ""))
        for label in {**old, **new}
        if old.get(label, "") != new.get(label, "")
    ]


def _all(content: Content) -> dict[str, str]:
    own = {
        _("Name"): content.name,
        _("What it does"): str(Mode(content.mode).label) if content.name else "",
        _("Share of the connectors"): f"{content.share_pct:g} %" if content.name else "",
    }
    return own | _said(content)


def _said(content: Content) -> dict[str, str]:
    said: dict[str, str] = {}
    for dimension, values in naming.spoken(content.selection).items():
        words = [position(each) for each in values] if dimension == "position" else values
        said[str(DIMENSION_WORDS.get(dimension, dimension))] = _listed(words)
    for name, value in content.parameters.items():
        unit, _digits = unit_of(name)
        shown = (_("Yes") if value else _("No")) if isinstance(value, bool) else f"{value:g}"
        said[parameter_label(name)] = f"{shown} {unit}".rstrip()
    for stated, meant in content.severities.items():
        label = _("%(severity)s is stated as") % {"severity": Severity(stated).label}
        said[label] = _("Not stated at all") if meant == SILENT else str(Severity(meant).label)
    return said


def _listed(words: list[str]) -> str:
    if len(words) <= SHOWN:
        return ", ".join(words)
    more = _("and %(number)d more") % {"number": len(words) - SHOWN}
    return f"{', '.join(words[:SHOWN])} {more}"
