"""Late readings: who was not judged, and what all of them in order come to. See decision 0009.

A connector's judged readings are counted, and so can those be that are stored. Where the store
holds more since a snapshot than were judged since, the connector is judged again from the newest
snapshot up to whose clock none is missing: here, beside its partition, which is taken over only to
put the result in place. What the visits of live readings do for it is a note of whom late readings
are, which may as well be repeats.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import pairwise

import numpy as np
import structlog
from django_tenants.utils import schema_context

from apps.alarms.correcting import Retelling, correct
from apps.partitions import operations, queries
from apps.partitions.log import partition_of
from apps.partitions.wakeups import REORDER_WINDOW_MS
from apps.telemetry.slices import from_ms
from apps.telemetry.store import TelemetryStore, TenantTelemetry
from apps.warning.queries import detectors_changed_since
from ohmwatch.detector import Batch, Clocked, Detector, Times
from ohmwatch.findings import Finding
from ohmwatch.reorder import in_time
from ohmwatch.watch import Watch
from workers.detection import passes
from workers.detection.desk import Desk
from workers.detection.gathering import key_of, name_of
from workers.detection.holding import REACH_MS, Holding
from workers.detection.replay import between

logger = structlog.get_logger(__name__)

AT_ONCE = 100
"""Connectors that are looked at together."""

AT_MOST = 300_000
"""Readings that are judged before what they come to is put in place: some seconds."""

TAKE_TRIES, TAKE_PAUSE_S = 40, 0.1
"""A visit to the partition takes 2 s at most."""


def judge_again(
    partition: int, *, desk: Desk, is_time_up: Callable[[], bool] = lambda: False
) -> int:
    """Looks after the partition's late readings; how many connectors were judged again.

    Ended or killed at any point, the next run goes on. Raises what the stores raise.
    """
    desk.directory.refresh_if_changed()
    row = queries.checkpoint(partition)
    watch = Watch.load(bytes(row.state), desk.panel.detectors)
    late = watch.late(row.audited_number)
    suspects = sorted(late, key=lambda name: (late[name], name))
    bases = Bases.of(suspects, watch, queries.snapshots(partition))
    judged = 0
    for first in range(0, len(suspects), AT_ONCE):
        if is_time_up():
            return judged
        some = suspects[first : first + AT_ONCE]
        missing = bases.incomplete(some, desk.telemetry)
        desk.count_late("connectors_with_repeats_only", len(some) - len(missing))
        for piece in bases.pieces(missing):
            if is_time_up():
                return judged
            if not _judge(partition, bases.scratch(piece), watch, desk):
                desk.count_late("connectors_put_off", len(piece))
                return judged
            judged += len(piece)
        # Others of the last one's number may follow.
        done = late[some[-1]] - (0 if first + AT_ONCE >= len(suspects) else 1)
        operations.note_audit(partition=partition, number=done)
    return judged


def recompute(name: str, *, desk: Desk, from_ms: int | None = None) -> Retelling | None:
    """Judges a connector's stored readings once more, up to its partition's checkpoint, and changes
    nothing: from as early as all is stored, or from the newest snapshot before an instant.

    The connector's tenant is the current one. None where nothing of it is known that is whole.
    Raises Failed, and what the stores raise.
    """
    desk.directory.refresh_if_changed()
    partition = partition_of(*key_of(name), desk.log.partitions)
    watch = Watch.load(bytes(queries.checkpoint(partition).state), desk.panel.detectors)
    if not watch.knows(name):
        return None
    born = Watch(watch.detectors)
    born.begin(name, max(0, watch.first_ms(name) - REACH_MS))
    bases = Bases.of([name], watch, queries.snapshots(partition))
    bases.known = [born, *(each for each in bases.known if each.judged(name))]
    base = bases.oldest(name, desk.telemetry, before_ms=from_ms)
    if base is None:
        return None
    scratch = base.copy_of([name])
    course = _Course(scratch, desk, {name: scratch.clock_ms(name)})
    course.advance({name: watch.clock_ms(name)})
    return course.retelling(name)


# --- from where -------------------------------------------------------------------------------


@dataclass
class Bases:
    """What was known of connectors at several times, oldest first, and is known now."""

    now: Watch
    known: list[Watch]
    chosen: dict[str, int] = field(default_factory=dict)
    readings: dict[str, int] = field(default_factory=dict)
    """How many are stored since what was chosen."""

    @classmethod
    def of(cls, names: Sequence[str], now: Watch, states: Iterable[bytes]) -> "Bases":
        """Of these connectors, from dumped states. Who was not met at the oldest begins with
        nothing, a reach before what was judged first."""
        if not names:
            return cls(now, [])
        known = [Watch.load(state, now.detectors).copy_of(names) for state in states]
        oldest = known[0] if known else Watch(now.detectors)
        for name in names:
            if not oldest.knows(name):
                oldest.begin(name, max(0, now.first_ms(name) - REACH_MS))
        return cls(now, known or [oldest])

    def incomplete(self, names: Sequence[str], store: TelemetryStore) -> list[str]:
        """Those of which readings were left out; chosen is the newest state that lacks none."""
        counts = self._counts(names, store)
        found: list[str] = []
        for name in names:
            stored, steps = counts[name], self._steps(name)
            judged = [each.judged(name) for each in steps]
            if sum(stored) <= judged[-1] - judged[0]:
                continue
            found.append(name)
            whole = 0
            for at in range(1, len(steps) - 1):
                if sum(stored[:at]) == judged[at] - judged[0]:
                    whole = at
            self.chosen[name] = self.known.index(steps[whole])
            self.readings[name] = sum(stored[whole:])
        return found

    def pieces(self, names: Iterable[str]) -> Iterator[list[str]]:
        """The connectors a few at a time, with AT_MOST readings unless one has more."""
        piece: list[str] = []
        left = AT_MOST
        for name in names:
            if piece and self.readings[name] > left:
                yield piece
                piece, left = [], AT_MOST
            piece.append(name)
            left -= self.readings[name]
        if piece:
            yield piece

    def oldest(self, name: str, store: TelemetryStore, *, before_ms: int | None) -> Watch | None:
        """The oldest state from which on all that is stored was judged; of those from before an
        instant, the newest. None: there is none, for readings are missing or wait."""
        stored, steps = self._counts([name], store)[name], self._steps(name)
        judged = [each.judged(name) for each in steps]
        whole = [
            steps[at] for at in range(len(steps) - 1) if sum(stored[at:]) == judged[-1] - judged[at]
        ]
        if before_ms is not None:
            whole = [each for each in whole if each.clock_ms(name) < before_ms][-1:]
        return whole[0] if whole else None

    def scratch(self, names: Iterable[str]) -> Watch:
        """A watch that knows of these connectors what the chosen states do."""
        fresh = Watch(self.now.detectors)
        for at, base in enumerate(self.known):
            fresh.adopt([each for each in names if self.chosen[each] == at], base)
        return fresh

    def _steps(self, name: str) -> list[Watch]:
        """The states in which the connector stood, and now's."""
        return [*(each for each in self.known if each.knows(name)), self.now]

    def _counts(self, names: Sequence[str], store: TelemetryStore) -> dict[str, list[int]]:
        """How many readings are stored between each two states of a connector."""
        tenants: defaultdict[str, dict[str, list[tuple[int, int]]]] = defaultdict(dict)
        for name in names:
            tenant, connector = key_of(name)
            clocks = [each.clock_ms(name) for each in self._steps(name)]
            tenants[tenant][connector] = [(a + 1, max(a, b) + 1) for a, b in pairwise(clocks)]
        return {
            name_of(tenant, connector): found
            for tenant, spans in tenants.items()
            for connector, found in TenantTelemetry(tenant, store=store).counts(spans).items()
        }


