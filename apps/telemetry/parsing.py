"""Elasticsearch's answers and documents as plain values, and plain values as documents."""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from apps.telemetry.answers import (
    HEALTH_RANKS,
    Aged,
    AlarmCount,
    Event,
    Group,
    GroupRow,
    LedgerEntry,
    Outlook,
    QuarantinedMessage,
    QuarantinePage,
    Reading,
    State,
)
from apps.telemetry.documents import DIMENSIONS, SEARCH_FIELDS
from apps.telemetry.errors import WrongQuestion
from apps.telemetry.questions import FACET_SIZE, Body
from apps.telemetry.slices import to_ms
from ohmwatch.readings import quantity_of

Source = Mapping[str, Any]
NAMES = (*SEARCH_FIELDS, "model_name")
COUNT: Body = {"count": {"sum": {"field": "count"}}}
_HELD_PAGE = 2_000


def plain(value: object) -> object:
    """Moments as ms since 1970 UTC, ids as text, the rest as it is."""
    if isinstance(value, datetime):
        return to_ms(value)
    if isinstance(value, UUID):
        return str(value)
    return value


# --- readings ---------------------------------------------------------------------------------


def reading(hit: Source) -> Reading:
    """A reading from its document."""
    source = hit["_source"]
    return Reading(
        connector=source["connector"],
        measured_ms=int(source["@timestamp"]),
        arrived_ms=int(source.get("arrived_at", 0)),
        values={
            name: float(value)
            for name, value in source.items()
            if value is not None and quantity_of(name) is not None
        },
        dimensions=_texts(source, DIMENSIONS),
    )


# --- state and events -------------------------------------------------------------------------


def state(source: Source) -> State:
    """A connector's state from its document."""
    measured = source.get("measured_at")
    health = source.get("health") or "ok"
    return State(
        connector=source["connector"],
        last={name: float(value) for name, value in (source.get("last") or {}).items()},
        measured_ms=_ms(measured),
        arrived_ms=_ms(source.get("arrived_at")),
        judged_ms=_ms(source.get("judged_at")),
        health="unknown" if measured is None and not HEALTH_RANKS.get(health) else health,
        margin_k=source.get("margin_k"),
        open_alarms=source.get("open_alarms") or 0,
        worst_condition=source.get("worst_condition") or "",
        dimensions=_texts(source, DIMENSIONS),
        names=_texts(source, NAMES),
        outlook=Outlook(
            **{name: source.get(name) for name in _ESTIMATED},
            left_unknown=source.get("left_unknown") or "",
            learnt_ms=_ms(source.get("learnt_at")),
            base_ms=_ms(source.get("base_since")),
        ),
    )


_ESTIMATED = (
    *("margin_from_k", "margin_to_k", "headroom_k", "left_s", "left_from_s", "left_to_s"),
    *("mating_step_pos", "mating_step_neg"),
)


def aged(source: Source) -> Aged:
    """How a connector has aged, from its state."""
    return Aged(
        connector=source["connector"],
        model=source.get("model") or "",
        batch=source.get("batch") or "",
        change=float(source["change"]),
        change_sd=float(source.get("change_sd") or 0.0),
        base_ms=int(source.get("base_since") or 0),
        measured_ms=int(source.get("measured_at") or 0),
        arrived_ms=int(source.get("arrived_at") or 0),
        learnt_ms=_ms(source.get("learnt_at")) or 0,
    )


def event(source: Source) -> Event:
    """An alarm event from its document."""
    return Event(
        event=source["event"],
        number=source["number"],
        alarm=source.get("alarm", ""),
        connector=source.get("connector", ""),
        kind=source.get("kind", ""),
        condition=source.get("condition", ""),
        severity=source.get("severity", ""),
        reason=source.get("reason", ""),
        measured_ms=_ms(source.get("measured_at")),
        arrived_ms=_ms(source.get("arrived_at")),
        judged_ms=_ms(source.get("judged_at")) or 0,
        dimensions=_texts(source, DIMENSIONS),
        names=_texts(source, NAMES),
        evidence=source.get("evidence") or {},
    )


