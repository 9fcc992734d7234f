"""The quarantine as replays and downloads use it: many messages with their bytes, claimed, settled.

Decision 0005 says how a replay enters the account. A document is claimed under the number of the
run and a batch number of its own before anything is stored, so that whoever finishes the work after
a crash stores under the same number, and nothing is entered twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from apps.telemetry import cluster, parsing
from apps.telemetry.answers import QuarantinedMessage
from apps.telemetry.documents import QUARANTINE
from apps.telemetry.errors import WrongQuestion
from apps.telemetry.questions import Clause, RefusedFilter
from apps.telemetry.tenant import TenantTelemetry

CLAIMED, REPLAYED, PARTLY, REFUSED = "claimed", "replayed", "partly", "refused"
"""What has become of a document by its last replay."""
DOWNLOAD_PAGE = 50
_OLDEST_FIRST = [{"arrived_at": "asc"}, {"batch_id": "asc"}, {"number": "asc"}, {"reason": "asc"}]


@dataclass(frozen=True)
class Held:
    """A refused message with its bytes, where it lies, and the batch number of its replay."""

    message: QuarantinedMessage
    index: str
    seq_no: int
    primary_term: int
    batch: int = 0


@dataclass(frozen=True)
class Settled:
    """What a replay has left of a document."""

    held: Held
    state: str
    count: int
    rows: tuple[int, ...]
    moved: int
    """Readings that are in the readings' index now, or were already."""
    detail: str = ""


class TenantQuarantine(TenantTelemetry):
    """One tenant's telemetry with what replays and downloads ask of the quarantine."""

    # --- reading ------------------------------------------------------------------------------

    def count(self, filters: RefusedFilter) -> int:
        """How many of them a replay would take up now."""
        self._store.refresh(QUARANTINE)
        body = {"size": 0, "track_total_hits": True}
        answer = self._search(QUARANTINE, [*filters.clauses(), *_replayable()], body)
        return int(answer["hits"]["total"]["value"])

    def messages(self, filters: RefusedFilter, after: str = "") -> Iterator[QuarantinedMessage]:
        """All of them with their bytes, newest first, from behind `after` on."""
        while True:
            body = {**parsing.quarantine_page(DOWNLOAD_PAGE, after), "_source": True}
            body.pop("aggs")
            answer = self._search(QUARANTINE, filters.clauses(), body)
            page = parsing.quarantined_page(answer, self._ours(answer), DOWNLOAD_PAGE)
            yield from page.messages
            after = page.after
            if not after:
                return

    def claimed_by(self, run: int, size: int) -> list[Held]:
        """What this run has claimed and not settled: the rest of a life that was cut short."""
        clauses: list[Clause] = [{"term": {"replay_state": CLAIMED}}, {"term": {"replay_run": run}}]
        return self._held(clauses, size)

    def to_replay(self, filters: RefusedFilter, *, run: int, size: int) -> list[Held]:
        """The oldest that this run has not tried yet, and nobody else is trying."""
        tried: Clause = {"bool": {"must_not": [{"term": {"replay_run": run}}]}}
        return self._held([*filters.clauses(), *_replayable(), tried], size)

    def outcome(self, run: int) -> dict[str, int]:
        """By state, how many messages this run has tried."""
        by_state = {"states": {"terms": {"field": "replay_state", "size": 10}}}
        self._store.refresh(QUARANTINE)
        answer = self._search(
            QUARANTINE, [{"term": {"replay_run": run}}], {"size": 0, "aggs": by_state}
        )
        buckets = answer.get("aggregations", {}).get("states", {}).get("buckets", ())
        return {bucket["key"]: bucket["doc_count"] for bucket in buckets}

    def _held(self, clauses: Sequence[Clause], size: int) -> list[Held]:
        self._store.refresh(QUARANTINE)
        body = {"size": size, "sort": _OLDEST_FIRST, "seq_no_primary_term": True}
        hits = self._hits(QUARANTINE, clauses, body)
        return [
            Held(
                message=parsing.quarantined(hit),
                index=hit["_index"],
                seq_no=hit["_seq_no"],
                primary_term=hit["_primary_term"],
                batch=int(hit["_source"].get("replay_batch", 0)),
            )
            for hit in hits
        ]

    # --- writing ------------------------------------------------------------------------------

    def claim(self, several: Sequence[Held], *, run: int, first_batch: int) -> list[Held]:
        """Those that nobody has changed meanwhile, each with a batch number of its own."""
        numbered = [
            replace(held, batch=first_batch + position) for position, held in enumerate(several)
        ]
        changes = [
            (held, {"replay_state": CLAIMED, "replay_run": run, "replay_batch": held.batch})
            for held in numbered
        ]
        won = self._update(changes)
        return [
            replace(held, seq_no=place[0], primary_term=place[1])
            for held, place in zip(numbered, won, strict=True)
            if place is not None
        ]

    def settle(self, outcomes: Sequence[Settled], *, now_ms: int) -> int:
        """Write what is left of each; how many somebody else had settled already."""
        places = self._update(
            [
                (
                    one.held,
                    {
                        "replay_state": one.state,
                        "count": one.count,
                        "rows": list(one.rows),
                        "replayed": one.held.message.replayed + one.moved,
                        "replayed_at": now_ms,
                        "replay_detail": one.detail[:500],
                    },
                )
                for one in outcomes
            ]
        )
        return sum(place is None for place in places)

    def _update(
        self, changes: Sequence[tuple[Held, Mapping[str, Any]]]
    ) -> list[tuple[int, int] | None]:
        """Change documents that are as we know them; None for one that is not, else its place.

        Raises StoreUnavailable where the store is busy, StoreRefused where it refuses for good.
        """
        for held, _change in changes:
            if not held.message.id.startswith(f"{self.tenant}:"):
                raise WrongQuestion(field="tenant", value="another tenant's")
        lines = b"".join(_update_lines(held, change) for held, change in changes)
        places: list[tuple[int, int] | None] = []
        for result, place in cluster.change(self._store.client, lines) if lines else ():
            cluster.must_be_answered(result)
            places.append(place if result.is_stored else None)
        return places


def _replayable() -> list[Clause]:
    """Something is left of it, with its bytes, and no run has it in hand."""
    return [
        {"range": {"count": {"gt": 0}}},
        {"range": {"payload_bytes": {"gt": 0}}},
        {"bool": {"must_not": [{"term": {"replay_state": CLAIMED}}]}},
    ]


def _update_lines(held: Held, change: Mapping[str, Any]) -> bytes:
    action = {
        "update": {
            "_index": held.index,
            "_id": held.message.id,
            "if_seq_no": held.seq_no,
            "if_primary_term": held.primary_term,
        }
    }
    return orjson.dumps(action) + b"\n" + orjson.dumps({"doc": change}) + b"\n"
