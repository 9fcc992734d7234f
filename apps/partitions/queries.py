"""What one may ask about partitions."""

from apps.partitions.log import Position
from apps.partitions.models import Checkpoint


def positions() -> dict[int, Position]:
    """Where each partition that was ever judged stands, by its number."""
    rows = Checkpoint.objects.values_list("partition", "position")
    return {partition: Position.parse(position) for partition, position in rows}
