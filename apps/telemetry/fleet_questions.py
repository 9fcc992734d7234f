"""What is asked of a whole fleet: percentiles, the highest, distributions, likeness, alarms.

A part of `TenantTelemetry`, in a file of its own: each question is checked here and goes through
its `_ask`, which puts the tenant's filter around it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np

from apps.telemetry import parsing, questions, slices
from apps.telemetry.answers import (
    AlarmCount,
    Alike,
    Distribution,
    Group,
    GroupPage,
    GroupRow,
    StatePage,
)
from apps.telemetry.bins import BINS
from apps.telemetry.documents import EVENTS, STATE
from apps.telemetry.errors import AskedTooMuch, WrongQuestion
from apps.telemetry.fleet import EXTREMES, LEADING, Counted, Grouping
from apps.telemetry.history import Asked, History
from apps.telemetry.overtime import tidy
from apps.telemetry.questions import Clause, EventFilter, FleetFilter, StateFilter

AGE = "age"
AGES = (
    ("0-1", 0, 1),
    ("1-2", 1, 2),
    ("2-3", 2, 3),
    ("3-5", 3, 5),
    ("5+", 5, 50),
)
"""Years since installation, from … to before, and how the group is called."""
YEAR = timedelta(days=365.25)
AGED_LIMIT = 50_000
"""Connectors that are told apart by age: their names fit one question (`index.max_terms_count`)."""
PERCENTS = (50.0, 95.0, 99.0)
STATISTICS: Mapping[str, Callable[[GroupRow], float]] = {
    **EXTREMES,
    "mean": lambda row: row.mean,
    "count": lambda row: row.count,
}
"""What groups are ranked by, highest first; of minima the lowest."""
NOW: Mapping[str, tuple[str, Callable[[GroupRow], float]]] = {
    "maximum": ("stats.max", lambda row: row.maximum),
    "minimum": ("stats.min", lambda row: row.minimum),
    "mean": ("stats.avg", lambda row: row.mean),
    "count": ("stats.count", lambda row: row.count),
    "p50": ("percentiles[50.0]", lambda row: row.percentiles[50.0]),
    "p95": ("percentiles[95.0]", lambda row: row.percentiles[95.0]),
    "p99": ("percentiles[99.0]", lambda row: row.percentiles[99.0]),
}
"""What groups of connectors are ranked by now, and how the store calls it."""
DUTY = ("current_a", "ambient_c", "temperature_pos_c")
DUTY_STRETCH = timedelta(days=30)


class FleetQuestions:
    """Questions about many connectors at once. Only `TenantTelemetry` is one."""

    tenant: str

    def _ask(self, asked: Sequence[Asked]) -> list[dict[str, Any]]:
        raise NotImplementedError

    def _history(self) -> History:
        raise NotImplementedError

    def states(
        self,
        filters: StateFilter | None = None,
        *,
        sort: str = "worst",
        page: int = 1,
        size: int = 50,
        facets: Sequence[str] = (),
    ) -> StatePage:
        raise NotImplementedError

    # --- over a range ---------------------------------------------------------------------------

    def percentiles(
        self,
        quantity: str,
        *,
        start: datetime,
        end: datetime,
        by: Sequence[str] = (),
        every: timedelta | None = None,
        percents: Sequence[float] = PERCENTS,
        filters: FleetFilter | None = None,
        page: int = 1,
        size: int = 1_000,
    ) -> GroupPage:
        """Percentiles of a quantity over start ≤ measured < end, wrong by less than a bin.

        quantity: one of `bins.BINS`; of states, counters and a customer's own no distribution is
        kept, and `top` has their extremes and means. by: at most two of `fleet.BY`, or "age"; what
        has no such dimension is in a group "". every: whole hours; groups are then told apart by
        time as well. Raises AskedTooMuch where there are more than 1 000 groups of a dimension, or
        more than AGED_LIMIT connectors by age, and WrongQuestion where of that time only longer
        stretches are still kept. Where only hours or days are, those that the range begins or ends
        within are counted whole.
        """
        found, history = self._groups(quantity, by, every, filters, start, end, binned=True)
        rows = [_row(quantity, group, each, percents) for group, each in sorted(found.items())]
        return _page(rows, page, size, history)

    def top(
        self,
        quantity: str,
        *,
        by: str,
        statistic: str,
        start: datetime,
        end: datetime,
        filters: FleetFilter | None = None,
        page: int = 1,
        size: int = 10,
    ) -> GroupPage:
        """The groups with the highest maximum, mean or count of a quantity, or lowest minimum.

        Raises AskedTooMuch where there are more than 10 000 groups, but for maximum and minimum:
        then the answer has the leading ones and is `cut`.
        """
        rank = STATISTICS.get(statistic)
        if rank is None:
            raise WrongQuestion(field="statistic", value=statistic[:64])
        leading = statistic if statistic in LEADING else None
        found, history = self._groups(
            quantity, [by], None, filters, start, end, binned=False, leading=leading
        )
        rows = [_row(quantity, group, each, ()) for group, each in sorted(found.items())]
        return _page(sorted(rows, key=rank, reverse=True), page, size, history)

    def distribution(
        self,
        quantity: str,
        *,
        start: datetime,
        end: datetime,
        every: timedelta = timedelta(days=1),
        percents: Sequence[float] = PERCENTS,
        filters: FleetFilter | None = None,
    ) -> Distribution:
        """How often a quantity lay where, over a fleet, by day or another stretch of time."""
        found, history = self._groups(quantity, (), every, filters, start, end, binned=True)
        return Distribution(
            quantity=quantity,
            edges=BINS[quantity].edges,
            rows=[
                (group.start_ms or 0, [int(number) for number in each.counts])
                for group, each in sorted(found.items())
                if each.counts is not None
            ],
            groups=[_row(quantity, group, each, percents) for group, each in sorted(found.items())],
            settled=history.settled,
        )

    def similar(self, connector: str | UUID, *, now: datetime, size: int = 10) -> list[Alike]:
        """Connectors of the same model whose duty of the last 30 days was most like this one's.

        Duty is mean and maximum of current, ambient and contact temperature; each is compared in
        deviations of the model's connectors. Empty where this one has no duty to compare. Of a
        model with more than 10 000 connectors, those of the same batch are compared.
        """
        questions.page_size(size)
        own = self.states(StateFilter(connector=str(connector)), size=1).states
        if not own or not own[0].dimensions["model"]:
            return []
        model, batch = (own[0].dimensions[name] for name in ("model", "batch"))
        try:
            duties = self._duties(FleetFilter(model=model), now)
        except AskedTooMuch:
            duties = self._duties(FleetFilter(model=model, batch=batch), now)
        return _nearest(str(connector), duties, size)

    def _duties(self, of: FleetFilter, now: datetime) -> dict[str, dict[str, float]]:
        """Of each connector its duty, by name."""
        duties: dict[str, dict[str, float]] = {}
        for quantity in DUTY:
            found, _ = self._groups(
                quantity, ["connector"], None, of, now - DUTY_STRETCH, now, binned=False
            )
            for group, each in found.items():
                duties.setdefault(group.values[0], {}).update(_duty(quantity, each))
        return duties

    # --- now ------------------------------------------------------------------------------------

    def percentiles_now(
        self,
        quantity: str,
        *,
        now: datetime,
        by: str | None = None,
        percents: Sequence[float] = PERCENTS,
        filters: StateFilter | None = None,
    ) -> list[GroupRow]:
        """Percentiles of the connectors' last values of a quantity, by a dimension or "age".

        quantity: any, or "margin_k". Raises AskedTooMuch where there are more than 1 000 groups:
        `top_now` has the leading ones.
        """
        limit = questions.GROUPS_LIMIT
        rows, cut = self._rows_now(quantity, by, now, percents, filters, {})
        if cut:
            raise AskedTooMuch(what="groups", asked=limit + 1, limit=limit)
        return rows

    def top_now(
        self,
        quantity: str,
        *,
        by: str,
        statistic: str,
        now: datetime,
        lowest: bool = False,
        filters: StateFilter | None = None,
        page: int = 1,
        size: int = 10,
    ) -> GroupPage:
        """The groups of connectors that lead now: which models are worst by their median margin.

        quantity: any, or "margin_k". by: a dimension or "age". statistic: one of `NOW`, the highest
        first or the `lowest`. Of more than 1 000 groups the answer has the leading ones and is
        `cut`.
        """
        if statistic not in NOW:
            raise WrongQuestion(field="statistic", value=statistic[:64], ask=[*NOW])
        name, rank = NOW[statistic]
        order = {"order": {name: "asc" if lowest else "desc"}}
        rows, cut = self._rows_now(quantity, by, now, PERCENTS, filters, order)
        rows.sort(key=rank, reverse=not lowest)
        first = questions.numbered_page(page, size)["from"]
        return GroupPage(rows[first : first + size], len(rows), cut=cut)

    def _rows_now(
        self,
        quantity: str,
        by: str | None,
        now: datetime,
        percents: Sequence[float],
        filters: StateFilter | None,
        order: questions.Body,
    ) -> tuple[list[GroupRow], bool]:
        """The groups of connectors that have the quantity, and whether there are more."""
        field = questions.field_now(quantity)
        inner = {
            "stats": {"stats": {"field": field}},
            "percentiles": {"percentiles": {"field": field, "percents": list(percents)}},
        }
        groups = self._grouped_now(by, now, inner, order)
        body = {"size": 0, "track_total_hits": False, "aggs": groups}
        has: Clause = {"exists": {"field": field}}
        (answer,) = self._ask([(STATE, [has, *(filters or StateFilter()).clauses()], body)])
        return parsing.groups_now(answer, percents)

    def alarm_counts(
        self, *, by: str = "batch", filters: EventFilter | None = None
    ) -> list[AlarmCount]:
        """How many alarms were opened, on how many connectors, by a dimension and by month.

        The value with the most alarms is first, each by month. Raises AskedTooMuch beyond 20 000
        of them together: filter by time.
        """
        clauses: list[Clause] = [{"term": {"kind": "opened"}}]
        clauses += (filters or EventFilter()).clauses()
        counts: list[AlarmCount] = []
        after: Mapping[str, Any] | None = None
        limit = questions.ALARM_COUNTS_LIMIT
        while True:
            body = questions.alarms_by_month(by, dict(after) if after else None)
            page, after = parsing.alarm_counts(self._ask([(EVENTS, clauses, body)])[0])
            counts += page
            if len(counts) > limit:
                raise AskedTooMuch(what="groups", asked=len(counts), limit=limit)
            if after is None:
                return _most_first(counts)

    # --- groups ---------------------------------------------------------------------------------

    def _grouped_now(
        self, by: str | None, now: datetime, inner: questions.Body, order: questions.Body
    ) -> questions.Body:
        if by is None:
            return {"by": {"filters": {"filters": {"": {"match_all": {}}}}, "aggs": inner}}
        if by == AGE:
            return {"by": questions.ages(_age_bounds(now), inner)}
        if by not in questions.STATE_FACETS or by == "health":
            raise WrongQuestion(field="by", value=by[:64])
        terms = {"field": by, "size": questions.GROUPS_LIMIT, **order}
        return {"by": {"terms": terms, "aggs": inner}}

    def _groups(
        self,
        quantity: str,
        by: Sequence[str],
        every: timedelta | None,
        filters: FleetFilter | None,
        start: datetime,
        end: datetime,
        *,
        binned: bool,
        leading: str | None = None,
    ) -> tuple[dict[Group, Counted], History]:
        """The groups, and whose answer it was: it knows whether something is missing in them."""
        questions.known_quantities([quantity])
        start_ms, end_ms = slices.to_ms(start), slices.to_ms(end)
        every_ms = questions.stretch_ms(every, start_ms, end_ms)
        plain = tuple(dimension for dimension in by if dimension != AGE)
        grouping = Grouping(quantity, plain, every_ms, binned, leading)
        clauses = (filters or FleetFilter()).clauses()
        history = self._history()
        if AGE not in by:
            return history.grouped(grouping, clauses, start_ms, end_ms), history
        found: dict[Group, Counted] = {}
        at = by.index(AGE)
        for label, connectors in self._connectors_by_age(end, filters).items():
            aged: list[Clause] = [*clauses, {"terms": {"connector": connectors}}]
            for group, each in history.grouped(grouping, aged, start_ms, end_ms).items():
                values = (*group.values[:at], label, *group.values[at:])
                found[Group(values, group.start_ms)] = each
        return found, history

    def _connectors_by_age(self, now: datetime, of: FleetFilter | None) -> dict[str, list[str]]:
        """Age → the connectors that are of it. Raises AskedTooMuch beyond AGED_LIMIT of them.

        Of the filter only what a connector is for good: whose it was, and where, readings say.
        """
        same = of or FleetFilter()
        chosen = StateFilter(connector=same.connector, model=same.model, batch=same.batch).clauses()
        aged = {
            label: [questions.within("installed_at", start_ms, end_ms), *chosen]
            for label, start_ms, end_ms in _age_bounds(now)
        }
        found: dict[str, list[str]] = {label: [] for label in aged}
        left: list[str] = [*aged]
        while left:
            asked = [
                (STATE, aged[label], questions.by_connector(found[label][-1:])) for label in left
            ]
            answers = dict(zip(left, self._ask(asked), strict=True))
            total = sum(each["hits"]["total"]["value"] for each in answers.values())
            if total > AGED_LIMIT:
                raise AskedTooMuch(what="connectors by age", asked=total, limit=AGED_LIMIT)
            for label, answer in answers.items():
                found[label] += [hit["_source"]["connector"] for hit in answer["hits"]["hits"]]
            left = [
                label
                for label, answer in answers.items()
                if len(answer["hits"]["hits"]) == questions.CONNECTORS_LIMIT
            ]
        return {label: connectors for label, connectors in found.items() if connectors}


def installed_within(age: str, now: datetime) -> dict[str, int | None]:
    """An age of AGES as StateFilter's fields; none of an age that is none."""
    bounds = {label: (start_ms, end_ms) for label, start_ms, end_ms in _age_bounds(now)}
    start_ms, end_ms = bounds.get(age, (None, None))
    return {"installed_from_ms": start_ms, "installed_before_ms": end_ms}


