"""The notice board in Redis: what devices say of themselves, and copies of the counts.

Everything here can be lost: the account is in Elasticsearch, devices repeat their status. Keys, in
the database of the partitions' logs:
    ow:status:<tenant>   hash, device → {"online": bool, "firmware": str, "at_ms": int}
    ow:seen:<tenant>     hash, device → ms of its last arrival
    ow:counts:<tenant>   hash, received, stored, duplicate, late, quarantined:<reason>,
                         released:<reason>, events, unheard:<kind>:<reason>: status and events of
                         who is nobody or must not report, …
    ow:counted:<slot>    hash, upto: the slot's last batch that is in these counts; low, high: the
                         batches of its former lives that it counts, `<tenant> <name>`: what it
                         has counted of them (decision 0002)
    ow:replayed:<tenant> hash, run → its last batch that is in these counts
    ow:unknown-fields:<tenant>          hash, name → how often
    ow:unknown-fields:<tenant>:last     hash, name → {"device": str, "at_ms": int}
    ow:unknown-fields:<tenant>:sample   {"device": str, "at_ms": int, "payload": base64}, the newest
                         of one an hour
    ow:clock:<tenant>:<device>          list, the newest samples of its clock in ms: clocks.py
    ow:clock-news:<tenant>              set, devices with a new one
    ow:lag               hash, tenant → ms from measured to arrived, of its newest reading in the
                         batch that was entered last
    ow:acquisition:<slot>               JSON, how the worker is; gone when it is silent for 30 s
    ow:acquisition-retired:<slot>       it was given up within the last ten minutes
    ow:acquisition-pressed              a slot that could not take more within the last 10 s
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import redis

from apps.telemetry.answers import AccountLine, LedgerEntry
from apps.telemetry.board import (
    COUNTED_KEY,
    COUNTS_KEY,
    LAG_KEY,
    PRESSED_KEY,
    RETIRED_KEY,
    UNHEARD,
    UNKNOWN_KEY,
)
from ohmwatch.readings import FUTURE_LIMIT_MS
from workers.acquisition.batches import SLOT_SHIFT, Batch, Tally
from workers.acquisition.clocks import Clocks
from workers.acquisition.sorting import Sorted, UnknownFields

UNKNOWN_NAMES_LIMIT = 200
"""Of a tenant; beyond it names are no longer counted, so that nobody fills Redis with them."""
CLOCK_SAMPLES = 40
"""Of a device, the newest: twenty minutes of one that reports all the time."""
_CLOCK_S = 7 * 24 * 3600
_SAMPLE_MS = 3600 * 1000
_SAMPLE_KEPT_S = 35 * 24 * 3600
_REPORT_S = 30
_RETIRED_S = 600
_PRESSED_S = 10
_json = msgspec.json.Encoder()

_COUNT = """
local upto = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
local last = upto
for at = 2, #ARGV, 4 do
    local batch = tonumber(ARGV[at])
    if batch > upto then
        redis.call('HINCRBY', ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
        last = math.max(last, batch)
    end
end
if last == upto then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', last))
return 1
"""
"""Adds (batch, key, name, number) wherever the batch lies beyond the last that was counted, which
the field holds: said again, after an answer that was lost, it changes nothing."""

_SETTLE = """
if redis.call('HGET', KEYS[1], 'high') ~= ARGV[1] then return end
for at = 2, #ARGV, 3 do
    local mine = ARGV[at] .. ' ' .. ARGV[at + 1]
    local more = tonumber(ARGV[at + 2]) - tonumber(redis.call('HGET', KEYS[1], mine) or '0')
    if more > 0 then
        redis.call('HINCRBY', KEYS[2] .. ARGV[at], ARGV[at + 1], more)
        redis.call('HINCRBY', KEYS[1], mine, more)
    end
end
"""
"""Adds by how much each (tenant, name, number) is more than it was the last time, for who still has
the slot."""

Count = tuple[int, str, str, int]
"""Of a batch, by the key of a hash and a name in it: so many more."""


@dataclass(frozen=True)
class Counted:
    """What of a slot's batches is in the counts: all up to `upto`, but for low ≤ number < high:
    of these as much as the slot's last life has settled. Without a life that is known: 0 and 0."""

    upto: int
    low: int
    high: int


class Board:
    """Written by acquisition, read by upkeep, `status`, metrics and the portals."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._unknown_names: dict[str, set[str]] = {}
        self._sampled_ms: dict[str, int] = {}
        self._clocks = Clocks()

    def note(self, batch: Batch, work: Sorted, tallies: dict[str, Tally]) -> bool:
        """Put up what a batch says, of each slot in the order of its batches. False where it is not
        counted: it was before, or the slot has another life by now. Raises redis.RedisError."""
        counts = [
            *_events(batch, work),
            *self._unknown_fields(batch, work),
            *(
                count
                for tenant, tally in tallies.items()
                for count in _counts(batch.number, tenant, _numbers(tally))
            ),
        ]
        with self._redis.pipeline(transaction=False) as pipe:
            _put_seen(pipe, batch, work)
            _put_statuses(pipe, batch, work)
            _put_lags(pipe, batch, work)
            self._put_clocks(pipe, batch, work)
            for tenant, unknown in work.unknown_fields.items():
                self._put_unknown(pipe, batch.arrived_ms, tenant, unknown)
            _count(pipe, f"{COUNTED_KEY}{batch.number >> SLOT_SHIFT}", "upto", counts)
            *_, is_counted = pipe.execute() or [0]
        for tenant in work.unknown_fields:
            if self._is_sample_due(tenant, batch.arrived_ms):
                self._sampled_ms[tenant] = batch.arrived_ms
        return bool(is_counted or not counts)

    def counted(self, slot: int) -> Counted:
        """How far the counts of a slot are. Raises redis.RedisError."""
        found: Any = self._redis.hmget(f"{COUNTED_KEY}{slot}", "upto", "low", "high")
        return Counted(*(int(number or 0) for number in found))

    def take_over(self, slot: int, *, low: int, high: int, goes_on: bool = False) -> None:
        """A new life of the slot counts low ≤ number < high by what the ledger says of them, and
        from there on what it notes; another life that still works counts no more. `goes_on`: what
        was settled is of batches that are among these. Raises redis.RedisError."""
        key = f"{COUNTED_KEY}{slot}"
        with self._redis.pipeline(transaction=True) as pipe:
            if not goes_on:
                pipe.delete(key)
            pipe.hset(key, mapping={"upto": high - 1, "low": low, "high": high})
            pipe.delete(f"{RETIRED_KEY}{slot}")
            pipe.execute()

    def settle(self, slot: int, *, high: int, lines: Iterable[AccountLine]) -> None:
        """Count what the ledger says of the batches that were taken over, up to `high`: by how much
        it is more than it was the last time. Raises redis.RedisError."""
        said = [
            part
            for line in lines
            for name, number in _numbers_of(line).items()
            for part in (line.tenant, name, number)
        ]
        self._redis.eval(_SETTLE, 2, f"{COUNTED_KEY}{slot}", COUNTS_KEY, high, *said)

    def note_replay(self, tenant: str, run: int, entries: Iterable[LedgerEntry]) -> None:
        """Count what a tenant's run has moved, its batches in their order: what comes again is not
        counted again. What was quarantined stays counted so, and what left it is counted as
        released: counters only rise. Raises redis.RedisError."""
        counts = [
            count
            for entry in entries
            for count in _counts(entry.batch_id, entry.tenant, _moved(entry))
        ]
        with self._redis.pipeline(transaction=False) as pipe:
            _count(pipe, f"ow:replayed:{tenant}", str(run), counts)
            pipe.execute()

    def report(self, slot: int, state: dict[str, Any]) -> None:
        """How this worker is. Raises redis.RedisError."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.set(f"ow:acquisition:{slot}", _json.encode(state), ex=_REPORT_S)
            takes_all = state.get("reading", True) or state.get("starting", False)
            if state.get("waiting_batches") or not takes_all:
                pipe.set(PRESSED_KEY, slot, ex=_PRESSED_S)
            pipe.execute()

    def retire(self, slot: int) -> None:
        """The slot was given up: its silence means no harm. Raises redis.RedisError."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(f"ow:acquisition:{slot}")
            pipe.set(f"{RETIRED_KEY}{slot}", 1, ex=_RETIRED_S)
            pipe.execute()

    def reported(self, slot: int) -> dict[str, Any]:
        """What the slot's worker said last; empty where it is silent. Raises redis.RedisError."""
        said: Any = self._redis.get(f"ow:acquisition:{slot}")
        return dict(msgspec.json.decode(said)) if said else {}

    def _put_clocks(self, pipe: Any, batch: Batch, work: Sorted) -> None:
        for (tenant, device), sample_ms in self._clocks.due(
            work.newest, arrived_ms=batch.arrived_ms
        ):
            key = f"ow:clock:{tenant}:{device}"
            pipe.lpush(key, sample_ms)
            pipe.ltrim(key, 0, CLOCK_SAMPLES - 1)
            pipe.expire(key, _CLOCK_S)
            pipe.sadd(f"ow:clock-news:{tenant}", device)

    def _unknown_fields(self, batch: Batch, work: Sorted) -> Iterator[Count]:
        for tenant, unknown in work.unknown_fields.items():
            key = UNKNOWN_KEY + tenant
            known = self._unknown_names.get(tenant)
            if known is None:
                there: Any = self._redis.hkeys(key)
                known = self._unknown_names[tenant] = {name.decode() for name in there}
            for name, times in unknown.times.items():
                if name in known or len(known) < UNKNOWN_NAMES_LIMIT:
                    known.add(name)
                    yield (batch.number, key, name, times)

    def _put_unknown(self, pipe: Any, at_ms: int, tenant: str, unknown: UnknownFields) -> None:
        key, known = UNKNOWN_KEY + tenant, self._unknown_names[tenant]
        last = {
            name: _json.encode({"device": device, "at_ms": at_ms})
            for name, device in unknown.devices.items()
            if name in known
        }
        if last:
            pipe.hset(f"{key}:last", mapping=last)
        if self._is_sample_due(tenant, at_ms):
            said = {"device": unknown.sample_device, "at_ms": at_ms, "payload": unknown.sample}
            pipe.set(f"{key}:sample", _json.encode(said), ex=_SAMPLE_KEPT_S)

    def _is_sample_due(self, tenant: str, at_ms: int) -> bool:
        return at_ms - self._sampled_ms.get(tenant, -_SAMPLE_MS) >= _SAMPLE_MS


def _put_seen(pipe: Any, batch: Batch, work: Sorted) -> None:
    seen: dict[str, dict[str, int]] = {}
    for parcel in work.parcels:
        seen.setdefault(parcel.device.tenant, {})[parcel.device.identifier] = batch.arrived_ms
    for singles in work.singles:
        for device in singles.devices:
            seen.setdefault(device.tenant, {})[device.identifier] = batch.arrived_ms
    for tenant, devices in seen.items():
        pipe.hset(f"ow:seen:{tenant}", mapping=devices)


def _put_lags(pipe: Any, batch: Batch, work: Sorted) -> None:
    """What nobody can have measured yet says nothing of how long it was on its way."""
    newest: dict[str, int] = {}
    for (tenant, _device), measured_ms in work.newest.items():
        if newest.get(tenant, 0) < measured_ms <= batch.arrived_ms + FUTURE_LIMIT_MS:
            newest[tenant] = measured_ms
    if newest:
        lags = {tenant: max(0, batch.arrived_ms - at_ms) for tenant, at_ms in newest.items()}
        pipe.hset(LAG_KEY, mapping=lags)


def _put_statuses(pipe: Any, batch: Batch, work: Sorted) -> None:
    for note in work.notes:
        if note.kind == "status":
            status = {"online": note.online, "firmware": note.firmware, "at_ms": batch.arrived_ms}
            pipe.hset(f"ow:status:{note.tenant}", note.device, _json.encode(status))


def _events(batch: Batch, work: Sorted) -> Iterator[Count]:
    several = Counter((note.tenant, note.kind) for note in work.notes if note.kind != "status")
    for (tenant, kind), times in several.items():
        yield from _counts(batch.number, tenant, {kind[:32]: times})
    for unheard, times in work.unheard.items():
        name = f"{UNHEARD}{unheard.kind}:{unheard.reason}"
        yield from _counts(batch.number, unheard.tenant, {name: times})


def _numbers(tally: Tally) -> dict[str, int]:
    return {
        "received": tally.received,
        "stored": tally.stored,
        "duplicate": tally.duplicate,
        "late": tally.late,
        **{f"quarantined:{reason}": number for reason, number in tally.quarantined.items()},
    }


def _numbers_of(line: AccountLine) -> dict[str, int]:
    quarantined = {f"quarantined:{reason}": n for reason, n in line.quarantined.items()}
    return {
        "received": line.received,
        "stored": line.stored,
        "duplicate": line.duplicate,
        **quarantined,
    }


def _moved(entry: LedgerEntry) -> dict[str, int]:
    numbers = {
        "received": max(0, entry.received),  # less only where another tenant takes it
        "stored": entry.stored,
        "duplicate": entry.duplicate,
    }
    for reason, number in entry.quarantined.items():
        numbers[f"{'quarantined' if number > 0 else 'released'}:{reason}"] = abs(number)
    return numbers


def _counts(batch: int, tenant: str, numbers: dict[str, int]) -> Iterator[Count]:
    for name, number in numbers.items():
        if number:
            yield (batch, f"{COUNTS_KEY}{tenant}", name, number)


def _count(pipe: Any, key: str, field: str, counts: Sequence[Count]) -> None:
    if counts:
        pipe.eval(_COUNT, 1, key, field, *(part for count in counts for part in count))
