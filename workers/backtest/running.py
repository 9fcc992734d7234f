"""One back-test, a group of connectors after the other: both sides over the same readings."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from apps.devices.directory import ratings_of_model
from apps.fleet.models import Connector
from apps.telemetry.tenant import TenantTelemetry
from apps.warning import backtests, history, queries
from apps.warning.models import BackTest, Mode, Rule
from ohmwatch.backtest.installed import Installed
from ohmwatch.backtest.run import AlarmEvent, Omissions, run
from ohmwatch.backtest.sides import Side, Sided, related_to
from ohmwatch.detector import Batch, Detector
from ohmwatch.rules import Judge, Plan, Rulebook
from ohmwatch.rules import Mode as CoreMode
from ohmwatch.rules import Rule as CoreRule
from workers.backtest.alarms import Alarms
from workers.backtest.plugins import judging
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
        DetectorGone, DetectorFailed, PluginAway.
        """
        with judging(row.detector) as detectors:
            is_through = self._go_through(row, Sides.of(row, detectors), is_time_up)
        if is_through:
            backtests.finish(row, summarise(row), now=self.clock())
        else:
            backtests.let_go(row)
        row.refresh_from_db()

    def _go_through(self, row: BackTest, sides: "Sides", is_time_up: Callable[[], bool]) -> bool:
        """Judges group after group; false where time was up before the last."""
        while group := self._next_group(row):
            alarms = Alarms.of(row.result)
            readings = 0
            for judges, connectors in sides.shared_by(group):
                counted = self._counted(row, connectors)
                for event in self._judge(counted, judges, connectors):
                    if event.condition == sides.detector.condition:
                        alarms.take_in(event)
                alarms.seen += len(counted.connectors)
                readings += counted.readings
            backtests.carry_on(
                row,
                done=row.connectors_done + len(group),
                readings=readings,
                result=alarms.as_result(after=str(group[-1].pk)),
                now=self.clock(),
            )
            if is_time_up():
                return False
        return True

    def _next_group(self, row: BackTest) -> list[Connector]:
        found = queries.judged_by(row).select_related("model", "vehicle").order_by("pk")
        if after := row.result.get("after"):
            found = found.filter(pk__gt=after)
        return list(found[:GROUP])

    def _judge(
        self, counted: "_Counted", judges: Sequence[Sided], connectors: Sequence[Connector]
    ) -> Iterator[AlarmEvent]:
        """What all judges raise over these connectors' readings, those beside the rule too."""
        installed = {str(each.pk): _installed(each) for each in connectors}
        omissions = Omissions()
        yield from run(counted, installed, judges, omissions=omissions, with_notes=True)
        if omissions.failed:
            logger.error("back_test_detector_failed", failed=omissions.failed)
            raise DetectorFailed("; ".join(omissions.failed.values()))

    def _counted(self, row: BackTest, connectors: Sequence[Connector]) -> "_Counted":
        return _Counted(self._batches(row, [str(each.pk) for each in connectors]))

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
    """Who judges on either side: `detector` as each side has it, and the same others on both.

    The others are those whose alarms decide whether anybody is told of the detector's: a
    consequence of what is known wakes nobody.
    """

    detector: Detector
    tried: Rulebook
    in_force: Rulebook

    @classmethod
    def of(cls, row: BackTest, known: Mapping[str, Detector]) -> "Sides":
        """The rule that is tried, for whom it selects, and all rules that are in force.

        Is the rule itself in force and says what is tried, it is compared with what held
        without it.
        """
        detector = known.get(row.detector)
        if detector is None:
            raise DetectorGone(row.detector)
        related = related_to(detector.condition) - {detector.condition}
        beside = [each for each in known.values() if each.condition in related]
        tried = CoreRule(
            id=str(row.pk),
            version=1,
            detector=row.detector,
            mode=_mode_of(row),
            selection=queries.frozen(row.selection),
            parameters=row.parameters,
            severities=row.severities,
        )
        others = Rule.objects.filter(removed_at__isnull=True)
        if row.rule is not None and _says_the_same(row, row.rule):
            others = others.exclude(pk=row.rule.pk)
        held = [queries.as_core(each) for each in others if each.mode != Mode.SHADOW]
        return cls(detector, Rulebook([tried], [detector]), Rulebook(held, [detector, *beside]))

    def shared_by(
        self, connectors: Sequence[Connector]
    ) -> list[tuple[list[Sided], list[Connector]]]:
        """The connectors by who judges them, so that each lot is one run."""
        lots: defaultdict[tuple[Judge | None, Plan], list[Connector]] = defaultdict(list)
        for each in connectors:
            key, dimensions = str(each.pk), queries.dimensions_of(each)
            tried = self.tried.plan_for(key, dimensions).judges
            judge = next(iter(tried), None)
            lots[judge, self.in_force.plan_for(key, dimensions)].append(each)
        return [
            (list(self._sided(judge, plan)), several) for (judge, plan), several in lots.items()
        ]

    def _sided(self, tried: Judge | None, held: Plan) -> Iterator[Sided]:
        if tried is not None:
            yield Sided(tried, Side.TRIED)
        for judge in held.judges:
            own = judge.key == self.detector.name
            yield Sided(judge, *([Side.IN_FORCE] if own else Side))


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
