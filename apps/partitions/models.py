"""How far detection has come in each partition; in the public schema, for all tenants."""

from django.db import models


class Checkpoint(models.Model):
    """All that detection needs to go on: who may write, where in the log, and what it knew.

    `fencing` is the number of the newest holder; every taking over raises it here first, so that
    it survives a lost Redis, and a write of an older holder changes no row. `position` names the
    log's generation and the last entry judged (`apps.partitions.log.Position`); `state` is a
    `ohmwatch.watch.Watch`, dumped in the same transaction as the findings that came with it.
    """

    partition = models.IntegerField(primary_key=True)
    fencing = models.BigIntegerField(default=0)
    position = models.TextField(default="", blank=True)
    state = models.BinaryField(default=b"")
    clock_ms = models.BigIntegerField(default=0, help_text="Newest reading judged, device time")
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(partition__gte=0, fencing__gte=0), name="partitions_not_negative"
            )
        ]

    def __str__(self) -> str:
        return f"partition {self.partition} at {self.position or 'its beginning'}"
