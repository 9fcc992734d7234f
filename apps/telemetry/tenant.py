"""One tenant's telemetry, and the wall around it.

`TenantTelemetry` is for everybody who asks: nothing of another tenant's can be asked through it. An
alias with a filter would not do (it holds for searches only, not for get, update or delete by id),
so this class is the wall.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from apps.telemetry import cluster, pages, parsing, questions, slices, stretches
from apps.telemetry.answers import (
    AccountLine,
    Aged,
    EventPage,
    ItemResult,
    QuarantinedMessage,
    QuarantinePage,
    Reading,
    ReadingPage,
    Series,
    State,
    StatePage,
)
from apps.telemetry.documents import EVENTS, QUARANTINE, READINGS, STATE, STATE_INDEX, Kind
from apps.telemetry.errors import WrongQuestion
from apps.telemetry.fleet_questions import FleetQuestions
from apps.telemetry.history import Asked, History
from apps.telemetry.levels import Held
from apps.telemetry.questions import (
    Choice,
    Clause,
    EventFilter,
    FleetFilter,
    RefusedFilter,
    StateFilter,
)
from apps.telemetry.slices import Retention
from apps.telemetry.store import (
    Id,
    TelemetryStore,
    checked_key,
    checked_tenant,
    document_id,
    the_store,
)
from ohmwatch.detector import Batch

COUNTED_AT_ONCE = 100
"""Connectors whose readings are counted in one request."""


class TenantTelemetry(FleetQuestions):
    """One tenant's telemetry: everything that pages, APIs and detection ask goes through here.

    Each search carries the tenant's filter, each id the tenant's prefix, and each document that
    comes back is looked at once more. Callers choose neither indices nor fields nor queries.
    """

    def __init__(
        self,
        tenant: str,
        *,
        store: TelemetryStore | None = None,
        retention: Retention | None = None,
    ) -> None:
        """`retention` is the tenant's: for who asks over time, as each class lets go of readings
        and rollups at other times. Without it, what any class still has is looked for there."""
        self.tenant = checked_tenant(tenant)
        self._store = store or the_store()
        self._retention = retention

    # --- readings ---------------------------------------------------------------------------

    def series(
        self,
        connector: Id,
        quantities: Sequence[str],
        *,
        start: datetime,
        end: datetime,
        points: int = 500,
        with_last: bool = False,
    ) -> Series:
        """Quantities of a connector over start ≤ measured < end in at most `points` buckets.

        Each bucket has minimum, maximum, mean and count, so a spike stays visible; a bucket
        without readings is left out. Whether readings, minutes, hours or days answer is decided by
        range and points. `with_last` adds the values of each bucket's newest reading, by another
        search. Raises AskedTooMuch, WrongQuestion, StoreSlow.
        """
        (found,) = self.series_of([connector], quantities, start=start, end=end, points=points)
        if with_last:
            self._history().add_lasts(found, questions.known_quantities(quantities))
        return found

    def series_of(
        self,
        connectors: Sequence[Id],
        quantities: Sequence[str],
        *,
        start: datetime,
        end: datetime,
        points: int = 500,
    ) -> list[Series]:
        """The series of several connectors, at most 20, with buckets of the same beginnings."""
        keys = [checked_key(connector) for connector in connectors]
        names = questions.known_quantities(quantities)
        questions.several(keys, names, points)
        start_ms, end_ms = slices.to_ms(start), slices.to_ms(end)
        return self._history().series(keys, names, start_ms, end_ms, points)

    def readings(
        self,
        connector: Id,
        *,
        start: datetime,
        end: datetime,
        after: int | None = None,
        size: int = 1_000,
    ) -> ReadingPage:
        """A connector's readings as they came, in order of measurement, a page at a time.

        `after` is the last page's `after`; None is the first page, and its answer at the end.
        """
        body = questions.readings(size, None if after is None else [after], [{"@timestamp": "asc"}])
        clauses = self._measured([connector], slices.to_ms(start), slices.to_ms(end))
        found = [parsing.reading(hit) for hit in self._hits(READINGS, clauses, body)]
        return ReadingPage(found, found[-1].measured_ms if len(found) == size else None)

    def readings_around(
        self, connector: Id, at: datetime, *, before: int, after: int, within: timedelta
    ) -> list[Reading]:
        """The newest readings up to `at`, its own among them, and the next ones, in order.

        At most `before` and `after` of them, none further away than `within`.
        """
        at_ms, reach_ms = slices.to_ms(at), int(within.total_seconds() * 1000)
        asked = [
            (at_ms - reach_ms, at_ms + 1, "desc", before),
            (at_ms + 1, at_ms + reach_ms, "asc", after),
        ]
        answers = self._ask(
            [
                (
                    READINGS,
                    self._measured([connector], start_ms, end_ms),
                    questions.readings(size, None, [{"@timestamp": order}]),
                )
                for start_ms, end_ms, order, size in asked
            ]
        )
        found = [parsing.reading(hit) for each in answers for hit in each["hits"]["hits"]]
        return sorted(found, key=lambda each: each.measured_ms)

    def replay(
        self,
        connectors: Sequence[Id],
        *,
        since_ms: int,
        until_ms: int | None = None,
        at_most: int = stretches.AT_MOST,
    ) -> Iterator[Batch]:
        """Every reading of these connectors measured at or after since_ms, before until_ms.

        In order of measurement, then connector, in batches of about `at_most`. For detection,
        where a partition's log is gone, and for back-tests. What was written before the call is
        in it.
        """
        self._store.refresh(READINGS)
        clauses = self._measured(connectors, since_ms, until_ms)
        return stretches.stretches(
            clauses,
            count=self._count,
            tally=self._tally,
            everything=self._everything,
            at_most=at_most,
        )

    def counts(self, spans: Mapping[str, Sequence[tuple[int, int]]]) -> dict[str, list[int]]:
        """How many readings each connector has in its spans, start_ms ≤ measured < end_ms, of which
        each has at least one. What was written before the call is counted.
        """
        self._store.refresh(READINGS)
        keys = [checked_key(connector) for connector in spans]
        found: dict[str, list[int]] = {}
        for first in range(0, len(keys), COUNTED_AT_ONCE):
            some = keys[first : first + COUNTED_AT_ONCE]
            answers = self._ask(
                [
                    (READINGS, self._measured([key], *_ends(spans[key])), _in_spans(spans[key]))
                    for key in some
                ]
            )
            for key, answer in zip(some, answers, strict=True):
                buckets = answer.get("aggregations", {}).get("spans", {}).get("buckets", {})
                found[key] = [
                    int(buckets.get(str(at), {}).get("doc_count", 0))
                    for at in range(len(spans[key]))
                ]
        return found

    # --- state ------------------------------------------------------------------------------

    def latest(self, connectors: Sequence[Id]) -> dict[str, State]:
        """The state of each of these connectors that has one, by its id. At most 10 000."""
        keys = [checked_key(connector) for connector in connectors]
        questions.any_of("connectors", keys)
        if not keys:
            return {}
        with cluster.our_errors():
            answer = self._store.client.mget(
                index=self._store.prefix + STATE_INDEX,
                ids=[document_id(self.tenant, key) for key in keys],
            )
        found = [hit for hit in answer["docs"] if hit.get("found") and self._is_ours(hit)]
        states = [parsing.state(hit["_source"]) for hit in found]
        return {state.connector: state for state in states}

    def states(
        self,
        filters: StateFilter | None = None,
        *,
        sort: str = "worst",
        page: int = 1,
        size: int = 50,
        facets: Sequence[str] = (),
    ) -> StatePage:
        """Connectors now, across all dimensions: filtered, sorted, counted by facets.

        sort: "worst" (severity, then margin), "margin", "serial", "newest". facets: any of
        `questions.STATE_FACETS`. Pages count from 1 and reach 10 000 connectors deep.
        """
        body = {
            **questions.numbered_page(page, size),
            "sort": questions.order(sort),
            "aggs": questions.facets(facets, questions.STATE_FACETS),
        }
        answer = self._search(STATE, (filters or StateFilter()).clauses(), body)
        return StatePage(
            states=[parsing.state(hit["_source"]) for hit in self._ours(answer)],
            total=answer["hits"]["total"]["value"],
            facets=parsing.facets(answer),
            cut=parsing.cut_facets(answer),
        )

    def aged(self) -> Iterator[list[Aged]]:
        """Pages of the connectors in service whose contact's change is known, by id."""
        after: list[str] | None = None
        while True:
            answer = self._search(STATE, questions.AGED, questions.aged_page(after))
            page = [parsing.aged(hit["_source"]) for hit in self._ours(answer)]
            if page:
                yield page
            if len(page) < questions.AGED_PAGE:
                return
            after = [page[-1].connector]

    def update_states(self, rows: Sequence[Mapping[str, Any]]) -> list[ItemResult]:
        """As TelemetryStore.update_states, for rows of this tenant only."""
        return self._store.update_states([self._claimed(row) for row in rows])

    def delete_states(self, connectors: Sequence[Id]) -> None:
        """Forget the state of connectors of this tenant."""
        self._store.delete_states(self.tenant, connectors)

    # --- alarm events -----------------------------------------------------------------------

    def events(
        self,
        filters: EventFilter | None = None,
        *,
        page: int = 1,
        size: int = 50,
        facets: Sequence[str] = (),
    ) -> EventPage:
        """Alarm events, newest first. facets: any of `questions.EVENT_FACETS`."""
        body = {
            **questions.numbered_page(page, size),
            "sort": [{"number": "desc"}],
            "aggs": questions.facets(facets, questions.EVENT_FACETS),
        }
        answer = self._search(EVENTS, (filters or EventFilter()).clauses(), body)
        return EventPage(
            events=[parsing.event(hit["_source"]) for hit in self._ours(answer)],
            total=answer["hits"]["total"]["value"],
            facets=parsing.facets(answer),
            cut=parsing.cut_facets(answer),
        )

    def index_events(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """As TelemetryStore.index_events, for rows of this tenant only."""
        self._store.index_events([self._claimed(row) for row in rows])

    # --- quarantine -------------------------------------------------------------------------

    def quarantine(
        self,
        *,
        reason: Choice = None,
        device: Choice = None,
        state: str = "",
        words: str = "",
        maker: str = "",
        start: datetime | None = None,
        end: datetime | None = None,
        after: str = "",
        size: int = 50,
    ) -> QuarantinePage:
        """Refused messages, newest first, without their bytes. `after` is the last page's.

        `state`, `words` and `maker` as in `questions.RefusedFilter`; more is to be had of
        `quarantine.TenantQuarantine`.
        """
        questions.page_size(size)
        filters = RefusedFilter(
            reason=reason,
            device=device,
            state=state,
            words=words,
            maker=maker,
            start_ms=slices.to_ms(start) if start else None,
            end_ms=slices.to_ms(end) if end else None,
        )
        answer = self._search(QUARANTINE, filters.clauses(), parsing.quarantine_page(size, after))
        return parsing.quarantined_page(answer, self._ours(answer), size)

    def quarantine_message(self, message: str) -> QuarantinedMessage | None:
        """One refused message with its bytes; None where this tenant has none of that id."""
        if not message.startswith(f"{self.tenant}:"):
            return None
        answer = self._search(QUARANTINE, [{"ids": {"values": [message]}}], {"size": 1})
        hits = self._ours(answer)
        return parsing.quarantined(hits[0]) if hits else None

    # --- the account ------------------------------------------------------------------------

    def account(self, start: datetime, end: datetime) -> AccountLine:
        """This tenant's account over start ≤ arrival < end."""
        lines = self._store.account(slices.to_ms(start), slices.to_ms(end), tenant=self.tenant)
        return lines[0] if lines else AccountLine(self.tenant)

    # --- the wall ---------------------------------------------------------------------------

    def _search(
        self, kind: Kind, clauses: Sequence[Clause], body: Mapping[str, Any]
    ) -> dict[str, Any]:
        (answer,) = self._ask([(kind, clauses, body)])
        return answer

    def _search_patiently(
        self, where: str, clauses: Sequence[Clause], body: Mapping[str, Any], limit_s: float
    ) -> dict[str, Any]:
        """A question for which nobody waits in front of a page; `where` names indices."""
        ours: Clause = {"term": {"tenant": self.tenant}}
        asked = questions.filtered([ours, *clauses], body)
        answer = cluster.search(self._store.client, where, asked, limit_s=limit_s)
        answer["hits"] = {**answer["hits"], "hits": self._ours(answer)}
        return answer

    def _ask(self, asked: Sequence[Asked]) -> list[dict[str, Any]]:
        """Several questions in one request; what comes back is ours alone."""
        ours: Clause = {"term": {"tenant": self.tenant}}
        found = self._store._searches(
            [(kind, [ours, *clauses], body) for kind, clauses, body in asked]
        )
        for answer in found:
            answer["hits"] = {**answer["hits"], "hits": self._ours(answer)}
        return found

    def _count(self, clauses: Sequence[Clause]) -> tuple[int, int, int]:
        """How many readings a question has, and when the first and the last were measured."""
        ends = {name: {name: {"field": "@timestamp"}} for name in ("min", "max")}
        body = {"size": 0, "track_total_hits": True, "aggs": ends}
        answer = self._search(READINGS, clauses, body)
        count = answer["hits"]["total"]["value"]
        found = answer.get("aggregations", {}) if count else {}
        first_ms, last_ms = (int(found[name]["value"]) if found else 0 for name in ends)
        return count, first_ms, last_ms

    def _tally(self, clauses: Sequence[Clause], width_ms: int) -> list[tuple[int, int]]:
        """How many readings a question has in each time of that length, where it has any."""
        every = {"field": "@timestamp", "fixed_interval": f"{width_ms}ms", "min_doc_count": 1}
        body = {"size": 0, "track_total_hits": False, "aggs": {"times": {"date_histogram": every}}}
        answer = self._search(READINGS, clauses, body)
        buckets = answer.get("aggregations", {}).get("times", {}).get("buckets", ())
        return [(int(bucket["key"]), int(bucket["doc_count"])) for bucket in buckets]

    def _everything(self, clauses: Sequence[Clause]) -> list[Batch]:
        """All readings of a question, in no order."""
        ours: Clause = {"term": {"tenant": self.tenant}}
        return self._store._everything(
            READINGS,
            [ours, *clauses],
            stretches.PAGE_BODY,
            pages.readings,
            lambda page: stretches.as_batch([each for each in page if each.tenant == self.tenant]),
        )

    def _history(self) -> History:
        return History(self._ask, self._store, Held(self._store.kept(), self._retention))

    def _hits(
        self, kind: Kind, clauses: Sequence[Clause], body: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        return self._ours(self._search(kind, clauses, body))

    def _ours(self, answer: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [hit for hit in answer["hits"]["hits"] if self._is_ours(hit)]

    def _is_ours(self, hit: Mapping[str, Any]) -> bool:
        return bool(hit["_source"].get("tenant") == self.tenant)

    def _claimed(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        if row.get("tenant", self.tenant) != self.tenant:
            raise WrongQuestion(field="tenant", value="another tenant's")
        return {**row, "tenant": self.tenant}

    def _measured(
        self, connectors: Sequence[Id], start_ms: int | None, end_ms: int | None
    ) -> list[Clause]:
        keys = [checked_key(connector) for connector in connectors]
        return [
            questions.any_of("connector", keys) or {"match_none": {}},
            questions.within("@timestamp", start_ms, end_ms),
        ]


def _ends(spans: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return min(start_ms for start_ms, _ in spans), max(end_ms for _, end_ms in spans)


def _in_spans(spans: Sequence[tuple[int, int]]) -> dict[str, Any]:
    named = {
        str(at): questions.within("@timestamp", start_ms, end_ms)
        for at, (start_ms, end_ms) in enumerate(spans)
    }
    return {
        "size": 0,
        "track_total_hits": False,
        "aggs": {"spans": {"filters": {"filters": named}}},
    }


__all__ = ["EventFilter", "FleetFilter", "StateFilter", "TenantTelemetry"]
