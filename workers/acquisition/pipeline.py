"""What happens to a batch, in order, on one page.

Nothing is acknowledged before the last line: until then a crash anywhere leaves the messages with
the broker, which sends them again.
"""

import threading
from dataclasses import dataclass, field
from datetime import datetime

from redis import RedisError

from apps.devices.directory import Directory
from apps.partitions.log import PartitionLog
from apps.telemetry.errors import TelemetryError
from apps.telemetry.store import TelemetryStore
from workers.acquisition import faults
from workers.acquisition.batches import SLOT_SHIFT, Batch, Receipt
from workers.acquisition.board import Board
from workers.acquisition.clocks import newest_measured
from workers.acquisition.keeping import Kept, keep
from workers.acquisition.patience import Patience
from workers.acquisition.reconciling import recount
from workers.acquisition.sorting import Sorted, check, decode, resolve
from workers.acquisition.turnstile import Turnstile


@dataclass(frozen=True)
class Stores:
    """All that the pipeline writes to and asks; several batches use them at once."""

    directory: Directory
    telemetry: TelemetryStore
    partition_log: PartitionLog
    board: Board
    turnstile: Turnstile
    patience: Patience = field(default_factory=Patience)
    desk: threading.Lock = field(default_factory=threading.Lock)
    """Where one batch at a time is taken apart: that needs several times what it leaves."""


def take_in(batch: Batch, *, stores: Stores, now: datetime) -> Receipt:
    """Store, log and enter a batch; the receipt says that its messages may be acknowledged.

    Waits while a store is away. Raises Stopping when told to give up, and nothing else but faults
    of ours.
    """
    with stores.desk:
        decoded = decode(batch, directory=stores.directory, in_tables=True)
        decoded.newest = newest_measured(decoded)
        faults.point("after_decode")
        checked = check(decoded, open_range_ms=stores.telemetry.open_range_ms(now))
        resolved = resolve(checked)
    faults.point("before_bulk")
    kept = keep(batch, resolved, telemetry=stores.telemetry, patience=stores.patience)
    with stores.turnstile.turn(batch.turn):  # from here on in order of arrival
        _log_and_enter(batch, resolved, kept, stores)
        return Receipt(batch, kept.tallies)


def _log_and_enter(batch: Batch, resolved: Sorted, kept: Kept, stores: Stores) -> None:
    hold = stores.patience.hold
    hold(
        # Duplicates too: a crash may have cut in here.
        lambda: stores.partition_log.append(kept.chunks, kept.rows),
        store="redis",
        away=(RedisError,),
    )
    faults.point("after_log")
    hold(
        lambda: stores.telemetry.write_ledger(kept.ledger_entries(batch)),
        store="elasticsearch",
        away=(TelemetryError,),
    )
    faults.point("after_ledger")
    is_counted = hold(
        # Behind the ledger: what it has and the board has not, the slot's next life counts.
        lambda: stores.board.note(batch, resolved, kept.tallies),
        store="redis",
        away=(RedisError,),
    )
    if not is_counted:  # that next life is there already, if this is not a note that came twice
        hold(
            lambda: recount(stores.telemetry, stores.board, slot=batch.number >> SLOT_SHIFT),
            store="redis",
            away=(RedisError, TelemetryError),
        )
    faults.point("before_puback")
