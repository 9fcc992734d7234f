"""What travels through the acquisition worker: messages, batches of them, and receipts."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from ohmwatch.refusals import Reason

SLOT_SHIFT = 42
"""A batch's number is slot << 42 | count: below 2^53 for 2,000 slots, so that a double holds it."""
ARRIVAL_STEP_MS = 50


MESSAGE_BYTES = 150
"""What a message takes in memory beside its payload, about. A topic's text is one for all of its
messages."""


class Origin(Protocol):
    """The connection that a message came over; nothing else may acknowledge it."""

    def acknowledge(self, packet_id: int) -> None: ...


class Message(msgspec.Struct, gc=False, weakref=False):
    """One PUBLISH as it came. `packet_id` is 0 for QoS 0, which nobody waits for; `topic` is empty
    where it was no UTF-8: nobody's."""

    topic: str
    payload: bytes
    packet_id: int = 0
    content_type: str = ""
    origin: Origin | None = None


@dataclass(slots=True)
class Batch:
    """Messages that are stored, counted and acknowledged together.

    `number` is unique for ever, rises within a slot and stands in each document as `batch_id`.
    `turn` counts this process's batches from 0: the order in which they are committed.
    `arrived_ms` is the moment at which the batch closed, by `arrival_ms`; all that is in it arrived
    then.
    """

    number: int
    turn: int
    arrived_ms: int
    messages: list[Message]
    bytes_held: int = 0
    """What they take in memory, as the intake has counted it."""


@dataclass
class Tally:
    """What became of one tenant's readings in one batch. A message refused as a whole counts 1."""

    stored: int = 0
    duplicate: int = 0
    quarantined: Counter[Reason] = field(default_factory=Counter)
    late: int = 0
    """Of the stored ones: older than an hour when they arrived."""

    @property
    def received(self) -> int:
        return self.stored + self.duplicate + self.quarantined.total()


@dataclass(frozen=True)
class Receipt:
    """A batch is safe: every document answered for, in the partitions' logs, in the ledger."""

    batch: Batch
    tallies: dict[str, Tally]

    @property
    def received(self) -> int:
        return sum(tally.received for tally in self.tallies.values())


def arrival_ms(now_ms: int) -> int:
    """When what comes now has arrived: a batch takes longer to fill than ARRIVAL_STEP_MS, and what
    is no finer takes less room in each reading (decision 0004)."""
    return now_ms - now_ms % ARRIVAL_STEP_MS


def first_number(slot: int, now_ms: int) -> int:
    """The number of a batch that a slot closes now, if it is the first in this millisecond."""
    return slot << SLOT_SHIFT | now_ms
