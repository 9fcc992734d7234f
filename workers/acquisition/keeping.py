"""Elasticsearch has every document of a batch, or the quarantine has it with the store's answer.

Each document is answered for by itself: stored, a duplicate, worth another try, or refused for
good. A request that fails in the middle may have been carried out all the same; then a repeat
answers "duplicate" to documents of this very batch, and only a count of what the store holds under
the batch's number tells what is what.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from apps.partitions.log import Chunk, Rows
from apps.telemetry.answers import STORED, ItemResult, LedgerEntry
from apps.telemetry.errors import StoreRefused, TelemetryError
from apps.telemetry.slices import from_ms
from apps.telemetry.store import TelemetryStore
from ohmwatch.readings import Columns, Sheet
from ohmwatch.refusals import Reason, RowRefusal
from workers.acquisition import faults
from workers.acquisition.batches import Batch, Tally
from workers.acquisition.documents import batch_lines, quarantine_lines, single_lines
from workers.acquisition.parcels import ConnectorReadings, Singles, chosen
from workers.acquisition.patience import Patience, pauses
from workers.acquisition.runs import (
    Run,
    WholeRefusal,
    for_its_content,
    in_halves,
    lines_of,
    portions,
    runs,
)
from workers.acquisition.sampling import sampled
from workers.acquisition.sorting import Refusal, Sorted, grouped, one_each

LATE_MS = 3600 * 1000
"""A reading that is older than this when it arrives counts as late."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


@dataclass
class Kept:
    """What became of a batch, by tenant, and the readings that detection has to see."""

    tallies: dict[str, Tally]
    chunks: list[Chunk]
    rows: list[Rows] = field(default_factory=list)

    def ledger_entries(self, batch: Batch) -> list[LedgerEntry]:
        return [
            LedgerEntry(
                tenant=tenant,
                batch_id=batch.number,
                arrived_ms=batch.arrived_ms,
                stored=tally.stored,
                duplicate=tally.duplicate,
                quarantined={str(reason): n for reason, n in tally.quarantined.items()},
            )
            for tenant, tally in sorted(self.tallies.items())
            if tally.received
        ]


def keep(batch: Batch, work: Sorted, *, telemetry: TelemetryStore, patience: Patience) -> Kept:
    """Store a batch's readings and refusals. Returns when all are safe, however long it takes."""
    writer = _Writer(batch, work, telemetry, patience)
    kept, refused = Kept({}, []), list(work.refused)
    for run in runs(work):
        results = writer.send(writer.text(run))
        faults.point("after_bulk")
        refused.extend(_take_run(run, results, kept, batch.arrived_ms))
    refused = sampled(one_each(refused), at_ms=batch.arrived_ms)
    writer.quarantine(refused)
    for refusal in refused:
        tally = kept.tallies.setdefault(refusal.tenant, Tally())
        tally.quarantined[refusal.reason] += refusal.count
    if writer.in_doubt:
        _settle_doubt(kept.tallies, writer.held_by_tenant())
    return kept


def _take_run(
    run: Run, results: Sequence[ItemResult], kept: Kept, arrived_ms: int
) -> list[Refusal]:
    """Count the answers to a run, and keep for detection what it has to see; what was refused."""
    tallies, late_ms = kept.tallies, arrived_ms - LATE_MS
    refused: list[Refusal] = []
    special: list[ConnectorReadings] = []
    answers: list[ItemResult] = []
    position = 0
    for singles in run.singles:
        mine = results[position : position + len(singles)]
        position += len(mine)
        stored, others = _take_stored(singles, mine, tallies, late_ms)
        kept.rows.append(_rows(stored, arrived_ms))
        special.extend(singles.readings(others))
        answers.extend(mine[row] for row in others)
    results, position = [*answers, *results[position:]], 0
    readings = [*special, *run.readings]
    if _all_stored_in_time(readings, results, late_ms):
        for one in readings:
            tallies.setdefault(one.tenant, Tally()).stored += len(one)
            kept.chunks.append(_chunk(one, one.columns, arrived_ms))
        return refused
    for one in readings:
        mine = results[position : position + len(one)]
        position += len(mine)
        tally = tallies.setdefault(one.tenant, Tally())
        good, bad = _take_answers(one, mine, tally, late_ms)
        refused.extend(bad)
        if len(good):
            kept.chunks.append(_chunk(one, good, arrived_ms))
    return refused


def _take_stored(
    singles: Singles, results: Sequence[ItemResult], tallies: dict[str, Tally], late_ms: int
) -> tuple[Singles, list[int]]:
    """Count the single readings that were stored; those, and the rows that were not."""
    others: list[int] = []
    if results.count(STORED) < len(results):
        others = [row for row, result in enumerate(results) if not result.is_stored]
        these = np.ones(len(singles), dtype=np.bool_)
        these[others] = False
        singles, _parcels = singles.parted(these)
    late = singles.columns.time_ms < late_ms
    for tenant, number in Counter([device.tenant for device in singles.devices]).items():
        tallies.setdefault(tenant, Tally()).stored += number
    for row in np.flatnonzero(late).tolist():
        tallies[singles.devices[row].tenant].late += 1
    return singles, others


