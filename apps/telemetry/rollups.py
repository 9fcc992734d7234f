"""Builds rollups: minutes and hours from readings, days from hours, and again what changed.

A step takes a level from its mark in one index of its source to a later one: it finds the
connector-buckets that hold documents written since (however late they are), and those that have
closed since, builds each of them anew from all that its source holds by now, writes them under
their own id, and only then sets the mark. So a step that is killed is done again, to the same
result. An older step that wakes up late can't overwrite a newer one's work: documents carry the
mark's version, and the store refuses a lower one. Nor does it bring back what was erased while it
slept: whether it is still its turn is asked before each write.

A step may be large: an hour that closes is all connectors' at once. So it is cut into portions of
a second or less, and told to end, it notes beside its mark which bucket it came to, and the next
run goes on behind that. What is written meanwhile has higher sequence numbers: the next step's.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from apps.telemetry import cluster, condensing
from apps.telemetry.answers import ItemResult
from apps.telemetry.condensing import Bucket
from apps.telemetry.documents import READINGS, ROLLUP, Kind
from apps.telemetry.errors import StoreRefused, StoreUnavailable
from apps.telemetry.levels import BELOW, DAY, HOUR, MINUTE, RAW, Level
from apps.telemetry.marks import Mark, Progress, not_yet_built, seam_ms
from apps.telemetry.questions import Body, Clause
from apps.telemetry.slices import DAY_MS, begin_of, class_of, family_of, to_ms
from apps.telemetry.store import TelemetryStore
from ohmwatch.readings import QUANTITIES

STEP = 200_000
"""Documents written since its mark that a step takes in at most; closed buckets come on top."""
IN_ORDER = (HOUR, DAY, MINUTE)
"""Hours first: long charts live on them."""
SEARCH_LIMIT_S = 30.0
_TOUCHED_PAGE = 10_000
_CLAUSES = 64
_DOCUMENTS = 60_000  # that one search condenses at most, where all of a bucket is new
_LONG_S = 1.0  # a search that took so long is followed by smaller ones
_NEAR = 4  # untouched buckets between two touched ones that are cheaper built than left out
_TRIES = 5


@dataclass(frozen=True)
class Source:
    """One index that a level is built from: what it can hold, and how far its shards are."""

    index: str
    tenant_class: str
    created_ms: int
    start_ms: int
    end_ms: int
    seqs: tuple[int, ...]


def _always_half() -> float:
    return 0.5


class Pace:
    """Rests after each request, so that building takes a share of the time and others the rest.

    `share`: between 0 and 1, or who knows it at the moment. What is done between two requests
    counts as work. `sleep` may return early, where the run is to end.
    """

    def __init__(
        self,
        share: float | Callable[[], float] = _always_half,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._share: Callable[[], float] = share if callable(share) else lambda: share
        self.sleep = sleep
        self._working_since = time.monotonic()

    def begin(self) -> None:
        """Work begins now."""
        self._working_since = time.monotonic()

    def __call__(self, ask: Callable[[], Any]) -> Any:
        answer = ask()
        worked_s = time.monotonic() - self._working_since
        rest_s = worked_s * (1 / self._share() - 1)
        if rest_s > 0:
            self.sleep(rest_s)
        self.begin()
        return answer


@dataclass
class Portion:
    """How much one search is given: all of a level's `chunk`, and less while searches are long."""

    share: float = 1.0

    def took(self, seconds: float) -> None:
        """Learn from a search."""
        if seconds > _LONG_S:
            self.share = max(self.share / 2, 1 / 64)
        elif seconds < _LONG_S / 4:
            self.share = min(self.share * 2, 1.0)


class Run(NamedTuple):
    """Neighbouring buckets of a connector that are built together, start_ms ≤ t < end_ms."""

    tenant: str
    connector: str
    start_ms: int
    end_ms: int
    documents: int = 0  # that are new in it

    def last_bucket(self, level: Level) -> Bucket:
        """Its newest one."""
        return Bucket(self.tenant, self.connector, self.end_ms - level.width_ms)


