"""A plug-in's detector for a back-test: its own process, with limits, while the back-test works."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from apps.warning.detectors import Described, reading_detectors
from ohmwatch.detector import Detector
from ohmwatch.plugins.errors import PluginError
from ohmwatch.plugins.remote import RemoteDetector

TURN_LIMIT_S = 60.0
"""No reading waits for it here, and a turn is one over as many as the store gives at once."""


class PluginAway(Exception):
    """The plug-in can't be started here; the message says why."""


@contextmanager
def judging(name: str) -> Iterator[Mapping[str, Detector]]:
    """The detectors that can judge here: ours, and, if it is a plug-in's, that of this name.

    Raises PluginAway where it can't be started. Its process ends with the context.
    """
    known = reading_detectors()
    ours = {each: known[each] for each in known if not isinstance(known[each], Described)}
    described = known.get(name)
    if not isinstance(described, Described):
        yield ours
        return
    try:
        plugin = RemoteDetector(described.plugin, limit_s=TURN_LIMIT_S)
    except PluginError as error:
        raise PluginAway(str(error)) from error
    try:
        if plugin.name != name:
            raise PluginAway(f"{described.plugin} is {plugin.name} here, not {name}")
        yield {**ours, plugin.name: plugin}
    finally:
        plugin.close()
