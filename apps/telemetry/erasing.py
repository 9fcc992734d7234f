"""Forgetting a tenant or a connector for good, with a report of what was there.

Documents are found by the tenant's filter and deleted by their ids, a page at a time, until none is
left (the default node can't delete by query); an index that holds nothing else is dropped whole. At
the end deleted documents are merged away, so that their bytes are gone from the segments too. Who
repeats it after a crash erases the rest.

While documents go, nobody builds rollups: a chunk in hand would be written after its rollups were
deleted. Whoever else had something in hand (a state, an alarm event) writes it within moments, so
who erases a tenant does it once more after its record is gone, and nothing new can come.

A connector's readings leave the account as they came: each page of deletions carries the entries
that take them out of the ledger, in the same request, so that the account closes afterwards.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

import orjson

from apps.telemetry import cluster
from apps.telemetry.building import Turn, next_turn
from apps.telemetry.documents import ACCOUNT, KINDS, MARKS, QUARANTINE, READINGS, Kind
from apps.telemetry.errors import StoreRefused, StoreUnavailable
from apps.telemetry.questions import Body, Clause
from apps.telemetry.store import Id, TelemetryStore, checked_key, checked_tenant

PAGE = 2_000
SEARCH_LIMIT_S = 30.0
TRIES = 6
MERGE_LIMIT_S = 600.0
LEASES_S = 60.0
_LEFT_PERCENT = "index.merge.policy.expunge_deletes_allowed"


@dataclass
class Report:
    """What was erased: documents by kind, and the indices that went as a whole."""

    documents: Counter[str] = field(default_factory=Counter)
    indices: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.documents.total()


def erase(
    store: TelemetryStore,
    tenant: str,
    connector: Id | None = None,
    *,
    now: datetime,
    classes: Sequence[str] = (),
    report: Report | None = None,
) -> Report:
    """Everything of the tenant, or of one of its connectors, in every kind of index.

    `classes`: those that tenants are in, whose slices have to be there afterwards.
    Nothing of it may still be coming in: end its devices first. Raises TelemetryError and
    redis.RedisError; what was erased until then is in a `report` that was handed in.
    """
    whose: list[Clause] = [{"term": {"tenant": checked_tenant(tenant)}}]
    if connector is not None:
        whose.append({"term": {"connector": checked_key(connector)}})
    report = Report() if report is None else report
    before = report.total
    cluster.delete(store.client, store.unfinished())  # a copy of what is about to go
    with next_turn() as turn:
        for kind in KINDS:
            if kind is MARKS or (connector is not None and kind is ACCOUNT):
                continue
            store.refresh(kind)
            if connector is None:
                _drop_whole(store, kind, whose, report, turn)
            _delete_all(store, kind, whose, report, turn, keep_account=connector is not None)
    store.ensure_slices(now, classes)  # of what was dropped whole, for those who write next
    _merge_away(store, anything_new=report.total > before)
    return report


def _drop_whole(
    store: TelemetryStore, kind: Kind, whose: Sequence[Clause], report: Report, turn: Turn
) -> None:
    """Drop the slices that hold nothing of anybody else's."""
    if not kind.sliced:
        return
    everybody, own = _counted(store, kind, whose)
    # Blocked: a run that was killed in the middle of this has left it so.
    blocked = _blocked(store, own)
    for index in own:
        turn.go_on()
        if everybody[index] == own[index] or index in blocked:
            _drop_if_whole(store, kind, whose, index, report)


def _drop_if_whole(
    store: TelemetryStore, kind: Kind, whose: Sequence[Clause], index: str, report: Report
) -> None:
    """Count again while nobody can write: another tenant's first reading may just have come."""
    dropped = False
    cluster.block_writes(store.client, index)
    try:
        with cluster.our_errors(SEARCH_LIMIT_S):
            store.client.indices.refresh(index=index)
        everybody, own = _counted(store, kind, whose, index)
        if everybody[index] == own[index]:
            cluster.delete(store.client, [index])
            dropped = True
    finally:
        if not dropped:
            cluster.unblock_writes(store.client, index)
    if dropped:
        store.forget_marks([mark for mark in store.marks() if mark.source == index])
        report.documents[kind.name] += own[index]
        if index not in report.indices:
            report.indices.append(index)


def _counted(
    store: TelemetryStore, kind: Kind, whose: Sequence[Clause], index: str = ""
) -> tuple[Counter[str], Counter[str]]:
    """Documents by index: everybody's, and theirs who are erased."""
    by_index = {"index": {"terms": {"field": "_index", "size": 10_000}}}
    body: Body = {
        "size": 0,
        "aggs": {
            "all": {"filter": {"match_all": {}}, "aggs": by_index},
            "own": {"filter": {"bool": {"filter": list(whose)}}, "aggs": by_index},
        },
    }
    where = index or f"{store.prefix}{kind.name}-*"
    found = cluster.search(store.client, where, body, limit_s=SEARCH_LIMIT_S).get("aggregations")
    if not found:
        return Counter(), Counter()
    everybody, own = (
        Counter({each["key"]: each["doc_count"] for each in found[name]["index"]["buckets"]})
        for name in ("all", "own")
    )
    return everybody, own


def _blocked(store: TelemetryStore, indices: Collection[str]) -> set[str]:
    if not indices:
        return set()
    with cluster.our_errors():
        answer = store.client.indices.get_settings(
            index=sorted(indices), name="index.blocks.write", flat_settings=True
        )
    return {
        index
        for index, held in answer.body.items()
        if held["settings"].get("index.blocks.write") == "true"
    }


