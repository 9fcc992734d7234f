"""Refused messages once more, the same way as new ones: decode ▸ check ▸ resolve ▸ keep ▸ enter.

Decision 0005 says how this enters the account. In short: a message keeps its time of arrival, by
which limits are measured and under which the account carries it; what becomes of it moves from
"quarantined" to "stored" or "duplicate" by an entry in the ledger under a batch number of its own.
What is refused again stays where it is.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import orjson
import structlog

from apps.devices.directory import Directory
from apps.partitions.log import Chunk, PartitionLog
from apps.quarantine.models import BATCHES_LIMIT
from apps.quarantine.operations import Page
from apps.telemetry.answers import ItemResult, LedgerEntry
from apps.telemetry.errors import StoreRefused, StoreUnavailable
from apps.telemetry.quarantine import PARTLY, REFUSED, REPLAYED, Held, Settled, TenantQuarantine
from apps.telemetry.slices import from_ms
from apps.telemetry.store import TelemetryStore
from ohmwatch.refusals import Reason
from workers.acquisition import faults
from workers.acquisition.batches import SLOT_SHIFT, Batch, Message
from workers.acquisition.board import Board
from workers.acquisition.documents import quarantine_lines
from workers.acquisition.parcels import ConnectorReadings, chosen
from workers.acquisition.patience import pauses
from workers.acquisition.runs import WholeRefusal, for_its_content, in_halves, portions
from workers.acquisition.sorting import Refusal, Sorted, check, decode, resolve

REPLAY_SLOT = (1 << (53 - SLOT_SHIFT)) - 1
"""Replays number their batches like a slot that no worker ever is: the last that a double holds."""
_UNCLAIMED = 1 << SLOT_SHIFT - 1
PATIENCE_S = 20.0
"""How long a busy store is asked again; then the run rests and is resumed."""

log = structlog.get_logger(__name__)


def batch_number(run: int, position: int, *, unclaimed: bool = False) -> int:
    """The batch of a run's message: unique in its tenant, for ever; and in the platform's account,
    where it came from there (`unclaimed`)."""
    kind = _UNCLAIMED if unclaimed else 0
    return REPLAY_SLOT << SLOT_SHIFT | kind | run * BATCHES_LIMIT + position


def run_of(batch: int) -> int:
    """The run that a batch is of, the same for all of its batches; no other run's in the tenant."""
    return (batch & (1 << SLOT_SHIFT) - 1) // BATCHES_LIMIT


@dataclass(frozen=True)
class Desk:
    """What a replay works with; `directory` knows the tenant as it is now. `quarantine` is where
    the messages lie: the tenant's, or the platform's own."""

    tenant: str
    directory: Directory
    store: TelemetryStore
    quarantine: TenantQuarantine
    partition_log: PartitionLog
    board: Board


@dataclass
class Attempt:
    """A held message, taken apart anew, and what came of it."""

    held: Held
    work: Sorted
    accepted: set[int] = field(default_factory=set)
    """Rows that are in the store now, by this replay or before it."""
    refused: list[Refusal] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether the document stands for the message as a whole, which counted as one."""
        return not self.held.message.rows


def replay_page(claimed: Sequence[Held], *, desk: Desk, now_ms: int) -> Page:
    """Take these in, as far as they can be. Raises TelemetryError, RedisError: then do it again.

    Every step may be repeated after a crash: the claim holds the batch number, and what is entered
    is what the store holds under it.
    """
    attempts = [attempt(held, desk=desk) for held in claimed]
    _keep_readings(attempts, desk)
    faults.point("replay_after_readings")
    _keep_refused_rows(attempts, desk)
    desk.partition_log.append(chunk for one in attempts for chunk in one.chunks)
    found = _held_under(attempts, desk)
    entries = [_entry(one, found.get(one.held.batch), desk) for one in attempts]
    moves = [part for entry in entries if entry is not None for part in _by_tenant(entry, desk)]
    desk.store.write_ledger(moves)
    faults.point("replay_after_ledger")
    settled = [_settled(one, entry) for one, entry in zip(attempts, entries, strict=True)]
    if moves:
        desk.board.note_replay(desk.tenant, run_of(moves[0].batch_id), moves)
    faults.point("replay_after_counting")
    desk.quarantine.settle(settled, now_ms=now_ms)
    faults.point("replay_after_settling")
    return _page(settled, entries)


def attempt(held: Held, *, desk: Desk) -> Attempt:
    """The message by today's codec, directory and mapping, and its own time of arrival."""
    said = held.message
    message = Message(topic=said.topic, payload=said.payload, content_type=said.content_type)
    batch = Batch(held.batch, 0, said.arrived_ms, [message])
    decoded = decode(batch, directory=desk.directory)
    limits = desk.store.open_range_ms(from_ms(said.arrived_ms))
    work = resolve(check(decoded, open_range_ms=limits))
    work.readings = [one for one in work.readings if one.tenant == desk.tenant]
    if said.rows:
        rows = np.array(said.rows)
        work.readings = [part for one in work.readings if len((part := _only(one, rows)).columns)]
    return Attempt(held, work)


