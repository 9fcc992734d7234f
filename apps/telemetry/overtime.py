"""Quantities over time: the question to each level, and their answers put together on one grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.telemetry import questions
from apps.telemetry.answers import Bucket, Envelope, Series
from apps.telemetry.documents import READINGS, ROLLUP, Kind
from apps.telemetry.levels import RAW, Level
from apps.telemetry.questions import Body, Clause
from apps.telemetry.spans import Span
from ohmwatch.readings import QUANTITIES


@dataclass(frozen=True)
class Grid:
    """Buckets of width_ms, one of which begins at start_ms."""

    start_ms: int
    width_ms: int


@dataclass
class Spread:
    """A quantity within a bucket, so far."""

    minimum: float
    maximum: float
    total: float
    count: int

    def add(self, other: "Spread") -> None:
        """Put together with another stretch of the same bucket."""
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        self.total += other.total
        self.count += other.count


@dataclass
class Filled:
    """A bucket, so far. `level` is the one that its newest reading was told by."""

    count: int = 0
    newest_ms: int = -1
    level: str = RAW.name
    values: dict[str, Spread] = field(default_factory=dict)


def body(level: Level, names: Sequence[str], grid: Grid) -> Body:
    """A level's documents by connector and bucket; empty buckets are not answered."""
    time: Body = {
        "date_histogram": {
            "field": "@timestamp",
            "fixed_interval": f"{grid.width_ms}ms",
            "offset": f"{grid.start_ms % grid.width_ms}ms",
            "min_doc_count": 1,
        },
        "aggs": _of_readings(names) if level is RAW else _of_rollups(names),
    }
    connectors = {"field": "connector", "size": questions.AXIS_LIMIT}
    return {
        "size": 0,
        "track_total_hits": False,
        "aggs": {"connectors": {"terms": connectors, "aggs": {"time": time}}},
    }


def _of_readings(names: Sequence[str]) -> Body:
    stats = {f"{number}s": {"stats": {"field": name}} for number, name in enumerate(names)}
    return {**stats, "newest": {"max": {"field": "@timestamp"}}}


def _of_rollups(names: Sequence[str]) -> Body:
    aggregations: Body = {
        "newest": {"max": {"field": "newest"}},
        "readings": {"sum": {"field": "count"}},
    }
    for number, name in enumerate(names):
        aggregations |= envelope(str(number), name)
    return aggregations


def envelope(key: str, name: str) -> Body:
    """Minimum, maximum, mean and count of a quantity over rollups."""
    mean = {"value": {"field": f"{name}.mean"}, "weight": {"field": f"{name}.count"}}
    return {
        f"{key}l": {"min": {"field": f"{name}.min"}},
        f"{key}h": {"max": {"field": f"{name}.max"}},
        f"{key}a": {"weighted_avg": mean},
        f"{key}n": {"sum": {"field": f"{name}.count"}},
    }


def spread(found: Mapping[str, Any], key: str, level: Level) -> Spread | None:
    """A quantity's part of an answer; None where no reading has it."""
    if level is RAW:
        stats = found[f"{key}s"]
        if not stats["count"]:
            return None
        return Spread(stats["min"], stats["max"], stats["sum"], stats["count"])
    count = int(found[f"{key}n"]["value"])
    if not count:
        return None
    low, high, mean = (found[f"{key}{part}"]["value"] for part in "lha")
    return Spread(low, high, mean * count, count)


class Gathered:
    """The answers of all levels to one question."""

    def __init__(self) -> None:
        self._filled: dict[tuple[str, int], Filled] = {}

    def take(self, answer: Mapping[str, Any], level: Level, names: Sequence[str]) -> None:
        """Add what a level answers."""
        for connector in answer.get("aggregations", {}).get("connectors", {}).get("buckets", ()):
            for found in connector["time"]["buckets"]:
                key = connector["key"], int(found["key"])
                _fill(self._filled.setdefault(key, Filled()), found, level, names)

    def series(self, connector: str, names: Sequence[str], grid: Grid, span: Span) -> Series:
        """A connector's buckets, in order of time."""
        own = sorted(
            (start_ms, filled) for (of, start_ms), filled in self._filled.items() if of == connector
        )
        return Series(
            connector=connector,
            start_ms=span[0],
            end_ms=span[1],
            interval_ms=grid.width_ms,
            buckets=[_bucket(start_ms, filled, names) for start_ms, filled in own],
        )


def _fill(filled: Filled, found: Mapping[str, Any], level: Level, names: Sequence[str]) -> None:
    filled.count += found["doc_count"] if level is RAW else int(found["readings"]["value"])
    newest_ms = int(found["newest"]["value"])
    if newest_ms > filled.newest_ms:
        filled.newest_ms, filled.level = newest_ms, level.name
    for number, name in enumerate(names):
        part = spread(found, str(number), level)
        if part is None:
            continue
        if name in filled.values:
            filled.values[name].add(part)
        else:
            filled.values[name] = part


def _bucket(start_ms: int, filled: Filled, names: Sequence[str]) -> Bucket:
    values = {
        name: Envelope(
            minimum=tidy(name, part.minimum),
            maximum=tidy(name, part.maximum),
            mean=tidy(name, part.total / part.count),
            last=None,
            count=part.count,
        )
        for name in names
        if (part := filled.values.get(name))
    }
    return Bucket(start_ms, filled.count, values, filled.newest_ms, filled.level)


def tidy(name: str, value: float) -> float:
    """A quantity as it was sent: the store keeps seven digits of it, in a binary fraction."""
    return float(f"{value:.7g}") if name in QUANTITIES else value


# --- last values ------------------------------------------------------------------------------


def lasts(
    connector: str, level: str, times_ms: Sequence[int], names: Sequence[str]
) -> tuple[Kind, list[Clause], Body]:
    """The documents that hold a connector's readings of exactly these instants."""
    raw = level == RAW.name
    moment = "@timestamp" if raw else "newest"
    fields = names if raw else [f"{name}.last" for name in names]
    question: Body = {
        "size": len(times_ms),
        "track_total_hits": False,
        "_source": ["tenant", "connector", moment, *fields],
    }
    clauses: list[Clause] = [
        {"term": {"connector": connector}},
        {"terms": {moment: list(times_ms)}},
    ]
    return READINGS if raw else ROLLUP[level], clauses, question


def fill(series: Series, level: str, answer: Mapping[str, Any]) -> None:
    """Put the last values of a level's answer into its buckets."""
    moment = "@timestamp" if level == RAW.name else "newest"
    found = {int(hit["_source"][moment]): hit["_source"] for hit in answer["hits"]["hits"]}
    for bucket in series.buckets:
        source = found.get(bucket.newest_ms, {}) if bucket.level == level else {}
        for name, envelope_ in bucket.values.items():
            value = source.get(name)
            value = value.get("last") if isinstance(value, Mapping) else value
            if value is not None:
                bucket.values[name] = envelope_.with_last(tidy(name, float(value)))
