"""Questions as Elasticsearch wants them: pure functions from checked arguments to request bodies.

No body here names a tenant: `TenantTelemetry` puts its filter around each of them. Nothing a
caller types becomes an index name, an aggregation or a field: those are chosen from the tables.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

from apps.telemetry.documents import DIMENSIONS, SEARCH_FIELDS
from apps.telemetry.errors import AskedTooMuch, WrongQuestion
from ohmwatch.readings import quantity_of

Body = dict[str, Any]
Clause = dict[str, Any]

POINTS_LIMIT = 2_000
QUANTITIES_LIMIT = 16
PAGE_LIMIT = 1_000
READINGS_PAGE_LIMIT = 10_000
DEPTH_LIMIT = 10_000  # how deep a numbered page may lie; narrower filters beyond
CONNECTORS_LIMIT = 10_000
FACET_SIZE = 200
MARKS_LIMIT = 10_000
AXIS_LIMIT = 20  # connectors on one axis
VALUES_LIMIT = 200_000  # points × quantities × connectors of one answer
GROUPS_LIMIT = 1_000
ALARM_COUNTS_LIMIT = 20_000  # groups × months of one answer
MARGIN = "margin_k"

STATE_ORDERS: dict[str, list[Body]] = {
    "worst": [
        {"severity_rank": {"order": "desc", "missing": "_last", "unmapped_type": "short"}},
        {"margin_k": {"order": "asc", "missing": "_last", "unmapped_type": "double"}},
        {"headroom_k": {"order": "asc", "missing": "_last", "unmapped_type": "double"}},
        {"serial": {"order": "asc", "missing": "_last"}},
    ],
    "margin": [
        {"margin_k": {"order": "asc", "missing": "_last", "unmapped_type": "double"}},
        {"headroom_k": {"order": "asc", "missing": "_last", "unmapped_type": "double"}},
        {"serial": {"order": "asc", "missing": "_last"}},
    ],
    "serial": [{"serial": {"order": "asc", "missing": "_last"}}, {"connector": "asc"}],
    "newest": [
        {"measured_at": {"order": "desc", "missing": "_last", "unmapped_type": "date"}},
        {"connector": "asc"},
    ],
}
AGED_PAGE = 2_000
AGED: list[Body] = [{"term": {"service": "in_service"}}, {"exists": {"field": "change"}}]
_AGED_FIELDS = (
    *("tenant", "connector", "model", "batch", "change", "change_sd"),
    *("base_since", "measured_at", "arrived_at", "learnt_at"),
)
STATE_FACETS = (*DIMENSIONS, "service", "worst_condition", "health")
EVENT_FACETS = (*DIMENSIONS, "kind", "condition", "severity", "reason")
UNKNOWN_HEALTH = "unknown"

Choice = str | Sequence[str] | None
_STATE_CLAUSES = frozenset(
    {"health", "margin_below_k", "installed_from_ms", "installed_before_ms", "search"}
)
"""Fields of a StateFilter that are not just one of a field's values."""


@dataclass(frozen=True, kw_only=True)
class StateFilter:
    """Which connectors: each given field must match (one of) its values. Empty: all of them."""

    connector: Choice = None
    model: Choice = None
    batch: Choice = None
    organisation: Choice = None
    vehicle: Choice = None
    position: Choice = None
    device: Choice = None
    service: Choice = None
    worst_condition: Choice = None
    health: Choice = None
    margin_below_k: float | None = None
    installed_from_ms: int | None = None
    installed_before_ms: int | None = None
    search: str = ""

    def clauses(self) -> list[Clause]:
        """As filters; `health` "unknown" is a connector that never reported."""
        plain = [each.name for each in fields(self) if each.name not in _STATE_CLAUSES]
        chosen = [any_of(name, getattr(self, name)) for name in plain]
        chosen.append(within("installed_at", self.installed_from_ms, self.installed_before_ms))
        chosen.append(_health_clause(self.health))
        if self.margin_below_k is not None:
            chosen.append({"range": {"margin_k": {"lt": self.margin_below_k}}})
        chosen.append(text_clause(self.search))
        return [clause for clause in chosen if clause]


