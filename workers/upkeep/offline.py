"""Brings devices' records up to date with what acquisition heard, and notes who fell silent.

Queue `upkeep`, every 15 s; limit 60 s, prefetch 1. Acquisition leaves on its notice board in Redis
what a device said of itself (`ow:status:<tenant>`) and when it was last heard (`ow:seen:<tenant>`).
Killed, or the board lost: the next run starts from what is there, and devices speak again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import redis
from django.conf import settings
from django.utils import timezone

from apps.devices.models import Device
from apps.devices.operations import note_status
from apps.telemetry.slices import from_ms
from apps.tenants.queries import current_tenant, ready_tenants
from apps.tenants.tasks import public_task, tenant_task

SILENT_AFTER = timedelta(minutes=10)
"""A device that said nothing for so long is not online, whatever it said last."""
SEEN_STEP = timedelta(seconds=30)
"""A record that is only this much behind is not written again."""
LIMIT_S = 60


class Status(msgspec.Struct):
    """What a device, or its last will, said of itself."""

    online: bool = False
    firmware: str = ""
    at_ms: int = 0


@dataclass(frozen=True)
class Heard:
    """What is known of one device by now."""

    online: bool
    seen_at: datetime
    firmware: str = ""


_status = msgspec.json.Decoder(Status)


@public_task(name="upkeep.offline", queue="upkeep", time_limit=LIMIT_S)
def offline(**later: object) -> None:
    """Wakes a task for each tenant."""
    for tenant in ready_tenants():
        tenant_offline.apply_async(kwargs={"schema": tenant.schema_name}, expires=LIMIT_S)


@tenant_task(name="upkeep.tenant_offline", queue="upkeep", time_limit=LIMIT_S)
def tenant_offline(*, schema: str, **later: object) -> None:
    """Writes what has changed of the tenant's devices."""
    heard = read_board(current_tenant().slug, now=timezone.now())
    for device in Device.objects.only("identifier", "online", "last_seen_at", "firmware"):
        known = heard.get(device.identifier)
        if known and _is_news(known, device):
            note_status(
                identifier=device.identifier,
                online=known.online,
                seen_at=known.seen_at,
                firmware=known.firmware,
            )


def read_board(slug: str, *, now: datetime) -> dict[str, Heard]:
    """What the notice board says of each of a tenant's devices."""
    with redis.Redis.from_url(settings.REDIS_LOG_URL, socket_timeout=5) as client:
        statuses = client.hgetall(f"ow:status:{slug}")
        seen = client.hgetall(f"ow:seen:{slug}")
    return dict(_heard(statuses, seen, now))


def _heard(
    statuses: Mapping[bytes, bytes], seen: Mapping[bytes, bytes], now: datetime
) -> Iterator[tuple[str, Heard]]:
    for name in statuses.keys() | seen.keys():
        status = _status.decode(statuses[name]) if name in statuses else None
        yield name.decode(), judge(status, int(seen.get(name, 0)), now=now)


def judge(status: Status | None, seen_ms: int, *, now: datetime) -> Heard:
    """Whether a device is online: by its own word, unless it has spoken since or fallen silent."""
    said_ms = status.at_ms if status else 0
    newest = from_ms(max(seen_ms, said_ms))
    gone = status is not None and not status.online and said_ms >= seen_ms
    return Heard(
        online=not gone and now - newest < SILENT_AFTER,
        seen_at=newest,
        firmware=status.firmware if status else "",
    )


def _is_news(heard: Heard, device: Device) -> bool:
    if device.last_seen_at is None or heard.online != device.online:
        return True
    if heard.firmware and heard.firmware[:60] != device.firmware:
        return True
    return heard.seen_at - device.last_seen_at > SEEN_STEP
