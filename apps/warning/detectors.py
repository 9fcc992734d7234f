"""The detectors that rules can be about."""

from collections.abc import Mapping
from functools import cache

from ohmwatch.detector import Detector
from ohmwatch.fleet import AgeingOutlier


@cache
def known_detectors() -> Mapping[str, Detector]:
    """Every detector of this installation by its name, with its default parameters."""
    # Here, because the compiler behind them takes 80 MB, and every process imports this module.
    from ohmwatch.detectors.defaults import default_detectors

    return {each.name: each for each in (*default_detectors(), *fleet_detectors().values())}


@cache
def fleet_detectors() -> Mapping[str, Detector]:
    """Those that compare connectors with each other, by name: no reading of one shows them."""
    return {each.name: each for each in (AgeingOutlier(),)}


def reading_detectors() -> Mapping[str, Detector]:
    """Those that judge readings, in their order: what a recording or stored history can show."""
    fleet = fleet_detectors()
    return {name: each for name, each in known_detectors().items() if name not in fleet}
