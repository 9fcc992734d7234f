"""How it went: answers over time and over the fleet, from whichever level gives them soonest.

Callers say what, from when to when and how fine; which level answers, and that the newest part
comes from the level below, is decided here. Whatever has been written since a level's mark, and
all that its mark leaves open, is asked of the finer level instead, in whole buckets, so that every
reading is counted exactly once: there is no seam to be seen. Where finer levels have let go, wider
ones answer, and what they can't tell apart at the range's edges is in the answer.

All questions go through `ask`, which is `TenantTelemetry`'s: it puts the tenant's filter around
each of them. Nothing here names a tenant.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Protocol

from apps.telemetry import fleet, levels, marks, overtime, questions
from apps.telemetry.answers import Group, Series
from apps.telemetry.documents import READINGS, ROLLUP, Kind
from apps.telemetry.errors import WrongQuestion
from apps.telemetry.fleet import Counted, Grouping
from apps.telemetry.levels import BELOW, DAY, HOUR_MS, RAW, Held, Level
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
    """How far levels are; a TelemetryStore knows."""

    def known_marks(self) -> Sequence[Mark]: ...


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
    """One tenant's past. `ask` is the wall; `store` tells how far levels are, `held` of which time
    they still have anything of this tenant's."""

    def __init__(self, ask: Ask, store: Reach, held: Held) -> None:
        self._ask = ask
        self._store = store
        self._held = held
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
        little before start_ms. Readings from before it, and from end_ms on, are in none, unless
        nothing is left there but a bucket that holds them as well.
        """
        grid, level = self._grid(start_ms, end_ms, points)
        only = questions.any_of("connector", connectors)
        parts, answers = self._answered(
            level,
            (start_ms, end_ms),
            [only],
            lambda parts: [
                (part.kind, [only, part.clause], overtime.body(part.level, names, grid))
                for part in parts
            ],
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
        level = levels.level_for(start_ms, end_ms, width_ms, self._held)
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
        Where nothing finer is left than an hour or a day that the range begins or ends within, all
        of it is counted. Raises WrongQuestion where only longer stretches than those asked for are
        still held.
        """
        level = self._fleet_level(grouping, start_ms, end_ms)
        first = _ends if grouping.binned else _groups
        parts, told = self._answered(
            level,
            (start_ms, end_ms),
            filters,
            lambda parts: first(parts, filters, grouping),
            binned=True,
            fleet=True,
        )
        if grouping.binned:
            # Half of all bins are empty for every group: only the others are asked for.
            grouping = replace(grouping, asked=fleet.bins_of(told, grouping.bins))
            told = self._ask(_groups(parts, filters, grouping))
        found = _gathered(parts, told, grouping)
        if not fleet.is_cut(told):
            return found
        # Who leads in one part may have been cut off in another: these are asked for by name.
        self.cut = True
        only = questions.any_of(grouping.by[0], fleet.leaders(found, grouping))
        return _gathered(parts, self._ask(_groups(parts, [*filters, only], grouping)), grouping)

    def _fleet_level(self, grouping: Grouping, start_ms: int, end_ms: int) -> Level:
        every_ms = grouping.every_ms
        width_ms = every_ms or max((end_ms - start_ms) // 3, RAW.width_ms)
        fits = [
            each
            for each in levels.chain(DAY, binned=True)
            if each.width_ms <= width_ms and not (every_ms or 0) % each.width_ms
        ]
        level = levels.still_held(fits[0], (start_ms, end_ms), self._held, binned=True)
        if every_ms and level not in fits:
            value, ask = (str(timedelta(milliseconds=each)) for each in (every_ms, level.width_ms))
            raise WrongQuestion(field="every", value=value, kept=level.name, ask=[ask])
        return level

    # --- which level answers which part ---------------------------------------------------------

    def _answered(
        self,
        level: Level,
        span: Span,
        filters: Sequence[Clause],
        question: Callable[[Sequence[Part]], list[Asked]],
        *,
        binned: bool = False,
        fleet: bool = False,
    ) -> tuple[list[Part], list[dict[str, Any]]]:
        """The parts of a question's span, and what the store answers of them.

        What rollups lack is asked for beside the question itself, which is put as if they lacked
        nothing: nearly always that is so, and one request is enough. Else it is asked once more.
        """
        if level is RAW:
            parts = [Part(RAW, [span])]
            return parts, self._ask(question(parts))
        chain = levels.chain(level, binned=binned)
        span = self._edged(chain, span)
        every = self._store.known_marks()
        known = _by_level(every, span)
        seams = {each.name: marks.seam_ms(known[each.name]) for each in chain[:-1]}
        built = {mark.level for mark in every}
        unbuilt = {each.name: [span] for each in chain[:-1] if each.name not in built}
        hoped = self._parts(chain, span, _dirty(chain, seams, unbuilt))
        lacking = [_lacking(each, known[each.name], span, seams, filters) for each in chain[:-1]]
        answers = self._ask([*lacking, *question(hoped)])
        late = self._late(chain, known, answers[: len(lacking)], fleet=fleet)
        parts = self._parts(chain, span, _dirty(chain, seams, late))
        if parts == hoped:
            return parts, answers[len(lacking) :]
        return parts, self._ask(question(parts))

    def _edged(self, chain: Sequence[Level], span: Span) -> Span:
        """The span, out to whole buckets of the finest that is left at either edge."""
        first, last = (self._held.finest(chain, at_ms) for at_ms in (span[0], span[1] - 1))
        return first.start_of(span[0]), last.start_of(span[1] - 1) + last.width_ms

    def _parts(
        self, chain: Sequence[Level], span: Span, dirty: Mapping[str, list[Span]]
    ) -> list[Part]:
        """The question's span, shared among levels: each instant belongs to exactly one part."""
        left = [span]
        parts = []
        for each in chain[:-1]:
            whole = inward(left, each.width_ms)
            own = without(whole, outward(dirty[each.name], each.width_ms))
            left = without(left, own)
            parts.append(Part(each, own))
        return [part for part in (*parts, Part(RAW, left)) if part.spans]

    def _late(
        self,
        chain: Sequence[Level],
        known: Mapping[str, Sequence[Mark]],
        answers: Sequence[Mapping[str, Any]],
        *,
        fleet: bool,
    ) -> dict[str, list[Span]]:
        """Of each level, the stretches whose rollups lack readings that have been written since."""
        found: dict[str, list[Span]] = {}
        for each, answer in zip(chain[:-1], answers, strict=True):
            late = marks.touched_spans(answer, "late", _touched_width(each))
            waiting_ms = len(late) * _touched_width(each)
            if fleet and known[each.name] and waiting_ms > UNSETTLED_HOURS * HOUR_MS:
                late, self.settled = [], False
            found[each.name] = late
        return found


def _by_level(known: Sequence[Mark], span: Span) -> dict[str, list[Mark]]:
    """The marks of the indices that can hold anything of the span."""
    found: defaultdict[str, list[Mark]] = defaultdict(list)
    for mark in known:
        if mark.start_ms < span[1] and mark.end_ms > span[0]:
            found[mark.level].append(mark)
    return found


def _dirty(
    chain: Sequence[Level], seams: Mapping[str, int], late: Mapping[str, list[Span]]
) -> dict[str, list[Span]]:
    """Of each level, the stretches in which its rollups may be incomplete."""
    found: dict[str, list[Span]] = {}
    for each in reversed(chain[:-1]):
        open_part = (seams[each.name], marks.NEVER_MS)
        below = found.get(BELOW[each.name].name, [])
        found[each.name] = joined([*late.get(each.name, ()), open_part, *below])
    return found


def _lacking(
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


# --- groups -----------------------------------------------------------------------------------


def _ends(parts: Sequence[Part], filters: Sequence[Clause], grouping: Grouping) -> list[Asked]:
    """Between which ends the rollups' values lie."""
    return [
        (part.kind, [*filters, part.clause], fleet.ends(grouping.quantity))
        for part in parts
        if part.level is not RAW
    ]


def _groups(parts: Sequence[Part], filters: Sequence[Clause], grouping: Grouping) -> list[Asked]:
    return [
        (part.kind, [*filters, part.clause], fleet.body(part.level, grouping)) for part in parts
    ]


def _gathered(
    parts: Sequence[Part], answers: Sequence[Mapping[str, Any]], grouping: Grouping
) -> dict[Group, Counted]:
    """The groups of all parts."""
    found: dict[Group, Counted] = {}
    for part, answer in zip(parts, answers, strict=True):
        fleet.take(found, answer, part.level, grouping)
    return found
