"""Stretches of time as half-open pairs (start_ms, end_ms): what is asked, covered, left over."""

from collections.abc import Iterable, Sequence

Span = tuple[int, int]
ALWAYS: Span = (-(1 << 62), 1 << 62)


def joined(spans: Iterable[Span]) -> list[Span]:
    """The same instants, in order, without overlaps, neighbours put together, empty ones left out.

    >>> joined([(5, 9), (0, 3), (3, 4), (6, 7), (8, 8)])
    [(0, 4), (5, 9)]
    """
    found: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def without(spans: Sequence[Span], holes: Sequence[Span]) -> list[Span]:
    """What is in `spans` and in none of `holes`; both as `joined` gives them.

    >>> without([(0, 10)], [(2, 4), (9, 20)])
    [(0, 2), (4, 9)]
    """
    left: list[Span] = []
    for start, end in spans:
        for hole_start, hole_end in holes:
            if hole_end <= start or hole_start >= end:
                continue
            if start < hole_start:
                left.append((start, hole_start))
            start = max(start, hole_end)
        if start < end:
            left.append((start, end))
    return left


def within(spans: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """What is in both; both as `joined` gives them.

    >>> within([(0, 4), (6, 9)], [(2, 7)])
    [(2, 4), (6, 7)]
    """
    return joined((max(start, other_start), min(end, other_end))
                  for start, end in spans for other_start, other_end in others)  # fmt: skip


def inward(spans: Sequence[Span], width_ms: int) -> list[Span]:
    """The whole buckets of width_ms that lie within the spans.

    >>> inward([(5, 31), (41, 49)], 10)
    [(10, 30)]
    """
    return joined((-(-start // width_ms) * width_ms, end // width_ms * width_ms)
                  for start, end in spans)  # fmt: skip


def outward(spans: Sequence[Span], width_ms: int) -> list[Span]:
    """The whole buckets of width_ms that the spans touch.

    >>> outward([(5, 31), (41, 49)], 10)
    [(0, 50)]
    """
    return joined((start // width_ms * width_ms, -(-end // width_ms) * width_ms)
                  for start, end in spans)  # fmt: skip