def _only(one: ConnectorReadings, rows: np.ndarray) -> ConnectorReadings:
    """Those of its readings that the document stands for: the others were stored long ago."""
    these = np.isin(one.rows, rows)
    return replace(one, columns=chosen(one.columns, these), rows=one.rows[these])


# --- the store --------------------------------------------------------------------------------


def _keep_readings(attempts: Sequence[Attempt], desk: Desk) -> None:
    parts = [(one, part) for one in attempts for part in one.work.readings]
    texts = (line for one, part in parts for line in _reading_lines(one, part, desk.store))
    results = iter(_send(texts, desk.store))
    for one, part in parts:
        answers = [next(results) for _ in range(len(part.columns))]
        good = np.array([answer.is_stored or answer.is_duplicate for answer in answers])
        one.accepted.update(part.rows[good].tolist())
        if good.any():
            one.chunks.append(_chunk(one, part, good))
        if not good.all():
            one.refused.append(_refused_by_store(one, part, answers, good))


def _reading_lines(one: Attempt, part: ConnectorReadings, store: TelemetryStore) -> Iterable[bytes]:
    constant = {
        "tenant": part.tenant,
        "connector": part.connector.id,
        **part.connector.dimensions,
        "device": part.parcel.device.identifier,
        "arrived_at": one.held.message.arrived_ms,
        "batch_id": one.held.batch,
    }
    values = {name: column.tolist() for name, column in part.columns.values.items()}
    for position, time_ms in enumerate(part.columns.time_ms.tolist()):
        index = store.reading_index(part.parcel.retention.at(time_ms), time_ms)
        row = {name: column[position] for name, column in values.items()}
        measured = {name: value for name, value in row.items() if value == value}  # NaN is none
        yield (
            orjson.dumps({"create": {"_index": index}})
            + b"\n"
            + orjson.dumps({**constant, "@timestamp": time_ms, **measured})
            + b"\n"
        )


def _send(texts: Iterable[bytes], store: TelemetryStore) -> list[ItemResult]:
    """The final answer to each document. A slice that is gone is an answer here: it is too old."""
    return [result for several in portions(texts) for result in _send_portion(several, store)]


def _send_portion(lines: Sequence[bytes], store: TelemetryStore) -> list[ItemResult]:
    results = _bulk(lines, store)
    deadline = time.monotonic() + PATIENCE_S
    for pause_s in pauses():
        busy = [i for i, result in enumerate(results) if _is_busy(result)]
        if not busy:
            return results
        if time.monotonic() > deadline:
            raise StoreUnavailable(status=results[busy[0]].status)
        time.sleep(pause_s)
        again = _bulk((lines[i] for i in busy), store)
        for i, result in zip(busy, again, strict=True):
            results[i] = result
    raise AssertionError("pauses() never ends")


def _bulk(lines: Iterable[bytes], store: TelemetryStore) -> list[ItemResult]:
    """The answer to each document; one that spoils its request stays in the quarantine."""

    def send(body: bytes) -> list[ItemResult] | WholeRefusal:
        try:
            return store.bulk(body)
        except StoreRefused as refused:
            found = for_its_content(refused)
            if found is None:
                raise
            return found

    return in_halves(b"".join(lines), send)


def _is_busy(result: ItemResult) -> bool:
    return result.is_worth_retrying and result.status != 404


def _chunk(one: Attempt, part: ConnectorReadings, good: np.ndarray) -> Chunk:
    columns = chosen(part.columns, good)
    return Chunk(
        tenant=part.tenant,
        connector=part.connector.id,
        arrived_ms=one.held.message.arrived_ms,
        time_ms=columns.time_ms,
        values=columns.values,
    )


def _refused_by_store(
    one: Attempt, part: ConnectorReadings, answers: Sequence[ItemResult], good: np.ndarray
) -> Refusal:
    first = answers[int(np.flatnonzero(~good)[0])]
    return Refusal(
        tenant=part.tenant,
        identity=part.parcel.identity,
        reason=Reason.STORE_REFUSED,
        message_number=0,
        message=part.parcel.message,
        count=int((~good).sum()),
        detail=f"{first.error_type}: {first.error_reason}"[:300],
        rows=tuple(part.rows[~good].tolist()),
    )


def _keep_refused_rows(attempts: Sequence[Attempt], desk: Desk) -> None:
    """Rows of a message that is no longer refused as a whole get documents of their own."""
    texts = [
        _refused_text(one, refusal, desk)
        for one in attempts
        if one.is_whole and one.accepted
        for refusal in _together([*one.work.refused, *one.refused])
    ]
    for result in _send(texts, desk.store):
        if not (result.is_stored or result.is_duplicate):
            raise StoreUnavailable(status=result.status, reason=result.error_reason)