@dataclass(frozen=True, kw_only=True)
class FleetFilter:
    """Whose readings, by what they were when it was measured. Empty: all of them."""

    connector: Choice = None
    model: Choice = None
    batch: Choice = None
    organisation: Choice = None
    vehicle: Choice = None
    position: Choice = None

    def clauses(self) -> list[Clause]:
        """As filters."""
        chosen = [any_of(each.name, getattr(self, each.name)) for each in fields(self)]
        return [clause for clause in chosen if clause]


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    """Which alarm events; times are of judging, start_ms ≤ t < end_ms."""

    connector: Choice = None
    alarm: Choice = None
    kind: Choice = None
    condition: Choice = None
    severity: Choice = None
    reason: Choice = None
    model: Choice = None
    batch: Choice = None
    organisation: Choice = None
    vehicle: Choice = None
    position: Choice = None
    start_ms: int | None = None
    end_ms: int | None = None
    search: str = ""

    def clauses(self) -> list[Clause]:
        """As filters."""
        chosen = [
            any_of(each.name, getattr(self, each.name))
            for each in fields(self)
            if each.name not in ("start_ms", "end_ms", "search")
        ]
        chosen.append(within("judged_at", self.start_ms, self.end_ms))
        chosen.append(text_clause(self.search))
        return [clause for clause in chosen if clause]


@dataclass(frozen=True, kw_only=True)
class RefusedFilter:
    """Which refused messages; times are of arrival, start_ms ≤ t < end_ms.

    `state`: "waiting" for what is still there, "replayed" for what has become readings. `words`:
    all of them stand in the detail, the field or the topic, or together they are a piece of the
    topic. `maker`: the manufacturer that the topic names, known or not.
    """

    reason: Choice = None
    device: Choice = None
    message: str = ""
    start_ms: int | None = None
    end_ms: int | None = None
    state: str = ""
    words: str = ""
    maker: str = ""

    def clauses(self) -> list[Clause]:
        """As filters."""
        chosen = [
            any_of("reason", self.reason),
            any_of("device", self.device),
            within("arrived_at", self.start_ms, self.end_ms),
            {"ids": {"values": [self.message]}} if self.message else {},
            {"prefix": {"identity": f"{self.maker}."}} if self.maker else {},
            _said(self.words) if self.words else {},
        ]
        left: Clause = {"range": {"count": {"gt": 0}}}
        if self.state == "waiting":
            chosen.append(left)
        elif self.state == "replayed":
            chosen.append({"bool": {"must_not": [left]}})
        return [clause for clause in chosen if clause]


def _said(words: str) -> Clause:
    piece = re.sub(r"([\\*?])", r"\\\1", words)
    ways: list[Clause] = [
        {"match": {"words": {"query": words, "operator": "and"}}},
        {"wildcard": {"topic": {"value": f"*{piece}*", "case_insensitive": True}}},
    ]
    return {"bool": {"should": ways, "minimum_should_match": 1}}


def filtered(clauses: Sequence[Clause], body: Mapping[str, Any]) -> dict[str, Any]:
    """The question about what all clauses choose; an empty one chooses everything."""
    return {**body, "query": {"bool": {"filter": [clause for clause in clauses if clause]}}}


def any_of(field: str, choice: Choice) -> Clause:
    """`field` is (one of) `choice`; nothing where there is no choice."""
    if choice is None or choice == "":
        return {}
    values = [choice] if isinstance(choice, str) else [str(value) for value in choice]
    if len(values) > CONNECTORS_LIMIT:
        raise AskedTooMuch(what=field, asked=len(values), limit=CONNECTORS_LIMIT)
    return {"terms": {field: values}}


def within(field: str, start_ms: int | None, end_ms: int | None) -> Clause:
    """start_ms ≤ field < end_ms; an open side where None."""
    bounds = {
        name: bound for name, bound in (("gte", start_ms), ("lt", end_ms)) if bound is not None
    }
    return {"range": {field: bounds}} if bounds else {}


