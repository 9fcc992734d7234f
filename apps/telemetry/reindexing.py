"""Writing a slice anew with this version's shape, while readings come in.

The default node has no reindex module, so this copies by itself, in the order in which documents
were written: first all that is there, then what has come meanwhile, until little is left. Then the
old index takes no more writes (who writes tries again), the rest is copied, the counts must agree,
and in one step the old index goes and its name becomes an alias of the new one. Who stops it before
that last step loses nothing: the new index goes, and the old one takes writes again.
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


@dataclass(frozen=True)
class Rewritten:
    """`old` is gone, and its name now leads to `new`; `documents` were copied."""

    old: str
    new: str
    documents: int


class Copy:
    """One slice on its way into a new index."""

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
            self._block(True)
            self._copy_what_is_new()
            self._must_agree()
            self._switch()
        except BaseException:
            self._give_up()
            raise
        marks = [mark for mark in self._store.marks() if mark.source == self.old]
        self._store.forget_marks(marks)
        return Rewritten(self.old, self.new, self._copied)

    def _make(self) -> None:
        with cluster.our_errors():
            answer = self._store.client.indices.get_settings(index=self.old, flat_settings=True)
            (held,) = (each["settings"] for each in answer.body.values())
            own = ("index.number_of_replicas", "index.time_series.start_time",
                   "index.time_series.end_time")  # fmt: skip
            kept = {name: held[name] for name in own if name in held}
            self._store.client.indices.create(
                index=self.new,
                settings={**self.kind.settings, **kept},
                mappings=self.kind.mappings,
            )

    def _copy_what_is_new(self) -> int:
        """Copy what was written since the last call, a page at a time; how many documents."""
        with cluster.our_errors(SEARCH_LIMIT_S):
            self._store.client.indices.refresh(index=self.old)
        copied = 0
        for shard in range(self._shards()):
            for page in self._pages(shard):
                self._write(page)
                copied += len(page)
        self._copied += copied
        return copied

    def _pages(self, shard: int) -> Iterator[list[dict[str, Any]]]:
        while True:
            body: Body = {
                "size": PAGE,
                "sort": [{"_seq_no": "asc"}],
                "track_total_hits": False,
                "query": {"range": {"_seq_no": {"gt": self._done.get(shard, -1)}}},
            }
            answer = cluster.search(
                self._store.client, self.old, body, limit_s=SEARCH_LIMIT_S, shard=shard
            )
            hits: list[dict[str, Any]] = answer["hits"]["hits"]
            if not hits:
                return
            yield hits
            self._done[shard] = int(hits[-1]["sort"][0])

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

    def _must_agree(self) -> None:
        client = self._store.client
        with cluster.our_errors(SEARCH_LIMIT_S):
            client.indices.refresh(index=[self.old, self.new])
            counts = [client.count(index=each)["count"] for each in (self.old, self.new)]
        if counts[0] != counts[1]:
            raise StoreRefused(status=0, reason=f"{counts[0]} documents became {counts[1]}")

    def _switch(self) -> None:
        alias = _alias_of(self.old)
        actions = [
            {"remove_index": {"index": self.old}},
            {"add": {"index": self.new, "alias": alias}},
        ]
        with cluster.our_errors():
            self._store.client.indices.update_aliases(actions=actions)

    def _give_up(self) -> None:
        client = self._store.client.options(ignore_status=404)
        if self.old in self._store.indices():
            client.indices.delete(index=self.new)
            self._block(False)

    def _block(self, blocked: bool) -> None:
        with cluster.our_errors():
            self._store.client.indices.put_settings(
                index=self.old, settings={"index.blocks.write": True if blocked else None}
            )

    def _shards(self) -> int:
        with cluster.our_errors():
            answer = self._store.client.indices.get_settings(index=self.old, flat_settings=True)
        (held,) = (each["settings"] for each in answer.body.values())
        return int(held["index.number_of_shards"])


def _kind_of(store: TelemetryStore, index: str) -> Kind:
    name = index.removeprefix(store.prefix)
    for kind in KINDS:
        if kind.sliced and name.startswith(f"{kind.name}-") and index in store.indices():
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
