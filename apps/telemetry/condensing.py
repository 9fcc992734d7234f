"""From documents to rollups: the questions that condense readings, and how rollups add up."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from apps.telemetry.bins import BINS
from apps.telemetry.documents import DIMENSIONS
from apps.telemetry.levels import DAY, Level
from apps.telemetry.questions import Body, Clause
from ohmwatch.readings import QUANTITIES

PAGE = 2_000
_TENANTS = 10_000
_PAIRS = 5_000  # documents that one search for newest readings brings


class Bucket(NamedTuple):
    """A connector's bucket that begins at start_ms."""

    tenant: str
    connector: str
    start_ms: int


def key_of(found: Mapping[str, Any]) -> Bucket:
    """Which bucket a composite aggregation's answer is about."""
    key = found["key"]
    return Bucket(key["tenant"], key["connector"], int(key["start"]))


def place_of(bucket: Bucket) -> Body:
    """The `after` of a composite aggregation that goes on behind this bucket."""
    return {"tenant": bucket.tenant, "connector": bucket.connector, "start": bucket.start_ms}


def newest_of(found: Mapping[str, Any]) -> int:
    """The instant of its newest reading."""
    return int(found["newest"]["value"])


# --- questions --------------------------------------------------------------------------------


def stretch(tenant: str, connectors: Sequence[str], start_ms: int, end_ms: int) -> Clause:
    """These connectors' documents of start_ms ≤ t < end_ms."""
    return {
        "bool": {
            "filter": [
                {"term": {"tenant": tenant}},
                {"terms": {"connector": list(connectors)}},
                {"range": {"@timestamp": {"gte": start_ms, "lt": end_ms}}},
            ]
        }
    }


def touched(level: Level, new: Clause, size: int, after: Body | None) -> Body:
    """A page of the connector-buckets that hold any of `new`."""
    return {**_by_bucket(level, size, after, {}), "query": new}


def condensed(level: Level, clause: Clause, names: Sequence[str], after: Body | None) -> Body:
    """A page of connector-buckets with what their readings come to."""
    inner: Body = {f"q:{name}": {"stats": {"field": name}} for name in names}
    if level.binned:
        for name in names:
            if name in BINS:
                width = {"field": name, "interval": BINS[name].step, "offset": BINS[name].low}
                inner[f"b:{name}"] = {"histogram": {**_positive(width), "min_doc_count": 1}}
    inner["newest"] = {"max": {"field": "@timestamp"}}
    return {**_by_bucket(level, PAGE, after, inner), "query": clause}


def _positive(width: Body) -> Body:
    # Only where the bins begin within a step matters, and the store wants 0 ≤ offset < interval.
    return {**width, "offset": width["offset"] % width["interval"]}


def _by_bucket(level: Level, size: int, after: Body | None, inner: Body) -> Body:
    width = "1d" if level is DAY else f"{level.width_ms}ms"
    start: Body = {"date_histogram": {"field": "@timestamp", "fixed_interval": width}}
    composite: Body = {
        "size": size,
        "sources": [
            {"tenant": {"terms": {"field": "tenant"}}},
            {"connector": {"terms": {"field": "connector"}}},
            {"start": start},
        ],
    }
    if after:
        composite["after"] = after
    return {
        "size": 0,
        "track_total_hits": False,
        "aggs": {"buckets": {"composite": composite, "aggs": inner}},
    }


def own_quantities(new: Clause, names: Sequence[str]) -> Body:
    """How many of `new` have each of these quantities, by tenant."""
    has = {name: {"filter": {"exists": {"field": name}}} for name in names}
    return {
        "size": 0,
        "track_total_hits": False,
        "query": new,
        "aggs": {"tenants": {"terms": {"field": "tenant", "size": _TENANTS}, "aggs": has}},
    }


def own_names(answer: Mapping[str, Any], names: Sequence[str]) -> dict[str, list[str]]:
    """Tenant → the quantities of its own."""
    return {
        bucket["key"]: [name for name in names if bucket[name]["doc_count"]]
        for bucket in answer["aggregations"]["tenants"]["buckets"]
    }


