"""Writing an index anew with this version's shape, while documents come in and change.

The default node has no reindex module, so this copies by itself, in the order in which documents
were written: first all that is there, then what has come meanwhile, until little is left. Then the
old index takes no more writes (who writes tries again), the rest is copied, the counts must agree,
and in one step the old index goes and its name becomes an alias of the new one. Until then the new
one is hidden, so that no question and no account finds a document twice. Who stops it before that
last step loses nothing: the new index goes, and the old one takes writes again. Where it was
killed, the next run begins anew.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from apps.telemetry import cluster
from apps.telemetry.documents import KINDS, READINGS, Kind
from apps.telemetry.errors import StoreRefused, WrongQuestion
from apps.telemetry.questions import Body
from apps.telemetry.store import TelemetryStore

PAGE = 2_000
LITTLE = 2_000
"""So few documents are copied while writes wait: a fraction of a second."""
SEARCH_LIMIT_S = 30.0
_TRIES = 6
_ITS_OWN = (
    *("index.number_of_replicas", "index.number_of_shards"),
    *("index.time_series.start_time", "index.time_series.end_time"),
)


@dataclass(frozen=True)
class Rewritten:
    """`old` is gone, and its name now leads to `new`; `documents` were copied."""

    old: str
    new: str
    documents: int


class Copy:
    """One index on its way into a new one."""

    def __init__(self, store: TelemetryStore, index: str) -> None:
        self._store = store
        self.old = index
        self.kind = _kind_of(store, index)
        self.new = _next_name(index)
        self._done: dict[int, int] = {}
        self._copied = 0

    def run(self) -> Rewritten:
        """Copy and switch. Raises TelemetryError, and then all is as it was."""
        try:
            self._make()
            while self._copy_what_is_new() > LITTLE:
                pass
            cluster.block_writes(self._store.client, self.old)
            self._copy_what_is_new()
            self._must_agree()
            self._switch()
        except BaseException:
            self._give_up()
            raise
        self._show()
        marks = [mark for mark in self._store.marks() if mark.source == self.old]
        self._store.forget_marks(marks)
        return Rewritten(self.old, self.new, self._copied)

    def _make(self) -> None:
        with cluster.our_errors():
            answer = self._store.client.indices.get_settings(index=self.old, flat_settings=True)
            (held,) = (each["settings"] for each in answer.body.values())
            kept = {name: held[name] for name in _ITS_OWN if name in held}
            self._store.client.options(ignore_status=404).indices.delete(index=self.new)
            self._store.client.indices.create(
                index=self.new,
                settings={**self.kind.settings, **kept, "index.hidden": True},
                mappings=self.kind.mappings,
            )

    def _copy_what_is_new(self) -> int:
        """Copy what was written since the last call, a page at a time; how many documents."""
        with cluster.our_errors(SEARCH_LIMIT_S):
            self._store.client.indices.refresh(index=self.old)
        copied = 0
        for shard in range(self._shards()):
            for page in self._pages(self.old, shard, self._done):
                self._write(page)
                copied += len(page)
        self._copied += copied
        return copied

    def _pages(
        self, index: str, shard: int, done: dict[int, int], *, whole: bool = True
    ) -> Iterator[list[dict[str, Any]]]:
        """What was written since `done`, by shard in order, which notes how far it is."""
        while True:
            body: Body = {
                "size": PAGE,
                "sort": [{"_seq_no": "asc"}],
                "track_total_hits": False,
                "query": {"range": {"_seq_no": {"gt": done.get(shard, -1)}}},
                "_source": whole,
            }
            answer = cluster.search(
                self._store.client, index, body, limit_s=SEARCH_LIMIT_S, shard=shard
            )
            hits: list[dict[str, Any]] = answer["hits"]["hits"]
            if not hits:
                return
            yield hits
            done[shard] = int(hits[-1]["sort"][0])

    def _write(self, page: list[dict[str, Any]]) -> None:
        lines = [self._lines(hit) for hit in page]
        for attempt in range(_TRIES):
            results = self._store.bulk(b"".join(lines))
            for result in results:
                # 409: copied before, by a search that saw the same document.
                if not (result.is_stored or result.is_duplicate or result.is_worth_retrying):
                    raise StoreRefused(status=result.status, reason=result.error_reason)
            lines = [line for line, result in zip(lines, results, strict=True)
                     if result.is_worth_retrying]  # fmt: skip
            if not lines:
                return
            time.sleep(2.0**attempt / 4)
        raise StoreRefused(status=429, reason="the store is busy")

    def _lines(self, hit: Mapping[str, Any]) -> bytes:
        if self.kind is READINGS:
            action: dict[str, Any] = {"create": {"_index": self.new}}
        else:
            action = {"index": {"_index": self.new, "_id": hit["_id"]}}
        return orjson.dumps(action) + b"\n" + orjson.dumps(hit["_source"]) + b"\n"

    def _drop_what_is_gone(self) -> None:
        """What was deleted after it was copied is in the new index still."""
        done: dict[int, int] = {}
        for shard in range(self._shards()):
            for page in self._pages(self.new, shard, done, whole=False):
                copied = {str(hit["_id"]) for hit in page}
                body: Body = {"size": PAGE, "query": {"ids": {"values": sorted(copied)}}}
                answer = cluster.search(
                    self._store.client, self.old, {**body, "_source": False}, limit_s=SEARCH_LIMIT_S
                )
                gone = copied - {str(hit["_id"]) for hit in answer["hits"]["hits"]}
                lines = [{"delete": {"_index": self.new, "_id": key}} for key in sorted(gone)]
                if lines:
                    self._store.bulk(b"".join(orjson.dumps(line) + b"\n" for line in lines))

    def _must_agree(self) -> None:
        old, new = self._counts()
        if new > old:
            self._drop_what_is_gone()
            old, new = self._counts()
        if old != new:
            raise StoreRefused(status=0, reason=f"{old} documents became {new}")

    def _counts(self) -> tuple[int, int]:
        client = self._store.client
        with cluster.our_errors(SEARCH_LIMIT_S):
            client.indices.refresh(index=[self.old, self.new])
            old, new = (int(client.count(index=each)["count"]) for each in (self.old, self.new))
        return old, new

    def _switch(self) -> None:
        alias = _alias_of(self.old)
        actions = [
            {"remove_index": {"index": self.old}},
            {"add": {"index": self.new, "alias": alias}},
        ]
        with cluster.our_errors():
            self._store.client.indices.update_aliases(actions=actions)

    def _show(self) -> None:
        """By its alias it is seen already; now in lists of indices, too."""
        with cluster.our_errors():
            self._store.client.indices.put_settings(index=self.new, settings={"index.hidden": None})

    def _give_up(self) -> None:
        client = self._store.client.options(ignore_status=404)
        if self.old in self._store.indices():
            client.indices.delete(index=self.new)
            cluster.unblock_writes(self._store.client, self.old)

    def _shards(self) -> int:
        with cluster.our_errors():
            answer = self._store.client.indices.get_settings(index=self.old, flat_settings=True)
        (held,) = (each["settings"] for each in answer.body.values())
        return int(held["index.number_of_shards"])


def _kind_of(store: TelemetryStore, index: str) -> Kind:
    name = index.removeprefix(store.prefix)
    for kind in KINDS:
        if name.startswith(f"{kind.name}-") and index in store.indices():
            return kind
    raise WrongQuestion(field="index", value=index[:100])


def _next_name(index: str) -> str:
    """readings-30d-20261123 → readings-30d-20261123.2 → readings-30d-20261123.3"""
    base, dot, number = index.rpartition(".")
    if dot and number.isdigit():
        return f"{base}.{int(number) + 1}"
    return f"{index}.2"


def _alias_of(index: str) -> str:
    """The name that everybody writes to."""
    base, dot, number = index.rpartition(".")
    return base if dot and number.isdigit() else index
