"""Many stored readings as columns for detectors: stretch after stretch of time.

A sorted page would make the store sort all that is left for each page. So a stretch is as much time
as holds some ten thousand readings; the store gives them as they lie, and they are put in order
here, as columns. READERS stretches are read at once, so that the store makes pages of one while
those of another are taken apart, and while the batch before is judged.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np

from apps.telemetry.pages import StoredReading
from apps.telemetry.questions import Body, Clause, within
from ohmwatch.detector import Batch, Floats
from ohmwatch.readings import as_stored

AT_MOST = 60_000
"""Readings of a stretch, about: 10 MB as columns, and one more than READERS are held."""
READERS = 2
PAGE = 10_000
MOST_BUCKETS = 2_000

PAGE_BODY: Body = {"sort": ["_doc"], "track_total_hits": False}
"""Whole documents: to leave the dimensions out costs the store more than to send them."""

Count = Callable[[Sequence[Clause]], tuple[int, int, int]]
Tally = Callable[[Sequence[Clause], int], list[tuple[int, int]]]
Span = tuple[int, int, int | None]
"""start_ms ≤ t < end_ms, and how many readings it has, where that is known."""


def stretches(
    clauses: Sequence[Clause],
    *,
    count: Count,
    tally: Tally,
    everything: Callable[[Sequence[Clause]], list[Batch]],
    at_most: int = AT_MOST,
) -> Iterator[Batch]:
    """All readings that the clauses choose: batches in order of measurement, then connector.

    A batch has about `at_most` readings, unless they are of one instant. `count` tells of a
    question how many readings it has, and when the first and the last were measured; `tally` how
    many it has in each time of a length in ms, from multiples of it on; `everything` gives them,
    in no order.
    """
    questions = _questions(clauses, count, tally, at_most)

    def read(own: Sequence[Clause]) -> Batch:
        return joined(everything(own))

    with ThreadPoolExecutor(READERS) as hands:
        coming = deque(hands.submit(read, own) for own in islice(questions, READERS))
        try:
            while coming:
                batch = coming.popleft().result()
                coming.extend(hands.submit(read, own) for own in islice(questions, 1))
                yield batch
        finally:
            for each in coming:
                each.cancel()


def _questions(
    clauses: Sequence[Clause], count: Count, tally: Tally, at_most: int
) -> Iterator[list[Clause]]:
    """The question, cut where it has too many answers."""
    waiting: list[Span] = [(0, 1 << 62, None)]
    while waiting:
        start_ms, end_ms, found = waiting.pop()
        own = [*clauses, within("@timestamp", start_ms, end_ms)]
        if found is not None and found <= at_most:
            yield own
            continue
        found, first_ms, last_ms = count(own)
        if found > at_most and last_ms > first_ms:
            length_ms = last_ms + 1 - first_ms
            width_ms = -(-length_ms // min(4 * -(-found // at_most), MOST_BUCKETS))
            waiting += reversed(_spans(tally(own, width_ms), width_ms, at_most))
        elif found:
            yield own


def _spans(tallied: Sequence[tuple[int, int]], width_ms: int, at_most: int) -> list[Span]:
    """Neighbours together, as long as they have no more than `at_most`."""
    spans: list[Span] = []
    for start_ms, found in tallied:
        end_ms = start_ms + width_ms
        if spans and (spans[-1][2] or 0) + found <= at_most:
            start_ms, _end_ms, before = spans.pop()
            found += before or 0
        spans.append((start_ms, end_ms, found))
    return spans


def as_batch(page: Sequence[StoredReading]) -> Batch:
    """A page's readings, in its order."""
    names: dict[str, int] = {}
    homes = [names.setdefault(each.connector, len(names)) for each in page]
    return Batch(
        connectors=list(names),
        connector=np.array(homes, dtype=np.int32),
        time_ms=np.array([each.measured_ms for each in page], dtype=np.int64),
        arrived_ms=np.array([each.arrived_ms for each in page], dtype=np.int64),
        values=dict(_columns(page)),
    )


def _columns(page: Sequence[StoredReading]) -> Iterator[tuple[str, Floats]]:
    """The quantities that any of the readings has."""
    for name in page[0].quantities() if page else ():
        # The store prints 61.2 for the float that it keeps: it is rounded as the log rounds it.
        column = np.array([getattr(each, name) for each in page], dtype=np.float64)
        if not np.isnan(column).all():
            yield name, as_stored([name], column[None])[0]


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
