"""Quantities over a fleet: groups by dimension and time, with distributions where they are kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.telemetry import overtime
from apps.telemetry.answers import Group, GroupRow
from apps.telemetry.bins import BINS, Bins, percentiles
from apps.telemetry.documents import DIMENSIONS
from apps.telemetry.errors import AskedTooMuch, WrongQuestion
from apps.telemetry.levels import RAW, Level
from apps.telemetry.overtime import Spread
from apps.telemetry.questions import CONNECTORS_LIMIT, GROUPS_LIMIT, Body

BY = (*DIMENSIONS, "connector")
"""What a fleet can be grouped by."""
EXTREMES: Mapping[str, Callable[[Spread | GroupRow], float]] = {
    "maximum": lambda each: each.maximum,
    "minimum": lambda each: -each.minimum,
}
"""What leads by a statistic, highest first; of minima the lowest."""
LEADING: Mapping[str, tuple[str, str, str]] = {
    "maximum": ("qs.max", "qh", "desc"),
    "minimum": ("qs.min", "ql", "asc"),
}
"""Statistics by which the store can tell the leading groups, with what they are called in the
answer of readings and of rollups: who leads in all parts together leads in at least one of them,
which is true of extremes alone."""


@dataclass(frozen=True)
class Grouping:
    """Readings of `quantity` by the dimensions and, with every_ms, by stretches of time.

    `binned`: with its distribution, which a quantity must have, and with a group "" of what has no
    such dimension, so that the groups add up to the whole. `leading`: by one of LEADING; of
    more groups than an answer holds, those. Raises WrongQuestion.
    """

    quantity: str
    by: tuple[str, ...] = ()
    every_ms: int | None = None
    binned: bool = True
    leading: str | None = None
    asked: range | None = None  # the bins that hold anything, where that is known

    def __post_init__(self) -> None:
        for dimension in self.by:
            if dimension not in BY:
                raise WrongQuestion(field="by", value=dimension[:64])
        if self.binned and self.quantity not in BINS:
            raise WrongQuestion(
                field="quantity", value=self.quantity[:64], has_no="distribution", ask=[*BINS]
            )
        if len(self.by) > 2:
            raise AskedTooMuch(what="dimensions", asked=len(self.by), limit=2)

    @property
    def bins(self) -> Bins:
        return BINS[self.quantity]

    @property
    def limit(self) -> int:
        """Groups of a dimension that are answered."""
        plain = len(self.by) == 1 and not self.binned and not self.every_ms
        return CONNECTORS_LIMIT if plain else GROUPS_LIMIT

    @property
    def numbers(self) -> range:
        """The bins that are asked for."""
        if not self.binned:
            return range(0)
        return range(self.bins.count) if self.asked is None else self.asked


class Counted:
    """What a group's readings come to: count, minimum, maximum, mean, and counts by bin."""

    def __init__(
        self, spread: Spread | None = None, counts: NDArray[np.float64] | None = None
    ) -> None:
        self.spread = spread
        self.counts = counts

    def add(self, other: "Counted") -> None:
        """Put together with another part of the same group."""
        if other.spread is None:
            return
        if self.spread is None:
            self.spread = Spread(np.inf, -np.inf, 0.0, 0)
        self.spread.add(other.spread)
        if other.counts is not None:
            self.counts = other.counts if self.counts is None else self.counts + other.counts

    def percentiles(self, bins: Bins, percents: Sequence[float]) -> dict[float, float]:
        """As bins.percentiles, by per cent; NaN without readings."""
        if self.spread is None or self.counts is None:
            return dict.fromkeys(percents, float("nan"))
        ends = {"minimum": self.spread.minimum, "maximum": self.spread.maximum}
        return dict(zip(percents, percentiles(self.counts, bins, percents, **ends), strict=True))


def body(level: Level, grouping: Grouping) -> Body:
    """A level's documents by group; empty groups are not answered."""
    inner = _leaves(level, grouping)
    if grouping.every_ms:
        time = {
            "field": "@timestamp",
            "fixed_interval": f"{grouping.every_ms}ms",
            "min_doc_count": 1,
        }
        inner = {"time": {"date_histogram": time, "aggs": inner}}
    for dimension in reversed(grouping.by):
        terms = {"field": dimension, "size": grouping.limit, **_order(level, grouping)}
        if grouping.binned:
            terms["missing"] = ""
        inner = {"by": {"terms": terms, "aggs": inner}}
    return {"size": 0, "track_total_hits": False, "aggs": inner}