def any_span(spans: Sequence[tuple[int, int]]) -> Clause:
    """Measured within one of these, start_ms ≤ t < end_ms."""
    ways = [within("@timestamp", start_ms, end_ms) for start_ms, end_ms in spans]
    return ways[0] if len(ways) == 1 else {"bool": {"should": ways, "minimum_should_match": 1}}


def several(connectors: Sequence[str], quantities: Sequence[str], points: int) -> None:
    """Raises AskedTooMuch where one answer would hold too many connectors or values."""
    if not 1 <= len(connectors) <= AXIS_LIMIT:
        raise AskedTooMuch(what="connectors", asked=len(connectors), limit=AXIS_LIMIT)
    asked = len(connectors) * len(quantities) * points
    if asked > VALUES_LIMIT:
        raise AskedTooMuch(what="values", asked=asked, limit=VALUES_LIMIT)


def stretch_ms(every: timedelta | None, start_ms: int, end_ms: int) -> int | None:
    """The stretch in ms: whole hours, at most POINTS_LIMIT of them in the range."""
    if end_ms <= start_ms:
        raise WrongQuestion(field="end", value=end_ms)
    if every is None:
        return None
    width_ms = int(every.total_seconds() * 1000)
    if width_ms <= 0 or width_ms % 3_600_000:
        raise WrongQuestion(field="every", value=str(every))
    if (asked := (end_ms - start_ms) // width_ms) > POINTS_LIMIT:
        raise AskedTooMuch(what="stretches", asked=asked, limit=POINTS_LIMIT)
    return width_ms


def alarms_by_month(dimension: str, after: Body | None = None) -> Body:
    """A page of opened alarms by a dimension and calendar month, UTC: what comes behind `after`."""
    if dimension not in EVENT_FACETS:
        raise WrongQuestion(field="by", value=dimension[:64])
    counts: Body = {
        "alarms": {"cardinality": {"field": "alarm"}},
        "connectors": {"cardinality": {"field": "connector"}},
    }
    month = {"field": "judged_at", "calendar_interval": "month"}
    sources = [{"value": {"terms": {"field": dimension}}}, {"month": {"date_histogram": month}}]
    pages: Body = {"size": GROUPS_LIMIT, "sources": sources}
    if after is not None:
        pages["after"] = after
    return {
        "size": 0,
        "track_total_hits": False,
        "aggs": {"by": {"composite": pages, "aggs": counts}},
    }


def field_now(quantity: str) -> str:
    """Where a state has a quantity's last value; `margin_k` is one of its own."""
    if quantity == MARGIN:
        return MARGIN
    (name,) = known_quantities([quantity])
    return f"last.{name}"


def ages(bounds_ms: Sequence[tuple[str, int | None, int | None]], inner: Body) -> Body:
    """Connectors by when they were installed: a bucket for each (label, from, to)."""
    filters = {
        label: within("installed_at", start_ms, end_ms) for label, start_ms, end_ms in bounds_ms
    }
    return {"filters": {"filters": filters}, "aggs": inner}


def _health_clause(choice: Choice) -> Clause:
    if not choice:
        return {}
    asked = [choice] if isinstance(choice, str) else list(choice)
    reported = {"exists": {"field": "measured_at"}}
    ways: list[Clause] = []
    if UNKNOWN_HEALTH in asked:
        ways.append(unknown_health())
    known = [value for value in asked if value != UNKNOWN_HEALTH]
    ways += [
        {"bool": {"filter": [{"term": {"health": value}}]}} for value in known if value != "ok"
    ]
    if "ok" in known:
        ways.append({"bool": {"filter": [{"term": {"health": "ok"}}, reported]}})
    return {"bool": {"should": ways, "minimum_should_match": 1}}


def unknown_health() -> Clause:
    """Connectors that never reported, and of which nothing bad is known."""
    return {
        "bool": {
            "must_not": [
                {"exists": {"field": "measured_at"}},
                {"terms": {"health": ["notice", "warning", "critical"]}},
            ]
        }
    }


def text_clause(search: str) -> Clause:
    """Any of the names contains the text, whatever its case."""
    text = search.strip()[:64]
    if not text:
        return {}
    escaped = "".join("\\" + letter if letter in "*?\\" else letter for letter in text)
    return {
        "bool": {
            "should": [
                {"wildcard": {name: {"value": f"*{escaped}*", "case_insensitive": True}}}
                for name in SEARCH_FIELDS
            ],
            "minimum_should_match": 1,
        }
    }


def known_quantities(quantities: Sequence[str]) -> list[str]:
    """The names, once each; raises WrongQuestion for one that no reading can have."""
    names = list(dict.fromkeys(quantities))
    for name in names:
        if quantity_of(name) is None:
            raise WrongQuestion(field="quantities", value=name[:64])
    if not 1 <= len(names) <= QUANTITIES_LIMIT:
        raise AskedTooMuch(what="quantities", asked=len(names), limit=QUANTITIES_LIMIT)
    return names


def interval_ms(start_ms: int, end_ms: int, points: int) -> int:
    """The bucket's width that divides the range into at most `points` buckets."""
    if not 1 <= points <= POINTS_LIMIT:
        raise AskedTooMuch(what="points", asked=points, limit=POINTS_LIMIT)
    if end_ms <= start_ms:
        raise WrongQuestion(field="end", value=end_ms)
    return -(-(end_ms - start_ms) // points)


def readings(size: int, after: Sequence[int | str] | None, sort: list[Body]) -> Body:
    """A page of raw readings, in order."""
    body: Body = {"size": page_size(size, READINGS_PAGE_LIMIT), "sort": sort}
    body["track_total_hits"] = False
    if after is not None:
        body["search_after"] = list(after)
    return body


def page_size(size: int, limit: int = PAGE_LIMIT) -> int:
    """The size, if it is 1 … limit."""
    if not 1 <= size <= limit:
        raise AskedTooMuch(what="page size", asked=size, limit=limit)
    return size


def numbered_page(page: int, size: int) -> Body:
    """`from` and `size` of page 1, 2, …"""
    page_size(size)
    if page < 1:
        raise WrongQuestion(field="page", value=page)
    if page * size > DEPTH_LIMIT:
        raise AskedTooMuch(what="page", asked=page, limit=DEPTH_LIMIT // size)
    return {"from": (page - 1) * size, "size": size, "track_total_hits": True}


def facets(asked: Sequence[str], known: Sequence[str]) -> Body:
    """Counts by value for each asked facet; min_doc_count 1, so foreign values never show."""
    for name in asked:
        if name not in known:
            raise WrongQuestion(field="facets", value=name[:64])
    return {name: _facet(name) for name in asked}


def _facet(name: str) -> Body:
    if name != "health":
        return {"terms": {"field": name, "size": FACET_SIZE, "min_doc_count": 1}}
    healths = {value: _health_clause(value) for value in ("ok", "notice", "warning", "critical")}
    return {"filters": {"filters": {**healths, UNKNOWN_HEALTH: unknown_health()}}}


def order(name: str) -> list[Body]:
    """A sort by its name."""
    try:
        return STATE_ORDERS[name]
    except KeyError:
        raise WrongQuestion(field="sort", value=name[:64]) from None


def by_connector(after: list[str]) -> Body:
    """The ids of the connectors that come after one, in order; none is the first page."""
    body: Body = {
        "size": CONNECTORS_LIMIT,
        "sort": [{"connector": "asc"}],
        "_source": ["tenant", "connector"],
        "track_total_hits": True,
    }
    return {**body, "search_after": after} if after else body


def aged_page(after: list[str] | None) -> Body:
    """The connectors that come after one, by id, with what tells how they have aged."""
    body: Body = {
        "size": AGED_PAGE,
        "sort": [{"connector": "asc"}],
        "_source": list(_AGED_FIELDS),
        "track_total_hits": False,
    }
    return {**body, "search_after": after} if after else body
