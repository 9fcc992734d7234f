"""The connection to Elasticsearch: one client a process, errors as ours, whole answers or none."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
import orjson
from elasticsearch import ApiError, ConnectionTimeout, Elasticsearch, TransportError
from elasticsearch.serializer import OrjsonSerializer

from apps.telemetry.answers import STORED, ItemResult
from apps.telemetry.errors import (
    AskedTooMuch,
    StoreRefused,
    StoreSlow,
    StoreUnavailable,
    TelemetryError,
)
from apps.telemetry.pages import Page, Source

Taken = TypeVar("Taken")

CONNECTIONS = 16
ANSWER_LIMIT_S = 5.0
"""A question that takes longer is ended in Elasticsearch, too."""
BULK_LIMIT_S = 60.0
_MOMENT = "2m"
_LINES = {
    "content-type": "application/vnd.elasticsearch+x-ndjson; compatible-with=8",
    "accept": "application/vnd.elasticsearch+json; compatible-with=8",
}
_BULK_PATH = "/_bulk?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason"
_BUSY = (429, 502, 503, 504)
_MANY = "groups and stretches"
_FEWER = "fewer connectors by a filter, longer stretches, or a shorter time"
_PAGE = b'{"pit_id":'
_ALL_WELL, _STATUS, _STATUS_STORED = b'{"errors":false,"items":[', b'"status":', b'"status":201'


class Answers(OrjsonSerializer):
    """JSON, but for two large answers: a bulk request's that only says "stored" is counted, and a
    page of `everything` is left to who asked for it."""

    def json_loads(self, data: bytes) -> Any:
        if data.startswith(_ALL_WELL):
            items = data.count(_STATUS)
            if items == data.count(_STATUS_STORED):
                return {"stored": items}
        if data.startswith(_PAGE):
            return {"page": data}
        return super().json_loads(data)


@lru_cache(maxsize=4)
def client_of(url: str) -> Elasticsearch:
    """The process's client for that address. Safe among threads; made after any fork."""
    return Elasticsearch(
        url,
        connections_per_node=CONNECTIONS,
        request_timeout=ANSWER_LIMIT_S * 2,
        # A repeat of our own is ours to decide: a bulk sent twice by the client would answer
        # "duplicate" for what its first sending stored.
        max_retries=0,
        retry_on_timeout=False,
        serializers={"application/json": Answers()},
    )


@lru_cache(maxsize=16)
def _patient(client: Elasticsearch, limit_s: float) -> Elasticsearch:
    """The client with that patience: to make one anew takes as long as to send a question."""
    return client.options(request_timeout=limit_s)


@contextmanager
def our_errors(limit_s: float = ANSWER_LIMIT_S) -> Iterator[None]:
    """Elasticsearch's exceptions as those of errors.py."""
    try:
        yield
    except ConnectionTimeout as error:
        raise StoreSlow(limit_s=limit_s) from error
    except ApiError as error:
        raise _refusal(error.status_code, error.body, limit_s) from error
    except TransportError as error:
        raise StoreUnavailable(reason=type(error).__name__) from error


def _refusal(status: int, body: Any, limit_s: float) -> TelemetryError:
    """What the store's answer of an error says.

    Of a question that it ended itself, and of one whose answer would have too many groups, it says
    so with the status of one that is away.
    """
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        error = {"type": "error", "reason": body}
    causes = {cause.get("type"): cause for cause in _causes(error)}
    if "search_timeout_exception" in causes:
        return StoreSlow(limit_s=limit_s)
    if (many := causes.get("too_many_buckets_exception")) is not None:
        limit = int(many.get("max_buckets", 0))
        return AskedTooMuch(what=_MANY, asked=limit + 1, limit=limit, ask=_FEWER)
    if status in _BUSY:
        return StoreUnavailable(status=status)
    return StoreRefused(status=status, reason=f"{error.get('type')}: {error.get('reason')}"[:500])