def _delete_all(
    store: TelemetryStore,
    kind: Kind,
    whose: Sequence[Clause],
    report: Report,
    turn: Turn,
    *,
    keep_account: bool,
) -> None:
    needed = ["tenant", "batch_id", "arrived_at", "reason", "count"]
    body: Body = {
        "size": PAGE,
        "query": {"bool": {"filter": list(whose)}},
        "_source": needed if keep_account and kind in (READINGS, QUARANTINE) else False,
    }
    pattern = f"{store.prefix}{kind.name}-*"
    while True:
        turn.go_on()
        hits = cluster.search(store.client, pattern, body, limit_s=SEARCH_LIMIT_S)["hits"]["hits"]
        if not hits:
            return
        lines = [_deletion(hit) for hit in hits]
        if body["_source"]:
            lines += _corrections(store, kind, hits)
        _carry_out(store, lines)
        report.documents[kind.name] += len(hits)
        store.refresh(kind)


def _carry_out(store: TelemetryStore, lines: Sequence[bytes]) -> None:
    """A slice that is being written anew takes nothing for a moment: then once more.

    A correction that stayed out while its documents went would leave the account open for good.
    """
    for attempt in range(TRIES):
        results = store.bulk(b"".join(lines))
        again = [result.is_worth_retrying and result.status != 404 for result in results]
        for result, is_due in zip(results, again, strict=True):
            if not (is_due or result.is_stored or result.status == 404):
                raise StoreRefused(status=result.status, reason=result.error_reason)
        lines = [line for line, is_due in zip(lines, again, strict=True) if is_due]
        if not lines:
            return
        time.sleep(2.0**attempt / 4)
    raise StoreUnavailable(status=results[0].status, reason="the store takes no writes")


def _deletion(hit: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"delete": {"_index": hit["_index"], "_id": hit["_id"]}}) + b"\n"


def _corrections(
    store: TelemetryStore, kind: Kind, hits: Sequence[Mapping[str, Any]]
) -> list[bytes]:
    """Ledger entries that take these documents out of the account, batch by batch."""
    gone: defaultdict[tuple[str, int, int], Counter[str]] = defaultdict(Counter)
    for hit in hits:
        source = hit["_source"]
        if "batch_id" not in source:
            continue
        key = source["tenant"], int(source["batch_id"]), int(source["arrived_at"])
        reason = "" if kind is READINGS else source["reason"]
        gone[key][reason] += 1 if kind is READINGS else int(source.get("count", 1))
    return [
        _correction(store, tenant, batch_id, arrived_ms, counts)
        for (tenant, batch_id, arrived_ms), counts in gone.items()
    ]


def _correction(
    store: TelemetryStore, tenant: str, batch_id: int, arrived_ms: int, counts: Mapping[str, int]
) -> bytes:
    document_id = f"{tenant}:{batch_id}:erased-{uuid4().hex}"
    action = {"_index": store.account_index(arrived_ms), "_id": document_id}
    source = {
        "tenant": tenant,
        "batch_id": batch_id,
        "arrived_at": arrived_ms,
        "received": -sum(counts.values()),
        "stored": -counts.get("", 0),
        "duplicate": 0,
        "quarantined": {reason: -number for reason, number in counts.items() if reason},
        "reconciled": "false",
    }
    return orjson.dumps({"create": action}) + b"\n" + orjson.dumps(source) + b"\n"


def _merge_away(store: TelemetryStore, *, anything_new: bool) -> None:
    """Deleted documents stay in their segments until those are merged. Left to itself the store
    keeps them where they are a tenth of a segment or less, and for a copy of the index that might
    have missed them: until a lease has gone on behind them, which it looks at twice a minute."""
    patterns = [f"{store.prefix}{kind.name}-*" for kind in KINDS]
    with cluster.our_errors(MERGE_LIMIT_S):
        indices = store.client.options(request_timeout=MERGE_LIMIT_S).indices

        def leave(percent: int | None) -> None:
            settings = {_LEFT_PERCENT: percent}
            indices.put_settings(index=patterns, settings=settings, allow_no_indices=True)

        if anything_new:
            _let_leases_go_on(store, patterns)
        leave(0)
        try:
            indices.flush(index=patterns, force=True)
            indices.forcemerge(index=patterns, only_expunge_deletes=True)
        finally:
            leave(None)


def _let_leases_go_on(store: TelemetryStore, patterns: Sequence[str]) -> None:
    """Behind all that is written by now; for LEASES_S at most, as a copy that is away holds its
    own."""
    until = time.monotonic() + LEASES_S
    written = {key: newest for key, (newest, _) in _positions(store, patterns).items()}
    while time.monotonic() < until:
        kept_from = {key: oldest for key, (_, oldest) in _positions(store, patterns).items()}
        if all(kept_from.get(key, newest + 1) > newest for key, newest in written.items()):
            return
        time.sleep(0.5)


def _positions(store: TelemetryStore, patterns: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Of each shard, the newest sequence number, and from which on leases keep what is deleted."""
    found = store.client.indices.stats(index=patterns, level="shards", metric="docs").body
    return {
        f"{index}/{number}": (
            int(copy["seq_no"]["max_seq_no"]),
            min((each["retaining_seq_no"] for each in copy["retention_leases"]["leases"]),
                default=int(copy["seq_no"]["max_seq_no"]) + 1),
        )
        for index, held in found.get("indices", {}).items()
        for number, copies in held["shards"].items()
        for copy in copies
        if copy["routing"]["primary"]
    }  # fmt: skip
