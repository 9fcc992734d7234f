"""Old slices of the ledger, put together by hours: so it can stay as long as any readings do.

A ledger document a batch and tenant is up to five a second of each slot and tenant. Once nothing
writes to a slice any more, their sums by tenant and hour say the same to every account of whole
hours (`accounting` asks for no other there), in 168 documents a tenant and week.

Entering a batch again must go on changing nothing, though a sum no longer knows its batches. Who
could still do that:

- A slot that enters what its former life stored: it repeats that for as long as it lives, and all
  of these entries say `reconciled`. They are few, and are copied as they are, under their own ids.
- A replay that was cut off: it holds a claim on a message of the quarantine. The quarantine's slice
  of the same week must be gone, and is for a day.
- Erasing adds entries of its own, each once: they may come before or after.

The sums are made in a hidden copy, while the slice takes writes as ever; a run that has no more
time leaves it, and the next one goes on. At the end the slice is blocked, what is in both is
compared by tenant, and only if it agrees the copy takes its place in one step, as in `reindexing`.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from apps.telemetry import cluster, ledger, slices
from apps.telemetry.answers import AccountLine
from apps.telemetry.documents import ACCOUNT
from apps.telemetry.errors import StoreRefused
from apps.telemetry.levels import HOUR_MS
from apps.telemetry.questions import Body, Clause
from apps.telemetry.store import KEEP_REFUSED_DAYS, SLICE_DAYS, TelemetryStore

REST_DAYS = KEEP_REFUSED_DAYS + 1
"""A slice is put together when it ended so long ago: a day after its quarantine went."""
SEARCH_LIMIT_S = 60.0
PAGE = 1_000
_MARK = {"ledger": "by hours"}
_RECONCILED: Clause = {"term": {"reconciled": "true"}}
_OTHERS: Clause = {"bool": {"must_not": [_RECONCILED]}}


@dataclass(frozen=True)
class PutTogether:
    """`entries` of the ledger's slice `old` have become `documents` of `new`."""

    old: str
    new: str
    entries: int
    documents: int


def put_together(store: TelemetryStore, now: datetime, *, limit_s: float) -> PutTogether | None:
    """Put the oldest slice together that is due; None: none is, or it takes longer than limit_s.

    Raises TelemetryError, and then the slice is as it was.
    """
    index = _due(store, now)
    return None if index is None else _Slice(store, index).run(time.monotonic() + limit_s)


def _due(store: TelemetryStore, now: datetime) -> str | None:
    there = store.indices()
    family = f"{store.prefix}{ACCOUNT.name}-"
    rest = timedelta(days=SLICE_DAYS + REST_DAYS)
    old = [
        (begin, index)
        for index in there
        if index.startswith(family)
        and (begin := slices.begin_of(index)) is not None
        and begin + rest < now
        and not _is_claimed(store, begin, there)
    ]
    mappings = store.mappings(f"{family}*") if old else {}
    raw = [index for _, index in sorted(old) if not _is_by_hours(mappings[index])]
    return raw[0] if raw else None


def _is_claimed(store: TelemetryStore, begin: datetime, there: list[str]) -> bool:
    """Whether refused messages of that week are still there, to be replayed."""
    name = store.quarantine_index(slices.to_ms(begin))
    return any(index == name or index.startswith(f"{name}.") for index in there)


def _is_by_hours(mapping: Mapping[str, Any]) -> bool:
    return _MARK.items() <= (mapping.get("_meta") or {}).items()