# --- judging ----------------------------------------------------------------------------------


class Failed(Exception):
    """A detector failed over these readings: what the others say would be half a story."""


@dataclass
class _Course:
    """Connectors on their way from a base to what is known now. `scratch` moves on."""

    scratch: Watch
    desk: Desk
    since_ms: dict[str, int]
    findings: defaultdict[str, list[Finding]] = field(default_factory=lambda: defaultdict(list))

    def advance(self, until_ms: Mapping[str, int]) -> None:
        """Judges what is stored up to these instants. Raises Failed."""
        for batch in between(self.desk.telemetry, self.scratch, until_ms):
            lineup = self.desk.rulebooks.lineup(batch.connectors)
            came_ms = in_time(batch, window_ms=REORDER_WINDOW_MS)
            judgement = self.scratch.observe(
                replace(batch, arrived_ms=came_ms),
                self.desk.ratings(batch.connectors),
                guard=self.desk.panel.guard,
                posts=[each for each in lineup.posts if each.in_force],
            )
            if judgement.failed:
                raise Failed("; ".join(f"{key}: {e!r}" for key, e in judgement.failed.items()))
            self.desk.count_late("readings_judged_again", len(judgement.judged))
            arrived_ms = _arrivals_of_late(batch, came_ms)
            for finding in lineup.stated(judgement):
                key = (finding.connector, finding.measured_ms)
                finding = replace(finding, arrived_ms=arrived_ms.get(key, finding.arrived_ms))
                self.findings[finding.connector].append(finding)

    def retelling(self, name: str) -> Retelling:
        """What is true of a connector of the current tenant."""
        connector, since_ms = key_of(name)[1], self.since_ms[name]
        changed = detectors_changed_since(from_ms(since_ms))
        judges = self.desk.rulebooks.lineup([name]).plans[name].judges
        return Retelling(
            connector=connector,
            since_ms=since_ms,
            until_ms=self.scratch.clock_ms(name),
            findings=[replace(each, connector=connector) for each in self.findings[name]],
            judged_by={
                each.detector.condition: (
                    *(each.detector.name, each.detector.version),
                    *(each.rule, each.version),
                )
                for each in judges
                if not each.is_shadow and _tells(each.detector, changed)
            },
        )