def _order(level: Level, grouping: Grouping) -> Body:
    if grouping.leading is None:
        return {}
    of_readings, of_rollups, direction = LEADING[grouping.leading]
    return {"order": {of_readings if level is RAW else of_rollups: direction}}


def _leaves(level: Level, grouping: Grouping) -> Body:
    name = grouping.quantity
    if level is RAW:
        leaves: Body = {"qs": {"stats": {"field": name}}}
        if grouping.binned:
            step, low = grouping.bins.step, grouping.bins.low
            leaves["bins"] = {
                "histogram": {
                    "field": name,
                    "interval": step,
                    "offset": low % step,
                    "min_doc_count": 1,
                }
            }
        return leaves
    sums = {f"b{each}": {"sum": {"field": f"{name}.b{each}"}} for each in grouping.numbers}
    return {**overtime.envelope("q", name), **sums}


def ends(name: str) -> Body:
    """The least and the greatest value of rollups."""
    aggregations = {
        "low": {"min": {"field": f"{name}.min"}},
        "high": {"max": {"field": f"{name}.max"}},
    }
    return {"size": 0, "track_total_hits": False, "aggs": aggregations}


def bins_of(answers: Sequence[Mapping[str, Any]], bins: Bins) -> range:
    """The bins between the ends that were answered; none where nothing was found."""
    found = [answer["aggregations"] for answer in answers if "aggregations" in answer]
    lows = [each["low"]["value"] for each in found if each["low"]["value"] is not None]
    highs = [each["high"]["value"] for each in found if each["high"]["value"] is not None]
    return bins.between(min(lows), max(highs)) if lows else range(0)


def leaders(found: Mapping[Group, Counted], grouping: Grouping) -> list[str]:
    """The values of the leading groups, as many as an answer holds."""
    rank = EXTREMES[grouping.leading or "maximum"]
    told = [(group, each.spread) for group, each in found.items() if each.spread is not None]
    told.sort(key=lambda each: rank(each[1]), reverse=True)
    return [group.values[0] for group, _ in told[: grouping.limit]]


def is_cut(answers: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there are more groups than were answered."""
    found = [answer.get("aggregations", {}).get("by", {}) for answer in answers]
    return any(terms.get("sum_other_doc_count") for terms in found)


def take(
    found: dict[Group, Counted], answer: Mapping[str, Any], level: Level, grouping: Grouping
) -> None:
    """Add what a level answers to the groups found so far.

    Raises AskedTooMuch beyond the limit, unless the leading ones were asked for.
    """
    for group, leaf in _groups(answer.get("aggregations", {}), grouping, len(grouping.by), ()):
        part = overtime.spread(leaf, "q", level)
        if part is not None:
            found.setdefault(group, Counted()).add(Counted(part, _counts(leaf, level, grouping)))


def _groups(
    node: Mapping[str, Any], grouping: Grouping, depth: int, values: tuple[str, ...]
) -> list[tuple[Group, Mapping[str, Any]]]:
    if depth:
        terms = node.get("by", {"buckets": ()})
        if terms.get("sum_other_doc_count") and grouping.leading is None:
            raise AskedTooMuch(what="groups", asked=grouping.limit + 1, limit=grouping.limit)
        return [
            each
            for bucket in terms["buckets"]
            for each in _groups(bucket, grouping, depth - 1, (*values, str(bucket["key"])))
        ]
    if grouping.every_ms:
        buckets = node.get("time", {}).get("buckets", ())
        return [(Group(values, int(bucket["key"])), bucket) for bucket in buckets]
    return [(Group(values, None), node)] if node else []


def _counts(
    leaf: Mapping[str, Any], level: Level, grouping: Grouping
) -> NDArray[np.float64] | None:
    if not grouping.binned:
        return None
    bins = grouping.bins
    counts = np.zeros(bins.count)
    if level is not RAW:
        numbers = grouping.numbers
        counts[numbers.start : numbers.stop] = [leaf[f"b{each}"]["value"] for each in numbers]
        return counts
    for bucket in leaf["bins"]["buckets"]:
        counts[bins.number_of(bucket["key"] + bins.step / 2)] += bucket["doc_count"]
    return counts
