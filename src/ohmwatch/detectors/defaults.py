"""The detectors that watch every connector unless a rule says otherwise: the one list of them."""

from ohmwatch.detector import Detector
from ohmwatch.detectors.insulation_low import InsulationLow
from ohmwatch.detectors.overtemperature import Overtemperature
from ohmwatch.detectors.pole_imbalance import PoleImbalance
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
    )
