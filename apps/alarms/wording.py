"""Conditions in people's words: what it is, and what to do. For pages and messages alike."""

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.alarms.models import Severity
from ohmwatch.conditions import Condition

Text = str | Promise

NAMES: dict[str, Text] = {
    Condition.OVERTEMPERATURE: _("Contact too hot"),
    Condition.TEMPERATURE_RISE_HIGH: _("Heats up more than the current explains"),
    Condition.CONTACT_RESISTANCE_RISING: _("Contact resistance rising"),
    Condition.CONTACT_RESISTANCE_HIGH: _("Contact resistance high"),
    Condition.CONTACT_LOOSE: _("Loose contact"),
    Condition.POLE_IMBALANCE: _("One pole hotter than the other"),
    Condition.COOLING_REDUCED: _("Cooling reduced"),
    Condition.INSULATION_LOW: _("Insulation resistance low"),
    Condition.INSULATION_FALLING: _("Insulation resistance falling"),
    Condition.INTERLOCK_OPEN: _("Interlock open"),
    Condition.INTERLOCK_INTERMITTENT: _("Interlock intermittent"),
    Condition.OVERCURRENT: _("Current above the rating"),
    Condition.OVERVOLTAGE: _("Voltage above the rating"),
    Condition.MATING_CYCLES_EXCEEDED: _("Mating cycles used up"),
    Condition.SENSOR_STUCK: _("Sensor stuck"),
    Condition.SENSOR_DRIFTING: _("Sensor drifting"),
    Condition.SENSOR_IMPLAUSIBLE: _("Sensor implausible"),
    Condition.DEVICE_SILENT: _("Device silent"),
    Condition.AGEING_OUTLIER: _("Ages faster than its batch"),
}

HEAT = frozenset(
    {
        Condition.OVERTEMPERATURE,
        Condition.TEMPERATURE_RISE_HIGH,
        Condition.CONTACT_RESISTANCE_RISING,
        Condition.CONTACT_RESISTANCE_HIGH,
        Condition.CONTACT_LOOSE,
        Condition.POLE_IMBALANCE,
        Condition.COOLING_REDUCED,
        Condition.OVERCURRENT,
        Condition.AGEING_OUTLIER,
    }
)
ELECTRIC_SHOCK = frozenset(
    {
        Condition.INSULATION_LOW,
        Condition.INSULATION_FALLING,
        Condition.INTERLOCK_OPEN,
        Condition.INTERLOCK_INTERMITTENT,
        Condition.OVERVOLTAGE,
    }
)

HEAT_ADVICE: dict[str, Text] = {
    Severity.CRITICAL: _(
        "Stop in a safe place, end charging, keep away from the connector and have it inspected "
        "before the vehicle is used again."
    ),
    Severity.WARNING: _(
        "Avoid fast charging and full load, and have the connector checked within days."
    ),
    Severity.NOTICE: _("Have the connector checked at the next service."),
}
SHOCK_ADVICE: dict[str, Text] = {
    Severity.CRITICAL: _(
        "Stop in a safe place and leave the vehicle. Touch no high-voltage part; have it inspected "
        "by trained people before it is used again."
    ),
    Severity.WARNING: _(
        "Touch no high-voltage part, and have the insulation checked by trained people within days."
    ),
    Severity.NOTICE: _("Have the insulation and the interlock checked at the next service."),
}
MEASURING_ADVICE: dict[str, Text] = {
    Severity.CRITICAL: _(
        "The measurement can't be trusted, so the connector is not watched: have it inspected "
        "before the vehicle is used again."
    ),
    Severity.WARNING: _("The connector is not watched reliably: have it checked within days."),
    Severity.NOTICE: _("Have the measurement checked at the next service."),
}


def condition_name(condition: str) -> str:
    """What the condition is called in the active language; a plug-in's own keeps its name."""
    return str(NAMES.get(condition, condition.replace("_", " ")))


def advice(condition: str, severity: str) -> str:
    """What the person should do, in the active language."""
    if condition in HEAT:
        return str(HEAT_ADVICE[severity])
    if condition in ELECTRIC_SHOCK:
        return str(SHOCK_ADVICE[severity])
    return str(MEASURING_ADVICE[severity])


UNITS = {
    "c": "°C",
    "k": "K",
    "a": "A",
    "v": "V",
    "mv": "mV",
    "kohm": "kΩ",
    "uohm": "µΩ",
    "s": "s",
    "pct": "%",
    "g": "g",
}
LABELS: dict[str, Text] = {
    "current": _("Current"),
    "voltage": _("Voltage"),
    "temperature": _("Temperature"),
    "temperature_pos": _("Temperature, positive pole"),
    "temperature_neg": _("Temperature, negative pole"),
    "ambient": _("Ambient"),
    "limit": _("Limit"),
    "rise": _("Temperature rise"),
    "rise_limit": _("Temperature rise allowed"),
    "difference": _("Difference between the poles"),
    "insulation": _("Insulation resistance"),
    "held": _("Held for"),
    "margin": _("Margin to the limit"),
}


def evidence_rows(evidence: Mapping[str, float | str | None]) -> list[tuple[str, str]]:
    """Evidence as people read it: (what, value with its unit); the unit is in the key's end."""
    rows = []
    for name, value in evidence.items():
        stem, _underscore, ending = name.rpartition("_")
        unit = UNITS.get(ending, "") if stem else ""
        label = str(LABELS.get(stem if unit else name, _spoken(stem if unit else name)))
        shown = "—" if value is None else value if isinstance(value, str) else f"{value:.4g}"
        rows.append((label, f"{shown} {unit}".rstrip()))
    return rows


def _spoken(name: str) -> str:
    return name.replace("_", " ").capitalize()
