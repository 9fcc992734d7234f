"""What changes checkpoints: taking a partition over, and moving on in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import F

from apps.partitions.models import Checkpoint, Snapshot


class Fenced(Exception):
    """Somebody has taken the partition over since: what we would write is not ours to say."""

    code = "fenced"

    def __init__(self, partition: int, fencing: int) -> None:
        super().__init__(f"partition {partition} is no longer held under {fencing}")
        self.partition = partition
        self.fencing = fencing


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a holder has come: what `commit` writes."""

    partition: int
    fencing: int
    position: str
    state: bytes
    clock_ms: int
    late_number: int = 0


def take_over(*, partition: int, now: datetime) -> Checkpoint:
    """Makes the caller the partition's newest holder; its checkpoint as it stands now.

    From here on every older holder is fenced off.
    """
    with transaction.atomic():
        born = {"updated_at": now}
        _row, is_new = Checkpoint.objects.get_or_create(partition=partition, defaults=born)
        if is_new:  # what comes within a day is in reach of the very beginning
            Snapshot.objects.create(partition=partition, taken_at=now, clock_ms=0, state=b"")
        Checkpoint.objects.filter(partition=partition).update(
            fencing=F("fencing") + 1, updated_at=now
        )
        return Checkpoint.objects.get(partition=partition)


def commit(progress: Progress, *, now: datetime) -> None:
    """Writes the checkpoint in the caller's transaction. Raises Fenced, and changes nothing."""
    written = Checkpoint.objects.filter(
        partition=progress.partition, fencing__lte=progress.fencing
    ).update(
        fencing=progress.fencing,
        position=progress.position,
        state=progress.state,
        clock_ms=progress.clock_ms,
        late_number=progress.late_number,
        updated_at=now,
    )
    if not written:
        raise Fenced(progress.partition, progress.fencing)


_COMMIT_ALL = """
UPDATE partitions_checkpoint AS kept SET fencing = now.fencing, position = now.position,
  state = now.state, clock_ms = now.clock_ms, late_number = now.late_number, updated_at = %s
FROM (VALUES {rows}) AS now (partition, fencing, position, state, clock_ms, late_number)
WHERE kept.partition = now.partition AND kept.fencing <= now.fencing
RETURNING kept.partition
"""
_ROW = "(%s::integer, %s::bigint, %s, %s::bytea, %s::bigint, %s::bigint)"


def commit_all(several: Sequence[Progress], *, now: datetime) -> None:
    """Writes several checkpoints in one statement. Raises Fenced where one is not ours to write,
    named; the others are written."""
    rows = ", ".join([_ROW] * len(several))
    values: list[datetime | int | str | bytes] = [now]
    for each in several:
        values += [each.partition, each.fencing, each.position, each.state]
        values += [each.clock_ms, each.late_number]
    with connection.cursor() as cursor:
        cursor.execute(_COMMIT_ALL.format(rows=rows), values)
        written = {partition for (partition,) in cursor.fetchall()}
    for each in several:
        if each.partition not in written:
            raise Fenced(each.partition, each.fencing)


def note_audit(*, partition: int, number: int) -> None:
    """Notes that late readings were looked after, up to the note of this number."""
    Checkpoint.objects.filter(partition=partition, audited_number__lt=number).update(
        audited_number=number
    )