def alarm_counts(answer: Source) -> tuple[list[AlarmCount], Source | None]:
    """A page of alarms by value and month, in that order, and what the next one comes behind."""
    found = answer.get("aggregations", {}).get("by", {})
    counts = [
        AlarmCount(
            value=str(each["key"]["value"]),
            month_ms=int(each["key"]["month"]),
            alarms=each["alarms"]["value"],
            connectors=each["connectors"]["value"],
        )
        for each in found.get("buckets", ())
    ]
    return counts, found.get("after_key")


def groups_now(answer: Source, percents: Sequence[float]) -> tuple[list[GroupRow], bool]:
    """Groups of connectors that have the quantity, in the answer's order; are there more?"""
    by = answer["aggregations"]["by"]
    found = by["buckets"]
    named = found.items() if isinstance(found, Mapping) else ((each["key"], each) for each in found)
    rows = [
        GroupRow(
            group=Group((str(name),)),
            count=each["stats"]["count"],
            minimum=each["stats"]["min"],
            maximum=each["stats"]["max"],
            mean=each["stats"]["avg"],
            percentiles={one: each["percentiles"]["values"][str(float(one))] for one in percents},
        )
        for name, each in named
        if each["stats"]["count"]
    ]
    return rows, bool(by.get("sum_other_doc_count"))


def facets(answer: Source) -> dict[str, dict[str, int]]:
    """Counts by value, for each facet, the most frequent first; values without any left out."""
    return {
        name: _facet(found["buckets"]) for name, found in answer.get("aggregations", {}).items()
    }


def cut_facets(answer: Source) -> frozenset[str]:
    """The facets that have more values than were counted."""
    found = answer.get("aggregations", {}).items()
    return frozenset(name for name, each in found if each.get("sum_other_doc_count"))


def _facet(found: Any) -> dict[str, int]:
    if isinstance(found, Mapping):
        return {value: each["doc_count"] for value, each in found.items() if each["doc_count"]}
    return {str(each["key"]): each["doc_count"] for each in found}


def _texts(source: Source, names: Sequence[str]) -> dict[str, str]:
    return {name: source.get(name) or "" for name in names}


def _ms(value: Any) -> int | None:
    return None if value is None else int(value)


# --- quarantine -------------------------------------------------------------------------------


def quarantine_lines(
    index: str,
    *,
    tenant: str,
    batch_id: int,
    number: int,
    arrived_ms: int,
    reason: str,
    field: str = "",
    detail: str = "",
    identity: str = "",
    device: str = "",
    connector: str = "",
    topic: str = "",
    row: int | None = None,
    count: int = 1,
    codec: str = "",
    content_type: str = "",
    payload: bytes = b"",
) -> bytes:
    """The two `_bulk` lines for a refused message or row, the `number`th of its batch.

    `count` is how many received readings it stands for: 1 for a whole message or a row. The id is
    made of batch and number, so that a batch that is sent twice is kept once.
    """
    key = f"{tenant}:{batch_id}-{number}"
    source = {
        "tenant": tenant,
        "identity": identity,
        "device": device,
        "connector": connector,
        "topic": topic,
        "reason": reason,
        "field": field,
        "detail": detail[:500],
        "number": number,
        "row": row,
        "count": count,
        "codec": codec,
        "content_type": content_type,
        "payload": b64encode(payload).decode(),
        "payload_bytes": len(payload),
        "arrived_at": arrived_ms,
        "batch_id": batch_id,
    }
    action = {"create": {"_index": index, "_id": key}}
    return orjson.dumps(action) + b"\n" + orjson.dumps(source) + b"\n"


def quarantine_page(size: int, after: str) -> Body:
    """A page of refused messages without their bytes, newest first, and counts by reason."""
    body: Body = {
        "size": size,
        # Together these are a document's own: no page ends between two that are equal.
        "sort": [
            {"arrived_at": "desc"},
            {"batch_id": "desc"},
            {"number": "asc"},
            {"reason": "asc"},
        ],
        "track_total_hits": True,
        "_source": {"excludes": ["payload"]},
        "aggs": {"reasons": {"terms": {"field": "reason", "size": FACET_SIZE}, "aggs": COUNT}},
    }
    if after:
        body["search_after"] = _position(after)
    return body


