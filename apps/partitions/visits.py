"""What a visit to partitions asks of Redis when it comes and when it goes, each at one go.

Question by question they were a dozen answers to wait for: on a busy machine, most of a visit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from apps.partitions.lease import LEASE_MS, RELEASE, Lease, holder_key, lease_key
from apps.partitions.log import (
    GENERATION_KEY,
    LAST_ENTRY,
    RUN_ID_KEPT,
    generation_of,
    log_key,
    new_generation,
)
from apps.partitions.wakeups import PATIENCE_MS, wake_key

EARLY_MS = 50
"""A wake-up may come so much before it is due, by another machine's clock."""

_COME = f"""
local function last_entry(KEYS) {LAST_ENTRY} return false end
redis.call('set', KEYS[4], ARGV[3], 'nx')
return {{
  redis.call('set', KEYS[1], ARGV[1], 'nx', 'px', ARGV[2]) and 1 or 0,
  redis.call('get', KEYS[2]),
  redis.call('get', KEYS[4]),
  string.match(redis.call('info', 'server'), 'run_id:(%x+)'),
  last_entry({{KEYS[3]}}),
}}
"""
_JOIN = f"""
local function last_entry(KEYS) {LAST_ENTRY} return false end
local function order(id) return string.match(id, '(%d+)-(%d+)') end
local mark = redis.call('get', KEYS[1]) or ''
local run_id = string.match(redis.call('info', 'server'), 'run_id:(%x+)')
if mark .. '.' .. string.sub(run_id, 1, {RUN_ID_KEPT}) ~= ARGV[3] then return {{}} end
local joined = {{}}
for at = 1, (#KEYS - 1) / 3 do
  local lease, holder, log = KEYS[3 * at - 1], KEYS[3 * at], KEYS[3 * at + 1]
  local own, judged = ARGV[2 * at + 2], ARGV[2 * at + 3]
  local last = redis.call('get', holder) == own and last_entry({{log}})
  local is_taken = 0
  if last then
    local ms, number = order(last)
    local judged_ms, judged_number = order(judged)
    local is_more = tonumber(ms) > tonumber(judged_ms)
      or (ms == judged_ms and tonumber(number) > tonumber(judged_number))
    if is_more and redis.call('set', lease, ARGV[1], 'nx', 'px', ARGV[2]) then is_taken = 1 end
  end
  joined[at] = is_taken
end
return joined
"""
_GO = f"""
local function release(KEYS) {RELEASE} end
local function last_entry(KEYS) {LAST_ENTRY} return false end
local function order(id) return string.match(id, '(%d+)-(%d+)') end
release({{KEYS[1]}})
local last = last_entry({{KEYS[2]}})
if not last then return 0 end
local ms, number = order(last)
local judged_ms, judged_number = order(ARGV[2])
if tonumber(ms) < tonumber(judged_ms)
  or (ms == judged_ms and tonumber(number) <= tonumber(judged_number)) then
  redis.call('del', KEYS[3])
  return 0
end
if redis.call('pttl', KEYS[3]) > tonumber(ARGV[4]) + {EARLY_MS} then return 0 end
redis.call('set', KEYS[3], '1', 'px', ARGV[3] + ARGV[4])
return 1
"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a visitor finds.

    `is_taken`: the lease is the visitor's now, for LEASE_MS. `holder` is the mark of who held the
    partition last (`Lease.mark`). `last_entry` is the id of the newest entry ever appended to the
    log of this `generation`; None where there is no log.
    """

    is_taken: bool
    holder: bytes
    generation: str
    last_entry: str | None


def come(lease: Lease) -> Arrival:
    """Takes the lease where it is free, and tells how things stand."""
    partition = lease.partition
    keys = (lease_key(partition), holder_key(partition), log_key(partition), GENERATION_KEY)
    values = (lease.holder, LEASE_MS, new_generation())
    answer: Any = lease.client.eval(_COME, len(keys), *keys, *values)
    taken, holder, mark, run_id, last = answer
    generation = generation_of(mark, run_id.decode())
    return Arrival(bool(taken), holder or b"", generation, last.decode() if last else None)


@dataclass(frozen=True, slots=True)
class Seat:
    """A partition that we held last, under the `fencing` number, and judged up to an entry."""

    lease: Lease
    fencing: int
    judged: str


def join(seats: Sequence[Seat], generation: str) -> list[bool]:
    """Takes the leases of those partitions, of one worker, that are free, that nobody else has
    held since, and that have more to judge; which those are. None in another generation."""
    if not seats:
        return []
    keys = [GENERATION_KEY]
    values: list[bytes | str | int] = [seats[0].lease.holder, LEASE_MS, generation]
    for each in seats:
        partition = each.lease.partition
        keys += [lease_key(partition), holder_key(partition), log_key(partition)]
        values += [each.lease.mark(each.fencing), each.judged]
    answer: Any = seats[0].lease.client.eval(_JOIN, len(keys), *keys, *values)
    return [bool(taken) for taken in answer] or [False] * len(seats)


def go(lease: Lease, *, judged: str, wake_in_ms: int) -> bool:
    """Gives the lease back; then, whether to send a wake-up due after so long, for there is more
    than the entry `judged` and none is to come.

    In this order: who was woken while we had the lease has gone away again. Nothing is left to
    judge: then the next to append has to wake.
    """
    (to_send,) = go_all([(lease, judged)], wake_in_ms=wake_in_ms)
    return to_send


def go_all(leaving: Sequence[tuple[Lease, str]], *, wake_in_ms: int) -> list[bool]:
    """The same for leases of one worker, each with the entry up to which was judged."""
    with leaving[0][0].client.pipeline(transaction=False) as pipeline:
        for lease, judged in leaving:
            partition = lease.partition
            keys = (lease_key(partition), log_key(partition), wake_key(partition))
            values = (lease.holder, judged, wake_in_ms, PATIENCE_MS)
            pipeline.eval(_GO, len(keys), *keys, *values)
        return [bool(answer) for answer in pipeline.execute()]
