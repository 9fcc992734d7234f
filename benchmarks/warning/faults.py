"""What can be wrong with a connector of the set, and what an engine should call it.

The kernel (`world.py`) knows a kind by its number; everything else by its name.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Kind(IntEnum):
    """What is wrong. From STUCK on it is a sensor that lies about a healthy connector."""

    HEALTHY = 0
    FRETTING = 1  # contact resistance grows: linear, as a power, exponentially, in steps
    LOOSENING = 2  # grows by steps under vibration, and flutters
    ASSEMBLY = 3  # a bad contact from the first day
    COOLING = 4  # heat gets away worse, at both poles
    INSULATION_DRY = 5  # the dry insulation falls
    INSULATION_WET = 6  # a seal lets water in: falls with humidity, recovers, falls deeper
    INTERLOCK_OPEN = 7
    INTERLOCK_INTERMITTENT = 8  # opens for moments, ever more often, in the end for good
    STUCK = 9
    DRIFTING = 10
    OFFSET = 11
    NOISY = 12
    SWAPPED = 13  # the poles' temperature sensors change places
    SCALE = 14  # the current is reported off by a factor
    CLOCK = 15  # the device's clock is off


class Shape(IntEnum):
    """How contact resistance grows."""

    NONE = 0
    LINEAR = 1
    POWER = 2
    EXPONENTIAL = 3
    STEPS = 4


class Cause(StrEnum):
    """What a person must look at. Conditions that only say "hot" name no cause."""

    CONTACT = "contact"
    COOLING = "cooling"
    INSULATION = "insulation"
    INTERLOCK = "interlock"
    SENSOR = "sensor"


@dataclass(frozen=True, slots=True)
class Traits:
    """`cause`: what names it rightly. `has_pole`: one pole is to blame, and which matters."""

    cause: Cause | None
    has_pole: bool = False


TRAITS: dict[Kind, Traits] = {
    Kind.HEALTHY: Traits(None),
    Kind.FRETTING: Traits(Cause.CONTACT, has_pole=True),
    Kind.LOOSENING: Traits(Cause.CONTACT, has_pole=True),
    Kind.ASSEMBLY: Traits(Cause.CONTACT, has_pole=True),
    Kind.COOLING: Traits(Cause.COOLING),
    Kind.INSULATION_DRY: Traits(Cause.INSULATION),
    Kind.INSULATION_WET: Traits(Cause.INSULATION),
    Kind.INTERLOCK_OPEN: Traits(Cause.INTERLOCK),
    Kind.INTERLOCK_INTERMITTENT: Traits(Cause.INTERLOCK),
    **{kind: Traits(Cause.SENSOR) for kind in Kind if kind >= Kind.STUCK},
}

CONNECTOR_FAULTS = tuple(kind for kind in Kind if Kind.HEALTHY < kind < Kind.STUCK)
SENSOR_FAULTS = tuple(kind for kind in Kind if kind >= Kind.STUCK)

CAUSES: dict[str, Cause] = {
    "contact_resistance_rising": Cause.CONTACT,
    "contact_resistance_high": Cause.CONTACT,
    "contact_loose": Cause.CONTACT,
    "cooling_reduced": Cause.COOLING,
    "insulation_low": Cause.INSULATION,
    "insulation_falling": Cause.INSULATION,
    "interlock_open": Cause.INTERLOCK,
    "interlock_intermittent": Cause.INTERLOCK,
    "sensor_stuck": Cause.SENSOR,
    "sensor_drifting": Cause.SENSOR,
    "sensor_implausible": Cause.SENSOR,
}
"""The conditions that name a cause, and which."""

SYMPTOMS = frozenset(
    {"overtemperature", "temperature_rise_high", "pole_imbalance", "ageing_outlier"}
)
"""Conditions that accuse the connector without saying what is wrong with it."""


def accuses_connector(condition: str) -> bool:
    """Whether the condition says that the connector, and not what measures it, is at fault.

    A plug-in's condition, which carries the plug-in's name before a dot or underscore of its
    own, accuses the connector: that is what it was asked about.
    """
    if condition in SYMPTOMS:
        return True
    known = CAUSES.get(condition)
    if known is not None:
        return known is not Cause.SENSOR
    return condition not in {
        "overcurrent", "overvoltage", "mating_cycles_exceeded", "device_silent"
    }  # fmt: skip