def _position(after: str) -> list[int | str]:
    try:
        arrived_ms, batch_id, number, reason = after.split(".")
        return [int(arrived_ms), int(batch_id), int(number), reason]
    except ValueError:
        raise WrongQuestion(field="after", value=after[:64]) from None


def quarantined_page(answer: Source, hits: Sequence[Source], size: int) -> QuarantinePage:
    """The page, with where the next begins."""
    after = _after(hits[-1]) if len(hits) == size else ""
    reasons = answer.get("aggregations", {}).get("reasons", {}).get("buckets", ())
    return QuarantinePage(
        messages=[quarantined(hit) for hit in hits],
        total=answer["hits"]["total"]["value"],
        after=after,
        reasons={each["key"]: int(each["count"]["value"]) for each in reasons},
    )


def _after(hit: Source) -> str:
    return ".".join(str(part) for part in hit.get("sort", ()))


def quarantined(hit: Source) -> QuarantinedMessage:
    """A refused message; its bytes where the document brought them."""
    source = hit["_source"]
    return QuarantinedMessage(
        id=hit["_id"],
        reason=source["reason"],
        field=source.get("field", ""),
        detail=source.get("detail", ""),
        identity=source.get("identity", ""),
        device=source.get("device", ""),
        topic=source.get("topic", ""),
        row=source.get("row"),
        count=source.get("count", 1),
        payload_bytes=source.get("payload_bytes", 0),
        arrived_ms=int(source["arrived_at"]),
        payload=b64decode(source.get("payload", "")),
        content_type=source.get("content_type", ""),
        codec=source.get("codec", ""),
        rows=tuple(source.get("rows", ())),
        messages=source.get("messages", 1),
        dropped_bytes=source.get("dropped_bytes", 0),
        replay_state=source.get("replay_state", ""),
        replayed=source.get("replayed", 0),
        replayed_ms=_ms(source.get("replayed_at")),
        replay_detail=source.get("replay_detail", ""),
        position=_after(hit),
    )


# --- the ledger -------------------------------------------------------------------------------


def ledger_source(entry: LedgerEntry) -> dict[str, Any]:
    """The ledger's document."""
    return {
        "tenant": entry.tenant,
        "batch_id": entry.batch_id,
        "arrived_at": entry.arrived_ms,
        "received": entry.received,
        "stored": entry.stored,
        "duplicate": entry.duplicate,
        "quarantined": {str(reason): number for reason, number in entry.quarantined.items()},
        "reconciled": "true" if entry.reconciled else "false",
    }


def by_batch(fields: Sequence[str], inner: Source, after: Source | None) -> Body:
    """A page of buckets by batch and fields, with each bucket's time of arrival."""
    sources = [{name: {"terms": {"field": name}}} for name in ("batch_id", *fields)]
    composite: Body = {"size": _HELD_PAGE, "sources": sources}
    if after:
        composite["after"] = after
    arrived = {"arrived": {"min": {"field": "arrived_at"}}}
    return {
        "size": 0,
        "track_total_hits": False,
        "aggs": {"batches": {"composite": composite, "aggs": {**arrived, **inner}}},
    }


def held_entries(readings: Sequence[Source], refused: Sequence[Source]) -> list[LedgerEntry]:
    """A reconciled entry for each (batch, tenant) of which the store holds anything."""
    stored: dict[tuple[int, str], int] = {}
    quarantined: dict[tuple[int, str], dict[str, int]] = {}
    arrived: dict[tuple[int, str], int] = {}
    for found in (*readings, *refused):
        arrived.setdefault(_batch(found), int(found["arrived"]["value"] or 0))
    for found in readings:
        stored[_batch(found)] = found["doc_count"]
    for found in refused:
        reasons = quarantined.setdefault(_batch(found), {})
        reasons[found["key"]["reason"]] = int(found["count"]["value"])
    return [
        LedgerEntry(
            tenant=tenant,
            batch_id=batch_id,
            arrived_ms=arrived_ms,
            stored=stored.get((batch_id, tenant), 0),
            duplicate=0,
            quarantined=quarantined.get((batch_id, tenant), {}),
            reconciled=True,
        )
        for (batch_id, tenant), arrived_ms in sorted(arrived.items())
    ]


def _batch(found: Source) -> tuple[int, str]:
    return int(found["key"]["batch_id"]), found["key"]["tenant"]
