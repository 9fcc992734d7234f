"""The door to Elasticsearch, and the only one.

`TelemetryStore` is for workers, which handle many tenants at once: it writes, makes and drops
slices, and closes the account. Whoever asks does so through `tenant.TenantTelemetry`.
"""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, TypeVar
from uuid import UUID

import orjson
from django.conf import settings
from elasticsearch import Elasticsearch

from apps.telemetry import (
    cluster,
    ledger,
    parsing,
    questions,
    shapes,
    sizing,
    slices,
    stretches,
)
from apps.telemetry.answers import (
    AccountLine,
    ItemResult,
    LedgerEntry,
)
from apps.telemetry.documents import (
    ACCOUNT,
    EVENTS,
    EVENTS_INDEX,
    KINDS,
    MARKS,
    MARKS_INDEX,
    PLATFORM,
    QUARANTINE,
    READINGS,
    ROLLUP,
    STATE,
    STATE_INDEX,
    Kind,
)
from apps.telemetry.errors import StoreRefused, StoreUnavailable, WrongQuestion
from apps.telemetry.history import Asked
from apps.telemetry.levels import RAW, ROLLUPS, Kept, Level
from apps.telemetry.marks import NEVER_MS, Mark
from apps.telemetry.pages import Page, Source
from apps.telemetry.questions import (
    Clause,
)
from apps.telemetry.sizing import Extent
from apps.telemetry.slices import CLASSES, DEFAULT_CLASS, Slice

SLUG = re.compile(r"[a-z][a-z0-9-]{1,30}")
KEY = re.compile(r"[0-9A-Za-z-]{1,64}")
KEEP_REFUSED_DAYS = 37
"""How long the quarantine stays: the shortest class's readings, and a week of late ones."""
KEEP_LEDGER_DAYS = max(kept.keep_days for kept in CLASSES.values())
"""How long the account's ledger stays: as long as any readings that it tells of."""
_KEPT_BY_ARRIVAL = {QUARANTINE.name: KEEP_REFUSED_DAYS, ACCOUNT.name: KEEP_LEDGER_DAYS}
_LEVELS = {READINGS.name: RAW, **{ROLLUP[level.name].name: level for level in ROLLUPS}}
"""By the kind of index that holds it."""
SLICE_DAYS = 7
KEPT_S = 30.0
MARKS_S = 5.0
MERGED_SHARE = 0.9
"""A shard whose largest segment holds so much of it is merged: late readings have it merged again
once they are a tenth of it."""

Id = str | UUID
Taken = TypeVar("Taken")


