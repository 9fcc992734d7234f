"""How many messages may go out, counted in Redis: all counters of a message in one atomic step."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from hashlib import blake2b

import redis
from django.conf import settings

# KEYS: a sorted set of sends for each counter. ARGV: now_ms, the message's key, then for each
# counter how many windows it has, and window_ms and limit of each. Either all counters take the
# message or none does. One that has it already doesn't count it again: a repeat after a crash is
# no new message. Answers {ms to wait, the first counter that is full}.
TAKE = """
local now = tonumber(ARGV[1])
local at, wait, full = 3, 0, 0
local longest, known = {}, {}
for k = 1, #KEYS do
  known[k] = redis.call('ZSCORE', KEYS[k], ARGV[2])
  longest[k] = 0
  local windows = tonumber(ARGV[at])
  for w = 1, windows do
    local window, limit = tonumber(ARGV[at + 2 * w - 1]), tonumber(ARGV[at + 2 * w])
    longest[k] = math.max(longest[k], window)
    local count = redis.call('ZCOUNT', KEYS[k], '(' .. (now - window), '+inf')
    if not known[k] and count >= limit then
      local frees = now + window
      if limit > 0 then
        local from = redis.call('ZCARD', KEYS[k]) - limit
        frees = tonumber(redis.call('ZRANGE', KEYS[k], from, from, 'WITHSCORES')[2]) + window
      end
      if frees - now > wait then wait, full = frees - now, k end
    end
  end
  at = at + 1 + 2 * windows
end
if wait > 0 then return {wait, full} end
for k = 1, #KEYS do
  if not known[k] then
    redis.call('ZREMRANGEBYSCORE', KEYS[k], '-inf', now - longest[k])
    redis.call('ZADD', KEYS[k], now, ARGV[2])
    redis.call('PEXPIRE', KEYS[k], longest[k])
  end
end
return {0, 0}
"""


@dataclass(frozen=True, slots=True)
class Counter:
    """What is counted together. `windows`: (seconds, messages in it), all of which must hold."""

    name: str
    subject: str
    windows: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """0 s: it was taken. Else how long until there is room, and in which counter there is none."""

    wait_s: float
    full: str = ""


def take(*, tenant: str, message: str, counters: Sequence[Counter], now: datetime) -> Verdict:
    """Takes one message from all counters, or from none of them.

    Counted by tenant: no tenant can use up, or learn of, another's. Raises redis.RedisError.
    """
    arguments: list[int | str] = [round(now.timestamp() * 1000), message]
    for counter in counters:
        arguments.append(len(counter.windows))
        arguments += [
            part for window_s, limit in counter.windows for part in (window_s * 1000, limit)
        ]
    wait_ms, full = _script()(keys=[_key(tenant, counter) for counter in counters], args=arguments)
    return Verdict(wait_ms / 1000, counters[full - 1].name if full else "")


def used(*, tenant: str, counter: Counter, within: timedelta, now: datetime) -> int:
    """How many messages a counter has taken within the time before `now`."""
    since_ms = round((now - within).timestamp() * 1000)
    return int(_client().zcount(_key(tenant, counter), f"({since_ms}", "+inf"))


def _key(tenant: str, counter: Counter) -> str:
    # No number or address in clear in Redis.
    digest = blake2b(counter.subject.encode(), digest_size=12).hexdigest()
    return f"ow:allowance:{tenant}:{counter.name}:{digest}"


@cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_CACHE_URL, socket_timeout=2)


@cache
def _script() -> "redis.commands.core.Script":
    return _client().register_script(TAKE)


def forget() -> None:
    """Forgets the connection: for tests that move Redis away."""
    _script.cache_clear()
    _client.cache_clear()