class _Slice:
    """One slice of the ledger on its way into hours."""

    def __init__(self, store: TelemetryStore, index: str) -> None:
        self._store = store
        self._old = index
        name, _, number = index.rpartition(".")
        written_anew = name and number.isdigit()
        self._alias = name if written_anew else index
        self._new = f"{self._alias}.{int(number) + 1 if written_anew else 2}"
        begin = slices.begin_of(index)
        assert begin is not None  # _due saw to it
        self._begin_ms = slices.to_ms(begin)

    def run(self, until: float) -> PutTogether | None:
        first_ms = self._begin()
        try:
            for hour_ms in range(first_ms, self._begin_ms + SLICE_DAYS * slices.DAY_MS, HOUR_MS):
                if time.monotonic() > until:
                    return None
                self._sum_up(hour_ms)
            return self._finish()
        except BaseException:
            self._give_up()
            raise

    def _begin(self) -> int:
        """The first hour to sum up: after the last of a run before, whose copy is there."""
        is_begun = self._is_begun()
        if not is_begun:
            self._make()
        with cluster.our_errors(SEARCH_LIMIT_S):
            self._store.client.indices.refresh(index=[self._old, self._new])
        if not is_begun:
            return self._begin_ms
        last = cluster.search(
            self._store.client,
            self._new,
            {"size": 0, "aggs": {"last": {"max": {"field": "arrived_at"}}}},
        )["aggregations"]["last"]["value"]
        # That one anew: the run may have been killed within it.
        return self._begin_ms if last is None else int(last) // HOUR_MS * HOUR_MS

    def _is_begun(self) -> bool:
        if self._new not in self._store.unfinished():
            return False
        return _is_by_hours(self._store.mappings(self._new)[self._new])

    def _make(self) -> None:
        client = self._store.client
        cluster.delete(client, [self._new])  # another copy, that was not done
        with cluster.our_errors():
            answer = client.indices.get_settings(index=self._old, flat_settings=True)
            (held,) = (each["settings"] for each in answer.body.values())
            replicas = {"index.number_of_replicas": held["index.number_of_replicas"]}
            client.indices.create(
                index=self._new,
                settings={**ACCOUNT.settings, **replicas, "index.hidden": True},
                mappings={**ACCOUNT.mappings, "_meta": _MARK},
            )

    def _sum_up(self, hour_ms: int) -> None:
        within = ledger.arrived_within(hour_ms, hour_ms + HOUR_MS)
        sums = self._sums(self._old, [within, _OTHERS])
        self._write([self._lines_of(line, hour_ms) for line in sums])

    def _finish(self) -> PutTogether:
        cluster.block_writes(self._store.client, self._old)
        with cluster.our_errors(SEARCH_LIMIT_S):
            self._store.client.indices.refresh(index=self._old)
        for page in self._reconciled():
            self._write([self._copy_of(hit) for hit in page])
        entries, documents = self._agreed()
        self._switch()
        return PutTogether(self._old, self._new, entries, documents)

    def _reconciled(self) -> Iterator[list[Mapping[str, Any]]]:
        after: list[Any] = []
        while True:
            body: Body = {"size": PAGE, "sort": ["batch_id", "tenant"], "query": _RECONCILED}
            more = {"search_after": after} if after else {}
            hits = self._search(self._old, {**body, **more})["hits"]["hits"]
            if not hits:
                return
            yield hits
            after = hits[-1]["sort"]

    def _agreed(self) -> tuple[int, int]:
        """How many documents there were, and are; raises unless they come to the same."""
        client, both = self._store.client, (self._old, self._new)
        with cluster.our_errors(SEARCH_LIMIT_S):
            client.indices.refresh(index=self._new)
            counts = [int(client.count(index=each)["count"]) for each in both]
        old, new = (self._sums(each, []) for each in both)
        if old != new:
            raise StoreRefused(status=0, reason=f"the ledger's slice {self._old} was written to")
        return counts[0], counts[1]

    def _switch(self) -> None:
        actions = [
            {"remove_index": {"index": self._old}},
            {"add": {"index": self._new, "alias": self._alias}},
        ]
        with cluster.our_errors():
            self._store.client.indices.update_aliases(actions=actions)
            # By its alias it is seen already; now in lists of indices, too.
            shown = {"index.hidden": None}
            self._store.client.indices.put_settings(index=self._new, settings=shown)

    def _give_up(self) -> None:
        """All is as it was, unless the copy has taken the slice's place."""
        if self._old in self._store.indices():
            cluster.delete(self._store.client, [self._new])
            cluster.unblock_writes(self._store.client, self._old)

    def _sums(self, index: str, clauses: list[Clause]) -> list[AccountLine]:
        body = {**ledger.ledger_sums(), "query": {"bool": {"filter": clauses}}}
        return ledger.lines(self._search(index, body), {}, {})

    def _search(self, index: str, body: Body) -> dict[str, Any]:
        return cluster.search(self._store.client, index, body, limit_s=SEARCH_LIMIT_S)

    def _lines_of(self, line: AccountLine, hour_ms: int) -> bytes:
        action = {"_index": self._new, "_id": f"{line.tenant}:hour-{hour_ms}"}
        source = {
            "tenant": line.tenant,
            "arrived_at": hour_ms,
            "received": line.received,
            "stored": line.stored,
            "duplicate": line.duplicate,
            "quarantined": line.quarantined,
            "reconciled": "false",
        }
        return orjson.dumps({"index": action}) + b"\n" + orjson.dumps(source) + b"\n"

    def _copy_of(self, hit: Mapping[str, Any]) -> bytes:
        action = {"index": {"_index": self._new, "_id": hit["_id"]}}
        return orjson.dumps(action) + b"\n" + orjson.dumps(hit["_source"]) + b"\n"

    def _write(self, lines: list[bytes]) -> None:
        for first in range(0, len(lines), PAGE):
            for result in self._store.bulk(b"".join(lines[first : first + PAGE])):
                if not result.is_stored:
                    raise StoreRefused(status=result.status, reason=result.error_reason)
