"""The detectors that rules can be about."""

from collections.abc import Mapping
from functools import cache

from ohmwatch.detector import Detector


@cache
def known_detectors() -> Mapping[str, Detector]:
    """Every detector of this installation by its name, with its default parameters."""
    # Here, because the compiler behind them takes 80 MB, and every process imports this module.
    from ohmwatch.detectors.defaults import default_detectors

    return {each.name: each for each in default_detectors()}
