"""Who is silent: what devices were heard of last, and whether we would have heard them.

A broker that is closed, a slot that waits for a store, a backlog that is read: none of them is a
silence of the devices. So a silence counts only while all of the way in is open, and that for a
while; `Listening` says since when, and what is unsure begins it anew.

Read from the notice board (`workers/acquisition/board.py`): `ow:acquisition:<slot>`,
`ow:seen:<tenant>`, `ow:status:<tenant>`. Our own: `ow:slots-heard`, a hash, slot → ms when it was
well last, so that a worker that starts knows of a slot that is missing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import numpy as np
import redis

from apps.devices.directory import DeviceEntry, Directory, TenantEntry
from apps.devices.slots import SLOTS
from apps.telemetry.slices import DAY_MS
from ohmwatch.detector import Silence, Times
from workers.detection.gathering import key_of

LOOK_EVERY_MS = 15_000
LAPSE_EVERY_MS = 60_000
"""How often a partition is shown the clock."""

INTERRUPTED_MS = 180_000
"""Who has not looked for so long does not know what was in between."""

LARGEST_LAG_MS = 60_000
"""Of the oldest batch that a slot holds: beyond it, what was sent waits somewhere."""

MISSED_FOR_MS = DAY_MS
"""How long a slot that has gone is missed. Its session may hold the messages of its devices."""

DEAF_AFTER_MS = 600_000
LEAST_DEVICES = 12
"""Of so many that spoke within a day, one at least speaks within DEAF_AFTER_MS, or else something
lies between them and us. Of fewer nothing can be said."""

SLOTS_HEARD = "ow:slots-heard"


class _Slot(msgspec.Struct):
    """What of an acquisition worker's report matters here."""

    connected: bool = False
    reading: bool = False
    holding: dict[str, int] = {}
    oldest_ms: int | None = None


class _Status(msgspec.Struct):
    online: bool = False


Said = TypeVar("Said", _Slot, _Status)


@dataclass
class Listening:
    """Since when all was open without a break, in ms; None while it is not."""

    since_ms: int | None = None
    looked_ms: int = 0

    def note(self, *, is_open: bool, now_ms: int) -> None:
        """Takes in how it is now."""
        if not is_open:
            self.since_ms = None
        elif self.since_ms is None or now_ms - self.looked_ms > INTERRUPTED_MS:
            self.since_ms = now_ms
        self.looked_ms = now_ms


def all_well(reports: Mapping[int, bytes], heard: Mapping[int, int], *, now_ms: int) -> bool:
    """Whether each slot that is there, or was within a day (`heard`: ms), takes in what comes."""
    if not reports:
        return False
    missing = {slot for slot, at_ms in heard.items() if now_ms - at_ms < MISSED_FOR_MS}
    return missing <= reports.keys() and all(
        _is_well(_decoded(each, _Slot), now_ms) for each in reports.values()
    )


def _is_well(slot: _Slot, now_ms: int) -> bool:
    lag_ms = now_ms - slot.oldest_ms if slot.oldest_ms else 0
    return slot.connected and slot.reading and not slot.holding and lag_ms < LARGEST_LAG_MS


def is_deaf(seen_ms: Times, *, now_ms: int) -> bool:
    """Whether nobody at all is heard, of devices (int64[n], last arrivals) that are many."""
    ago_ms = now_ms - seen_ms
    return int((ago_ms < DAY_MS).sum()) >= LEAST_DEVICES and bool((ago_ms > DEAF_AFTER_MS).all())


@dataclass
class Ear:
    """Of one process: looks at the notice board, at most each LOOK_EVERY_MS."""

    client: redis.Redis
    directory: Directory
    listening: Listening = field(default_factory=Listening)
    _carriers: dict[str, tuple[TenantEntry, dict[str, DeviceEntry]]] = field(default_factory=dict)

    def listen(self, now_ms: int) -> int | None:
        """Since when (ms) we would have heard every device; None: we would not."""
        if abs(now_ms - self.listening.looked_ms) >= LOOK_EVERY_MS:
            is_open = self._slots_are_well(now_ms) and not self._is_deaf(now_ms)
            self.listening.note(is_open=is_open, now_ms=now_ms)
        return self.listening.since_ms

    def silence(self, names: Iterable[str], *, listening_ms: int, now_ms: int) -> Silence:
        """What is known of those connectors whose device may report, by their names."""
        carried = [(name, self._carrier(name)) for name in names]
        known = [(name, device) for name, device in carried if device and device.enabled]
        heard_ms, online = self._board([device for _, device in known])
        return Silence(
            connectors=[name for name, _ in known],
            heard_ms=heard_ms,
            online=online,
            listening_ms=listening_ms,
            now_ms=now_ms,
        )

    def _slots_are_well(self, now_ms: int) -> bool:
        found: Any = self.client.mget([f"ow:acquisition:{slot}" for slot in range(SLOTS)])
        reports = {slot: said for slot, said in enumerate(found) if said}
        kept: Any = self.client.hgetall(SLOTS_HEARD)
        heard = {int(slot): int(at_ms) for slot, at_ms in kept.items()}
        if reports:
            self.client.hset(SLOTS_HEARD, mapping=dict.fromkeys(map(str, reports), now_ms))
        return all_well(reports, heard, now_ms=now_ms)

    def _is_deaf(self, now_ms: int) -> bool:
        seen: list[int] = []
        for tenant in self.directory.tenants():
            for _device, at_ms in self.client.hscan_iter(f"ow:seen:{tenant.slug}", count=1_000):
                # One is enough, and it is among the first of a fleet of any size.
                if now_ms - int(at_ms) <= DEAF_AFTER_MS:
                    return False
                seen.append(int(at_ms))
        return is_deaf(np.array(seen, dtype=np.int64), now_ms=now_ms)

    def _carrier(self, name: str) -> DeviceEntry | None:
        """The device that reports for a connector in service."""
        slug, connector = key_of(name)
        tenant = self.directory.tenant(slug)
        if tenant is None:
            return None
        known = self._carriers.get(slug)
        if known is None or known[0] is not tenant:
            known = self._carriers[slug] = (tenant, _by_connector(tenant))
        return known[1].get(connector)

    def _board(self, devices: Sequence[DeviceEntry]) -> tuple[Times, np.ndarray]:
        with self.client.pipeline(transaction=False) as pipe:
            for device in devices:
                pipe.hget(f"ow:seen:{device.tenant}", device.identifier)
                pipe.hget(f"ow:status:{device.tenant}", device.identifier)
            answers = pipe.execute()
        heard_ms = np.array([int(at_ms or 0) for at_ms in answers[::2]], dtype=np.int64)
        online = [bool(said) and _decoded(said, _Status).online for said in answers[1::2]]
        return heard_ms, np.array(online, dtype=np.bool_)


def _decoded(said: bytes, kind: type[Said]) -> Said:
    """What the board says; what can't be read says nothing good, and must not stop a partition."""
    try:
        return msgspec.json.decode(said, type=kind)
    except msgspec.MsgspecError:
        return kind()


def _by_connector(tenant: TenantEntry) -> dict[str, DeviceEntry]:
    return {
        connector.id: device
        for device in tenant.devices.values()
        for connector in device.channels
        if connector is not None and connector.in_service
    }
