"""How full an index's shards are and will be, and how many shards that takes. Pure functions.

A slice's name follows from its time (decision 0007), so what follows its size is the number of its
shards: chosen when it is made, and raised by writing it anew (growth.py) where it grows faster.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHARD_BYTES = 40 << 30
"""Shards of this size are still moved, merged and searched in good time."""
SHARD_DOCUMENTS = 1_000_000_000
"""Half of the 2 147 483 519 after which Lucene takes no more into a shard, for good."""
SHARDS_LIMIT = 64
GROWTH = 1.25
"""A slice is made for so many times what the largest before it comes to."""
BYTES_A_READING = 60
EARLIEST = 0.01
"""What came in a shorter share of a slice's time says nothing of the rest."""
ENOUGH, LEFT = 0.1, 0.2
"""A slice is written anew for what it is going to hold where a shard is filled so far and so much
of its time is to come: sooner it is a guess, later it is not worth it."""
URGENT = 1.5
"""A shard filled so many times over is written anew whatever is to come."""


@dataclass(frozen=True)
class Extent:
    """An index as it stands: its shards, and what the fullest of them holds.

    `documents`: with those that are deleted and not merged away yet, as they count, too.
    `elapsed`: the share of its time that is over, 1 where it has no end. `width_days`: its time; 0
    where it has none.
    """

    index: str
    family: str
    shards: int
    documents: int
    bytes: int
    elapsed: float = 1.0
    width_days: int = 0

    @property
    def used(self) -> float:
        """What the fullest shard holds, as a share of what one should."""
        return max(self.documents / SHARD_DOCUMENTS, self.bytes / SHARD_BYTES)

    @property
    def expected(self) -> float:
        """The same at the end of its time, if it goes on as it has."""
        return self.used / max(self.elapsed, EARLIEST)

    @property
    def shards_to_write_anew(self) -> int | None:
        """How many shards it should get while it is being filled; None where it may stay."""
        outgrows = self.used >= ENOUGH and self.expected > 1 and 1 - self.elapsed >= LEFT
        endless = self.width_days == 0 and self.used > 1
        if not (outgrows or endless or self.used > URGENT) or self.shards >= SHARDS_LIMIT:
            return None
        # At least doubled: it is all copied, so not for a little.
        return min(SHARDS_LIMIT, max(2 * self.shards, shards_for(self.expected * self.shards)))


def shards_for(full: float) -> int:
    """How many shards take what fills so many of them, and what that grows by."""
    return min(SHARDS_LIMIT, math.ceil(full * GROWTH) or 1)


def shards_of_next(
    family: str, width_days: int, extents: Iterable[Extent], readings_per_s: float = 0
) -> int:
    """The shards of a family's next slice: for the largest that has begun, by what it comes to.

    The first slice of a class is made for the largest of the other classes, and for so many
    readings a second where that is told.
    """
    alike = [each for each in extents if each.width_days and each.elapsed > 0]
    own = [each for each in alike if each.family == family]
    kind = family.rsplit("-", 1)[0]
    of_kind = [each for each in alike if each.family.rsplit("-", 1)[0] == kind]
    full = [each.expected * each.shards * width_days / each.width_days for each in own or of_kind]
    if not own and readings_per_s:
        documents = readings_per_s * width_days * 86_400
        told = max(documents / SHARD_DOCUMENTS, documents * BYTES_A_READING / SHARD_BYTES)
        full.append(told / GROWTH)  # who tells a number has thought of growth
    return shards_for(max(full, default=0))


def fullest(shards: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[int, int]:
    """The most documents and bytes of a primary shard, of an index's statistics by shard."""
    primaries = [
        copy for copies in shards.values() for copy in copies if copy["routing"]["primary"]
    ]
    documents = (each["docs"]["count"] + each["docs"].get("deleted", 0) for each in primaries)
    return (
        max(documents, default=0),
        max((each["store"]["size_in_bytes"] for each in primaries), default=0),
    )
