"""Whose turn it is at the rollups: one who builds them at a time, and nobody while one erases.

A turn is a lease in Redis. Who has it renews it before each write and for each rest; who was held
up for longer finds that it is over, and writes nothing: what it had read may be erased by now.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import redis
from django.conf import settings

from apps.telemetry.errors import StoreUnavailable, TurnLost

LEASE_KEY = "ow:rollups"
LEASE_S = 180
"""How long the turn of one who was killed keeps others from theirs."""

WAIT_S = 900.0
"""Who builds rests for up to nine times what a search took, which may be 30 s."""
_LOOK_S = 0.2

_RENEW = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('expire', KEYS[1], ARGV[2]) end
return 0
"""
_END = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end
return 0
"""


class Turn:
    """One process's turn, taken or not."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._token = uuid4().hex

    def take(self) -> bool:
        """True where nobody has it, and now we have, for LEASE_S."""
        return bool(self._client.set(LEASE_KEY, self._token, nx=True, ex=LEASE_S))

    def go_on(self, rest_s: float = 0.0) -> None:
        """Ours for LEASE_S more, and for a rest before. Raises TurnLost where it was over."""
        ends_in_s = LEASE_S + round(rest_s)
        if not self._client.eval(_RENEW, 1, LEASE_KEY, self._token, ends_in_s):
            raise TurnLost

    def end(self) -> None:
        """Let others have theirs, if it is ours still."""
        self._client.eval(_END, 1, LEASE_KEY, self._token)


@contextmanager
def free_turn() -> Iterator[Turn | None]:
    """A turn, where nobody has one now. Raises redis.RedisError."""
    with _client() as client:
        turn = Turn(client)
        taken = turn.take()
        try:
            yield turn if taken else None
        finally:
            turn.end()


@contextmanager
def next_turn() -> Iterator[Turn]:
    """A turn, once whoever has it has ended. Raises StoreUnavailable, redis.RedisError."""
    until = time.monotonic() + WAIT_S
    with _client() as client:
        turn = Turn(client)
        while not turn.take():
            if time.monotonic() >= until:
                raise StoreUnavailable(reason="rollups are being built")
            time.sleep(_LOOK_S)
        try:
            yield turn
        finally:
            turn.end()


def _client() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_LOG_URL, socket_timeout=5)
