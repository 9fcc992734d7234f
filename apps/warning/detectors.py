"""The detectors that rules can be about: our own, and those of plug-ins as their workers tell."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from threading import Lock
from typing import Any, Self

import msgspec
import numpy as np
import redis
import structlog
from django.conf import settings as django_settings

from apps.warning.plugins import Report, reports
from ohmwatch.detector import Batch, Detector, Ratings, State
from ohmwatch.findings import Finding
from ohmwatch.fleet import AgeingOutlier
from ohmwatch.parameters import Number, Parameter

log = structlog.get_logger(__name__)

READ_EVERY_S = 5.0


@dataclass(frozen=True)
class Described:
    """A plug-in's detector as its workers describe it: all that a rule has to know of it.

    Its code runs in a process of its own beside a worker, and nowhere else: this one judges
    nothing. `plugin` is its entry point's name, `state` and `detail` as in its Report.
    """

    name: str
    version: str
    condition: str
    needs: frozenset[str]
    about: str
    plugin: str
    state: str
    detail: str
    declared: tuple[Parameter, ...] = ()
    settings: Mapping[str, Number] = field(default_factory=dict)

    @classmethod
    def of(cls, report: Report) -> Self:
        """Raises KeyError where it declares a parameter of no kind that we know."""
        return cls(
            name=report.detector,
            version=report.version,
            condition=report.condition,
            needs=frozenset(report.needs),
            about=report.about,
            plugin=report.plugin,
            state=report.state,
            detail=report.detail,
            declared=tuple(each.parameter() for each in report.parameters),
        )

    @property
    def is_switched_off(self) -> bool:
        return self.state == "switched_off"

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return np.dtype([])

    def varied(self, settings: Mapping[str, Number]) -> Self:
        return replace(self, settings=dict(settings))

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        raise NotImplementedError("a plug-in judges in its own process")


def known_detectors() -> Mapping[str, Detector]:
    """Every detector of this installation by its name, with its default parameters."""
    own = own_detectors()
    return {**plugin_detectors(), **own}


@cache
def own_detectors() -> Mapping[str, Detector]:
    """Ours, by name."""
    # Here, because the compiler behind them takes 80 MB, and every process imports this module.
    from ohmwatch.detectors.defaults import default_detectors

    return {each.name: each for each in (*default_detectors(), *fleet_detectors().values())}


def plugin_detectors() -> Mapping[str, Described]:
    """Those of plug-ins that have started on some worker, by name.

    Asked of Redis every READ_EVERY_S at most; while it is away, what it said last holds.
    """
    return _reports.newest()


@cache
def fleet_detectors() -> Mapping[str, Detector]:
    """Those that compare connectors with each other, by name: no reading of one shows them."""
    return {each.name: each for each in (AgeingOutlier(),)}


def reading_detectors() -> Mapping[str, Detector]:
    """Those that judge readings, in their order: what a recording or stored history can show."""
    fleet = fleet_detectors()
    return {name: each for name, each in known_detectors().items() if name not in fleet}


class _Reports:
    """What workers say of their plug-ins, kept for a moment: pages ask for each of their rows."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: Mapping[str, Described] = {}
        self._read_at = float("-inf")

    def newest(self) -> Mapping[str, Described]:
        with self._lock:
            if time.monotonic() - self._read_at >= READ_EVERY_S:
                self._read_at = time.monotonic()
                self._read()
            return self._known

    def forget(self) -> None:
        """For tests, which begin with another Redis."""
        with self._lock:
            self._known, self._read_at = {}, float("-inf")

    def _read(self) -> None:
        try:
            found = [Described.of(each) for each in reports(_client()) if each.detector]
        except (redis.RedisError, msgspec.MsgspecError, KeyError) as error:
            log.warning("plugins_unread", error=repr(error))
        else:
            self._known = {each.name: each for each in found}


_reports = _Reports()


def forget_plugins() -> None:
    """Asks anew at the next question."""
    _reports.forget()


@cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(
        django_settings.REDIS_LOG_URL, socket_timeout=2, socket_connect_timeout=2
    )
