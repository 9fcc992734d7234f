"""A counter per tenant in Redis that workers watch: who keeps a copy reads again when it moves.

Nothing depends on it being there: copies are also read again once a minute.
"""

from typing import cast

import redis
import structlog
from django.conf import settings
from django.db import transaction

from apps.tenants.queries import current_tenant

logger = structlog.get_logger(__name__)

COUNTERS_KEY = "ow:directory"
"""A hash: slug → how often that tenant's devices, fleet or catalogue have changed."""


def announce() -> None:
    """Tell the workers, once the transaction has committed, that the set tenant has changed."""
    slug = current_tenant().slug
    transaction.on_commit(lambda: count(slug))


def count(slug: str) -> None:
    """Move a tenant's counter now. An unreachable Redis only costs the workers time."""
    try:
        with redis.Redis.from_url(settings.REDIS_LOG_URL, socket_timeout=2) as client:
            client.hincrby(COUNTERS_KEY, slug, 1)
    except redis.RedisError as error:
        logger.warning("change_not_announced", tenant=slug, error=str(error))


def read_counters(client: redis.Redis) -> dict[str, int]:
    """Slug → counter, for every tenant that has ever changed. Raises redis.RedisError."""
    counters = cast("dict[bytes, bytes]", client.hgetall(COUNTERS_KEY))
    return {slug.decode(): int(number) for slug, number in counters.items()}
