"""What one may ask about partitions."""

from collections.abc import Iterator

from django.db.models import F

from apps.partitions.log import Position
from apps.partitions.models import Checkpoint, Snapshot


def positions() -> dict[int, Position]:
    """Where each partition that was ever judged stands, by its number."""
    rows = Checkpoint.objects.values_list("partition", "position")
    return {partition: Position.parse(position) for partition, position in rows}


def partitions_with_late() -> list[int]:
    """Those with late readings that nobody has looked after."""
    waiting = Checkpoint.objects.filter(late_number__gt=F("audited_number")).order_by(
        "audited_number"
    )
    return list(waiting.values_list("partition", flat=True))


def checkpoint(partition: int) -> Checkpoint:
    """A partition's checkpoint. Raises Checkpoint.DoesNotExist."""
    return Checkpoint.objects.get(partition=partition)


def snapshots(partition: int) -> Iterator[bytes]:
    """The states that are kept of a partition, oldest first."""
    rows = Snapshot.objects.filter(partition=partition).order_by("taken_at")
    for state in rows.values_list("state", flat=True).iterator(chunk_size=1):
        yield bytes(state)
