"""The plug-ins that judge beside our own detectors: hired once a process, watched at each turn."""

from collections.abc import Callable, Sequence
from datetime import datetime

import redis
import structlog

from apps.warning.plugins import Report, put
from ohmwatch.detector import Detector
from ohmwatch.plugins import discovery
from ohmwatch.plugins.errors import PluginError, PluginStarting
from ohmwatch.plugins.remote import RemoteDetector

START_LIMIT_S = 20.0
"""Of each, once, before the first reading is judged."""

logger = structlog.get_logger(__name__)


class Agency:
    """Finds, starts and reports on plug-ins. What is refused is said, and the others work."""

    def __init__(self, client: redis.Redis, clock: Callable[[], datetime]) -> None:
        self._redis = client
        self._clock = clock

    def hire(self, *, beside: Sequence[Detector]) -> tuple[Detector, ...]:
        """Our own detectors, and the plug-ins that start and bear another name than all others."""
        hired = list(beside)
        for entry in discovery.found():
            try:
                plugin = RemoteDetector(entry.name, start_limit_s=START_LIMIT_S)
            except PluginError as error:
                self._say(entry.name, "refused", detail=error.what)
                continue
            if plugin.name in {each.name for each in hired}:
                plugin.close()
                self._say(
                    entry.name, "refused", detail=f"there is a detector {plugin.name} already"
                )
                continue
            self._say_of(plugin, "ready")
            hired.append(plugin)
        return tuple(hired)

    def note(self, detector: Detector, error: Exception) -> None:
        """A turn that failed; of a plug-in it is reported, but not that it rests or starts."""
        told = isinstance(error, PluginError) and not isinstance(error, PluginStarting)
        if isinstance(detector, RemoteDetector) and told:
            state = "switched_off" if detector.is_switched_off else "failing"
            self._say_of(detector, state, detail=str(error))

    def _say_of(self, plugin: RemoteDetector, state: str, *, detail: str = "") -> None:
        self._say(plugin.plugin, state, detail, plugin.version, plugin.condition)

    def _say(
        self, plugin: str, state: str, detail: str = "", version: str = "", condition: str = ""
    ) -> None:
        level = logger.info if state == "ready" else logger.error
        level("plugin", plugin=plugin, state=state, detail=detail)
        try:
            put(self._redis, Report(plugin, state, self._clock(), detail, version, condition))
        except redis.RedisError as error:
            logger.warning("plugin_not_reported", plugin=plugin, error=repr(error))