class Lag(NamedTuple):
    """How far a level is behind: documents that it has not taken in yet, and seconds by which the
    newest closed bucket that it vouches for is older than it should be."""

    documents: int
    seconds: float


Touched = tuple[Bucket, int]
"""A bucket, and how many new documents it holds."""


class Builder:
    """Brings all levels up to date. Two at once do no harm, and no good.

    `may_write` is asked before anything is written, and raises where it may not be any more.
    """

    def __init__(
        self,
        store: TelemetryStore,
        *,
        pace: Pace | None = None,
        may_write: Callable[[], object] = lambda: None,
    ) -> None:
        self._store = store
        self._pace = pace or Pace()
        self._may_write = may_write
        self._there: set[str] = set()
        self._marks: dict[tuple[str, str], Mark] = {}
        self._seen: defaultdict[str, list[Source]] = defaultdict(list)
        self._portion = Portion()
        self._ends: Callable[[], bool] = lambda: False
        self._now = datetime.min.replace(tzinfo=UTC)

    def advance(
        self,
        now: datetime,
        *,
        until: Callable[[], bool] = lambda: False,
        levels: Sequence[Level] = IN_ORDER,
    ) -> int:
        """Take in all that has arrived, level by level; how many rollups were written.

        Ends early where `until` says so: after the search in hand and what follows from it.
        """
        written = 0
        self._ends = until
        self._pace.begin()
        self._now = now
        for level in levels:
            self._seen[level.name] = self._sources(level)
            # After its sources: an index that was just written anew has brought its marks along.
            self._marks = {(mark.level, mark.source): mark for mark in self._store.live_marks()}
            for source in self._seen[level.name]:
                more = True
                while more and not self._ends():
                    count, more = self._step(level, source, to_ms(now))
                    written += count
        return written

    def lag(self, now: datetime) -> dict[str, Lag]:
        """By level, how far it is behind, after a run."""
        behind = {}
        for level in IN_ORDER:
            both = [(source, self._mark(level, source)) for source in self._seen[level.name]]
            documents = [sum(source.seqs) - sum(mark.seqs) for source, mark in both]
            late_ms = [
                self._closed_until(level, source, to_ms(now)) - mark.open_from_ms
                for source, mark in both
                if max(source.seqs) >= 0
            ]
            behind[level.name] = Lag(sum(documents), max([0, *late_ms]) / 1000)
        return behind

    def _step(self, level: Level, source: Source, now_ms: int) -> tuple[int, bool]:
        """One step; how many rollups it wrote, and whether there is more to take in."""
        mark = self._mark(level, source)
        goal = mark.goal or self._goal(level, source, mark, now_ms)
        if goal == mark or max(source.seqs) < 0:
            return 0, False
        if source.seqs != mark.seqs:
            self._refresh(source.index)
        written, came_to = self._advance_to(level, source, mark, goal)
        if came_to is not None:
            self._set(replace(mark, under_way=came_to))
            return written, False
        if written or mark.under_way:
            self._refresh(f"{self._store.prefix}{ROLLUP[level.name].name}-{source.tenant_class}-*")
        self._set(goal)
        return written, goal.seqs != source.seqs

    def _goal(self, level: Level, source: Source, mark: Mark, now_ms: int) -> Mark:
        seqs = tuple(
            min(done + STEP, there) for done, there in zip(mark.seqs, source.seqs, strict=True)
        )
        open_from_ms = max(mark.open_from_ms, self._closed_until(level, source, now_ms))
        return replace(mark, seqs=seqs, open_from_ms=open_from_ms)

    def _advance_to(
        self, level: Level, source: Source, mark: Mark, goal: Mark
    ) -> tuple[int, Progress | None]:
        """How many rollups were written, and how far this came where it was told to end."""
        done = mark.under_way
        written = 0
        for shard in range(done.shard if done else 0, len(goal.seqs)):
            after = done.after if done and done.shard == shard else None
            new = not_yet_built(mark, shard, goal.seqs[shard], goal.open_from_ms)
            for count, last in self._take_in(level, source, goal, shard, new, after):
                written += count
                if self._ends():
                    return written, Progress(goal.seqs, goal.open_from_ms, shard, last)
        return written, None

    def _set(self, mark: Mark) -> None:
        self._may_write()
        self._store.set_mark(mark)
        self._marks[mark.level, mark.source] = mark

    def _mark(self, level: Level, source: Source) -> Mark:
        mark = self._marks.get((level.name, source.index))
        if mark and (mark.created_ms, len(mark.seqs)) == (source.created_ms, len(source.seqs)):
            return mark
        return Mark(
            level=level.name,
            source=source.index,
            created_ms=source.created_ms,
            start_ms=source.start_ms,
            end_ms=source.end_ms,
            open_from_ms=source.start_ms,
            seqs=(-1,) * len(source.seqs),
        )

    def _closed_until(self, level: Level, source: Source, now_ms: int) -> int:
        """Buckets that end by then are filled, but for what comes late."""
        closed_ms = now_ms - level.grace_ms
        if level is DAY:
            family = f"{self._store.prefix}{READINGS.name}-{source.tenant_class}-"
            hours = (mark for mark in self._marks.values() if mark.level == HOUR.name)
            of_class = (mark for mark in hours if mark.source.startswith(family))
            closed_ms = min(closed_ms, seam_ms(of_class))
        return max(source.start_ms, min(level.start_of(closed_ms), source.end_ms))

    # --- what there is --------------------------------------------------------------------------

    def _sources(self, level: Level) -> list[Source]:
        """The indices the level is built from, oldest first."""
        below = BELOW[level.name]
        kind = READINGS if below is RAW else ROLLUP[below.name]
        found = self._sources_of(kind, None if below is RAW else below.slice_days)
        return sorted(found, key=lambda source: source.start_ms)

    def _sources_of(self, kind: Kind, slice_days: int | None) -> Iterator[Source]:
        """All classes' indices of a kind; slice_days None: those of the class."""
        family = f"{self._store.prefix}{kind.name}-"
        pattern = f"{family}*"
        with cluster.our_errors():
            created = self._store.client.indices.get_settings(
                index=pattern, name="index.creation_date"
            ).body
            stats = self._store.client.indices.stats(
                index=pattern, level="shards", filter_path="indices.*.shards"
            ).body
        for index, shards in stats.get("indices", {}).items():
            begin, kept = begin_of(index), class_of(family_of(index).removeprefix(family))
            if begin is None or kept is None or index not in created:
                continue
            days = slice_days or kept.slice_days
            yield Source(
                index=index,
                tenant_class=kept.name,
                created_ms=int(created[index]["settings"]["index"]["creation_date"]),
                start_ms=to_ms(begin),
                end_ms=to_ms(begin) + days * DAY_MS,
                seqs=cluster.checkpoints(shards["shards"]),
            )

    def _touched(
        self, level: Level, source: Source, shard: int, new: Clause, after: Body | None
    ) -> Iterator[Touched]:
        """The connector-buckets that hold any of `new`, by tenant, connector and time; how many.

        Only those behind `after`, where it is given.
        """
        while True:
            body = condensing.touched(level, new, _TOUCHED_PAGE, after)
            found = self._search(source.index, body, shard)["aggregations"]["buckets"]
            yield from ((condensing.key_of(each), each["doc_count"]) for each in found["buckets"])
            after = found.get("after_key")
            if not after or len(found["buckets"]) < _TOUCHED_PAGE:
                return

    # --- building -------------------------------------------------------------------------------

    def _take_in(
        self,
        level: Level,
        source: Source,
        goal: Mark,
        shard: int,
        new: Clause,
        after: Body | None,
    ) -> Iterator[tuple[int, Body]]:
        """Portion by portion: how many rollups it wrote, and the last bucket that is done."""
        own: dict[str, list[str]] | None = None
        touched = self._touched(level, source, shard, new, after)
        for runs in chunks(touched, level, self._portion):
            if own is None:
                raw = BELOW[level.name] is RAW
                own = self._own_quantities(source, shard, new) if raw else {}
            rollups = self._built(level, source, shard, runs, own)
            written = self._write(level, source, goal, rollups)
            yield written, condensing.place_of(runs[-1].last_bucket(level))

    def _built(
        self, level: Level, source: Source, shard: int, runs: list[Run], own: dict[str, list[str]]
    ) -> list[Body]:
        clause = _clause_of(runs)
        if BELOW[level.name] is not RAW:
            return condensing.merged(level, self._documents(source, shard, clause))
        names = [*QUANTITIES, *sorted({name for run in runs for name in own.get(run.tenant, ())})]
        buckets = list(self._buckets(level, source, shard, clause, names))
        newest = {condensing.key_of(each): condensing.newest_of(each) for each in buckets}
        lasts = self._lasts(source, shard, newest)
        return [
            condensing.rollup(each, level, names, lasts[condensing.key_of(each)])
            for each in buckets
            if condensing.key_of(each) in lasts
        ]

    def _buckets(
        self, level: Level, source: Source, shard: int, clause: Clause, names: Sequence[str]
    ) -> Iterator[Body]:
        after: Body | None = None
        while True:
            body = condensing.condensed(level, clause, names, after)
            answer = self._search(source.index, body, shard)
            self._portion.took(answer["took"] / 1000)
            found = answer["aggregations"]["buckets"]
            yield from found["buckets"]
            after = found.get("after_key")
            if not after or len(found["buckets"]) < condensing.PAGE:
                return

    def _lasts(
        self, source: Source, shard: int, newest: dict[Bucket, int]
    ) -> dict[Bucket, dict[str, Any]]:
        """Of each bucket, its newest reading's document."""
        wanted: defaultdict[tuple[str, str], dict[int, Bucket]] = defaultdict(dict)
        for bucket, newest_ms in newest.items():
            wanted[bucket.tenant, bucket.connector][newest_ms] = bucket
        found: dict[Bucket, dict[str, Any]] = {}
        for clause, size in condensing.pairs({key: list(each) for key, each in wanted.items()}):
            body = {"size": size, "track_total_hits": False, "query": clause}
            for hit in self._search(source.index, body, shard)["hits"]["hits"]:
                read = hit["_source"]
                key = read["tenant"], read["connector"]
                bucket_or_none = wanted[key].get(int(read["@timestamp"]))
                if bucket_or_none is not None:
                    found[bucket_or_none] = read
        return found

    def _documents(self, source: Source, shard: int, clause: Clause) -> list[dict[str, Any]]:
        """All documents of a clause; a chunk is small enough for one page."""
        body = {"size": 10_000, "track_total_hits": False, "query": clause}
        hits = self._search(source.index, body, shard)["hits"]["hits"]
        return [hit["_source"] for hit in hits]

    def _own_quantities(self, source: Source, shard: int, new: Clause) -> dict[str, list[str]]:
        """Which quantities of its own each tenant has in what is new."""
        with cluster.our_errors():
            fields = self._store.client.indices.get_field_mapping(
                index=source.index, fields="x_*"
            ).body
        names = sorted(fields.get(source.index, {}).get("mappings", {}))
        if not names:
            return {}
        answer = self._search(source.index, condensing.own_quantities(new, names), shard)
        return condensing.own_names(answer, names)

    # --- writing --------------------------------------------------------------------------------

    def _write(self, level: Level, source: Source, goal: Mark, rollups: Sequence[Body]) -> int:
        lines = [self._lines(level, source, goal, rollup) for rollup in rollups]
        for attempt in range(_TRIES):
            if not lines:
                return len(rollups)
            lines = self._refused_for_now(lines)
            if lines:
                self._pace.sleep(2.0**attempt / 4)
        raise StoreUnavailable(status=429, reason="rollups are refused again and again")

    def _refused_for_now(self, lines: Sequence[bytes]) -> list[bytes]:
        """Send them; those that are worth another try. Raises StoreRefused where none helps."""
        self._may_write()
        results: list[ItemResult] = self._pace(lambda: self._store.bulk(b"".join(lines)))
        for result in results:
            # 409: somebody has built this bucket from a later state.
            if not (result.is_stored or result.is_duplicate or result.is_worth_retrying):
                raise StoreRefused(status=result.status, reason=result.error_reason)
        both = zip(lines, results, strict=True)
        return [line for line, result in both if result.is_worth_retrying]

    def _lines(self, level: Level, source: Source, goal: Mark, rollup: Body) -> bytes:
        index = self._store.rollup_index(level, source.tenant_class, rollup["@timestamp"])
        if index not in self._there:
            self._store.ensure_rollup_index(level, index, self._now)
            self._there.add(index)
        action = {
            "_index": index,
            "_id": f"{rollup['tenant']}:{rollup['connector']}:{rollup['@timestamp']}",
            "version": goal.version,
            "version_type": "external_gte",
        }
        return orjson.dumps({"index": action}) + b"\n" + orjson.dumps(rollup) + b"\n"

    # --- asking ---------------------------------------------------------------------------------

    def _search(self, index: str, body: Body, shard: int) -> dict[str, Any]:
        answer: dict[str, Any] = self._pace(
            lambda: cluster.search(
                self._store.client, index, body, limit_s=SEARCH_LIMIT_S, shard=shard
            )
        )
        return answer

    def _refresh(self, index: str) -> None:
        with cluster.our_errors(SEARCH_LIMIT_S):
            self._store.client.options(request_timeout=SEARCH_LIMIT_S).indices.refresh(
                index=index, ignore_unavailable=True
            )


