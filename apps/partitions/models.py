"""How far detection has come in each partition; in the public schema, for all tenants."""

from django.db import models


class Checkpoint(models.Model):
    """All that detection needs to go on: who may write, where in the log, and what it knew.

    `fencing` is the number of the newest holder; every taking over raises it here first, so that
    it survives a lost Redis, and a write of an older holder changes no row. `position` names the
    log's generation and the last entry judged (`apps.partitions.log.Position`); `state` is a
    `ohmwatch.watch.Watch`, dumped in the same transaction as the findings that came with it.
    `late_number` is the watch's newest note of late readings, and `audited_number` up to which note
    they were looked after (`workers.detection.again`).
    """

    partition = models.IntegerField(primary_key=True)
    fencing = models.BigIntegerField(default=0)
    position = models.TextField(default="", blank=True)
    state = models.BinaryField(default=b"")
    clock_ms = models.BigIntegerField(default=0, help_text="Newest reading judged, device time")
    late_number = models.BigIntegerField(default=0, db_default=0)
    audited_number = models.BigIntegerField(default=0, db_default=0)
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(partition__gte=0, fencing__gte=0), name="partitions_not_negative"
            )
        ]

    def __str__(self) -> str:
        return f"partition {self.partition} at {self.position or 'its beginning'}"


class Snapshot(models.Model):
    """A checkpoint's state as it once was: from here readings that came late are judged again.

    The first of a partition is empty. `clock_ms` is the checkpoint's then. How many are kept does
    not depend on connectors, nor on how long the partition lives (`apps.partitions.snapshots`).
    """

    partition = models.IntegerField()
    taken_at = models.DateTimeField()
    clock_ms = models.BigIntegerField()
    state = models.BinaryField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["partition", "taken_at"], name="one_snapshot_at_a_time")
        ]

    def __str__(self) -> str:
        return f"partition {self.partition} as of {self.taken_at:%Y-%m-%d %H:%M:%S}"


class Arrear(models.Model):
    """A connector that could not be judged again in full: some detector failed at it.

    `connector` is as detection names it, `since_ms` the clock (device time) of the state from which
    it is to be judged: later states lack what failed. `due_at` is when it is tried once more; null
    after the last try, and then `failed` and `error` are what an operator has to know.
    """

    partition = models.IntegerField()
    connector = models.TextField()
    since_ms = models.BigIntegerField()
    tries = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(null=True)
    failed = models.TextField()
    error = models.TextField()
    noted_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["partition", "connector"], name="one_arrear_of_a_connector"
            )
        ]

    def __str__(self) -> str:
        return f"{self.connector}: {self.failed}"
