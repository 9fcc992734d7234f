"""The detectors that rules can be about."""

from collections.abc import Mapping
from functools import cache

from ohmwatch.detector import Detector
from ohmwatch.detectors.defaults import default_detectors


@cache
def known_detectors() -> Mapping[str, Detector]:
    """Every detector of this installation by its name, with its default parameters."""
    return {each.name: each for each in default_detectors()}
