"""What has changed of each tenant, in Redis: who keeps a copy of it reads that much again.

A counter for each tenant rises with every change, and the newest changes say which rows they were
of. Who missed some, or finds a change that names no rows, reads the whole tenant. Nothing depends
on any of it being there: copies are also read again once a minute.
"""

from collections.abc import Collection, Iterable
from typing import Self, cast
from uuid import UUID

import msgspec
import redis
import structlog
from django.conf import settings
from django.db import transaction

from apps.tenants.queries import current_tenant

logger = structlog.get_logger(__name__)

COUNTERS_KEY = "ow:directory"
"""A hash: slug → how often that tenant's devices, fleet, catalogue or rules have changed."""
CHANGES_KEY = "ow:changes:"
"""With a slug: a list of its newest changes, the newest first, each `<counter> <rows as JSON>`."""
KEPT = 1_000
"""Changes kept for each tenant: hours of a person's work, and half a second of an import's."""

_NOTE = """
local number = redis.call('hincrby', KEYS[1], ARGV[1], 1)
redis.call('lpush', KEYS[2], number .. ' ' .. ARGV[2])
redis.call('ltrim', KEYS[2], 0, ARGV[3] - 1)
return number
"""


class Rows(msgspec.Struct, frozen=True):
    """Which of a tenant's rows have changed, by their ids; none of them where it is something else
    that the counter tells of."""

    devices: frozenset[str] = frozenset()
    connectors: frozenset[str] = frozenset()
    vehicles: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        *,
        devices: Iterable[UUID] = (),
        connectors: Iterable[UUID] = (),
        vehicles: Iterable[UUID] = (),
    ) -> Self:
        """Rows with these keys."""
        found = (frozenset(map(str, keys)) for keys in (devices, connectors, vehicles))
        return cls(*found)

    def __or__(self, other: "Rows") -> "Rows":
        return Rows(
            self.devices | other.devices,
            self.connectors | other.connectors,
            self.vehicles | other.vehicles,
        )

    def __len__(self) -> int:
        return len(self.devices) + len(self.connectors) + len(self.vehicles)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Rows | None).decode


def announce(rows: Rows | None = None) -> None:
    """Tell the workers, once the transaction has committed, that the set tenant has changed:
    these rows of it, or who knows what."""
    slug = current_tenant().slug
    transaction.on_commit(lambda: count(slug, rows))


def count(slug: str, rows: Rows | None = None) -> None:
    """Note a tenant's change now. An unreachable Redis only costs the workers time."""
    try:
        with redis.Redis.from_url(settings.REDIS_LOG_URL, socket_timeout=2) as client:
            client.eval(_NOTE, 2, COUNTERS_KEY, CHANGES_KEY + slug, slug, _encode(rows), KEPT)
    except redis.RedisError as error:
        logger.warning("change_not_announced", tenant=slug, error=str(error))


def read_counters(client: redis.Redis) -> dict[str, int]:
    """Slug → counter, for every tenant that has ever changed. Raises redis.RedisError."""
    counters = cast("dict[bytes, bytes]", client.hgetall(COUNTERS_KEY))
    return {slug.decode(): int(number) for slug, number in counters.items()}


def read_changes(client: redis.Redis, slug: str, *, after: int, upto: int) -> Rows | None:
    """The rows of all changes with a counter in (after, upto]; None where that can't be told: one
    names no rows, or is not here any more, or the counter has begun anew.

    Raises redis.RedisError.
    """
    wanted = range(after + 1, upto + 1)
    if not 0 < len(wanted) <= KEPT:
        return None
    noted = cast("list[bytes]", client.lrange(CHANGES_KEY + slug, 0, KEPT - 1))
    try:
        return _told(wanted, noted)
    except msgspec.DecodeError:  # of another version than ours
        return None


def _told(wanted: Collection[int], noted: Iterable[bytes]) -> Rows | None:
    changes: dict[int, Rows | None] = {}
    for note in noted:
        number, _space, rows = note.partition(b" ")
        if int(number) in wanted:
            changes.setdefault(int(number), _decode(rows))
    if len(changes) < len(wanted):
        return None
    together = Rows()
    for changed in changes.values():
        if changed is None:
            return None
        together |= changed
    return together