def chunks(
    touched: Iterator[Touched], level: Level, portion: Portion | None = None
) -> Iterator[list[Run]]:
    """Runs of neighbouring buckets, in lists that are built by one search each."""
    portion = portion or Portion()
    waiting: list[Run] = []
    size = documents = 0
    for run in runs_of(touched, level, portion):
        size += (run.end_ms - run.start_ms) // level.width_ms
        documents += run.documents
        too_many = size > level.chunk * portion.share or documents > _DOCUMENTS * portion.share
        if waiting and (too_many or not _fits(waiting, run)):
            yield waiting
            waiting = []
            size, documents = (run.end_ms - run.start_ms) // level.width_ms, run.documents
        waiting.append(run)
    if waiting:
        yield waiting


def runs_of(
    touched: Iterator[Touched], level: Level, portion: Portion | None = None
) -> Iterator[Run]:
    """Buckets in order of tenant, connector and time, put together where they are neighbours."""
    run: Run | None = None
    portion = portion or Portion()
    for bucket, documents in touched:
        end_ms = bucket.start_ms + level.width_ms
        longest_ms = max(1, int(level.chunk * portion.share)) * level.width_ms
        fits = run is not None and run.documents + documents <= _DOCUMENTS
        if run and fits and _goes_on(run, bucket, level, longest_ms):
            run = run._replace(end_ms=end_ms, documents=run.documents + documents)
            continue
        if run:
            yield run
        run = Run(bucket.tenant, bucket.connector, bucket.start_ms, end_ms, documents)
    if run:
        yield run


def _goes_on(run: Run, bucket: Bucket, level: Level, longest_ms: int) -> bool:
    return (
        (run.tenant, run.connector) == (bucket.tenant, bucket.connector)
        and bucket.start_ms - run.end_ms <= _NEAR * level.width_ms
        and bucket.start_ms + level.width_ms - run.start_ms <= longest_ms
    )


def _fits(waiting: Sequence[Run], run: Run) -> bool:
    """Whether the search stays small: runs of one range share a clause."""
    ranges = {(each.tenant, each.start_ms, each.end_ms) for each in waiting}
    return (run.tenant, run.start_ms, run.end_ms) in ranges or len(ranges) < _CLAUSES


def _clause_of(runs: Sequence[Run]) -> Clause:
    alike: defaultdict[tuple[str, int, int], list[str]] = defaultdict(list)
    for run in runs:
        alike[run.tenant, run.start_ms, run.end_ms].append(run.connector)
    ways = [
        condensing.stretch(tenant, connectors, start_ms, end_ms)
        for (tenant, start_ms, end_ms), connectors in alike.items()
    ]
    return {"bool": {"should": ways, "minimum_should_match": 1}}
