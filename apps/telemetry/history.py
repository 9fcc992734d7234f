"""How it went: answers over time and over the fleet, from whichever level gives them soonest.

Callers say what, from when to when and how fine; which level answers, and that the newest part
comes from the level below, is decided here. Whatever has been written since a level's mark, and
all that its mark leaves open, is asked of the finer level instead, in whole buckets, so that every
reading is counted exactly once: there is no seam to be seen.

All questions go through `ask`, which is `TenantTelemetry`'s: it puts the tenant's filter around
each of them. Nothing here names a tenant.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from apps.telemetry import fleet, levels, marks, overtime, questions
from apps.telemetry.answers import Group, Series
from apps.telemetry.documents import READINGS, ROLLUP, Kind
from apps.telemetry.fleet import Counted, Grouping
from apps.telemetry.levels import BELOW, DAY, HOUR, HOUR_MS, RAW, Level
from apps.telemetry.marks import Mark
from apps.telemetry.overtime import Gathered, Grid
from apps.telemetry.questions import Body, Clause
from apps.telemetry.spans import Span, inward, joined, outward, without

Asked = tuple[Kind, Sequence[Clause], Mapping[str, Any]]
Ask = Callable[[Sequence[Asked]], list[dict[str, Any]]]
UNSETTLED_HOURS = 72
"""More hours than these that wait for their rollups are not read from readings for a fleet: the
answer then says that it is not settled."""


class Reach(Protocol):
    """How far back levels go, and how far they are; a TelemetryStore knows."""

    def marks(self) -> list[Mark]: ...

    def oldest_ms(self) -> Mapping[str, int]: ...


@dataclass(frozen=True)
class Part:
    """What one level answers of a question."""

    level: Level
    spans: list[Span]

    @property
    def kind(self) -> Kind:
        return kind_of(self.level)

    @property
    def clause(self) -> Clause:
        return questions.any_span(self.spans)


def kind_of(level: Level) -> Kind:
    """The indices of a level."""
    return READINGS if level is RAW else ROLLUP[level.name]


class History:
    """One tenant's past. `ask` is the wall; `store` tells how far levels reach and are."""

    def __init__(self, ask: Ask, store: Reach) -> None:
        self._ask = ask
        self._store = store
        self.settled = True
        """False once an answer lacks late readings that wait for their rollups."""
        self.cut = False
        """True once an answer has only the leading groups of more."""

    # --- over time ------------------------------------------------------------------------------

    def series(
        self,
        connectors: Sequence[str],
        names: Sequence[str],
        start_ms: int,
        end_ms: int,
        points: int,
    ) -> list[Series]:
        """Each connector's quantities in at most `points` buckets, all on one grid.

        A bucket begins at a whole multiple of its level's width, so the first one may begin a
        little before start_ms; readings from before it are in none.
        """
        grid, level = self._grid(start_ms, end_ms, points)
        only = questions.any_of("connector", connectors)
        parts = self._parts(level, (start_ms, end_ms), [only])
        answers = self._ask(
            [
                (part.kind, [only, part.clause], overtime.body(part.level, names, grid))
                for part in parts
            ]
        )
        gathered = Gathered()
        for part, answer in zip(parts, answers, strict=True):
            gathered.take(answer, part.level, names)
        return [
            gathered.series(connector, names, grid, (start_ms, end_ms)) for connector in connectors
        ]

    def add_lasts(self, series: Series, names: Sequence[str]) -> None:
        """Fill `last` of each bucket: the values of its newest reading, from the same level."""
        by_level: defaultdict[str, list[int]] = defaultdict(list)
        for bucket in series.buckets:
            by_level[bucket.level].append(bucket.newest_ms)
        asked = [
            overtime.lasts(series.connector, level, times_ms, names)
            for level, times_ms in by_level.items()
        ]
        for level, answer in zip(by_level, self._ask(asked), strict=True):
            overtime.fill(series, level, answer)

    def _grid(self, start_ms: int, end_ms: int, points: int) -> tuple[Grid, Level]:
        width_ms = questions.interval_ms(start_ms, end_ms, points)
        level = levels.level_for(start_ms, end_ms, width_ms, self._store.oldest_ms())
        first_ms = level.start_of(start_ms)
        narrowest_ms = -(-(end_ms - first_ms) // points)
        return Grid(first_ms, -(-narrowest_ms // level.width_ms) * level.width_ms), level

    # --- over the fleet -------------------------------------------------------------------------

    def grouped(
        self,
        grouping: Grouping,
        filters: Sequence[Clause],
        start_ms: int,
        end_ms: int,
    ) -> dict[Group, Counted]:
        """What the readings of each group come to over start_ms ≤ measured < end_ms.

        Where the leading groups are asked for and there are more than an answer holds, it is those.
        """
        level = self._fleet_level(grouping, start_ms, end_ms)
        parts = self._parts(level, (start_ms, end_ms), filters, binned=True, fleet=True)
        grouping = self._narrowed(grouping, parts, filters)
        found, cut = self._gathered(grouping, parts, filters)
        if not cut:
            return found
        # Who leads in one part may have been cut off in another: these are asked for by name.
        self.cut = True
        best = fleet.leaders(found, grouping)
        only = questions.any_of(grouping.by[0], best)
        return self._gathered(grouping, parts, [*filters, only])[0]

    def _gathered(
        self, grouping: Grouping, parts: Sequence[Part], filters: Sequence[Clause]
    ) -> tuple[dict[Group, Counted], bool]:
        """The groups of all parts, and whether there are more than were answered."""
        answers = self._ask(
            [
                (part.kind, [*filters, part.clause], fleet.body(part.level, grouping))
                for part in parts
            ]
        )
        found: dict[Group, Counted] = {}
        for part, answer in zip(parts, answers, strict=True):
            fleet.take(found, answer, part.level, grouping)
        return found, fleet.is_cut(answers)

    def _narrowed(
        self, grouping: Grouping, parts: Sequence[Part], filters: Sequence[Clause]
    ) -> Grouping:
        """With the bins alone that hold anything: half of all bins are empty for every group."""
        rolled = [part for part in parts if part.level is not RAW]
        if not grouping.binned or not rolled:
            return grouping
        answers = self._ask(
            [(part.kind, [*filters, part.clause], fleet.ends(grouping.quantity)) for part in rolled]
        )
        return replace(grouping, asked=fleet.bins_of(answers, grouping.bins))

    def _fleet_level(self, grouping: Grouping, start_ms: int, end_ms: int) -> Level:
        width_ms = grouping.every_ms or (end_ms - start_ms) // 3
        return DAY if width_ms >= DAY.width_ms else HOUR if width_ms >= HOUR_MS else RAW

    # --- which level answers which part ---------------------------------------------------------

    def _parts(
        self,
        level: Level,
        span: Span,
        filters: Sequence[Clause],
        *,
        binned: bool = False,
        fleet: bool = False,
    ) -> list[Part]:
        """The question's span, shared among levels: each instant belongs to exactly one part."""
        if level is RAW:
            return [Part(RAW, [span])]
        chain = levels.chain(level, binned=binned)
        dirty = self._dirty(chain, span, filters, fleet=fleet)
        left = [span]
        if self._store.oldest_ms().get(RAW.name, 0) > span[0]:
            left = [(level.start_of(span[0]), span[1])]  # nothing finer is left of that edge
        parts = []
        for each in chain[:-1]:
            whole = inward(left, each.width_ms)
            own = without(whole, outward(dirty[each.name], each.width_ms))
            left = without(left, own)
            parts.append(Part(each, own))
        return [part for part in (*parts, Part(RAW, left)) if part.spans]

    def _dirty(
        self, chain: Sequence[Level], span: Span, filters: Sequence[Clause], *, fleet: bool
    ) -> dict[str, list[Span]]:
        """Of each level, the stretches in which its rollups may be incomplete."""
        known: defaultdict[str, list[Mark]] = defaultdict(list)
        for mark in self._store.marks():
            known[mark.level].append(mark)
        rolled = list(chain[:-1])
        seams = {each.name: marks.seam_ms(known[each.name]) for each in rolled}
        asked = [self._touched(each, known[each.name], span, seams, filters) for each in rolled]
        answers = self._ask(asked)
        dirty: dict[str, list[Span]] = {}
        for each, answer in zip(reversed(rolled), reversed(answers), strict=True):
            late = marks.touched_spans(answer, "late", _touched_width(each))
            waiting_ms = len(late) * _touched_width(each)
            if fleet and known[each.name] and waiting_ms > UNSETTLED_HOURS * HOUR_MS:
                late, self.settled = [], False
            open_part = (seams[each.name], marks.NEVER_MS)
            below = dirty.get(BELOW[each.name].name, [])
            dirty[each.name] = joined([*late, open_part, *below])
        return dirty

    def _touched(
        self,
        level: Level,
        known: Sequence[Mark],
        span: Span,
        seams: Mapping[str, int],
        filters: Sequence[Clause],
    ) -> Asked:
        settled = questions.within("@timestamp", span[0], min(span[1], seams[level.name]))
        # As a clause of the query: the few sequence numbers lead, and nothing else is looked at.
        late = marks.written_since(known)
        body: Body = {
            "size": 0,
            "track_total_hits": False,
            "aggs": {"late": marks.by_width(_touched_width(level))},
        }
        return kind_of(BELOW[level.name]), [*filters, settled, late], body


def _touched_width(level: Level) -> int:
    """Minutes are told by the hour: there may be very many."""
    return max(level.width_ms, HOUR_MS)
