"""Quantities over time: the question to each level, and their answers put together on one grid."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    """The answers of all levels to one question, by connector."""

    def __init__(self) -> None:
        self._tables: defaultdict[str, list[Table]] = defaultdict(list)

    def take(self, answer: Mapping[str, Any], level: Level, names: Sequence[str]) -> None:
        """Add what a level answers."""
        for connector in answer.get("aggregations", {}).get("connectors", {}).get("buckets", ()):
            found = connector["time"]["buckets"]
            if found:
                self._tables[connector["key"]].append(_table(found, level, names))

    def series(self, connector: str, names: Sequence[str], grid: Grid, span: Span) -> Series:
        """A connector's buckets, in order of time."""
        tables = self._tables.get(connector)
        return Series(
            connector=connector,
            start_ms=span[0],
            end_ms=span[1],
            interval_ms=grid.width_ms,
            buckets=_buckets(_together(tables), names) if tables else [],
        )


@dataclass(frozen=True)
class Table:
    """Buckets as columns, in order of time: hundreds of buckets of a dozen quantities as objects
    would take longer to fill than the store takes to answer.

    Of each bucket: start_ms, count, newest_ms, and the level its newest reading was told by; of
    each quantity in it, [quantity, bucket], lows, highs and totals, NaN where it has none, and how
    many readings have it.
    """

    start_ms: NDArray[np.int64]
    count: NDArray[np.int64]
    newest_ms: NDArray[np.int64]
    level: NDArray[np.object_]
    lows: NDArray[np.float64]
    highs: NDArray[np.float64]
    totals: NDArray[np.float64]
    counts: NDArray[np.int64]


def _table(found: Sequence[Mapping[str, Any]], level: Level, names: Sequence[str]) -> Table:
    raw = level is RAW
    readings = [each["doc_count"] if raw else each["readings"]["value"] for each in found]
    of_each = [_of_raw(found, n) if raw else _of_rolled(found, n) for n in range(len(names))]
    lows, highs, totals, counts = (np.array(part) for part in zip(*of_each, strict=True))
    return Table(
        start_ms=np.array([each["key"] for each in found], dtype=np.int64),
        count=np.array(readings, dtype=np.int64),
        newest_ms=np.array([each["newest"]["value"] for each in found], dtype=np.int64),
        level=np.full(len(found), level.name, dtype=np.object_),
        lows=lows,
        highs=highs,
        totals=totals,
        counts=counts.astype(np.int64),
    )


Numbers = NDArray[np.float64]


def _of_raw(found: Sequence[Mapping[str, Any]], number: int) -> tuple[Numbers, ...]:
    key = f"{number}s"
    stats = [each[key] for each in found]
    return tuple(_numbers(each[part] for each in stats) for part in ("min", "max", "sum", "count"))


def _of_rolled(found: Sequence[Mapping[str, Any]], number: int) -> tuple[Numbers, ...]:
    low, high, mean, count = (
        _numbers(each[key]["value"] for each in found)
        for key in (f"{number}l", f"{number}h", f"{number}a", f"{number}n")
    )
    return low, high, mean * count, count


def _numbers(values: Iterable[float | None]) -> Numbers:
    """None as NaN."""
    return np.array(list(values), dtype=np.float64)


def _together(tables: Sequence[Table]) -> Table:
    """Of several levels, where a bucket may be told in parts."""
    if len(tables) == 1:
        return tables[0]
    count, newest_ms = (
        np.concatenate([getattr(each, name) for each in tables]) for name in ("count", "newest_ms")
    )
    start_ms, which = np.unique(
        np.concatenate([each.start_ms for each in tables]), return_inverse=True
    )
    lows, highs, totals, counts = (
        np.concatenate([getattr(each, name) for each in tables], axis=1)
        for name in ("lows", "highs", "totals", "counts")
    )
    levels = np.concatenate([each.level for each in tables])
    by_age = np.argsort(newest_ms, kind="stable")
    level = np.empty(len(start_ms), dtype=np.object_)
    level[which[by_age]] = levels[by_age]  # of each bucket the newest comes last, and stays
    return Table(
        start_ms=start_ms,
        count=_added(count, which),
        newest_ms=_gathered(np.maximum, newest_ms, which, np.int64(-1)),
        level=level,
        lows=np.array([_gathered(np.fmin, row, which, np.nan) for row in lows]),
        highs=np.array([_gathered(np.fmax, row, which, np.nan) for row in highs]),
        totals=np.array([_added(np.nan_to_num(row), which) for row in totals]),
        counts=np.array([_added(row, which) for row in counts]),
    )


def _gathered(how: np.ufunc, values: Any, which: Any, first: Any) -> Any:
    found = np.full(int(which.max()) + 1, first)
    how.at(found, which, values)
    return found


def _added(values: Any, which: Any) -> Any:
    return _gathered(np.add, values, which, values.dtype.type(0))


def _buckets(table: Table, names: Sequence[str]) -> list[Bucket]:
    columns = [_envelopes(table, number, name) for number, name in enumerate(names)]
    rows = zip(*columns, strict=True)
    heads = (table.start_ms, table.count, table.newest_ms, table.level)
    return [
        Bucket(
            start_ms,
            count,
            {name: each for name, each in zip(names, row, strict=True) if each.count},
            newest_ms,
            level,
        )
        for row, start_ms, count, newest_ms, level in zip(
            rows, *(head.tolist() for head in heads), strict=True
        )
    ]


def _envelopes(table: Table, number: int, name: str) -> list[Envelope]:
    """The quantity in each bucket; one of no readings where a bucket has none."""
    counts = table.counts[number]
    means = np.divide(
        table.totals[number], counts, out=np.full(len(counts), np.nan), where=counts > 0
    )
    columns = (table.lows[number], table.highs[number], means)
    kept = (tidied(name, column) for column in columns)
    return list(map(Envelope, *kept, repeat(None), counts.tolist()))


def tidied(name: str, column: Numbers) -> list[float]:
    """As `tidy`, of a whole column."""
    if name not in QUANTITIES:
        return column.tolist()
    size = np.abs(column)
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude = np.floor(np.log10(size))
    magnitude = np.where(np.isfinite(magnitude), np.clip(magnitude, -15, 15), 0)
    # A power of ten with a whole exponent is exact, so the quotient is the nearest double.
    up, down = 10.0 ** np.maximum(6 - magnitude, 0), 10.0 ** np.maximum(magnitude - 6, 0)
    return (np.rint(column * up / down) * down / up).tolist()


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
