"""The websockets of a tenant's host."""

from channels.routing import URLRouter
from django.urls import path

from apps.live.consumer import LiveConsumer
from apps.live.tenancy import TenantOfHost


async def nothing_here(scope: object, receive: object, send: object) -> None:
    """Any other path: closed before it is accepted."""
    await receive()  # type: ignore[operator]
    await send({"type": "websocket.close", "code": 4404})  # type: ignore[operator]


websockets = TenantOfHost(
    URLRouter(
        [
            path("ws/live/", LiveConsumer.as_asgi()),
            path("<path:other>", nothing_here),  # type: ignore[arg-type]
            path("", nothing_here),  # type: ignore[arg-type]
        ]
    )
)
