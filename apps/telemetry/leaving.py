"""What a tenant's export asks: every document of a kind, by day, in order, page by page.

These are questions about everything, which nobody waits for in front of a page. So they have longer
than others, and what is asked about all of it is asked of a slice at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.telemetry import questions
from apps.telemetry.documents import EVENTS, QUARANTINE, READINGS, ROLLUP, Kind
from apps.telemetry.levels import DAY, HOUR, HOUR_MS, MINUTE
from apps.telemetry.questions import Body, Clause
from apps.telemetry.slices import DAY_MS, to_ms
from apps.telemetry.store import Id, checked_key
from apps.telemetry.tenant import TenantTelemetry

LIMIT_S = 120.0
_PAGE = 5_000
_LARGE_PAGE = 50  # of documents with the bytes of a message
_STRAGGLERS_MS = HOUR_MS

Hit = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A kind of document as it is exported.

    `day_of`: the field whose day, UTC, a document goes with. `span_of`: the field that the exported
    stretch is of. `order`: fields that no two documents of a tenant share. `left_out`: fields that
    are not exported. `follows_late`: it is written anew when late readings come.
    """

    name: str
    kind: Kind
    day_of: str
    span_of: str
    order: tuple[str, ...]
    page: int = _PAGE
    left_out: tuple[str, ...] = ()
    follows_late: bool = False


def _rollups(name: str, kind: Kind) -> Part:
    order = ("@timestamp", "connector")
    return Part(
        *(name, kind, "@timestamp", "@timestamp", order),
        left_out=("*.b*",),  # how many lay in which bin: the larger part of an hour
        follows_late=True,
    )


RECORDING = Part(
    "readings", READINGS, "arrived_at", "@timestamp", ("arrived_at", "@timestamp", "connector")
)
"""In order of arrival, so that a back-test sees what the product saw."""
REFUSED = Part(
    *("quarantine", QUARANTINE, "arrived_at", "arrived_at"),
    ("arrived_at", "batch_id", "number", "reason"),
    page=_LARGE_PAGE,
)
PARTS = {
    part.name: part
    for part in (
        RECORDING,
        _rollups("hours", ROLLUP[HOUR.name]),
        _rollups("days", ROLLUP[DAY.name]),
        _rollups("minutes", ROLLUP[MINUTE.name]),
        Part("events", EVENTS, "judged_at", "judged_at", ("judged_at", "number")),
        REFUSED,
    )
}


@dataclass(frozen=True)
class Wanted:
    """Which documents, start ≤ t < end: readings as measured, rollups as their bucket begins,
    events as judged, what was refused as it arrived. `end` None: all there is; `connectors` None:
    of all of them."""

    start: datetime
    end: datetime | None = None
    connectors: Sequence[Id] | None = None


class TenantExport(TenantTelemetry):
    """One tenant's telemetry with what exports ask."""

    def days(self, part: Part, wanted: Wanted) -> list[int]:
        """The UTC days, by their beginning in ms, that any document goes with."""
        every = {"field": part.day_of, "fixed_interval": "1d", "min_doc_count": 1}
        found: set[int] = set()
        for answer in self._by_slice(part, wanted, {"days": {"date_histogram": every}}):
            found |= {int(bucket["key"]) for bucket in answer["days"]["buckets"]}
        return sorted(found)

    def own_quantities(self, part: Part, wanted: Wanted) -> list[str]:
        """The quantities of this tenant's own (`x_…`) in readings or rollups, in order."""
        known = self._store.own_fields(part.kind)
        suffix = "" if part.kind is READINGS else ".count"
        has = {name: {"filter": {"exists": {"field": f"{name}{suffix}"}}} for name in known}
        found: set[str] = set()
        for answer in self._by_slice(part, wanted, has) if has else ():
            found |= {name for name in known if answer[name]["doc_count"]}
        return sorted(found)

    def documents(self, part: Part, wanted: Wanted, day_ms: int) -> Iterator[list[Hit]]:
        """Those that go with a day, in their order, page by page."""
        day = questions.within(part.day_of, day_ms, day_ms + DAY_MS)
        clauses = [*_clauses(part, wanted), day]
        body: Body = {
            "size": part.page,
            "sort": [{name: "asc"} for name in part.order],
            "track_total_hits": False,
            "_source": {"excludes": list(part.left_out)},
        }
        where = f"{self._store.prefix}{part.kind.name}-*"
        while True:
            hits = self._search_patiently(where, clauses, body, LIMIT_S)["hits"]["hits"]
            if hits:
                yield hits
            if len(hits) < part.page:
                return
            body = {**body, "search_after": hits[-1]["sort"]}

    def day_settles_ms(self, part: Part, day_ms: int) -> int:
        """When nothing of a day changes any more, in ms: what came in its last moments may be
        stored a while later, and what late readings change as late as those are taken in."""
        late_ms = self._store.open_days * DAY_MS if part.follows_late else 0
        return day_ms + DAY_MS + late_ms + _STRAGGLERS_MS

    def _by_slice(self, part: Part, wanted: Wanted, asked: Body) -> Iterator[Body]:
        """The answers to aggregations; nothing of slices where no document is wanted."""
        body = {"size": 0, "track_total_hits": False, "aggs": asked}
        family = f"{self._store.prefix}{part.kind.name}-"
        for index in (each for each in self._store.indices() if each.startswith(family)):
            answer = self._search_patiently(index, _clauses(part, wanted), body, LIMIT_S)
            if "aggregations" in answer:
                yield answer["aggregations"]


def _clauses(part: Part, wanted: Wanted) -> list[Clause]:
    end_ms = None if wanted.end is None else to_ms(wanted.end)
    span = questions.within(part.span_of, to_ms(wanted.start), end_ms)
    if wanted.connectors is None:
        return [span]
    keys = [checked_key(connector) for connector in wanted.connectors]
    return [questions.any_of("connector", keys) or {"match_none": {}}, span]