def _causes(error: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from error.get("root_cause", ())
    cause: Mapping[str, Any] | None = error
    while cause:
        yield cause
        cause = cause.get("caused_by")


def search(
    client: Elasticsearch,
    index: str,
    body: Mapping[str, Any],
    *,
    limit_s: float | None = None,
    shard: int | None = None,
) -> dict[str, Any]:
    """One search, of one shard where told so; `limit_s` None is ANSWER_LIMIT_S.

    Raises StoreSlow rather than returning a part of the answer.
    """
    preference = None if shard is None else f"_shards:{shard}"
    where = {"index": index, "ignore_unavailable": True, "preference": preference}
    return _asked(client, body, limit_s or ANSWER_LIMIT_S, where)


def _asked(
    client: Elasticsearch, body: Mapping[str, Any], limit_s: float, where: Mapping[str, Any]
) -> dict[str, Any]:
    with our_errors(limit_s):
        answer = (
            _patient(client, limit_s * 2)
            .search(
                body={**body, "timeout": f"{int(limit_s * 1000)}ms"},
                allow_partial_search_results=False,
                **where,
            )
            .body
        )
    return _whole(answer, limit_s)


def everything(
    client: Elasticsearch,
    index: str,
    body: Mapping[str, Any],
    decode: Callable[[bytes], Page[Source]],
    take: Callable[[list[Source]], Taken],
    *,
    size: int,
    limit_s: float = ANSWER_LIMIT_S * 6,
) -> list[Taken]:
    """All documents of a search, of one moment, page by page through `take`, in no order.

    `decode` makes of the store's answer what is wanted of its documents (`pages`). Raises as
    `search`.
    """
    with our_errors(limit_s):
        opened = client.open_point_in_time(
            index=index,
            keep_alive=_MOMENT,
            ignore_unavailable=True,
            allow_partial_search_results=False,
        ).body["id"]
    own = {**body, "pit": {"id": opened, "keep_alive": _MOMENT}, "size": size}
    try:
        return [take(page) for page in _pages(client, own, decode, size, limit_s)]
    finally:
        with our_errors(limit_s):
            client.close_point_in_time(id=opened)


def _pages(
    client: Elasticsearch,
    body: Mapping[str, Any],
    decode: Callable[[bytes], Page[Source]],
    size: int,
    limit_s: float,
) -> Iterator[list[Source]]:
    after: list[Any] | None = None
    while True:
        more = {} if after is None else {"search_after": after}
        # The body says where: an index beside a point in time is refused.
        page = decode(_asked(client, {**body, **more}, limit_s, {})["page"])
        if page.timed_out:
            raise StoreSlow(limit_s=limit_s)
        hits = page.hits.hits
        if hits:
            yield [hit.source for hit in hits]
        if len(hits) < size:
            return
        after = msgspec.json.decode(hits[-1].sort)


def searches(
    client: Elasticsearch, asked: Sequence[tuple[str, Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Several searches (index, body) in one request; raises if any of them fails."""
    if not asked:
        return []
    limit_s = ANSWER_LIMIT_S
    lines: list[bytes] = []
    for index, body in asked:
        head = {"index": index, "ignore_unavailable": True, "allow_partial_search_results": False}
        limited = {**body, "timeout": f"{int(limit_s * 1000)}ms"}
        lines += [orjson.dumps(head), orjson.dumps(limited)]
    with our_errors(limit_s):
        # Ready bytes, as of a bulk request: the client's own way takes as long as a small answer.
        answers = (
            _patient(client, limit_s * 2)
            .perform_request("POST", "/_msearch", headers=_LINES, body=b"\n".join([*lines, b""]))
            .body["responses"]
        )
    for answer in answers:
        if "error" in answer:
            raise _refusal(answer["status"], answer, limit_s)
    return [_whole(answer, limit_s) for answer in answers]


def _whole(answer: Mapping[str, Any], limit_s: float) -> dict[str, Any]:
    if answer.get("timed_out"):
        raise StoreSlow(limit_s=limit_s)
    return dict(answer)


_KNOWN = {200: ItemResult(200), 201: STORED}
_DUPLICATE = ItemResult(409, "version_conflict_engine_exception", "")


def bulk(client: Elasticsearch, lines: bytes, limit_s: float) -> list[ItemResult]:
    """Send ready `_bulk` bytes; a result for each action, in order.

    Raises StoreUnavailable where nothing was tried, and StoreSlow or StoreUnavailable where it is
    not known what was: the caller asks what the store holds (`held_batches`) before it counts.
    """
    with our_errors(limit_s):
        answer = client.options(request_timeout=limit_s).perform_request(
            "POST",
            _BULK_PATH,
            headers=_LINES,
            body=lines,
        )
    stored = answer.body.get("stored")
    if stored is not None:
        return [STORED] * stored
    return [_result(item) for item in answer.body.get("items", ())]


def _result(item: Mapping[str, Any]) -> ItemResult:
    (outcome,) = item.values()
    status: int = outcome["status"]
    if status in _KNOWN:
        return _KNOWN[status]
    if status == 409:
        return _DUPLICATE
    error = outcome.get("error") or {}
    return ItemResult(status, error.get("type", ""), (error.get("reason") or "")[:500])


_CHANGE_PATH = (
    "/_bulk?filter_path=items.*.status,items.*.error.type,items.*.error.reason"
    ",items.*._seq_no,items.*._primary_term"
)


def change(client: Elasticsearch, lines: bytes) -> list[tuple[ItemResult, tuple[int, int] | None]]:
    """Send `_bulk` bytes that change documents; each result with the document's new place.

    The place (`if_seq_no`, `if_primary_term`) is None where nothing was written. Raises as `bulk`.
    """
    with our_errors():
        answer = client.perform_request("POST", _CHANGE_PATH, headers=_LINES, body=lines)
    return [(_result(item), _place(item)) for item in answer.body.get("items", ())]


def must_be_answered(result: ItemResult) -> None:
    """A change was made, or somebody else was first. Raises StoreUnavailable where the store is
    busy, StoreRefused where it refuses for good."""
    if result.is_worth_retrying:
        raise StoreUnavailable(status=result.status, reason=result.error_reason)
    if not result.is_stored and not result.is_duplicate:
        raise StoreRefused(status=result.status, reason=result.error_reason)


def _place(item: Mapping[str, Any]) -> tuple[int, int] | None:
    (outcome,) = item.values()
    return (outcome["_seq_no"], outcome["_primary_term"]) if "_seq_no" in outcome else None


def checkpoints(
    shards: Mapping[str, Sequence[Mapping[str, Any]]], which: str = "global_checkpoint"
) -> tuple[int, ...]:
    """Of each shard, in an index's statistics by shard, up to which sequence number every copy has
    every document; or another of its sequence numbers."""
    found = {
        int(number): int(copy["seq_no"][which])
        for number, copies in shards.items()
        for copy in copies
        if copy["routing"]["primary"]
    }
    return tuple(found[number] for number in sorted(found))


def block_writes(client: Elasticsearch, index: str) -> None:
    """Let the index take no more writes; returns when those under way have ended.

    Who writes meanwhile is refused with `cluster_block_exception`, and tries again.
    """
    with our_errors(BULK_LIMIT_S):
        client.options(request_timeout=BULK_LIMIT_S).indices.add_block(index=index, block="write")


def unblock_writes(client: Elasticsearch, index: str) -> None:
    """Let the index take writes again; one that is gone is fine."""
    with our_errors():
        client.options(ignore_status=404).indices.put_settings(
            index=index, settings={"index.blocks.write": None}
        )


def merge(client: Elasticsearch, index: str, limit_s: float) -> None:
    """Make one segment of each shard of an index; it goes on where it takes longer than limit_s."""
    with suppress(StoreSlow), our_errors(limit_s):
        client.options(request_timeout=limit_s).indices.forcemerge(index=index, max_num_segments=1)


def delete(client: Elasticsearch, indices: Sequence[str]) -> None:
    """Delete indices by their whole names; one that is gone already is fine."""
    for index in indices:
        if "*" in index or "," in index or not index:
            raise ValueError(f"not one index: {index!r}")
        with our_errors():
            client.options(ignore_status=404).indices.delete(index=index)
