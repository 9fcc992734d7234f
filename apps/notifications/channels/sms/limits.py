"""How many SMS one number may get, counted in Redis in one atomic step."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from hashlib import blake2b

import redis
from django.conf import settings

# KEYS[1]: the number's sends. ARGV: now_ms, key of this message, then window_ms and limit in turn.
# A message that is counted already is not counted again: a repeat after a crash is no new one.
TAKE = """
local now = tonumber(ARGV[1])
if redis.call('ZSCORE', KEYS[1], ARGV[2]) then return 0 end
local longest = 0
local wait = 0
for i = 3, #ARGV, 2 do
  local window, limit = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  longest = math.max(longest, window)
  local sent = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. (now - window), '+inf', 'WITHSCORES')
  local count = #sent / 2
  if count >= limit then
    local frees = tonumber(sent[(count - limit) * 2 + 2]) + window
    wait = math.max(wait, frees - now)
  end
end
if wait > 0 then return wait end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - longest)
redis.call('ZADD', KEYS[1], now, ARGV[2])
redis.call('PEXPIRE', KEYS[1], longest)
return 0
"""


def take(
    *,
    tenant: str,
    number: str,
    bucket: str,
    message: str,
    limits: Sequence[tuple[int, int]],
    now: datetime,
) -> float:
    """Takes one message from the number's allowance; returns 0, or the seconds to wait.

    `limits`: (window in seconds, messages in it). Counted by tenant: no tenant can use up, or
    learn of, another's.
    """
    windows = [part for window_s, limit in limits for part in (window_s * 1000, limit)]
    waited: int = _script()(
        keys=[_key(tenant, number, bucket)],
        args=[round(now.timestamp() * 1000), message, *windows],
    )
    return waited / 1000


def _key(tenant: str, number: str, bucket: str) -> str:
    digest = blake2b(number.encode(), digest_size=12).hexdigest()  # no number in clear in Redis
    return f"ow:sms:{tenant}:{bucket}:{digest}"


@cache
def _script() -> "redis.commands.core.Script":
    return redis.Redis.from_url(settings.REDIS_CACHE_URL, socket_timeout=2).register_script(TAKE)