def _age_bounds(now: datetime) -> list[tuple[str, int | None, int | None]]:
    """Each age as (label, installed from, installed before)."""
    return [
        (label, slices.to_ms(now - most * YEAR), slices.to_ms(now - least * YEAR))
        for label, least, most in AGES
    ]


def _row(quantity: str, group: Group, counted: Counted, percents: Sequence[float]) -> GroupRow:
    spread = counted.spread
    if spread is None:
        raise ValueError("a group without readings")
    return GroupRow(
        group=group,
        count=spread.count,
        minimum=tidy(quantity, spread.minimum),
        maximum=tidy(quantity, spread.maximum),
        mean=tidy(quantity, spread.total / spread.count),
        percentiles=counted.percentiles(BINS[quantity], percents) if percents else {},
    )


def _page(rows: list[GroupRow], page: int, size: int, history: History) -> GroupPage:
    first = questions.numbered_page(page, size)["from"]
    return GroupPage(rows[first : first + size], len(rows), history.settled, history.cut)


def _most_first(counts: list[AlarmCount]) -> list[AlarmCount]:
    alarms: Counter[str] = Counter()
    for each in counts:
        alarms[each.value] += each.alarms
    return sorted(counts, key=lambda each: (-alarms[each.value], each.value, each.month_ms))


def _duty(quantity: str, counted: Counted) -> dict[str, float]:
    spread = counted.spread
    if spread is None:
        return {}
    mean, maximum = (tidy(quantity, each) for each in (spread.total / spread.count, spread.maximum))
    return {f"{quantity} mean": mean, f"{quantity} maximum": maximum}


def _nearest(connector: str, duties: Mapping[str, dict[str, float]], size: int) -> list[Alike]:
    own = duties.get(connector)
    if not own:
        return []
    names = sorted(own)
    others = [key for key, duty in duties.items() if key != connector and duty.keys() >= set(names)]
    table = np.array([[duties[key][name] for name in names] for key in [connector, *others]])
    deviation = table.std(axis=0)
    deviation[deviation == 0] = 1.0
    apart = np.sqrt((((table - table[0]) / deviation) ** 2).mean(axis=1))[1:]
    nearest = np.argsort(apart, kind="stable")[:size]
    return [Alike(others[n], float(apart[n]), duties[others[n]]) for n in nearest]