def _together(refused: Sequence[Refusal]) -> list[Refusal]:
    by_reason: dict[Reason, Refusal] = {}
    for one in refused:
        known = by_reason.get(one.reason)
        by_reason[one.reason] = (
            one
            if known is None
            else replace(known, count=known.count + one.count, rows=known.rows + one.rows)
        )
    return list(by_reason.values())


def _refused_text(one: Attempt, refusal: Refusal, desk: Desk) -> bytes:
    said = one.held.message
    about = {
        "tenant": desk.tenant,
        "identity": said.identity,
        "device": said.device,
        "topic": said.topic,
        "content_type": said.content_type,
        "field": refusal.field,
        "detail": refusal.detail,
    }
    return quarantine_lines(
        index=desk.store.quarantine_index(said.arrived_ms),
        document_id=f"{desk.tenant}:{one.held.batch}-0-{refusal.reason}",
        fields={
            **{name: text for name, text in about.items() if text},
            "reason": refusal.reason,
            "rows": list(refusal.rows),
            "count": refusal.count,
            "arrived_at": said.arrived_ms,
            "batch_id": one.held.batch,
            "number": 0,
            **_tried_by(one.held.batch),
        },
        payload=said.payload,
    )


def _tried_by(batch: int) -> dict[str, int]:
    """The run that has tried them, where it is one of the quarantine that they go to."""
    if batch & _UNCLAIMED:
        return {}
    return {"replay_run": (batch & (_UNCLAIMED - 1)) // BATCHES_LIMIT}


# --- the account ------------------------------------------------------------------------------


def _held_under(attempts: Sequence[Attempt], desk: Desk) -> dict[int, LedgerEntry]:
    """What the store holds under each attempt's number, whoever has put it there."""
    numbers = {one.held.batch for one in attempts}
    found = desk.store.held_batches(min(numbers), max(numbers) + 1)
    ours = desk.tenant
    return {
        entry.batch_id: entry
        for entry in found
        if entry.tenant == ours and entry.batch_id in numbers
    }


def _by_tenant(entry: LedgerEntry, desk: Desk) -> list[LedgerEntry]:
    """A correction as ledgers take it: what leaves the platform's quarantine is entered there."""
    if desk.quarantine.tenant == desk.tenant:
        return [entry]
    reasons = entry.quarantined.items()
    gone = {reason: number for reason, number in reasons if number < 0}
    come = {reason: number for reason, number in reasons if number > 0}
    theirs = replace(entry, tenant=desk.quarantine.tenant, stored=0, duplicate=0, quarantined=gone)
    return [replace(entry, quarantined=come), theirs]


def _entry(one: Attempt, found: LedgerEntry | None, desk: Desk) -> LedgerEntry | None:
    """The correction: what the store holds under the number comes in, what was quarantined goes.

    None where nothing has moved.
    """
    said = one.held.message
    stored = found.stored if found else 0
    duplicate = max(0, len(one.accepted) - stored)
    quarantined = Counter(found.quarantined if found else {})
    if not one.is_whole:
        duplicate = max(0, min(duplicate, said.count - stored))
    if not stored + duplicate + quarantined.total():
        return None
    quarantined[said.reason] -= said.count if one.is_whole else stored + duplicate
    return LedgerEntry(
        tenant=desk.tenant,
        batch_id=one.held.batch,
        arrived_ms=said.arrived_ms,
        stored=stored,
        duplicate=duplicate,
        quarantined={reason: number for reason, number in quarantined.items() if number},
    )


def _settled(one: Attempt, entry: LedgerEntry | None) -> Settled:
    said = one.held.message
    moved = entry.stored + entry.duplicate if entry else 0
    if entry is None:
        return Settled(one.held, REFUSED, said.count, said.rows, 0, _why(one))
    if one.is_whole:
        return Settled(one.held, REPLAYED, 0, (), moved)
    left = said.count - moved
    rows = tuple(row for row in said.rows if row not in one.accepted) if left else ()
    state = PARTLY if left else REPLAYED
    return Settled(one.held, state, left, rows, moved, _why(one) if left else "")


def _why(one: Attempt) -> str:
    """Why it is refused still, for an engineer's eyes."""
    said = one.held.message
    refused = [*one.work.refused, *one.refused]
    fitting = [each for each in refused if not said.rows or set(each.rows) & set(said.rows)]
    return "; ".join(f"{each.reason}: {each.detail}".rstrip(": ") for each in fitting or refused)


def _page(settled: Sequence[Settled], entries: Sequence[LedgerEntry | None]) -> Page:
    states = Counter(one.state for one in settled)
    moved = [entry for entry in entries if entry is not None]
    return Page(
        replayed=states[REPLAYED],
        partly=states[PARTLY],
        refused=states[REFUSED],
        stored=sum(entry.stored for entry in moved),
        duplicate=sum(entry.duplicate for entry in moved),
    )
