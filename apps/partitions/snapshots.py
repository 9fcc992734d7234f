"""Copies of checkpoints, kept so that readings which come late can be judged at their own time.

They are made in the database, by one statement a partition: detection does nothing for it. The
younger, the closer they stand: nine at most reach beyond REACH, in any fleet.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction

from apps.partitions.models import Checkpoint, Snapshot

EVERY = timedelta(hours=1)
REACH = timedelta(hours=25)
"""One at least is as old as that: what is a day late, and some minutes, is within reach."""

SPREAD = 1.0
"""A copy goes where its neighbours are no further apart than this many times the younger one's age:
twice as old, twice as far apart."""

_COPY = """
INSERT INTO partitions_snapshot (partition, taken_at, clock_ms, state)
SELECT partition, %(now)s, clock_ms, state FROM partitions_checkpoint
WHERE partition = %(partition)s
"""


def take_snapshots(*, now: datetime) -> int:
    """Copies the checkpoints whose newest copy is older than EVERY; how many copies were made."""
    due = [
        partition
        for partition in Checkpoint.objects.values_list("partition", flat=True)
        if not Snapshot.objects.filter(partition=partition, taken_at__gt=now - EVERY).exists()
    ]
    for partition in due:
        take_snapshot(partition, now=now)
    return len(due)


def take_snapshot(partition: int, *, now: datetime) -> None:
    """Copies a checkpoint as it stands, and drops copies that are not needed any more."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_COPY, {"now": now, "partition": partition})
        own = Snapshot.objects.filter(partition=partition).order_by("taken_at")
        taken = list(own.values_list("taken_at", flat=True))
        gone = set(taken) - set(kept(taken, now=now))
        own.filter(taken_at__in=gone).delete()


def rewrite(partition: int, change: Callable[[bytes], bytes]) -> None:
    """Changes what the copies of a partition say: of a tenant that is erased nothing stays."""
    for row in Snapshot.objects.filter(partition=partition).iterator(chunk_size=1):
        if row.state:
            row.state = change(bytes(row.state))
            row.save(update_fields=["state"])


def kept(taken: Sequence[datetime], *, now: datetime) -> list[datetime]:
    """Which copies of these to keep, oldest first.

    >>> hours = [datetime(2026, 11, 26) + timedelta(hours=each) for each in range(60)]
    >>> after: list[datetime] = []
    >>> for each in hours:
    ...     after = kept([*after, each], now=each)
    >>> [(hours[-1] - each) / timedelta(hours=1) for each in after]
    [32.0, 23.0, 14.0, 8.0, 5.0, 2.0, 1.0, 0.0]
    """
    stay = sorted(taken)
    while len(stay) > 1 and now - stay[1] >= REACH:
        del stay[0]
    at = 1
    while at < len(stay) - 1:
        apart, age = stay[at + 1] - stay[at - 1], now - stay[at + 1]
        if apart <= SPREAD * age:
            del stay[at]
        else:
            at += 1
    return stay
