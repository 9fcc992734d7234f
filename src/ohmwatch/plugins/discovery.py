"""Detectors of other packages, found through the entry point group `ohmwatch.detectors`.

    [project.entry-points."ohmwatch.detectors"]
    autoencoder = "ohmwatch_autoencoder.detector:Autoencoder"

Finding them imports nothing: what a package does when it is imported happens in its own process.
"""

import math
import re
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ohmwatch.checks.detectors import LARGEST_STATE_BYTES
from ohmwatch.conditions import Condition
from ohmwatch.detector import Detector
from ohmwatch.parameters import Parameter, parameters_of
from ohmwatch.plugins.errors import PluginRefused

GROUP = "ohmwatch.detectors"
_NAME = re.compile(r"[a-z][a-z0-9_]{1,60}")
MOST_PARAMETERS = 60


def found() -> tuple[EntryPoint, ...]:
    """The entry points of all installed packages, by name."""
    return tuple(sorted(entry_points(group=GROUP), key=lambda each: each.name))


def load(name: str) -> Detector:
    """The detector behind an entry point, made with its defaults. Runs the package's code.

    Raises PluginRefused where there is none, or where it doesn't keep the protocol.
    """
    known = {each.name: each for each in found()}
    if name not in known:
        raise PluginRefused(name, f"no installed package names it under {GROUP!r}")
    made = known[name].load()()
    if not isinstance(made, Detector):
        raise PluginRefused(name, f"{known[name].value} is no ohmwatch.detector.Detector")
    check(made, plugin=name)
    return made


def check(detector: Detector, *, plugin: str) -> None:
    """Raises PluginRefused where names, parameters or state break the protocol."""
    if not _NAME.fullmatch(detector.name):
        raise PluginRefused(plugin, f"{detector.name!r} is no name: a-z, 0-9 and _, please")
    own = detector.condition.startswith(f"{detector.name}_")
    if detector.condition not in set(Condition) and not own:
        raise PluginRefused(
            plugin, f"its condition {detector.condition!r} must begin with {detector.name + '_'!r}"
        )
    dtype: Any = detector.state_dtype
    if dtype.hasobject or dtype.itemsize > LARGEST_STATE_BYTES:
        raise PluginRefused(
            plugin, f"its state must be plain numbers of {LARGEST_STATE_BYTES} bytes at most"
        )
    parameters = parameters_of(detector)
    unfit = [each.name for each in parameters if not _is_sound(each)]
    if unfit or len(parameters) > MOST_PARAMETERS:
        named = ", ".join(unfit) or f"more than {MOST_PARAMETERS}"
        raise PluginRefused(plugin, f"its parameters need plain names and finite bounds: {named}")


def _is_sound(parameter: Parameter) -> bool:
    bounds = (parameter.minimum, float(parameter.default), parameter.maximum)
    return bool(_NAME.fullmatch(parameter.name)) and all(map(math.isfinite, bounds))