def _rows(singles: Singles, arrived_ms: int) -> Rows:
    return Rows(
        tenants=[device.tenant for device in singles.devices],
        connectors=[connector.id for connector in singles.connectors],
        arrived_ms=arrived_ms,
        time_ms=singles.columns.time_ms,
        sheet=Sheet.of(singles.columns.values),
    )


def _all_stored_in_time(
    readings: Sequence[ConnectorReadings], results: Sequence[ItemResult], late_ms: int
) -> bool:
    """The usual case, asked once for a whole batch: none is a duplicate, refused, or late."""
    if not readings or results.count(STORED) < len(results):
        return False
    return bool(np.concatenate([one.columns.time_ms for one in readings]).min() >= late_ms)


def _take_answers(
    one: ConnectorReadings, results: Sequence[ItemResult], tally: Tally, late_ms: int
) -> tuple[Columns, list[Refusal]]:
    """Count one connector's answers; what was not refused, duplicates too (a crash between store
    and log would else hide a reading from detection), and what was. Late: measured before late_ms.
    """
    columns = one.columns
    if results.count(STORED) == len(results):
        tally.stored += len(results)
        tally.late += _late(columns.time_ms, late_ms)
        return columns, []
    statuses = np.fromiter((result.status for result in results), np.int64, len(results))
    stored, duplicate = statuses < 300, statuses == 409
    tally.stored += int(stored.sum())
    tally.duplicate += int(duplicate.sum())
    tally.late += _late(columns.time_ms[stored], late_ms)
    good = stored | duplicate
    if good.all():
        return columns, []
    return chosen(columns, good), grouped(one.parcel, _row_refusals(one, results, ~good))


def _late(time_ms: NDArray[np.int64], late_ms: int) -> int:
    if len(time_ms) == 1:
        return int(time_ms[0] < late_ms)
    return int((time_ms < late_ms).sum())


def _chunk(one: ConnectorReadings, good: Columns, arrived_ms: int) -> Chunk:
    return Chunk(
        tenant=one.tenant,
        connector=one.connector.id,
        arrived_ms=arrived_ms,
        time_ms=good.time_ms,
        values=good.values,
    )


def _row_refusals(
    one: ConnectorReadings, results: Sequence[ItemResult], bad: NDArray[np.bool_]
) -> list[RowRefusal]:
    return [
        RowRefusal(
            row=int(one.rows[position]),
            reason=Reason.STORE_REFUSED,
            detail=f"{results[position].error_type}: {results[position].error_reason}"[:300],
        )
        for position in np.flatnonzero(bad).tolist()
    ]


def _settle_doubt(tallies: dict[str, Tally], held: dict[str, int]) -> None:
    for tenant, tally in tallies.items():
        accepted = tally.stored + tally.duplicate
        tally.stored = held.get(tenant, 0)
        tally.duplicate = accepted - tally.stored


