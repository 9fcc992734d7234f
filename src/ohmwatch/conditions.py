"""What can be wrong with a connector, and at which pole: the words of findings and alarms."""

from enum import StrEnum


class Condition(StrEnum):
    """The conditions that our own detectors state; a plug-in's carry its name as a prefix."""

    OVERTEMPERATURE = "overtemperature"
    TEMPERATURE_RISE_HIGH = "temperature_rise_high"
    CONTACT_RESISTANCE_RISING = "contact_resistance_rising"
    CONTACT_RESISTANCE_HIGH = "contact_resistance_high"
    CONTACT_LOOSE = "contact_loose"
    POLE_IMBALANCE = "pole_imbalance"
    COOLING_REDUCED = "cooling_reduced"
    INSULATION_LOW = "insulation_low"
    INSULATION_FALLING = "insulation_falling"
    INTERLOCK_OPEN = "interlock_open"
    INTERLOCK_INTERMITTENT = "interlock_intermittent"
    OVERCURRENT = "overcurrent"
    OVERVOLTAGE = "overvoltage"
    MATING_CYCLES_EXCEEDED = "mating_cycles_exceeded"
    SENSOR_STUCK = "sensor_stuck"
    SENSOR_DRIFTING = "sensor_drifting"
    SENSOR_IMPLAUSIBLE = "sensor_implausible"
    DEVICE_SILENT = "device_silent"
    AGEING_OUTLIER = "ageing_outlier"


THERMAL = frozenset(
    {
        Condition.OVERTEMPERATURE,
        Condition.TEMPERATURE_RISE_HIGH,
        Condition.CONTACT_RESISTANCE_RISING,
        Condition.CONTACT_RESISTANCE_HIGH,
        Condition.CONTACT_LOOSE,
        Condition.POLE_IMBALANCE,
        Condition.COOLING_REDUCED,
    }
)
"""Those that temperatures show: a sensor that lies makes them less sure."""


class Pole(StrEnum):
    """Where a condition is; NONE where it has no pole, as insulation hasn't."""

    NONE = ""
    POSITIVE = "pos"
    NEGATIVE = "neg"
    BOTH = "both"
