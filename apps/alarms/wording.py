"""Conditions in people's words: what it is, and what to do. For pages and messages alike."""

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.alarms.models import Severity
from ohmwatch.conditions import Condition
from ohmwatch.findings import TIME_LEFT_UNKNOWN
from ohmwatch.lifecycle import Reason

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
        Condition.AGEING_OUTLIER,
    }
)
ELECTRIC_SHOCK = frozenset(
    {
        Condition.INSULATION_LOW,
        Condition.INSULATION_FALLING,
        Condition.INTERLOCK_OPEN,
        Condition.INTERLOCK_INTERMITTENT,
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
USE_ADVICE: dict[str, Text] = {
    Severity.CRITICAL: _(
        "Reduce the load at once, and have vehicle and charger checked before they are used "
        "together again."
    ),
    Severity.WARNING: _(
        "Use less power for now, and have the limits of vehicle and charger checked within days."
    ),
    Severity.NOTICE: _("Have the limits of vehicle and charger checked at the next service."),
}
WEAR_ADVICE: dict[str, Text] = {
    Severity.CRITICAL: _("Have the connector replaced before it is used again."),
    Severity.WARNING: _("Its rated life is used up: have the connector replaced within days."),
    Severity.NOTICE: _("Its rated life is nearly used up: plan its replacement for the service."),
}
SILENCE_ADVICE: dict[str, Text] = {
    Severity.CRITICAL: _(
        "Nobody watches the connector: have the device checked before the vehicle is used again."
    ),
    Severity.WARNING: _("Nobody watches the connector: have the device checked within days."),
    Severity.NOTICE: _("Have the device and its reception checked at the next service."),
}
MEASURING_ADVICE: dict[str, Text] = {
    Severity.CRITICAL: _(
        "The measurement can't be trusted, so the connector is not watched: have it inspected "
        "before the vehicle is used again."
    ),
    Severity.WARNING: _("The connector is not watched reliably: have it checked within days."),
    Severity.NOTICE: _("Have the measurement checked at the next service."),
}


ADVICE: dict[str, dict[str, Text]] = {
    **dict.fromkeys(HEAT, HEAT_ADVICE),
    **dict.fromkeys(ELECTRIC_SHOCK, SHOCK_ADVICE),
    Condition.OVERCURRENT: USE_ADVICE,
    Condition.OVERVOLTAGE: USE_ADVICE,
    Condition.MATING_CYCLES_EXCEEDED: WEAR_ADVICE,
    Condition.DEVICE_SILENT: SILENCE_ADVICE,
    Condition.SENSOR_STUCK: MEASURING_ADVICE,
    Condition.SENSOR_DRIFTING: MEASURING_ADVICE,
    Condition.SENSOR_IMPLAUSIBLE: MEASURING_ADVICE,
}
"""Every condition of ours; what a plug-in states is taken for a fault of the contact."""


def condition_name(condition: str) -> str:
    """What the condition is called in the active language; a plug-in's own keeps its name."""
    return str(NAMES.get(condition, condition.replace("_", " ")))


def advice(condition: str, severity: str) -> str:
    """What the person should do, in the active language."""
    return str(ADVICE.get(condition, HEAT_ADVICE)[severity])


COURSES: dict[str, Text] = {
    Reason.COMES_AND_GOES: _("It comes and goes: held open until it stays quiet."),
    Reason.STAYED_QUIET: _("It came and went, and has stayed quiet since."),
}


def course_name(course: str) -> str:
    """How the condition behaves, in the active language; empty where there is nothing to say."""
    return str(COURSES.get(course, ""))


UNFORESEEN: dict[str, Text] = {
    "too_few_points": _("too few drives and charges have been seen yet"),
    "not_growing": _("it is not getting worse"),
    "limit_unknown": _("its model states no temperature limit"),
    "little_load": _("it was never loaded enough to tell"),
    "out_of_reach": _("no limit is within reach at its usual load"),
}


def unforeseen(reason: str) -> str:
    """Why the time left can't be said, in the active language; empty where it is said."""
    return str(UNFORESEEN.get(reason, reason.replace("_", " ")))


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
    "time_left_from": _("Time left, at least"),
    "time_left_to": _("Time left, at most"),
    "trust": _("Trust in its sensors"),
    "mating_step": _("Change of its heating at the last mating"),
    TIME_LEFT_UNKNOWN: _("Time left can't be said"),
}


def evidence_rows(evidence: Mapping[str, float | str | None]) -> list[tuple[str, str]]:
    """Evidence as people read it: (what, value with its unit); the unit is in the key's end."""
    rows = []
    for name, value in evidence.items():
        if name == "trust" and value == 1.0:  # only that they are not to be trusted is news
            continue
        stem, _underscore, ending = name.rpartition("_")
        unit = UNITS.get(ending, "") if stem else ""
        label = str(LABELS.get(stem if unit else name, _spoken(stem if unit else name)))
        if unit == "s" and isinstance(value, float | int):
            value, unit = _in_long_units(value)
        shown = "—" if value is None else value if isinstance(value, str) else f"{value:.4g}"
        shown = unforeseen(shown) if name == TIME_LEFT_UNKNOWN else shown
        rows.append((label, f"{shown} {unit}".rstrip()))
    return rows


def _in_long_units(seconds: float) -> tuple[float, str]:
    """Seconds, from two hours on in hours, from two days on in days."""
    for unit, length_s in (("d", 86_400.0), ("h", 3_600.0)):
        if abs(seconds) >= 2 * length_s:
            return seconds / length_s, unit
    return seconds, "s"


def _spoken(name: str) -> str:
    return name.replace("_", " ").capitalize()