class TelemetryStore:
    """All tenants' telemetry, for workers. Threads may share one."""

    def __init__(
        self,
        *,
        client: Elasticsearch | None = None,
        prefix: str | None = None,
        open_days: int | None = None,
    ) -> None:
        url = settings.ELASTICSEARCH_DSL["default"]["hosts"]
        self.client = client or cluster.client_of(url)
        self.prefix = settings.ELASTICSEARCH_PREFIX if prefix is None else prefix
        self.open_days = settings.TELEMETRY_OPEN_DAYS if open_days is None else open_days
        self._kept: tuple[float, Mapping[str, Kept]] = (-KEPT_S, {})
        self._marks: tuple[float, Sequence[Mark]] = (-MARKS_S, ())

    # --- where a document belongs -----------------------------------------------------------

    def open_range_ms(self, now: datetime) -> tuple[int, int]:
        """The oldest and newest instant of measurement that is taken in, both included."""
        return slices.open_range_ms(now, self.open_days)

    def reading_index(self, tenant_class: str, time_ms: int) -> str:
        """The index for a reading of that retention class measured at time_ms."""
        kept = slices.class_of(tenant_class) or CLASSES[DEFAULT_CLASS]
        family = f"{READINGS.name}-{kept.name}"
        return self.prefix + slices.slice_of(family, kept.slice_days, time_ms).name

    def rollup_index(self, level: Level, tenant_class: str, time_ms: int) -> str:
        """The index for a rollup of that level and class whose bucket begins at time_ms."""
        family = f"{ROLLUP[level.name].name}-{tenant_class}"
        return self.prefix + slices.slice_of(family, level.slice_days, time_ms).name

    def quarantine_index(self, arrived_ms: int) -> str:
        """The index for what was refused at arrived_ms."""
        return self.prefix + slices.slice_of(QUARANTINE.name, SLICE_DAYS, arrived_ms).name

    def account_index(self, arrived_ms: int) -> str:
        """The index for the ledger of a batch that arrived at arrived_ms."""
        return self.prefix + slices.slice_of(ACCOUNT.name, SLICE_DAYS, arrived_ms).name

    # --- writing ----------------------------------------------------------------------------

    def bulk(self, lines: bytes, *, limit_s: float = cluster.BULK_LIMIT_S) -> list[ItemResult]:
        """Ready `_bulk` bytes; a result for each action, in order. See `cluster.bulk`."""
        return cluster.bulk(self.client, lines, limit_s)

    def write_ledger(self, entries: Sequence[LedgerEntry]) -> None:
        """Enter what became of batches; entering one again changes nothing.

        Raises TelemetryError unless every entry is written.
        """
        self._write([self._ledger_lines(entry) for entry in entries])

    def reconcile(self, entries: Sequence[LedgerEntry]) -> None:
        """Enter for a life of a slot what it did not enter; what it has entered itself stands.

        It may wake and enter a batch after all, with the duplicates that only it knows of; so an
        entry is written over only as it was seen here. Where another is there by now, that is the
        newer one. Raises TelemetryError unless every entry is there.
        """
        if not entries:
            return
        keys = [(self.account_index(each.arrived_ms), _ledger_key(each)) for each in entries]
        asked = [{"_index": index, "_id": key, "_source": ["reconciled"]} for index, key in keys]
        with cluster.our_errors():
            known = self.client.mget(docs=asked).body["docs"]
        lines = [
            _seen_action(index, key, seen) + orjson.dumps(parsing.ledger_source(entry)) + b"\n"
            for (index, key), seen, entry in zip(keys, known, entries, strict=True)
            if not seen.get("found") or seen["_source"]["reconciled"] == "true"
        ]
        if not lines:
            return
        for result in self.bulk(b"".join(lines), limit_s=cluster.ANSWER_LIMIT_S * 2):
            cluster.must_be_answered(result)

    def update_states(self, rows: Sequence[Mapping[str, Any]]) -> list[ItemResult]:
        """Merge each row into its connector's state; `tenant` and `connector` say whose.

        The other fields are those of `documents.State`. A row that the store refuses doesn't hold
        back the others: its result says why. Raises StoreUnavailable where the store is busy.
        """
        index = self.prefix + STATE_INDEX
        return self._tried([_merge_lines(index, row) for row in rows])

    def index_events(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write alarm events; `tenant` and `event` say which. Writing one again is harmless."""
        index = self.prefix + EVENTS_INDEX
        self._write([_event_lines(index, row) for row in rows])

    def delete_states(self, tenant: str, connectors: Sequence[Id]) -> None:
        """Forget the state of connectors that are gone."""
        index = self.prefix + STATE_INDEX
        lines = [_action("delete", index, document_id(tenant, each)) for each in connectors]
        self._tried(lines)

    def _ledger_lines(self, entry: LedgerEntry) -> bytes:
        index = self.account_index(entry.arrived_ms)
        action = _action("index", index, _ledger_key(entry))
        return action + orjson.dumps(parsing.ledger_source(entry)) + b"\n"

    def _tried(self, lines: Sequence[bytes]) -> list[ItemResult]:
        if not lines:
            return []
        results = self.bulk(b"".join(lines), limit_s=cluster.ANSWER_LIMIT_S * 2)
        for result in results:
            if result.is_worth_retrying or result.is_duplicate:
                raise StoreUnavailable(status=result.status, reason=result.error_reason)
        return results

    def _write(self, lines: Sequence[bytes]) -> None:
        for result in self._tried(lines):
            if not result.is_stored:
                raise StoreRefused(status=result.status, reason=result.error_reason)

    # --- slices -----------------------------------------------------------------------------

    def prepare(self, now: datetime) -> list[str]:
        """Templates, fixed indices and slices; returns what was made. Repeating is harmless."""
        for kind in KINDS:
            template = kind.template(self.prefix, settings.ELASTICSEARCH_REPLICAS)
            with cluster.our_errors():
                self.client.indices.put_index_template(
                    name=f"{self.prefix}{kind.name}", body=template
                )
        made = [name for kind, name in self.missing_indices() if self._create(kind, name, {})]
        made += self.ensure_slices(now)
        for kind in (MARKS, QUARANTINE, ACCOUNT, STATE, EVENTS):
            self._teach_all(kind)
        return made

    def ensure_slices(self, now: datetime, classes: Sequence[str] = ()) -> list[str]:
        """Make the missing slices of the open range, and tomorrow's; returns their names.

        For the default class, those given, and those that have slices already: a class that no
        tenant is in costs no indices.
        """
        lacking = self.missing_slices(now, classes)
        extents = self.extents(now) if lacking else ()
        return [
            each.name
            for kind, each in lacking
            if self._create_slice(kind, each, self._shards_of(each, extents))
        ]

    def missing_slices(
        self, now: datetime, classes: Sequence[str] = ()
    ) -> list[tuple[Kind, Slice]]:
        """Those that `ensure_slices` would make."""
        there = self._names()
        wanted = self._wanted(now, {DEFAULT_CLASS, *classes, *self._classes(there)})
        return [(kind, each) for kind, each in wanted if self.prefix + each.name not in there]

    def missing_indices(self) -> list[tuple[Kind, str]]:
        """Those of the fixed indices that are not there, by their names without the prefix."""
        there = self._names()
        fixed = [(STATE, STATE_INDEX), (EVENTS, EVENTS_INDEX), (MARKS, MARKS_INDEX)]
        return [(kind, name) for kind, name in fixed if self.prefix + name not in there]

    def ensure_rollup_index(self, level: Level, index: str, now: datetime) -> None:
        """Make an index that `rollup_index` named, if it is not there yet."""
        begin = slices.begin_of(index)
        if begin is not None and index not in self._names():
            family = slices.family_of(index.removeprefix(self.prefix))
            each = slices.slice_of(family, level.slice_days, slices.to_ms(begin))
            shards = self._shards_of(each, self.extents(now))
            self._create_slice(ROLLUP[level.name], each, shards)

    def extents(self, now: datetime) -> list[Extent]:
        """How full each index's shards are, and how much of its time is over."""
        with cluster.our_errors():
            answer = self.client.indices.stats(
                index=[self._pattern(kind) for kind in KINDS],
                metric="docs,store",
                level="shards",
                filter_path="indices.*.shards.*.docs,indices.*.shards.*.store,"
                "indices.*.shards.*.routing.primary",
            ).body
        found = answer.get("indices", {})
        return [self._extent(index, each["shards"], now) for index, each in sorted(found.items())]

    def _extent(
        self, index: str, shards: Mapping[str, Sequence[Mapping[str, Any]]], now: datetime
    ) -> Extent:
        family = slices.family_of(index.removeprefix(self.prefix))
        documents, size = sizing.fullest(shards)
        begin, days = slices.begin_of(index), _width_days(family)
        if begin is None or days is None:
            return Extent(index, family, len(shards), documents, size)
        elapsed = slices.elapsed(slices.to_ms(begin), days, now)
        return Extent(index, family, len(shards), documents, size, elapsed, days)

    def drop_expired(self, now: datetime) -> list[str]:
        """Drop whole slices that are past their class's time; returns their names."""
        held = [*self.indices(), *self.unfinished()]
        expired = [index for index in held if self._is_expired(index, now)]
        cluster.delete(self.client, expired)
        left = set(held) - set(expired)
        self.forget_marks([mark for mark in self.marks() if mark.source not in left])
        return expired

    def merge_closed(self, now: datetime, *, limit_s: float = cluster.ANSWER_LIMIT_S) -> str | None:
        """Begin to make one segment of the oldest slice that ended a day ago and isn't one yet.

        Its name; None where all are. A question looks into each segment of each slice on its way,
        and a reading takes less room. It goes on in the store where it takes longer than limit_s.
        """
        closed = sorted(
            (begin, index)
            for index in self.indices()
            if (begin := slices.begin_of(index)) is not None and self._is_closed(index, now)
        )
        if not closed:
            return None
        with cluster.our_errors():
            found = self.client.indices.segments(
                index=[index for _, index in closed], ignore_unavailable=True
            ).body["indices"]
        for _, index in closed:
            if index in found and not _is_merged(found[index]["shards"]):
                cluster.merge(self.client, index, limit_s)
                return index
        return None

    def indices(self) -> list[str]:
        """The names of all indices of this installation."""
        return sorted(self._indices())

    def unfinished(self) -> list[str]:
        """Copies of indices that nobody is to see yet, or that a killed rewriting left behind."""
        seen, found = self._indices(), self._indices("open,hidden")
        return sorted(name for name in found.keys() - seen if not found[name]["aliases"])

    def _names(self) -> set[str]:
        """The names that can be written to: a slice that was written anew keeps its own."""
        found = self._indices()
        return {*found, *(alias for each in found.values() for alias in each["aliases"])}

    def _indices(self, which: str = "open") -> dict[str, Any]:
        patterns = [f"{self.prefix}{kind.name}-*" for kind in KINDS]
        with cluster.our_errors():
            found = self.client.indices.get(
                index=patterns, features="aliases", expand_wildcards=which
            )
        return dict(found.body)

    def own_fields(self, kind: Kind) -> list[str]:
        """The names of all tenants' own quantities in readings or rollups; which are whose is not
        known here."""
        with cluster.our_errors():  # 404: no index has any
            found = self.client.options(ignore_status=404).indices.get_field_mapping(
                index=self._pattern(kind), fields="x_*", ignore_unavailable=True
            )
        names = {name for index in found.body.values() for name in index["mappings"]}
        return sorted({name.partition(".")[0] for name in names})

    def refresh(self, *kinds: Kind) -> None:
        """Make all that was written visible to searches."""
        patterns = [self._pattern(kind) for kind in kinds or KINDS]
        with cluster.our_errors():
            self.client.indices.refresh(index=patterns, ignore_unavailable=True)

    def mappings(self, pattern: str) -> dict[str, Any]:
        """The mapping of each index that the pattern names."""
        with cluster.our_errors():
            found = self.client.indices.get_mapping(index=pattern).body
        return {index: each["mappings"] for index, each in found.items()}

    def teach(self, index: str, properties: Mapping[str, Any]) -> None:
        """Add fields to an index that has documents."""
        with cluster.our_errors():
            self.client.indices.put_mapping(index=index, properties=properties)

    def _teach_all(self, kind: Kind) -> None:
        """Older indices learn the fields that their kind has got since: documents change there."""
        for index, held in self.mappings(self._pattern(kind)).items():
            properties = shapes.lacking(kind.mappings["properties"], held["properties"])
            if properties:
                self.teach(index, properties)

    def _classes(self, indices: Collection[str]) -> set[str]:
        families = {slices.family_of(name.removeprefix(self.prefix)) for name in indices}
        begins = f"{READINGS.name}-"
        return {each.removeprefix(begins) for each in families if each.startswith(begins)}

    def _wanted(self, now: datetime, classes: Collection[str]) -> Iterator[tuple[Kind, Slice]]:
        for kept in filter(None, map(slices.class_of, sorted(classes))):
            family = f"{READINGS.name}-{kept.name}"
            for each in slices.wanted(family, kept.slice_days, now, self.open_days):
                yield READINGS, each
        for kind in (QUARANTINE, ACCOUNT):
            for each in slices.wanted(kind.name, SLICE_DAYS, now, open_days=1):
                yield kind, each

    def _create_slice(self, kind: Kind, each: Slice, shards: int) -> bool:
        more: dict[str, Any] = {"index.number_of_shards": shards}
        if kind is READINGS:
            more |= {
                "index.time_series.start_time": each.start_ms,
                "index.time_series.end_time": each.end_ms,
            }
        return self._create(kind, each.name, more)

    def _shards_of(self, each: Slice, extents: Sequence[Extent]) -> int:
        """A slice keeps its name, which every process knows without asking; it is its shards that
        follow the size (decision 0007)."""
        days = (each.end_ms - each.start_ms) // slices.DAY_MS
        is_readings = each.family.startswith(f"{READINGS.name}-")
        told = settings.TELEMETRY_READINGS_PER_S if is_readings else 0
        return sizing.shards_of_next(each.family, days, extents, told)

    def _create(self, kind: Kind, name: str, more: Mapping[str, Any]) -> bool:
        # The template alone doesn't do: its mode is not seen while the bounds are checked.
        with cluster.our_errors():
            answer = self.client.options(ignore_status=400).indices.create(
                index=self.prefix + name,
                settings={
                    **kind.settings,
                    "index.number_of_replicas": settings.ELASTICSEARCH_REPLICAS,
                    **more,
                },
                mappings=kind.mappings,
            )
        error = answer.body.get("error")
        if error and error["type"] != "resource_already_exists_exception":
            raise StoreRefused(status=400, reason=str(error["reason"])[:500])
        return not error

    def _is_expired(self, index: str, now: datetime) -> bool:
        name = index.removeprefix(self.prefix)
        family = slices.family_of(name)
        if family in _KEPT_BY_ARRIVAL:
            keep_days = _KEPT_BY_ARRIVAL[family]
            return slices.is_expired(
                name, slice_days=SLICE_DAYS, keep_days=keep_days, open_days=0, now=now
            )
        kept = _kept_days(family)
        if kept is None:
            return False
        slice_days, keep_days = kept
        return slices.is_expired(
            name, slice_days=slice_days, keep_days=keep_days, open_days=self.open_days, now=now
        )

    def _is_closed(self, index: str, now: datetime) -> bool:
        name = index.removeprefix(self.prefix)
        begin, kept = slices.begin_of(name), _kept_days(slices.family_of(name))
        return bool(begin and kept and begin + timedelta(days=kept[0] + 1) < now)

    def _pattern(self, kind: Kind) -> str:
        return f"{self.prefix}{kind.name}-*"

    # --- how far the rollups are ------------------------------------------------------------

    def marks(self) -> list[Mark]:
        """Each level's mark in each index of its source, also those of indices that are gone."""
        body = {"size": questions.MARKS_LIMIT, "sort": ["source"], "track_total_hits": False}
        answer = cluster.search(self.client, self._pattern(MARKS), body)
        return [Mark.from_source(hit["_source"]) for hit in answer["hits"]["hits"]]

    def live_marks(self) -> list[Mark]:
        """Those of indices that are there.

        A run that was cut off while an index was written anew sets a mark of the old one, whose
        name finds the new one's documents: it holds for none of them.
        """
        found = self.marks()
        there = self._indices("open,hidden") if found else {}
        return [mark for mark in found if mark.source in there]

    def known_marks(self) -> Sequence[Mark]:
        """The marks for a question, known anew every MARKS_S seconds.

        One that is too old costs time and never a reading: what was built since is read from the
        level below.
        """
        asked_at, known = self._marks
        if time.monotonic() - asked_at > MARKS_S:
            known = self.live_marks()
            self._marks = time.monotonic(), known
        return known

    def kept(self) -> Mapping[str, Kept]:
        """What each class has that has anything, by its name; known anew every KEPT_S seconds."""
        asked_at, known = self._kept
        if time.monotonic() - asked_at > KEPT_S:
            since_ms = _since_ms(index.removeprefix(self.prefix) for index in self.indices())
            first_ms = self._first_ms(since_ms)
            known = {name: Kept(since_ms[name], first_ms[name]) for name in since_ms}
            self._kept = time.monotonic(), known
        return known

    def _first_ms(self, since_ms: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
        """When the first rollup of each class begins; its readings' indices, if it has none."""
        found = {name: each[RAW.name] for name, each in since_ms.items() if RAW.name in each}
        families = [
            (name, f"{self.prefix}{ROLLUP[level.name].name}-{name}-*")
            for name, each in since_ms.items()
            for level in ROLLUPS
            if level.name in each
        ]
        # Of all of an index the store knows the least value without looking at a document.
        least = {"first": {"min": {"field": "@timestamp"}}}
        body = {"size": 0, "track_total_hits": False, "aggs": least}
        answers = cluster.searches(self.client, [(pattern, body) for _, pattern in families])
        for (name, _), answer in zip(families, answers, strict=True):
            first_ms = answer.get("aggregations", {}).get("first", {}).get("value")
            if first_ms is not None:
                found[name] = min(found.get(name, int(first_ms)), int(first_ms))
        return {name: found.get(name, NEVER_MS) for name in since_ms}

    def set_mark(self, mark: Mark) -> None:
        """Note that all up to the mark is in its level, and can be searched there."""
        action = _action("index", self.prefix + MARKS_INDEX, f"{mark.level}:{mark.source}")
        self._write([action + orjson.dumps(mark.to_source()) + b"\n"])
        self._publish_marks()

    def forget_marks(self, marks: Sequence[Mark]) -> None:
        """Have what these marks were of built anew, or leave no trace of what is gone."""
        index = self.prefix + MARKS_INDEX
        lines = [orjson.dumps({"delete": {"_index": index, "_id": f"{each.level}:{each.source}"}})
                 for each in marks]  # fmt: skip
        self._tried([line + b"\n" for line in lines])
        self._publish_marks()

    def _publish_marks(self) -> None:
        self.refresh(MARKS)
        self._marks = (-MARKS_S, ())

    # --- the account ------------------------------------------------------------------------

    def account(
        self, start_ms: int, end_ms: int, *, tenant: str | None = None
    ) -> list[AccountLine]:
        """The account over start_ms ≤ arrival < end_ms: a line for each tenant that has any.

        It closes for batches that are done (give the newest a moment, or ask again), and over a
        stretch of which all is still held: `accounting` sees to that.
        """
        self.refresh(ACCOUNT, READINGS, QUARANTINE)
        return self.account_lines(start_ms, end_ms, tenant=tenant)

    def account_lines(
        self,
        start_ms: int,
        end_ms: int,
        *,
        tenant: str | None = None,
        limit_s: float = cluster.ANSWER_LIMIT_S,
    ) -> list[AccountLine]:
        """The same of what can be searched already, within limit_s for each of three questions."""
        clauses: list[Clause] = [ledger.arrived_within(start_ms, end_ms)]
        if tenant is not None:
            clauses.append({"term": {"tenant": checked_tenant(tenant)}})
        return ledger.lines(
            self._search(ACCOUNT, clauses, ledger.ledger_sums(), limit_s),
            self._search(READINGS, clauses, ledger.held_readings(), limit_s),
            self._search(QUARANTINE, clauses, ledger.held_quarantined(), limit_s),
        )

    def ledger_begins_ms(self, now: datetime) -> int:
        """The beginning of the ledger's oldest slice: what came before is entered nowhere."""
        family = f"{self.prefix}{ACCOUNT.name}-"
        begun = [slices.begin_of(name) for name in self.indices() if name.startswith(family)]
        return min((slices.to_ms(each) for each in begun if each), default=slices.to_ms(now))

    def entered(self, low: int, high: int) -> list[AccountLine]:
        """What the ledger has of batches low ≤ number < high, a line for each tenant."""
        self.refresh(ACCOUNT)
        clauses = [questions.within("batch_id", low, high)]
        return ledger.lines(self._search(ACCOUNT, clauses, ledger.ledger_sums()), {}, {})

    def last_ledger_batch(self, low: int, high: int, *, reconciled: bool = True) -> int | None:
        """The highest batch number in low ≤ number < high that the ledger has; without `reconciled`
        of those that their own worker entered."""
        self.refresh(ACCOUNT)
        clauses = [questions.within("batch_id", low, high)]
        if not reconciled:
            clauses.append({"term": {"reconciled": "false"}})
        body = {"size": 1, "sort": [{"batch_id": "desc"}], "_source": ["batch_id"]}
        hits = self._search(ACCOUNT, clauses, body)["hits"]["hits"]
        return int(hits[0]["_source"]["batch_id"]) if hits else None

    def held_batches(self, low: int, high: int) -> list[LedgerEntry]:
        """What the store holds of batches low ≤ number < high, as `reconciled` entries.

        For a slot that starts (what did my former life store without a ledger?) and after a bulk
        request of unknown outcome (which of these did it store?). Duplicates leave no trace.
        """
        self.refresh(READINGS, QUARANTINE)
        return parsing.held_entries(
            list(self._every_bucket(READINGS, low, high, ["tenant"], {})),
            list(self._every_bucket(QUARANTINE, low, high, ["tenant", "reason"], parsing.COUNT)),
        )

    def _every_bucket(
        self, kind: Kind, low: int, high: int, fields: Sequence[str], inner: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        clauses = [questions.within("batch_id", low, high)]
        after: dict[str, Any] | None = None
        while True:
            body = parsing.by_batch(fields, inner, after)
            found = self._search(kind, clauses, body).get("aggregations", {}).get("batches", {})
            yield from found.get("buckets", ())
            after = found.get("after_key")
            if not after:
                return

    def _search(
        self,
        kind: Kind,
        clauses: Sequence[Clause],
        body: Mapping[str, Any],
        limit_s: float | None = None,
    ) -> dict[str, Any]:
        asked = questions.filtered(clauses, body)
        return cluster.search(self.client, self._pattern(kind), asked, limit_s=limit_s)

    def _everything(
        self,
        kind: Kind,
        clauses: Sequence[Clause],
        body: Mapping[str, Any],
        decode: Callable[[bytes], Page[Source]],
        take: Callable[[list[Source]], Taken],
    ) -> list[Taken]:
        """All documents that the clauses choose, through `take`; see `cluster.everything`."""
        asked = questions.filtered(clauses, body)
        return cluster.everything(
            self.client, self._pattern(kind), asked, decode, take, size=stretches.PAGE
        )

    def _searches(self, asked: Sequence[Asked]) -> list[dict[str, Any]]:
        if len(asked) == 1:
            return [self._search(*asked[0])]
        return cluster.searches(
            self.client,
            [
                (self._pattern(kind), questions.filtered(clauses, body))
                for kind, clauses, body in asked
            ],
        )


def _kept_days(family: str) -> tuple[int, int] | None:
    """Slice width and days of a family of readings or rollups; None where it is neither."""
    kind, _, name = family.rpartition("-")
    kept = slices.class_of(name)
    if kept is None:
        return None
    level = _LEVELS.get(kind)
    if level is RAW:
        return kept.slice_days, kept.keep_days
    return (level.slice_days, kept.rollup_days[level.name]) if level else None


def _width_days(family: str) -> int | None:
    """How much time a slice of the family holds; None where it has no slices."""
    if family in (QUARANTINE.name, ACCOUNT.name):
        return SLICE_DAYS
    kept = _kept_days(family)
    return kept[0] if kept else None


def _is_merged(shards: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    """Whether in each copy of each shard one segment holds nearly all."""
    copies = [copy["segments"].values() for shard in shards.values() for copy in shard]
    documents = [[segment["num_docs"] for segment in segments] for segments in copies]
    return all(max(each, default=0) >= MERGED_SHARE * sum(each) for each in documents)


def _since_ms(indices: Iterable[str]) -> dict[str, dict[str, int]]:
    """When the oldest index begins, by class and level."""
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for index in indices:
        kind, _, name = slices.family_of(index).rpartition("-")
        begin, level = slices.begin_of(index), _LEVELS.get(kind)
        if begin is not None and level is not None and slices.class_of(name):
            begin_ms = slices.to_ms(begin)
            found[name][level.name] = min(found[name].get(level.name, begin_ms), begin_ms)
    return found


@lru_cache(maxsize=1)
def the_store() -> TelemetryStore:
    """The process's store, as settings say."""
    return TelemetryStore()


def checked_tenant(tenant: str) -> str:
    """The slug, or the platform's own mark; anything else is a WrongQuestion."""
    if tenant != PLATFORM and not SLUG.fullmatch(tenant):
        raise WrongQuestion(field="tenant", value=tenant[:64])
    return tenant


def checked_key(key: Id) -> str:
    """The id as text, if it is of letters, digits and dashes."""
    text = str(key)
    if not KEY.fullmatch(text):
        raise WrongQuestion(field="id", value=text[:64])
    return text


def document_id(tenant: str, key: Id) -> str:
    """`_id` of what mirrors a row: `<tenant>:<pk>`, so equal keys of two tenants stay two."""
    return f"{checked_tenant(tenant)}:{checked_key(key)}"


def _action(name: str, index: str, key: str, **more: object) -> bytes:
    return orjson.dumps({name: {"_index": index, "_id": key, **more}}) + b"\n"


def _ledger_key(entry: LedgerEntry) -> str:
    return f"{checked_tenant(entry.tenant)}:{entry.batch_id}"


def _seen_action(index: str, key: str, seen: Mapping[str, Any]) -> bytes:
    """Writes a document as long as it is what was seen; 409 where it is not."""
    if not seen.get("found"):
        return _action("create", index, key)
    as_seen = {"if_seq_no": seen["_seq_no"], "if_primary_term": seen["_primary_term"]}
    return _action("index", index, key, **as_seen)


def _merge_lines(index: str, row: Mapping[str, Any]) -> bytes:
    key = document_id(row["tenant"], row["connector"])
    source = {name: parsing.plain(value) for name, value in row.items()}
    action = _action("update", index, key, retry_on_conflict=5)
    return action + orjson.dumps({"doc": source, "doc_as_upsert": True}) + b"\n"


def _event_lines(index: str, row: Mapping[str, Any]) -> bytes:
    key = document_id(row["tenant"], row["event"])
    source = {name: parsing.plain(value) for name, value in row.items()}
    return _action("index", index, key) + orjson.dumps(source, default=str) + b"\n"
