"""A partition as its holder keeps it in memory, between passes and between checkpoints."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

import numpy as np

from apps.partitions.log import Position
from apps.partitions.models import Checkpoint
from apps.partitions.operations import Progress
from ohmwatch.detector import Batch, Detector, Flags
from ohmwatch.findings import Finding
from ohmwatch.watch import Watch

REACH_MS = 24 * 3_600_000
"""Behind the connector's clock. What is later than this is judged by nobody."""


@dataclass
class Holding:
    """Everything since `fencing` was taken; what is not committed is worth nothing.

    `early` are readings that were judged before their turn, by the reorder window, and will be
    read once more. `lapsed_ms` is when the clock was looked at last, 0 if it was not. `ripe_at`,
    on the monotonic clock, is when the next entry has waited the reorder window out, and `due_at`
    when the wake-up that we asked for last is due, 0.0 where we asked for none.
    `out_of_reach` are readings that came so late that nobody judges them, as yet untold.
    """

    partition: int
    fencing: int
    watch: Watch
    position: Position
    committed_at: datetime
    findings: list[Finding] = field(default_factory=list)
    in_shadow: list[Finding] = field(default_factory=list)
    is_dirty: bool = False
    early: Counter[tuple[str, int]] = field(default_factory=Counter)
    lapsed_ms: int = 0
    ripe_at: float = 0.0
    due_at: float = 0.0
    out_of_reach: int = 0

    @classmethod
    def of(
        cls,
        checkpoint: Checkpoint,
        detectors: Sequence[Detector],
        *,
        now: datetime,
        keep_absent: bool = False,
    ) -> Self:
        """What the checkpoint says; `keep_absent` as for `Watch.load`."""
        return cls(
            partition=checkpoint.partition,
            fencing=checkpoint.fencing,
            watch=Watch.load(bytes(checkpoint.state), detectors, keep_absent=keep_absent),
            position=Position.parse(checkpoint.position),
            committed_at=now,
        )

    def progress(self) -> Progress:
        """What a checkpoint of now says."""
        return Progress(
            partition=self.partition,
            fencing=self.fencing,
            position=str(self.position),
            state=self.watch.dump(),
            clock_ms=self.watch.newest_ms(),
            late_number=self.watch.newest_late(),
        )


@dataclass(frozen=True, slots=True)
class Owners:
    """Whose the connectors of a batch are: so many of the first holding, so many of the next."""

    holdings: Sequence[Holding]
    counts: Sequence[int]

    def each(self) -> list[Holding]:
        """The holding of each connector."""
        pairs = zip(self.holdings, self.counts, strict=True)
        return [holding for holding, count in pairs for _ in range(count)]

    def watches(self) -> list[tuple[Watch, int]]:
        """The watch of each holding, and how many connectors are its own."""
        pairs = zip(self.holdings, self.counts, strict=True)
        return [(holding.watch, count) for holding, count in pairs]

    def count_late(self, batch: Batch, mature: Flags, released: Flags) -> int:
        """How many mature readings were too late; keeps account of those taken early.

        To be asked before the watches see the batch. It is noted of whom they are, for that they be
        judged again; not of those that are out of reach.
        """
        owners = self.each()
        clocks = np.array(
            [
                holding.watch.clock_ms(name)
                for holding, name in zip(owners, batch.connectors, strict=True)
            ],
            dtype=np.int64,
        )
        passed = batch.time_ms <= clocks[batch.connector]
        behind = np.flatnonzero(mature & (passed | ~released)).tolist()
        ahead = np.flatnonzero(released & ~mature & ~passed).tolist()
        late: list[int] = []
        for at in behind:
            early = owners[batch.connector[at]].early
            key = (batch.connectors[batch.connector[at]], int(batch.time_ms[at]))
            if early[key] > 1:
                early[key] -= 1
            elif early.pop(key, 0) < 1:
                late.append(at)
        for at in ahead:
            key = (batch.connectors[batch.connector[at]], int(batch.time_ms[at]))
            owners[batch.connector[at]].early[key] += 1
        self._note_late(batch, np.array(late, dtype=np.int64), clocks)
        return len(late)

    def _note_late(self, batch: Batch, late: np.ndarray, clocks: np.ndarray) -> None:
        if not len(late):
            return
        owner = batch.connector[late]
        in_reach = clocks[owner] - batch.time_ms[late] <= REACH_MS
        first = 0
        for holding, count in zip(self.holdings, self.counts, strict=True):
            its = (owner >= first) & (owner < first + count)
            first += count
            holding.out_of_reach += int((its & ~in_reach).sum())
            whose = np.unique(owner[its & in_reach]).tolist()
            if whose:
                holding.watch.note_late(batch.connectors[each] for each in whose)