def _arrivals_of_late(batch: Batch, came_ms: Times) -> dict[tuple[str, int], int]:
    return {
        (batch.connectors[batch.connector[at]], int(batch.time_ms[at])): int(batch.arrived_ms[at])
        for at in np.flatnonzero(came_ms != batch.arrived_ms).tolist()
    }


def _judge(partition: int, scratch: Watch, watch: Watch, desk: Desk) -> bool:
    """Judges all of the scratch's connectors, and puts them in place. False: the partition could
    not be taken; nothing has changed."""
    names = list(scratch.connectors)
    course = _Course(scratch, desk, {name: scratch.clock_ms(name) for name in names})
    try:
        course.advance({name: watch.clock_ms(name) for name in names})
        return _take(partition, partial(_put_in_place, course=course), desk)
    except Failed as error:
        logger.error("late_readings_not_judged", partition=partition, error=str(error))
        return True
    except (operations.Fenced, passes.LeaseLost):
        return False


def _take(partition: int, work: Callable[[Holding], passes.Also | None], desk: Desk) -> bool:
    for _ in range(TAKE_TRIES):
        if passes.hold(partition, work, desk=desk):
            return True
        time.sleep(TAKE_PAUSE_S)
    return False


def _put_in_place(holding: Holding, *, course: _Course) -> passes.Also | None:
    """Catches up with what the partition judged meanwhile, and changes what it knows."""
    known = [each for each in course.scratch.connectors if holding.watch.knows(each)]
    course.advance({name: holding.watch.clock_ms(name) for name in known})
    ready = [each for each in known if _is_level(course.scratch, holding.watch, each)]
    course.desk.count_late("connectors_judged_again", len(ready))
    if not ready:
        return None
    holding.watch.adopt(ready, course.scratch)
    return partial(_correct, course, ready)


def _is_level(scratch: Watch, watch: Watch, name: str) -> bool:
    """Whether the scratch has come as far, and seen all that was judged there (and more)."""
    is_as_far = scratch.clock_ms(name) == watch.clock_ms(name)
    return is_as_far and scratch.judged(name) >= watch.judged(name)


# --- the story --------------------------------------------------------------------------------


def _correct(course: _Course, names: Sequence[str], now: datetime) -> None:
    stories: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        tenant = course.desk.directory.tenant(key_of(name)[0])
        if tenant is not None:
            stories[tenant.schema_name].append(name)
    for schema, own in sorted(stories.items()):
        with schema_context(schema):
            events = correct([course.retelling(name) for name in own], judged_at=now)
            course.desk.count_late("events_written", len(events))


def _tells(detector: Detector, changed: set[str]) -> bool:
    """Whether readings alone, and one rule, decided what the detector stated."""
    return not isinstance(detector, Clocked) and detector.name not in changed
