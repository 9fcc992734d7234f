"""What Redis knows of one tenant, to be forgotten with it.

Each key of one tenant is `ow:<kind>:<slug>`, with more behind it where there are several of a kind;
the cache's keys begin with the tenant's schema. A test knows every kind that the code names.
"""

from collections.abc import Iterator
from typing import Any

import redis
from django.conf import settings

from apps.telemetry.board import COUNTED_KEY, LAG_KEY
from apps.tenants.changes import COUNTERS_KEY
from apps.tenants.identifiers import schema_name_of

KINDS = (
    *("counts", "seen", "status", "unknown-fields"),
    *("clock", "clock-news", "allowance", "changes", "states-sent", "replayed"),
)
BY_SLUG = (COUNTERS_KEY, LAG_KEY, "ow:states-seen")
"""Hashes of all tenants, by slug."""


def forget(slug: str) -> int:
    """Delete all of it; how many keys and fields. Raises redis.RedisError."""
    with redis.Redis.from_url(settings.REDIS_LOG_URL, socket_timeout=5) as log:
        gone = _delete(log, _keys(log, slug))
        gone += sum(int(log.hdel(name, slug)) for name in BY_SLUG)
        gone += sum(_drop_counted(log, key, slug) for key in log.scan_iter(f"{COUNTED_KEY}*"))
    with redis.Redis.from_url(settings.REDIS_CACHE_URL, socket_timeout=5) as cache:
        gone += _delete(cache, _keys(cache, slug))
        gone += _delete(cache, cache.scan_iter(f"{schema_name_of(slug)}:*", count=1_000))
    return gone


def _drop_counted(log: redis.Redis, key: bytes, slug: str) -> int:
    """What a slot has counted of the tenant for its former lives: `<slug> <name>`."""
    known: Any = log.hkeys(key)
    fields = [name for name in known if name.startswith(f"{slug} ".encode())]
    return int(log.hdel(key, *fields)) if fields else 0


def _keys(client: redis.Redis, slug: str) -> Iterator[bytes]:
    for key in client.scan_iter(f"ow:*:{slug}*", count=1_000):
        kind, whose = key.decode().split(":")[1:3]
        if kind in KINDS and whose == slug:
            yield key


def _delete(client: redis.Redis, keys: Iterator[bytes]) -> int:
    return sum(int(client.unlink(key)) for key in keys)
