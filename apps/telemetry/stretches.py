"""Many stored readings as columns for detectors: stretch after stretch of time.

A sorted page would make the store sort all that is left for each page. So a stretch is as much time
as holds some ten thousand readings; the store gives them as they lie, in several parts at once, and
they are put in order here, as columns. Each page is taken apart while the store makes the next one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from apps.telemetry.questions import Body, Clause, within
from ohmwatch.detector import Batch
from ohmwatch.readings import quantity_of

AT_MOST = 60_000
"""Readings of a stretch, about: 10 MB as columns, and two stretches are held."""
PAGE = 10_000

PAGE_BODY: Body = {"sort": ["_doc"], "track_total_hits": False}
"""Whole documents: to leave the dimensions out costs the store more than to send them."""

Hits = Sequence[Mapping[str, Any]]
Count = Callable[[Sequence[Clause]], tuple[int, int, int]]


def stretches(
    clauses: Sequence[Clause],
    *,
    count: Count,
    everything: Callable[[Sequence[Clause]], list[Batch]],
    at_most: int = AT_MOST,
) -> Iterator[Batch]:
    """All readings that the clauses choose: batches in order of measurement, then connector.

    A batch has at most `at_most` readings, unless they are of one instant. `count` tells of a
    question how many readings it has, and when the first and the last were measured; `everything`
    gives them, in no order. The next batch is read while one is looked at.
    """
    questions = _questions(clauses, count, at_most)

    def read() -> Batch | None:
        own = next(questions, None)
        return None if own is None else joined(everything(own))

    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(read)
        while (batch := coming.result()) is not None:
            coming = ahead.submit(read)
            yield batch


def _questions(clauses: Sequence[Clause], count: Count, at_most: int) -> Iterator[list[Clause]]:
    """The question, cut where it has too many answers."""
    waiting = [(0, 1 << 62)]
    while waiting:
        start_ms, end_ms = waiting.pop()
        own = [*clauses, within("@timestamp", start_ms, end_ms)]
        found, first_ms, last_ms = count(own)
        if found > at_most and last_ms > first_ms:
            waiting += reversed(_cut(first_ms, last_ms, -(-found // at_most)))
        elif found:
            yield own


def _cut(first_ms: int, last_ms: int, parts: int) -> list[tuple[int, int]]:
    """first_ms ≤ t ≤ last_ms in parts of equal length, but for the last; two at least."""
    width_ms = max(-(-(last_ms + 1 - first_ms) // max(parts, 2)), 1)
    starts = range(first_ms, last_ms + 1, width_ms)
    return [(start, min(start + width_ms, last_ms + 1)) for start in starts]


def as_batch(hits: Hits) -> Batch:
    """A page's readings, in its order."""
    sources = [hit["_source"] for hit in hits]
    names: dict[str, int] = {}
    homes = [names.setdefault(source["connector"], len(names)) for source in sources]
    quantities = [name for name in sorted(set().union(*sources)) if quantity_of(name) is not None]
    return Batch(
        connectors=list(names),
        connector=np.array(homes, dtype=np.int32),
        time_ms=_whole(sources, "@timestamp"),
        arrived_ms=_whole(sources, "arrived_at"),
        values={
            name: np.array([source.get(name) for source in sources], dtype=np.float64)
            for name in quantities
        },
    )


def _whole(sources: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    return np.array([int(source.get(name) or 0) for source in sources], dtype=np.int64)


def joined(pages: Sequence[Batch]) -> Batch:
    """The readings of all pages in order of measurement, then connector."""
    names = sorted({name for page in pages for name in page.connectors})
    place = {name: home for home, name in enumerate(names)}
    homes = [
        np.array([place[name] for name in page.connectors], dtype=np.int32)[page.connector]
        for page in pages
    ]
    connector = np.concatenate([np.zeros(0, dtype=np.int32), *homes])
    time_ms = np.concatenate([_NONE, *(page.time_ms for page in pages)])
    order = np.lexsort((connector, time_ms))
    quantities = dict.fromkeys(name for page in pages for name in page.values)
    return Batch(
        connectors=names,
        connector=connector[order],
        time_ms=time_ms[order],
        arrived_ms=np.concatenate([_NONE, *(page.arrived_ms for page in pages)])[order],
        values={
            name: np.concatenate([page.column(name) for page in pages])[order]
            for name in quantities
        },
    )


_NONE = np.zeros(0, dtype=np.int64)