class _Writer:
    """The bulk requests of one batch, repeated until each document has its final answer."""

    def __init__(
        self, batch: Batch, work: Sorted, telemetry: TelemetryStore, patience: Patience
    ) -> None:
        self._batch = batch
        self._work = work
        self._telemetry = telemetry
        self._patience = patience
        self.in_doubt = False
        """Whether a failed request may have been carried out."""

    def text(self, run: Run) -> bytes:
        """Action and document of each reading, in their order."""
        texts = [self._single_text(singles) for singles in run.singles]
        return b"".join([*texts, self._reading_text(run.readings)])

    def _reading_text(self, readings: Sequence[ConnectorReadings]) -> bytes:
        if not readings:
            return b""
        return batch_lines(
            readings,
            index_of=self._telemetry.reading_index,
            arrived_ms=self._batch.arrived_ms,
            batch_number=self._batch.number,
        )

    def _single_text(self, singles: Singles) -> bytes:
        return single_lines(
            singles,
            index_of=self._telemetry.reading_index,
            arrived_ms=self._batch.arrived_ms,
            batch_number=self._batch.number,
        )

    def quarantine(self, refused: Sequence[Refusal]) -> None:
        """Keep refused messages with reason and bytes. Where the store refuses even that, what it
        can't refuse is kept: the fact, the reason and the count."""
        results = self._send_all(self._quarantine_text(refusal) for refusal in refused)
        lost = [one for one, result in zip(refused, results, strict=True) if not _is_kept(result)]
        if lost:
            log.error("quarantine_refused", messages=len(lost))
            self._send_all(self._quarantine_text(refusal, bare=True) for refusal in lost)

    def _send_all(self, texts: Iterable[bytes]) -> list[ItemResult]:
        answers = (self.send(b"".join(several)) for several in portions(texts))
        return list(chain.from_iterable(answers))

    def _quarantine_text(self, refusal: Refusal, *, bare: bool = False) -> bytes:
        batch, message = self._batch, refusal.message
        about = {
            "identity": refusal.identity,
            "device": refusal.identity.partition(".")[2],
            "topic": message.topic,
            "field": refusal.field,
            "detail": refusal.detail,
            "rows": list(refusal.rows),
            "row": refusal.rows[0] if len(refusal.rows) == 1 else "",
            "messages": refusal.messages if refusal.dropped_bytes else "",
            "dropped_bytes": refusal.dropped_bytes or "",
            "content_type": message.content_type,
        }
        key = f"{batch.number}-{refusal.message_number}-{refusal.reason}"
        return quarantine_lines(
            index=self._telemetry.quarantine_index(batch.arrived_ms),
            document_id=f"{refusal.tenant}:{key}",
            fields={
                "tenant": refusal.tenant,
                "reason": refusal.reason,
                "count": refusal.count,
                "arrived_at": batch.arrived_ms,
                "batch_id": batch.number,
                "number": refusal.message_number,
                **(
                    {}
                    if bare
                    else {name: said for name, said in about.items() if said not in ("", [])}
                ),
            },
            payload=b"" if bare or refusal.dropped_bytes else message.payload,
        )

    def send(self, body: bytes) -> list[ItemResult]:
        """The final answer to each document. Waits, and tries again, for as long as it takes."""
        if not body:
            return []
        results = self._bulk(body)
        open_items = _open(results)
        if open_items:
            with self._patience.waiting_for("elasticsearch"):
                self._send_again(body, results, open_items)
        return results

    def _send_again(self, body: bytes, results: list[ItemResult], open_items: list[int]) -> None:
        """Only those that have no final answer, until each has one."""
        for pause_s in pauses():
            log.warning("store_busy", documents=len(open_items), answer=results[open_items[0]])
            self._patience.pause(pause_s)
            self._make_missing_slices(results)
            self.in_doubt |= any(results[i].status != 429 for i in open_items)
            again = self._bulk(lines_of(body, open_items))
            for item, result in zip(open_items, again, strict=True):
                results[item] = result
            open_items = [i for i in open_items if _is_for_later(results[i])]
            if not open_items:
                return

    def _bulk(self, body: bytes) -> list[ItemResult]:
        """The answer to each document, by itself where the request was refused for one."""
        return in_halves(body, lambda part: self.hold(lambda: self._attempt(part)))

    def _attempt(self, body: bytes) -> list[ItemResult] | WholeRefusal:
        try:
            return self._telemetry.bulk(body)
        except StoreRefused as refused:
            self.in_doubt = True
            found = for_its_content(refused)
            if found is None:
                raise
        except TelemetryError:
            self.in_doubt = True
            raise
        # Where that is refused too, the content is not to blame: hold on.
        self._telemetry.bulk(self._harmless())
        return found

    def _harmless(self) -> bytes:
        """A request that nothing can be wrong with: to forget a document that never was."""
        index = self._telemetry.quarantine_index(self._batch.arrived_ms)
        return b'{"delete":{"_index":"%b","_id":"nothing"}}\n' % index.encode()

    def _make_missing_slices(self, results: Sequence[ItemResult]) -> None:
        if any(result.status == 404 for result in results):
            arrived_at, classes = from_ms(self._batch.arrived_ms), sorted(self._classes())
            self.hold(lambda: self._telemetry.ensure_slices(arrived_at, classes))

    def _classes(self) -> set[str]:
        """All that the batch's tenants are in."""
        retentions = {parcel.retention for parcel in self._work.parcels}
        for singles in self._work.singles:
            retentions.update(singles.retentions.values())
        return {name for kept_for in retentions for name in kept_for.names}

    def held_by_tenant(self) -> dict[str, int]:
        """How many readings the store holds under this batch's number."""
        number = self._batch.number
        entries = self.hold(lambda: self._telemetry.held_batches(number, number + 1))
        return {entry.tenant: entry.stored for entry in entries}

    def hold(self, action: Callable[[], T]) -> T:
        return self._patience.hold(action, store="elasticsearch", away=(TelemetryError,))


def _open(results: Sequence[ItemResult]) -> list[int]:
    """Which documents have no final answer yet."""
    if results.count(STORED) == len(results):
        return []
    return [i for i, result in enumerate(results) if _is_for_later(result)]


def _is_kept(result: ItemResult) -> bool:
    """A duplicate of a quarantined message is this one, sent before."""
    return result.is_stored or result.is_duplicate


def _is_for_later(result: ItemResult) -> bool:
    """Busy, or shut by an operator or a full disk: the document is not to blame."""
    return result.is_worth_retrying or result.error_type == "index_closed_exception"
