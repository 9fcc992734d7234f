"""Judges the clocks of devices by the samples that acquisition left on the notice board.

Queue `upkeep`, every 60 s; limit 60 s, prefetch 1. Keys: `ow:clock:<tenant>:<device>`, a list of
the newest samples in ms; `ow:clock-news:<tenant>`, the devices with a new one. Killed: a device
whose news was taken and not judged is judged with its next sample, half a minute later.
"""

from typing import Any

import redis
from django.conf import settings
from django.utils import timezone

from apps.devices.clocks import judge, note_clock
from apps.devices.models import Device
from apps.tenants.queries import current_tenant, ready_tenants
from apps.tenants.tasks import public_task, tenant_task

LIMIT_S = 60
AT_ONCE = 1_000


@public_task(name="upkeep.clocks", queue="upkeep", time_limit=LIMIT_S)
def clocks(**later: object) -> None:
    """Wakes a task for each tenant."""
    for tenant in ready_tenants():
        tenant_clocks.apply_async(kwargs={"schema": tenant.schema_name}, expires=LIMIT_S)


@tenant_task(name="upkeep.tenant_clocks", queue="upkeep", time_limit=LIMIT_S)
def tenant_clocks(*, schema: str, **later: object) -> None:
    """Judges the tenant's devices of which there is news."""
    slug = current_tenant().slug
    with redis.Redis.from_url(settings.REDIS_LOG_URL, socket_timeout=5) as board:
        while samples := _take(board, slug):
            _judge(samples)


def _take(board: redis.Redis, slug: str) -> dict[str, list[int]]:
    names: Any = board.spop(f"ow:clock-news:{slug}", AT_ONCE)
    identifiers = sorted(name.decode() for name in names or ())
    with board.pipeline(transaction=False) as pipe:
        for identifier in identifiers:
            pipe.lrange(f"ow:clock:{slug}:{identifier}", 0, -1)
        lists = pipe.execute()
    return {
        identifier: [int(each) for each in found]
        for identifier, found in zip(identifiers, lists, strict=True)
    }


def _judge(samples: dict[str, list[int]]) -> None:
    now = timezone.now()
    for device in Device.objects.filter(identifier__in=samples):
        clock = judge(samples[device.identifier])
        if clock is not None:
            note_clock(device=device, clock=clock, now=now)
