"""Writing an index anew with this version's shape, or with more shards, while documents come in.

The default node has no reindex module, so this copies by itself, in the order in which documents
were written: first all that is there, then what has come meanwhile, until little is left. Then the
old index takes no more writes (who writes tries again), the rest is copied, the counts must agree,
and in one step the old index goes and its name becomes an alias of the new one. Until then the new
one is hidden, so that no question and no account finds a document twice. Who stops it before that
last step loses nothing: the new index goes, and the old one takes writes again. Where it was
killed, the next run begins anew; `go_on`, which copies a piece at a time, goes on behind it.

Where documents come in as fast as they are copied, little is never left. Then writes wait for as
long as the last pass took, if that is short; if not, nothing is changed.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import orjson

from apps.telemetry import cluster
from apps.telemetry.documents import KINDS, QUARANTINE, READINGS, ROLLUP, VERSION, Kind
from apps.telemetry.errors import StoreRefused, StoreUnavailable, TelemetryError, WrongQuestion
from apps.telemetry.marks import Mark
from apps.telemetry.questions import Body
from apps.telemetry.store import TelemetryStore

PAGE = 2_000
MESSAGES_PAGE = 50
"""Of documents that may have the bytes of a message: a page is one answer and one request."""
LITTLE = 2_000
"""So few documents are copied while writes wait: a fraction of a second."""
PASSES = 10
"""So many may be made over what has come meanwhile, each over less than the one before."""
SHRUNK = 0.8
"""A pass over more than this of the one before comes no closer to an end."""
WAIT_S = 30.0
"""Writes wait no longer than this for the last pass."""
SEARCH_LIMIT_S = 30.0
_TRIES = 6
_SAY_S = 10.0
_CATCH_UP_S = 60.0
_ITS_OWN = (
    *("index.number_of_replicas", "index.number_of_shards"),
    *("index.time_series.start_time", "index.time_series.end_time"),
)


@dataclass(frozen=True)
class Rewritten:
    """`old` is gone, and its name now leads to `new`; `documents` are in it.

    `waited_s`: how long it took no writes.
    """

    old: str
    new: str
    documents: int
    waited_s: float = 0.0


class TakenOver(StoreRefused):
    """Another run copies this index now; `reason` says so. What it does is left alone."""


def _silent(said: str) -> None:
    """Tells nobody."""


def _at_once(work: Callable[[], None]) -> None:
    work()


class Copy:
    """One index on its way into a new one, with so many shards, or as many as it has.

    `say` is told how far it is, every some seconds. `pace` does the work that it is handed, and
    may rest after it; only while all that was there is copied, not over what comes meanwhile.
    """

    def __init__(
        self,
        store: TelemetryStore,
        index: str,
        *,
        shards: int | None = None,
        say: Callable[[str], None] = _silent,
        pace: Callable[[Callable[[], None]], object] = _at_once,
    ) -> None:
        self._store = store
        self.old = index
        self.kind = _kind_of(store, index)
        self.new = next_name(index)
        self.copied = 0
        self._page = MESSAGES_PAGE if self.kind is QUARANTINE else PAGE
        self._shards = shards
        self._say = say
        self._pace = pace
        self._by = uuid4().hex
        self._done: dict[int, int] = {}
        self._seams: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        self._until: Callable[[], bool] = lambda: False
        self._goes_on = False
        self._said_at = time.monotonic()

    def run(self) -> Rewritten:
        """Copy and switch. Raises TelemetryError, and then all is as it was."""
        try:
            self._make()
            self._catch_up()
            return self._finish()
        except TakenOver:
            raise
        except BaseException:
            self._give_up()
            raise

    def go_on(self, until: Callable[[], bool]) -> Rewritten | None:
        """The same, but ended where `until` says so: None, and the next call goes on behind that.

        Also behind one that was killed. Raises TelemetryError; what is copied stays, unless it is
        wrong, and the old index takes writes.
        """
        self._until, self._goes_on = until, True
        try:
            if not self._resume():
                self._make()
            self._catch_up()
            if until():
                self._note()
                return None
            self._let_rollups_catch_up()
            if until():
                self._note()
                return None
            return self._finish()
        except TakenOver:
            raise
        except TelemetryError as error:
            if error.permanent:
                self._give_up()
            else:
                with suppress(TelemetryError):
                    self._note()
                cluster.unblock_writes(self._store.client, self.old)
            raise

    @property
    def is_begun(self) -> bool:
        """Whether `go_on` has begun to copy this very index into this version's shape."""
        known, ours = self._known(), self._meta()
        return all(known.get(name) == ours[name] for name in ("of", "version")) and bool(
            known.get("goes_on")
        )

    # --- the steps --------------------------------------------------------------------------

    def _make(self) -> None:
        held = self._settings(self.old)
        kept = {name: held[name] for name in _ITS_OWN if name in held}
        if self._shards is not None:
            kept["index.number_of_shards"] = self._shards
        self._store.forget_marks([m for m in self._store.marks() if m.source == self.new])
        with cluster.our_errors():
            self._store.client.options(ignore_status=404).indices.delete(index=self.new)
            self._store.client.indices.create(
                index=self.new,
                settings={**self.kind.settings, **kept, "index.hidden": True},
                mappings={**self.kind.mappings, "_meta": self._meta()},
            )

    def _resume(self) -> bool:
        if not self.is_begun:
            return False
        self._done = {int(shard): int(seq) for shard, seq in self._known()["done"].items()}
        self._put_meta()
        return True

    def _catch_up(self) -> None:
        """Copy until so little is left that writes may wait for it, or it is time to end.

        Raises StoreUnavailable where documents come in faster than they are copied.
        """
        before, took_s = 0, 0.0
        for number in range(PASSES + 1):
            began = time.monotonic()
            copied = self._copy_what_is_new(paced=number == 0)
            took_s = time.monotonic() - began
            if self._until() or copied <= LITTLE:
                return
            if number > 1 and copied > SHRUNK * before:
                break
            before = copied
        if took_s > WAIT_S:
            raise StoreUnavailable(
                reason=f"documents come in as fast as they are copied: to copy the rest, writes "
                f"would have to wait {took_s:.0f} s"
            )
        self._say(f"documents come in as fast as they are copied: writes wait about {took_s:.1f} s")

    def _finish(self) -> Rewritten:
        self._must_be_ours()
        began = time.monotonic()
        cluster.block_writes(self._store.client, self.old)
        self._copy_what_is_new(which="max_seq_no")
        documents = self._must_agree()
        self._must_be_ours()
        # Before the switch: rollups are not to be built anew by who finds none for the new index.
        self._carry_marks()
        self._switch()
        waited_s = time.monotonic() - began
        self._show()
        marks = [mark for mark in self._store.marks() if mark.source == self.old]
        self._store.forget_marks(marks)
        return Rewritten(self.old, self.new, documents, waited_s)

    # --- whose it is, and how far -----------------------------------------------------------

    def _meta(self) -> dict[str, Any]:
        """What is noted with the new index until it takes the old one's place."""
        created = self._settings(self.old)["index.creation_date"]
        return {
            "of": created,
            "version": VERSION,
            "by": self._by,
            "goes_on": self._goes_on,
            "done": {str(shard): seq for shard, seq in self._done.items()},
        }

    def _put_meta(self) -> None:
        with cluster.our_errors():
            self._store.client.indices.put_mapping(index=self.new, meta=self._meta())

    def _note(self) -> None:
        self._must_be_ours()
        self._put_meta()

    def _known(self) -> dict[str, Any]:
        with cluster.our_errors():
            found = self._store.client.options(ignore_status=404).indices.get_mapping(
                index=self.new
            )
        known = found.body.get(self.new, {}).get("mappings", {}).get("_meta", {})
        return dict(known)

    def _must_be_ours(self) -> None:
        if self._known().get("by") != self._by:
            raise TakenOver(status=0, reason="another run copies this index now")

    def _tell(self) -> None:
        """How far it is, every _SAY_S."""
        if time.monotonic() - self._said_at >= _SAY_S:
            self._said_at = time.monotonic()
            self._note()
            left = sum(self._ends()) - sum(self._done.values())
            self._say(f"{self.copied} documents copied, {max(0, left)} left")

    # --- copying ----------------------------------------------------------------------------

    def _copy_what_is_new(self, *, paced: bool = False, which: str = "global_checkpoint") -> int:
        """Copy what was written since the last call, a page at a time; how many documents.

        Up to the numbers that every document has come to by then: one that is still being written
        may have a lower number than one that is found already.
        """
        ends = self._ends(which)
        with cluster.our_errors(SEARCH_LIMIT_S):
            self._store.client.indices.refresh(index=self.old)
        pace = self._pace if paced else _at_once
        before = self.copied
        for shard, end in enumerate(ends):
            for page, upto in self._pages(self.old, shard, self._done.get(shard, -1), end):
                pace(lambda page=page: self._write(page))  # type: ignore[misc]
                self._done[shard] = upto
                self.copied += len(page)
                self._tell()
                if self._until() and which == "global_checkpoint":
                    return self.copied - before
        self._seams.append((ends, self._ends(index=self.new)))
        return self.copied - before

    def _pages(
        self, index: str, shard: int, after: int, end: int, *, whole: bool = True
    ) -> Iterator[tuple[list[dict[str, Any]], int]]:
        """What was written after one number, up to another, in order; each page with its last.

        By short ranges of numbers: to find the next page among all that is left takes longer the
        more that is.
        """
        size = self._page if whole else PAGE
        width = size
        while after < end:
            upto = min(after + width, end)
            body: Body = {
                "size": size,
                "sort": [{"_seq_no": "asc"}],
                "track_total_hits": False,
                "query": {"range": {"_seq_no": {"gt": after, "lte": upto}}},
                "_source": whole,
                "version": True,
            }
            answer = cluster.search(
                self._store.client, index, body, limit_s=SEARCH_LIMIT_S, shard=shard
            )
            hits: list[dict[str, Any]] = answer["hits"]["hits"]
            is_full = len(hits) == size
            after = int(hits[-1]["sort"][0]) if is_full else upto
            yield hits, after
            if is_full:
                width = max(size, width // 2)
            elif len(hits) < size // 2:
                width *= 2

    def _ends(self, which: str = "global_checkpoint", index: str = "") -> tuple[int, ...]:
        index = index or self.old
        with cluster.our_errors():
            answer = self._store.client.indices.stats(
                index=index, level="shards", filter_path="indices.*.shards"
            ).body
        return cluster.checkpoints(answer["indices"][index]["shards"], which)

    def _write(self, page: list[dict[str, Any]]) -> None:
        lines = [self._lines(hit) for hit in page]
        if not lines:
            return
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
        if self.kind in ROLLUP.values():  # so that an older step still can't overwrite it
            action["index"] |= {"version": hit["_version"], "version_type": "external_gte"}
        return orjson.dumps(action) + b"\n" + orjson.dumps(hit["_source"]) + b"\n"

    def _drop_what_is_gone(self) -> None:
        """What was deleted after it was copied is in the new index still."""
        for shard, end in enumerate(self._ends("max_seq_no", self.new)):
            for page, _upto in self._pages(self.new, shard, -1, end, whole=False):
                copied = {str(hit["_id"]) for hit in page}
                body: Body = {"size": PAGE, "query": {"ids": {"values": sorted(copied)}}}
                answer = cluster.search(
                    self._store.client, self.old, {**body, "_source": False}, limit_s=SEARCH_LIMIT_S
                )
                gone = copied - {str(hit["_id"]) for hit in answer["hits"]["hits"]}
                lines = [{"delete": {"_index": self.new, "_id": key}} for key in sorted(gone)]
                if lines:
                    self._store.bulk(b"".join(orjson.dumps(line) + b"\n" for line in lines))

    def _must_agree(self) -> int:
        old, new = self._counts()
        if new > old:
            self._drop_what_is_gone()
            old, new = self._counts()
        if old != new:
            raise StoreRefused(status=0, reason=f"{old} documents became {new}")
        return new

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
            self._store.client.indices.put_mapping(index=self.new, meta={})
            self._store.client.indices.put_settings(index=self.new, settings={"index.hidden": None})

    def _give_up(self) -> None:
        client = self._store.client.options(ignore_status=404)
        if self._known().get("by", self._by) == self._by and self.old in self._store.indices():
            client.indices.delete(index=self.new)
            cluster.unblock_writes(self._store.client, self.old)

    def _settings(self, index: str) -> dict[str, Any]:
        with cluster.our_errors():
            answer = self._store.client.indices.get_settings(index=index, flat_settings=True)
        (held,) = (each["settings"] for each in answer.body.values())
        return dict(held)

    # --- how far the rollups of it are ------------------------------------------------------

    def _carry_marks(self) -> None:
        """What rollups have taken in of the old index they needn't take in of the new one.

        After a whole pass the new index holds what the old one held up to some numbers, under
        numbers of its own up to some others. A mark that is past the former is one at the latter.
        """
        created_ms = int(self._settings(self.new)["index.creation_date"])
        for mark in self._store.marks():
            seqs = self._seqs_of(mark) if mark.source == self.old else None
            if seqs is not None:
                self._store.set_mark(
                    replace(mark, source=self.new, created_ms=created_ms, seqs=seqs, under_way=None)
                )

    def _seqs_of(self, mark: Mark) -> tuple[int, ...] | None:
        """Where in the new index all is taken in that the mark has taken in of the old one."""
        reached = [
            new
            for old, new in self._seams
            if len(mark.seqs) == len(old)
            and all(have >= upto for have, upto in zip(mark.seqs, old, strict=True))
        ]
        return reached[-1] if reached else None

    def _let_rollups_catch_up(self) -> None:
        """Wait until every mark can be carried over, but not for long."""
        ends_at = time.monotonic() + _CATCH_UP_S
        while time.monotonic() < ends_at and not self._until():
            marks = [mark for mark in self._store.marks() if mark.source == self.old]
            if all(self._seqs_of(mark) for mark in marks):
                break
            time.sleep(1)
        self._catch_up()


def _kind_of(store: TelemetryStore, index: str) -> Kind:
    name = index.removeprefix(store.prefix)
    for kind in KINDS:
        if name.startswith(f"{kind.name}-") and index in store.indices():
            return kind
    raise WrongQuestion(field="index", value=index[:100])


def next_name(index: str) -> str:
    """readings-30d-20261123 → readings-30d-20261123.2 → readings-30d-20261123.3"""
    base, dot, number = index.rpartition(".")
    if dot and number.isdigit():
        return f"{base}.{int(number) + 1}"
    return f"{index}.2"


def _alias_of(index: str) -> str:
    """The name that everybody writes to."""
    base, dot, number = index.rpartition(".")
    return base if dot and number.isdigit() else index
