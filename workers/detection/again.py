"""Late readings: who was not judged, and what all of them in order come to. See decision 0009.

A connector's judged readings are counted, and so can those be that are stored. Where the store
holds more since a snapshot than were judged since, the connector is judged again from the newest
snapshot up to whose clock none is missing: here, beside its partition, which is taken over only to
put the result in place. What the visits of live readings do for it is a note of whom late readings
are, which may as well be repeats.

A detector that fails at it keeps what it knew and its stories; what the others say is put in
place. The connector is noted (`apps.partitions.arrears`) and tried once more, from the same state.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import pairwise

import numpy as np
import structlog
from django_tenants.utils import schema_context

from apps.alarms.correcting import Retelling, correct
from apps.partitions import arrears, operations, queries
from apps.partitions.arrears import Failure
from apps.partitions.log import partition_of
from apps.partitions.wakeups import REORDER_WINDOW_MS
from apps.telemetry.slices import from_ms
from apps.telemetry.store import TelemetryStore
from apps.telemetry.tenant import TenantTelemetry
from apps.warning.queries import detectors_changed_since
from apps.warning.shadows import Retold, retell
from ohmwatch.detector import Batch, Times
from ohmwatch.findings import Finding
from ohmwatch.reorder import in_time
from ohmwatch.rules import Judge
from ohmwatch.watch import Watch
from workers.detection import passes
from workers.detection.desk import Desk
from workers.detection.gathering import key_of, name_of
from workers.detection.holding import REACH_MS, Holding
from workers.detection.panel import DetectorResting
from workers.detection.replay import between
from workers.detection.rulebooks import Lineup

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
    owing = arrears.arrears_of(partition)
    now = desk.clock()
    due = {name for name, each in owing.items() if each.due_at and each.due_at <= now}
    noted = sorted(late, key=lambda name: (late[name], name))
    suspects = [*noted, *sorted(each for each in due - late.keys() if watch.knows(each))]
    bases = Bases.of(suspects, watch, queries.snapshots(partition))
    bases.owing = {name: each.since_ms for name, each in owing.items()}
    bases.due = due
    arrears.forget_old(now=now)
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
            arrears.begin(partition, piece, now=desk.clock())
            if not _judge(partition, bases.scratch(piece), watch, desk):
                desk.count_late("connectors_put_off", len(piece))
                return judged
            judged += len(piece)
        audited = noted[first : first + AT_ONCE]
        if audited:
            # Others of the last one's number may follow.
            done = late[audited[-1]] - (0 if first + AT_ONCE >= len(noted) else 1)
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
    course = _Course(scratch, desk, {name: scratch.clock_ms(name)}, watch)
    course.advance({name: watch.clock_ms(name)})
    failed = [f"{key}: {error!r}" for key, error in course.failed[name].items() if "@" not in key]
    if failed:
        raise Failed("; ".join(failed))
    return course.retelling(name)


# --- from where -------------------------------------------------------------------------------


@dataclass
class Bases:
    """What was known of connectors at several times, oldest first, and is known now.

    `owing` says of some from which clock on (ms) something failed to judge them, so that later
    states won't do; those that are `due` are judged again whatever is missing.
    """

    now: Watch
    known: list[Watch]
    owing: Mapping[str, int] = field(default_factory=dict)
    due: Collection[str] = frozenset()
    chosen: dict[str, int] = field(default_factory=dict)
    readings: dict[str, int] = field(default_factory=dict)
    """How many are stored since what was chosen."""

    @classmethod
    def of(cls, names: Sequence[str], now: Watch, states: Iterable[bytes]) -> "Bases":
        """Of these connectors, from dumped states. Who was not met at the oldest begins with
        nothing, a reach before what was judged first."""
        if not names:
            return cls(now, [])
        known = [
            Watch.load(state, now.detectors).copy_of(names, beside=now.beside()) for state in states
        ]
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
            if name not in self.due and sum(stored) <= judged[-1] - judged[0]:
                continue
            found.append(name)
            whole, last_ms = 0, self.owing.get(name)
            for at in range(1, len(steps) - 1):
                in_full = last_ms is None or steps[at].clock_ms(name) <= last_ms
                if in_full and sum(stored[:at]) == judged[at] - judged[0]:
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
    """A detector failed over these readings: its half of a story is none."""


@dataclass
class _Course:
    """Connectors on their way from a base to what is known `now`. `scratch` moves on.

    `failed` are by connector the keys of states that did not come all the way, each with the first
    error; what a stage fails at, nobody has seen rightly.
    """

    scratch: Watch
    desk: Desk
    since_ms: dict[str, int]
    now: Watch
    findings: defaultdict[str, list[Finding]] = field(default_factory=lambda: defaultdict(list))
    in_shadow: defaultdict[str, list[Finding]] = field(default_factory=lambda: defaultdict(list))
    failed: defaultdict[str, dict[str, Exception]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    _judges: dict[str, list[Judge]] = field(default_factory=dict)

    def advance(self, until_ms: Mapping[str, int]) -> None:
        """Judges what is stored up to these instants."""
        for batch in between(self.desk.telemetry, self.scratch, until_ms):
            lineup = self.desk.rulebooks.lineup(batch.connectors)
            came_ms = in_time(batch, window_ms=REORDER_WINDOW_MS)
            judgement = self.scratch.observe(
                replace(batch, arrived_ms=came_ms),
                self.desk.ratings(batch.connectors),
                guard=self.desk.panel.guard,
                posts=lineup.posts,
            )
            self._note_failures(lineup, judgement.failed)
            self.desk.count_late("readings_judged_again", len(judgement.judged))
            arrived_ms = _arrivals_of_late(batch, came_ms)
            for found, theirs in (
                (lineup.stated(judgement), self.findings),
                (lineup.in_shadow(judgement), self.in_shadow),
            ):
                for finding in found:
                    key = (finding.connector, finding.measured_ms)
                    came = arrived_ms.get(key, finding.arrived_ms)
                    theirs[finding.connector].append(replace(finding, arrived_ms=came))

    def _note_failures(self, lineup: Lineup, failed: Mapping[str, Exception]) -> None:
        stages = {each.name for each in self.scratch.stages}
        for key, error in failed.items():
            for name, plan in lineup.plans.items():
                if key in stages or key in {each.key for each in plan.judges}:
                    self.failed[name].setdefault(key, error)

    def is_blind(self, name: str) -> bool:
        """Whether nothing that was stated of the connector can be trusted."""
        return bool(self.failed[name].keys() & {each.name for each in self.scratch.stages})

    def judges(self, name: str) -> list[Judge]:
        """Who of those that judge a connector of the current tenant has judged it again: readings
        alone, and one rule, decided what it states, and it did not fail."""
        if name not in self._judges:
            changed = detectors_changed_since(from_ms(self.since_ms[name]))
            self._judges[name] = [
                each
                for each in self.desk.rulebooks.lineup([name]).plans[name].judges
                if each.key not in self.failed[name]
                and each.detector.name not in changed
                and self.now.lapsed_ms(each.key, name) <= self.since_ms[name]
            ]
        return self._judges[name]

    def retelling(self, name: str) -> Retelling:
        """What is true of a connector of the current tenant."""
        connector = key_of(name)[1]
        return Retelling(
            connector=connector,
            since_ms=self.since_ms[name],
            until_ms=self.scratch.clock_ms(name),
            findings=[replace(each, connector=connector) for each in self.findings[name]],
            judged_by={
                each.detector.condition: (
                    *(each.detector.name, each.detector.version),
                    *(each.rule, each.version),
                )
                for each in self.judges(name)
                if not each.is_shadow
            },
        )

    def retold(self, name: str) -> Retold:
        """What its rules in shadow would have stated of a connector of the current tenant."""
        connector = key_of(name)[1]
        return Retold(
            connector=connector,
            since_ms=self.since_ms[name],
            findings=[replace(each, connector=connector) for each in self.in_shadow[name]],
            rules={
                each.rule: each.detector.condition for each in self.judges(name) if each.is_shadow
            },
        )

    def keys(self, name: str) -> frozenset[str]:
        """The states of a connector that this has brought to what is true."""
        schema = self.desk.schema_of(name)
        if schema is None:
            return frozenset()
        with schema_context(schema):
            told = {each.key for each in self.judges(name)}
        return frozenset(told | {each.name for each in self.scratch.stages})

    def failure(self, name: str) -> Failure:
        """What is to be tried once more of a connector."""
        failed = self.failed[name]
        said = [repr(each) for each in failed.values() if not isinstance(each, DetectorResting)]
        detectors = sorted({key.partition("@")[0] for key in failed})
        return Failure(name, self.since_ms[name], detectors, next(iter(said), ""))


def _arrivals_of_late(batch: Batch, came_ms: Times) -> dict[tuple[str, int], int]:
    return {
        (batch.connectors[batch.connector[at]], int(batch.time_ms[at])): int(batch.arrived_ms[at])
        for at in np.flatnonzero(came_ms != batch.arrived_ms).tolist()
    }


def _judge(partition: int, scratch: Watch, watch: Watch, desk: Desk) -> bool:
    """Judges all of the scratch's connectors, and puts them in place. False: the partition could
    not be taken; nothing has changed."""
    names = list(scratch.connectors)
    course = _Course(scratch, desk, {name: scratch.clock_ms(name) for name in names}, watch)
    course.advance({name: watch.clock_ms(name) for name in names})
    try:
        return _take(partition, partial(_put_in_place, course=course), desk)
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
    course.now = holding.watch
    known = [each for each in course.scratch.connectors if holding.watch.knows(each)]
    course.advance({name: holding.watch.clock_ms(name) for name in known})
    level = [each for each in known if _is_level(course.scratch, holding.watch, each)]
    if not level:
        return None
    ready = [each for each in level if not course.is_blind(each)]
    course.desk.count_late("connectors_judged_again", len(ready))
    alike: defaultdict[frozenset[str], list[str]] = defaultdict(list)
    for name in ready:
        alike[course.keys(name)].append(name)
    for keys, names in alike.items():
        holding.watch.adopt(names, course.scratch, keys)
    return partial(_correct, holding.partition, course, level, ready)


def _is_level(scratch: Watch, watch: Watch, name: str) -> bool:
    """Whether the scratch has come as far, and seen all that was judged there (and more)."""
    is_as_far = scratch.clock_ms(name) == watch.clock_ms(name)
    return is_as_far and scratch.judged(name) >= watch.judged(name)


# --- the story --------------------------------------------------------------------------------


def _correct(
    partition: int, course: _Course, level: Sequence[str], ready: Sequence[str], now: datetime
) -> None:
    desk = course.desk
    stories: defaultdict[str, list[str]] = defaultdict(list)
    for name in ready:
        schema = desk.schema_of(name)
        if schema is not None:
            stories[schema].append(name)
    for schema, own in sorted(stories.items()):
        with schema_context(schema):
            events = correct([course.retelling(name) for name in own], judged_at=now)
            desk.count_late("events_written", len(events))
            retell([course.retold(name) for name in own], judged_at=now)
    failures = [course.failure(each) for each in level if course.failed[each]]
    for each in failures:
        logger.warning("not_judged_again", connector=each.connector, failed=each.failed)
    desk.count_late("connectors_to_be_tried_again", len(failures))
    for row in arrears.settle(partition, judged=level, failures=failures, now=now):
        logger.error("late_readings_not_judged", connector=row.connector, error=row.error)
        desk.count_late("connectors_given_up", 1)
