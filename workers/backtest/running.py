"""One back-test, a group of connectors after the other: both sides over the same readings."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from apps.devices.directory import ratings_of_model
from apps.fleet.models import Connector
from apps.telemetry.store import TenantTelemetry
from apps.warning import backtests, history, queries
from apps.warning.detectors import known_detectors
from apps.warning.models import BackTest, Mode, Rule
from ohmwatch.backtest.installed import Installed
from ohmwatch.backtest.run import Omissions, run
from ohmwatch.backtest.sides import Side, Sided
from ohmwatch.detector import Batch
from ohmwatch.rules import Judge, Rulebook
from ohmwatch.rules import Mode as CoreMode
from ohmwatch.rules import Rule as CoreRule
from workers.backtest.alarms import Alarms
from workers.backtest.summary import summarise

logger = structlog.get_logger(__name__)

GROUP = 25
"""Connectors that are read together: a month of readings of ten a minute is ten million."""

HOLD_EVERY_S = 10.0


@dataclass
class Runner:
    """Carries back-tests of one tenant on, whose schema is set."""

    telemetry: TenantTelemetry
    clock: Callable[[], datetime]
    monotonic: Callable[[], float] = time.monotonic

    def carry_on(self, row: BackTest, *, is_time_up: Callable[[], bool]) -> None:
        """Works until it is through, or time is up: then the claim is given back.

        Raises Overtaken where another worker has it or a person cancelled it, TelemetryError,
        DetectorGone, DetectorFailed.
        """
        sides = Sides.of(row)
        while group := self._next_group(row):
            alarms = Alarms.of(row.result)
            readings = 0
            for judges, connectors in sides.shared_by(group):
                readings += self._judge(row, judges, connectors, alarms)
            backtests.carry_on(
                row,
                done=row.connectors_done + len(group),
                readings=readings,
                result=alarms.as_result(after=str(group[-1].pk)),
                now=self.clock(),
            )
            if is_time_up():
                backtests.let_go(row)
                row.refresh_from_db()
                return
        backtests.finish(row, summarise(row), now=self.clock())
        row.refresh_from_db()

    def _next_group(self, row: BackTest) -> list[Connector]:
        found = queries.selected(row.selection).select_related("model", "vehicle").order_by("pk")
        if after := row.result.get("after"):
            found = found.filter(pk__gt=after)
        return list(found[:GROUP])

    def _judge(
        self,
        row: BackTest,
        judges: Sequence[Sided],
        connectors: Sequence[Connector],
        alarms: Alarms,
    ) -> int:
        """Judges all readings of these connectors into `alarms`; returns how many there were."""
        installed = {str(each.pk): _installed(each) for each in connectors}
        counted = _Counted(self._batches(row, list(installed)))
        omissions = Omissions()
        for event in run(counted, installed, judges, omissions=omissions):
            alarms.take_in(event)
        if omissions.failed:
            logger.error("back_test_detector_failed", failed=omissions.failed)
            raise DetectorFailed("; ".join(omissions.failed.values()))
        alarms.seen += len(counted.connectors)
        return counted.readings

    def _batches(self, row: BackTest, connectors: list[str]) -> Iterator[Batch]:
        held_at = self.monotonic()
        for batch in history.batches(self.telemetry, connectors, start=row.start, end=row.end):
            if self.monotonic() - held_at > HOLD_EVERY_S:
                backtests.hold(row, now=self.clock())
                held_at = self.monotonic()
            yield batch


class DetectorGone(Exception):
    """The detector that the rule is about is not installed any more."""


class DetectorFailed(Exception):
    """The detector raised over these readings: a result without it would be no result."""


class _Counted:
    """Batches on their way, with what has passed."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self.readings = 0
        self.connectors: set[str] = set()

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            self.readings += len(batch)
            self.connectors.update(batch.connectors)
            yield batch


@dataclass(frozen=True)
class Sides:
    """Who judges on either side."""

    detector: str
    tried: Rulebook
    in_force: Rulebook

    @classmethod
    def of(cls, row: BackTest) -> "Sides":
        """The rule that is tried, for whom it selects, and all rules that are in force.

        Is the rule itself in force and says what is tried, it is compared with what held
        without it.
        """
        detector = known_detectors().get(row.detector)
        if detector is None:
            raise DetectorGone(row.detector)
        detectors = [detector]
        tried = CoreRule(
            id=str(row.pk),
            version=1,
            detector=row.detector,
            mode=_mode_of(row),
            selection=queries.frozen(row.selection),
            parameters=row.parameters,
            severities=row.severities,
        )
        others = Rule.objects.filter(removed_at__isnull=True, detector=row.detector)
        if row.rule is not None and _says_the_same(row, row.rule):
            others = others.exclude(pk=row.rule.pk)
        return cls(
            row.detector,
            Rulebook([tried], detectors),
            Rulebook([queries.as_core(each) for each in others], detectors),
        )

    def shared_by(
        self, connectors: Sequence[Connector]
    ) -> list[tuple[list[Sided], list[Connector]]]:
        """The connectors by who judges them, so that each lot is one run."""
        lots: defaultdict[tuple[Judge | None, Judge | None], list[Connector]] = defaultdict(list)
        for each in connectors:
            key, dimensions = str(each.pk), queries.dimensions_of(each)
            judges = (
                self._judge(self.tried, key, dimensions),
                self._judge(self.in_force, key, dimensions),
            )
            lots[judges].append(each)
        return [
            (
                [
                    Sided(side, judge)
                    for side, judge in zip(Side, judges, strict=True)
                    if judge is not None
                ],
                several,
            )
            for judges, several in lots.items()
        ]

    def _judge(self, book: Rulebook, connector: str, dimensions: dict[str, str]) -> Judge | None:
        judges = book.plan_for(connector, dimensions).judges
        own = (each for each in judges if each.key == self.detector)
        return next(own, None)


def _mode_of(row: BackTest) -> CoreMode:
    return CoreMode.OFF if row.mode == Mode.OFF else CoreMode.LIVE


def _says_the_same(row: BackTest, rule: Rule) -> bool:
    same = ("selection", "parameters", "severities", "mode")
    return all(getattr(row, name) == getattr(rule, name) for name in same)


def _installed(connector: Connector) -> Installed:
    return Installed(
        connector=str(connector.pk),
        model=connector.model.code,
        batch=connector.batch,
        vehicle=str(connector.vehicle_id or ""),
        ratings=ratings_of_model(connector.model),
    )
