"""Which tenant a websocket is for: by its Host header, exactly, before anything else is done."""

import time
from typing import Any
from urllib.parse import urlsplit

from channels.db import database_sync_to_async
from django_tenants.utils import get_public_schema_name, schema_context

from apps.tenants.models import Tenant
from apps.tenants.queries import tenant_of_host

KEPT_S = 60.0
KEPT_HOSTS = 10_000
UNKNOWN_HOST, FOREIGN_ORIGIN = 4404, 4403

_kept: dict[str, tuple[float, Tenant | None]] = {}


class TenantOfHost:
    """Puts `scope["tenant"]` there, or closes: 4404 unknown host, 4403 a page of another host."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = dict(reversed(scope["headers"]))
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if not same_host(headers.get(b"origin", b"").decode("latin-1"), host):
            return await _close(receive, send, FOREIGN_ORIGIN)
        tenant = await tenant_by(host.partition(":")[0])
        if tenant is None:
            return await _close(receive, send, UNKNOWN_HOST)
        return await self._app({**scope, "tenant": tenant}, receive, send)


def same_host(origin: str, host: str) -> bool:
    """Whether the page that opens the socket is of the very host (and port) it opens it to."""
    return bool(host) and urlsplit(origin.lower()).netloc == host


async def tenant_by(host: str) -> Tenant | None:
    """The ready tenant of this host name, known for up to 60 s."""
    now = time.monotonic()
    kept = _kept.get(host)
    if kept is None or kept[0] < now:
        if len(_kept) >= KEPT_HOSTS:
            _kept.clear()
        kept = _kept[host] = (now + KEPT_S, await database_sync_to_async(_look_up)(host))
    return kept[1]


def forget() -> None:
    """Forgets all hosts: for tests, and where a tenant was just made."""
    _kept.clear()


def _look_up(host: str) -> Tenant | None:
    with schema_context(get_public_schema_name()):
        tenant = tenant_of_host(host)
    return tenant if tenant is not None and tenant.is_ready else None


async def _close(receive: Any, send: Any, code: int) -> None:
    await receive()
    await send({"type": "websocket.close", "code": code})
