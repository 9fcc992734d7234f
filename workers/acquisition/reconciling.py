"""A slot that starts enters what its former life stored and did not live to enter.

Batches are entered in the ledger one after the other, so what may be missing lies beyond the last
that a life entered for itself. It is entered from what the store holds: received is what is there;
duplicates left no trace. The messages come again, and count again, as duplicates. A request that
was on its way when the worker died may be carried out late, and in parts, so the look is repeated,
by the next life too if this one enters nothing of its own; entering a batch again is harmless.
What a life that was believed dead has entered itself by then stands: only it knows its duplicates.

The counts on the board follow the ledger: what a former life entered and did not live to count, and
what is entered for it, this life counts from the ledger, again and again by the difference.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from apps.telemetry.store import TelemetryStore
from workers.acquisition.batches import first_number
from workers.acquisition.board import Board

LOOKS_S = (5.0, 30.0, 120.0)
"""Seconds after the start, which has looked itself; from then on each LOOK_AGAIN_S."""
LOOK_AGAIN_S = 600.0
LOOK_BACK_MS = 14 * 24 * 3600 * 1000
"""A slot that was away for longer is looked after from here on only."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class FormerLives:
    """The batch numbers that a slot may have used and not entered itself: low ≤ number < high."""

    low: int
    high: int


def former_lives(telemetry: TelemetryStore, *, slot: int, now_ms: int) -> FormerLives:
    """What to look at, before this life's first batch. Raises TelemetryError."""
    earliest = first_number(slot, max(now_ms - LOOK_BACK_MS, 0))
    end = first_number(slot + 1, 0)
    last = telemetry.last_ledger_batch(earliest, end)
    own = telemetry.last_ledger_batch(earliest, end, reconciled=False)
    low = earliest if own is None else own + 1
    return FormerLives(low, max(low, (last or 0) + 1, first_number(slot, now_ms)))


def enter_missing(telemetry: TelemetryStore, lives: FormerLives) -> int:
    """Enter what the store holds of former lives; returns how many entries it was.

    Raises TelemetryError.
    """
    entries = telemetry.held_batches(lives.low, lives.high)
    telemetry.reconcile(entries)
    if entries:
        log.warning("ledger_reconciled", entries=len(entries))
    return len(entries)


def taken_over(
    telemetry: TelemetryStore, board: Board, *, slot: int, lives: FormerLives
) -> FormerLives:
    """The batches of former lives that this one counts from now on, before its own first batch.

    Where the life before has entered nothing of its own, its batches stay uncounted ones together
    with those that it took over. Harmless where it is repeated. Raises TelemetryError, RedisError.
    """
    known = board.counted(slot)
    if known.high == lives.high:
        return FormerLives(known.low, known.high)
    recount(telemetry, board, slot=slot)
    if goes_on := lives.low <= known.high:
        low = known.low
    else:
        low = min(lives.low, known.upto + 1) if known.upto else lives.low
    board.take_over(slot, low=low, high=lives.high, goes_on=goes_on)
    return FormerLives(low, lives.high)


def recount(telemetry: TelemetryStore, board: Board, *, slot: int) -> None:
    """Count for whatever life has the slot what the ledger has of those before it. Raises
    TelemetryError, RedisError."""
    known = board.counted(slot)
    if known.high:
        count_missing(telemetry, board, slot=slot, lives=FormerLives(known.low, known.high))


def count_missing(
    telemetry: TelemetryStore, board: Board, *, slot: int, lives: FormerLives
) -> None:
    """Count what of these the ledger has by now. Raises TelemetryError, RedisError."""
    board.settle(slot, high=lives.high, lines=telemetry.entered(lives.low, lives.high))


def looks() -> Iterator[float]:
    """When to look, in seconds after the start."""
    yield from LOOKS_S
    at_s = LOOKS_S[-1]
    while True:
        at_s += LOOK_AGAIN_S
        yield at_s
