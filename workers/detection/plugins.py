"""The plug-ins that judge beside our own detectors: hired once a process, watched at each turn.

Nobody waits for one: its process begins with the worker, and it joins when its model is loaded.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime

import redis
import structlog

from apps.warning.plugins import Report, put
from ohmwatch.detector import Detector
from ohmwatch.plugins import discovery
from ohmwatch.plugins.budget import Budget
from ohmwatch.plugins.errors import PluginError, PluginStarting
from ohmwatch.plugins.process import Process
from ohmwatch.plugins.remote import START_LIMIT_S, TURN_LIMIT_S, RemoteDetector
from ohmwatch.plugins.wire import Declared

logger = structlog.get_logger(__name__)


class Agency:
    """Finds, starts and reports on plug-ins. What is refused is said, and the others work.

    Where `is_beside` the readings that come, nobody waits for a plug-in: its time is not counted,
    and how it is, the workers say that judge what comes.
    """

    def __init__(
        self, client: redis.Redis, clock: Callable[[], datetime], *, is_beside: bool = False
    ) -> None:
        self._redis = client
        self._clock = clock
        self._is_beside = is_beside
        self._coming: dict[str, Process] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether some plug-in is still on its way."""
        return bool(self._coming)

    def call(self) -> None:
        """Starts the process of every plug-in that is installed; waits for none."""
        for entry in discovery.found():
            self._coming[entry.name] = Process(
                entry.name, limit_s=TURN_LIMIT_S, start_limit_s=START_LIMIT_S
            )

    def hire(self, *, beside: Sequence[Detector], within_s: float = 0.0) -> tuple[Detector, ...]:
        """Our own detectors, and the plug-ins that have started and bear a name of their own.

        Waits `within_s` for all of them together. Who has had START_LIMIT_S is refused.
        """
        hired = list(beside)
        until = time.monotonic() + within_s
        for name, process in list(self._coming.items()):
            left_s = max(until - time.monotonic(), 0.0)
            if process.is_waiting_to_greet(within_s=left_s):
                hired += self._hire(self._coming.pop(name), names={each.name for each in hired})
            elif process.is_overdue():
                self._coming.pop(name).close()
                self._say(name, "refused", detail=f"not started in {START_LIMIT_S:g} s")
        return tuple(hired)

    def note(self, detector: Detector, error: Exception) -> None:
        """A turn that failed; of a plug-in it is reported, but not that it rests or starts."""
        told = isinstance(error, PluginError) and not isinstance(error, PluginStarting)
        if isinstance(detector, RemoteDetector) and told:
            state = "switched_off" if detector.is_switched_off else "failing"
            self._say_of(detector, state, detail=str(error))

    def _hire(self, process: Process, *, names: set[str]) -> list[Detector]:
        try:
            budget = None if self._is_beside else Budget()
            plugin = RemoteDetector(process.plugin, process=process, budget=budget)
        except PluginError as error:
            self._say(process.plugin, "refused", detail=error.what)
            return []
        if plugin.name in names:
            plugin.close()
            detail = f"there is a detector {plugin.name} already"
            self._say(process.plugin, "refused", detail=detail)
            return []
        self._say_of(plugin, "ready")
        return [plugin]

    def _say_of(self, plugin: RemoteDetector, state: str, *, detail: str = "") -> None:
        report = Report(
            plugin=plugin.plugin,
            state=state,
            at=self._clock(),
            detail=detail,
            version=plugin.version,
            condition=plugin.condition,
            detector=plugin.name,
            about=plugin.about,
            needs=sorted(plugin.needs),
            parameters=[Declared.of(each) for each in plugin.declared],
        )
        self._put(report)

    def _say(self, plugin: str, state: str, *, detail: str) -> None:
        self._put(Report(plugin, state, self._clock(), detail))

    def _put(self, report: Report) -> None:
        level = logger.info if report.state == "ready" else logger.error
        level("plugin", plugin=report.plugin, state=report.state, detail=report.detail)
        if self._is_beside:
            return
        try:
            put(self._redis, report)
        except redis.RedisError as error:
            logger.warning("plugin_not_reported", plugin=report.plugin, error=repr(error))
