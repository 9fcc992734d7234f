"""The notice board in Redis: what devices say of themselves, and copies of the counts.

Everything here can be lost: the account is in Elasticsearch, devices repeat their status. Keys, in
the database of the partitions' logs:
    ow:status:<tenant>   hash, device → {"online": bool, "firmware": str, "at_ms": int}
    ow:seen:<tenant>     hash, device → ms of its last arrival
    ow:counts:<tenant>   hash, received, stored, duplicate, late, quarantined:<reason>,
                         released:<reason>, events, …
    ow:unknown-fields:<tenant>          hash, name → how often
    ow:unknown-fields:<tenant>:sample   one payload an hour
    ow:clock:<tenant>:<device>          list, the newest samples of its clock in ms: clocks.py
    ow:clock-news:<tenant>              set, devices with a new one
    ow:lag               hash, tenant → ms from measured to arrived, of its newest reading in the
                         batch that was entered last
    ow:acquisition:<slot>               JSON, how the worker is; gone when it is silent for 30 s
    ow:acquisition-pressed              a slot that could not take more within the last 10 s
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec
import redis

from apps.telemetry.answers import LedgerEntry
from apps.telemetry.board import COUNTS_KEY, LAG_KEY, PRESSED_KEY
from ohmwatch.readings import FUTURE_LIMIT_MS
from workers.acquisition.batches import Batch, Tally
from workers.acquisition.clocks import Clocks
from workers.acquisition.sorting import Sorted

UNKNOWN_NAMES_LIMIT = 200
CLOCK_SAMPLES = 40
"""Of a device, the newest: twenty minutes of one that reports all the time."""
_CLOCK_S = 7 * 24 * 3600
_SAMPLE_S = 3600
_REPORT_S = 30
_PRESSED_S = 10
_json = msgspec.json.Encoder()


class Board:
    """Written by acquisition, read by upkeep, `status`, metrics and the portals."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._unknown_names: dict[str, set[str]] = {}
        self._clocks = Clocks()

    def note(self, batch: Batch, work: Sorted, tallies: dict[str, Tally]) -> None:
        """Put up what a batch says. Raises redis.RedisError."""
        with self._redis.pipeline(transaction=False) as pipe:
            _put_seen(pipe, batch, work)
            _put_notes(pipe, batch, work)
            _put_lags(pipe, batch, work)
            self._put_clocks(pipe, batch, work)
            for tenant, tally in tallies.items():
                _count(pipe, tenant, _numbers(tally))
            for tenant, names in work.unknown_fields.items():
                self._put_unknown(pipe, tenant, names, work.samples[tenant])
            pipe.execute()

    def note_replay(self, tenant: str, entries: Iterable[LedgerEntry]) -> None:
        """Count what a replay has moved. What was quarantined stays counted so, and what left it is
        counted as released: counters only rise. Raises redis.RedisError."""
        numbers: Counter[str] = Counter()
        for entry in entries:
            numbers["received"] += max(0, entry.received)  # less only where another tenant takes it
            numbers["stored"] += entry.stored
            numbers["duplicate"] += entry.duplicate
            for reason, number in entry.quarantined.items():
                name = "quarantined" if number > 0 else "released"
                numbers[f"{name}:{reason}"] += abs(number)
        with self._redis.pipeline(transaction=False) as pipe:
            _count(pipe, tenant, numbers)
            pipe.execute()

    def report(self, slot: int, state: dict[str, Any]) -> None:
        """How this worker is. Raises redis.RedisError."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.set(f"ow:acquisition:{slot}", _json.encode(state), ex=_REPORT_S)
            takes_all = state.get("reading", True) or state.get("starting", False)
            if state.get("waiting_batches") or not takes_all:
                pipe.set(PRESSED_KEY, slot, ex=_PRESSED_S)
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

    def _put_unknown(self, pipe: Any, tenant: str, names: Counter[str], sample: bytes) -> None:
        known = self._unknown_names.setdefault(tenant, set())
        for name, times in names.items():
            if name in known or len(known) < UNKNOWN_NAMES_LIMIT:
                known.add(name)
                pipe.hincrby(f"ow:unknown-fields:{tenant}", name, times)
        pipe.set(f"ow:unknown-fields:{tenant}:sample", sample, ex=_SAMPLE_S, nx=True)


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


def _put_notes(pipe: Any, batch: Batch, work: Sorted) -> None:
    for note in work.notes:
        if note.kind == "status":
            status = {"online": note.online, "firmware": note.firmware, "at_ms": batch.arrived_ms}
            pipe.hset(f"ow:status:{note.tenant}", note.device, _json.encode(status))
        else:
            _count(pipe, note.tenant, {note.kind[:32]: 1})


def _numbers(tally: Tally) -> dict[str, int]:
    return {
        "received": tally.received,
        "stored": tally.stored,
        "duplicate": tally.duplicate,
        "late": tally.late,
        **{f"quarantined:{reason}": number for reason, number in tally.quarantined.items()},
    }


def _count(pipe: Any, tenant: str, numbers: dict[str, int]) -> None:
    for name, number in numbers.items():
        if number:
            pipe.hincrby(f"{COUNTS_KEY}{tenant}", name, number)
