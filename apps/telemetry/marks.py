"""Marks: how far each level of rollups has taken in each index of its source.

What arrived is known by the store's own sequence numbers: every document of a shard has the next
one, in the order in which it was written, whenever it was measured and however late. A mark says:
of this index, all documents up to sequence number S and measured before O are in the rollups. All
others, that is those written after S and those measured at or after O, are asked of the level
below until the next run has taken them in. So a mark that is too old costs time and never a
reading, and one that is lost has everything built once more.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from apps.telemetry.questions import Body, Clause

NEVER_MS = 1 << 62
_EPOCH_S = 1_672_531_200


@dataclass(frozen=True)
class Progress:
    """How far a step came that was told to end: to seqs and open_from_ms it goes, and in `shard`
    all buckets up to `after` are built, in the order in which they are found."""

    seqs: tuple[int, ...]
    open_from_ms: int
    shard: int
    after: dict[str, Any]


@dataclass(frozen=True)
class Mark:
    """`source` is the index with its prefix; `seqs` has S for each of its shards, −1 for none.

    `created_ms` tells an index from a later one of the same name; `start_ms` ≤ t < `end_ms` is
    what it can hold; `open_from_ms` is O, at most end_ms. `under_way`: of the next step, what is
    done already; no question relies on it.
    """

    level: str
    source: str
    created_ms: int
    start_ms: int
    end_ms: int
    open_from_ms: int
    seqs: tuple[int, ...]
    under_way: Progress | None = None

    @property
    def goal(self) -> "Mark | None":
        """Where the step that is under way goes, if one is."""
        if self.under_way is None:
            return None
        seqs, open_from_ms = self.under_way.seqs, self.under_way.open_from_ms
        return replace(self, seqs=seqs, open_from_ms=open_from_ms, under_way=None)

    @property
    def is_closed(self) -> bool:
        """No bucket of this index is still filling."""
        return self.open_from_ms >= self.end_ms

    @property
    def version(self) -> int:
        """Rises with each mark of this index, and with each later index of the same readings.

        A rollup built for an older one is out of date. Seconds since 2023 in the high bits leave
        eight thousand million documents for an index.
        """
        age_s = max(0, self.created_ms // 1000 - _EPOCH_S)
        return age_s << 33 | (sum(self.seqs) + len(self.seqs) + 1)

    def to_source(self) -> dict[str, Any]:
        """As its document."""
        return {
            "level": self.level,
            "source": self.source,
            "created_at": self.created_ms,
            "start_at": self.start_ms,
            "end_at": self.end_ms,
            "open_from": self.open_from_ms,
            "seqs": list(self.seqs),
            "under_way": asdict(self.under_way) if self.under_way else None,
        }

    @classmethod
    def from_source(cls, source: dict[str, Any]) -> "Mark":
        """From its document."""
        return cls(
            level=source["level"],
            source=source["source"],
            created_ms=int(source["created_at"]),
            start_ms=int(source["start_at"]),
            end_ms=int(source["end_at"]),
            open_from_ms=int(source["open_from"]),
            seqs=_numbers(source["seqs"]),
            under_way=_progress(source.get("under_way")),
        )


def _numbers(found: Any) -> tuple[int, ...]:
    return tuple(found if isinstance(found, list) else [found])


def _progress(found: dict[str, Any] | None) -> Progress | None:
    if not found:
        return None
    return Progress(
        _numbers(found["seqs"]), int(found["open_from_ms"]), int(found["shard"]), found["after"]
    )


def seam_ms(marks: Iterable[Mark]) -> int:
    """From when on nothing is in the rollups yet; NEVER_MS where all that has marks is closed.

    What has no mark is told by `written_since`, document by document.
    """
    seams = [NEVER_MS if mark.is_closed else mark.open_from_ms for mark in marks]
    return min(seams, default=NEVER_MS)


def written_since(marks: Sequence[Mark]) -> Clause:
    """Documents that were written after these marks, or to an index that has none."""
    unmarked: Clause = {
        "bool": {"must_not": [{"terms": {"_index": [mark.source for mark in marks]}}]}
    }
    newer: list[Clause] = [
        {
            "bool": {
                "filter": [
                    {"term": {"_index": mark.source}},
                    # Shards share a clause: the least number asks for too much, never too little.
                    {"range": {"_seq_no": {"gt": min(mark.seqs)}}},
                ]
            }
        }
        for mark in marks
    ]
    return {"bool": {"should": [unmarked, *newer], "minimum_should_match": 1}}


def not_yet_built(mark: Mark, shard: int, upto: int, open_from_ms: int) -> Clause:
    """Of one shard, what a step from this mark to (upto, open_from_ms) has to take in."""
    seq = {"gt": mark.seqs[shard], "lte": upto}
    newly_closed = {"gte": mark.open_from_ms, "lt": open_from_ms}
    return {
        "bool": {
            "filter": [
                {"range": {"_seq_no": {"lte": upto}}},
                {"range": {"@timestamp": {"lt": open_from_ms}}},
            ],
            "should": [{"range": {"_seq_no": seq}}, {"range": {"@timestamp": newly_closed}}],
            "minimum_should_match": 1,
        }
    }


def touched_spans(answer: Mapping[str, Any], name: str, width_ms: int) -> list[tuple[int, int]]:
    """The buckets of a date histogram in an aggregation's answer, as spans."""
    buckets = answer.get("aggregations", {}).get(name, {}).get("buckets", ())
    return [(int(bucket["key"]), int(bucket["key"]) + width_ms) for bucket in buckets]


def by_width(width_ms: int) -> Body:
    """An aggregation that tells in which buckets of width_ms there are documents.

    Over plain numbers: to find nothing, which is what it mostly finds, takes a date's histogram
    twice as long.
    """
    return {"histogram": {"field": "@timestamp", "interval": width_ms, "min_doc_count": 1}}
