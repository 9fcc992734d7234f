"""The detectors that watch every connector unless a rule says otherwise: the one list of them."""

from ohmwatch.detector import Detector
from ohmwatch.detectors.contact_loose import ContactLoose
from ohmwatch.detectors.contact_resistance_high import ContactResistanceHigh
from ohmwatch.detectors.contact_resistance_rising import ContactResistanceRising
from ohmwatch.detectors.cooling_reduced import CoolingReduced
from ohmwatch.detectors.device_silent import DeviceSilent
from ohmwatch.detectors.insulation_falling import InsulationFalling
from ohmwatch.detectors.insulation_low import InsulationLow
from ohmwatch.detectors.interlock_intermittent import InterlockIntermittent
from ohmwatch.detectors.interlock_open import InterlockOpen
from ohmwatch.detectors.mating_cycles_exceeded import MatingCyclesExceeded
from ohmwatch.detectors.overcurrent import Overcurrent
from ohmwatch.detectors.overtemperature import Overtemperature
from ohmwatch.detectors.overvoltage import Overvoltage
from ohmwatch.detectors.pole_imbalance import PoleImbalance
from ohmwatch.detectors.sensor_drifting import SensorDrifting
from ohmwatch.detectors.sensor_implausible import SensorImplausible
from ohmwatch.detectors.sensor_stuck import SensorStuck
from ohmwatch.detectors.temperature_rise_high import TemperatureRiseHigh


def default_detectors() -> tuple[Detector, ...]:
    """Our own detectors with their default parameters, in the order in which they have a turn.

    >>> len({each.name for each in default_detectors()}) == len(default_detectors())
    True
    """
    return (
        Overtemperature(),
        TemperatureRiseHigh(),
        PoleImbalance(),
        InsulationLow(),
        InsulationFalling(),
        InterlockOpen(),
        InterlockIntermittent(),
        Overcurrent(),
        Overvoltage(),
        MatingCyclesExceeded(),
        SensorStuck(),
        SensorDrifting(),
        SensorImplausible(),
        ContactResistanceRising(),
        ContactResistanceHigh(),
        ContactLoose(),
        CoolingReduced(),
        DeviceSilent(),
    )