def pairs(wanted: Mapping[tuple[str, str], Sequence[int]]) -> Iterator[tuple[Clause, int]]:
    """Clauses that match exactly these (tenant, connector) at these instants, and how many each.

    Connectors that report in step are asked by instant, others by connector: few clauses each way.
    """
    by_times: defaultdict[tuple[str, tuple[int, ...]], list[str]] = defaultdict(list)
    for (tenant, connector), times_ms in wanted.items():
        by_times[tenant, tuple(sorted(times_ms))].append(connector)
    ways = [
        (_at(tenant, connectors[first : first + step], times_ms), step * len(times_ms))
        for (tenant, times_ms), connectors in by_times.items()
        for step in (max(1, _PAIRS // max(len(times_ms), 1)),)
        for first in range(0, len(connectors), step)
    ]
    remaining = iter(ways)
    while group := list(islice(remaining, 1)):
        size = group[0][1]
        for way in remaining:
            group.append(way)
            size += way[1]
            if size >= _PAIRS or len(group) >= 512:
                break
        should = [clause for clause, _ in group]
        yield {"bool": {"should": should, "minimum_should_match": 1}}, min(size, 10_000)


def _at(tenant: str, connectors: Sequence[str], times_ms: Sequence[int]) -> Clause:
    return {
        "bool": {
            "filter": [
                {"term": {"tenant": tenant}},
                {"terms": {"connector": list(connectors)}},
                {"terms": {"@timestamp": list(times_ms)}},
            ]
        }
    }


# --- answers ----------------------------------------------------------------------------------


def rollup(
    found: Mapping[str, Any], level: Level, names: Sequence[str], newest: Mapping[str, Any]
) -> Body:
    """A bucket's document, with the dimensions and last values of its newest reading."""
    bucket = key_of(found)
    document = _head(bucket, newest, count=found["doc_count"], newest_ms=newest_of(found))
    for name in names:
        stats = found[f"q:{name}"]
        if not stats["count"]:
            continue
        quantity = {"min": stats["min"], "max": stats["max"], "mean": stats["avg"]}
        quantity["count"] = stats["count"]
        if newest.get(name) is not None:
            quantity["last"] = newest[name]
        document[name] = {**quantity, **_binned(found, name)}
    return document


def _binned(found: Mapping[str, Any], name: str) -> dict[str, int]:
    counts: defaultdict[str, int] = defaultdict(int)
    for each in found.get(f"b:{name}", {}).get("buckets", ()):
        # A key may be a rounding error below its bin: its middle is not.
        middle = each["key"] + BINS[name].step / 2
        counts[f"b{BINS[name].number_of(middle)}"] += each["doc_count"]
    return dict(counts)


def merged(level: Level, documents: Sequence[Mapping[str, Any]]) -> list[Body]:
    """Rollups of a finer level, any number of connectors' and buckets', as rollups of `level`."""
    together: defaultdict[Bucket, list[Mapping[str, Any]]] = defaultdict(list)
    for each in documents:
        start_ms = level.start_of(int(each["@timestamp"]))
        together[Bucket(each["tenant"], each["connector"], start_ms)].append(each)
    return [_merged_one(bucket, those) for bucket, those in together.items()]


def _merged_one(bucket: Bucket, documents: Sequence[Mapping[str, Any]]) -> Body:
    newest = max(documents, key=lambda each: int(each["newest"]))
    count = sum(each["count"] for each in documents)
    document = _head(bucket, newest, count=count, newest_ms=int(newest["newest"]))
    for name in dict.fromkeys(name for each in documents for name in each if _is_quantity(name)):
        parts = [each[name] for each in documents if name in each]
        document[name] = _merged_quantity(parts, newest.get(name, {}))
    return document


def _merged_quantity(parts: Sequence[Mapping[str, Any]], newest: Mapping[str, Any]) -> Body:
    count = sum(part["count"] for part in parts)
    merged: Body = {
        "min": min(part["min"] for part in parts),
        "max": max(part["max"] for part in parts),
        "mean": sum(part["mean"] * part["count"] for part in parts) / count,
        "count": count,
    }
    if "last" in newest:
        merged["last"] = newest["last"]
    for part in parts:
        for name, number in part.items():
            if name.startswith("b"):
                merged[name] = merged.get(name, 0) + number
    return merged


def _head(bucket: Bucket, newest: Mapping[str, Any], *, count: int, newest_ms: int) -> Body:
    return {
        "@timestamp": bucket.start_ms,
        "tenant": bucket.tenant,
        "connector": bucket.connector,
        **{name: newest[name] for name in DIMENSIONS if newest.get(name)},
        "count": count,
        "newest": newest_ms,
    }


def _is_quantity(name: str) -> bool:
    return name in QUANTITIES or name.startswith("x_")
