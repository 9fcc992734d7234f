"""A signed-in page's socket against a real server, as a browser would open it."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from django.conf import settings
from django.test import Client
from django_tenants.utils import tenant_context
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from apps.accounts.models import User
from apps.live import tenancy
from apps.tenants.models import Tenant

PATIENCE_S = 8.0
Wanted = Callable[[dict[str, Any]], bool]


@contextmanager
def web_server() -> Iterator[int]:
    """config.asgi under uvicorn on a free port of loopback, with the options of production."""
    from config.asgi import application

    tenancy.forget()
    config = uvicorn.Config(
        application,
        host="127.0.0.1",
        port=0,
        lifespan="off",
        ws_max_size=65_536,
        timeout_graceful_shutdown=2,
        log_level="warning",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def session_of(tenant: Tenant, user: User) -> str:
    """The session key of this person, signed in at the tenant."""
    with tenant_context(tenant):
        client = Client()
        client.force_login(user)
        return client.cookies[settings.SESSION_COOKIE_NAME].value


class Page:
    """A page with an open socket. What came is kept in `heard`, in order."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.heard: list[dict[str, Any]] = []

    def say(self, message: object) -> None:
        self.socket.send(json.dumps(message))

    def hear(
        self, wanted: Callable[[dict[str, Any]], bool], *, within_s: float = PATIENCE_S
    ) -> Any:
        """The first message like that, of those that come from now on."""
        deadline = time.monotonic() + within_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                message = json.loads(self.socket.recv(timeout=left))
            except TimeoutError:
                break
            self.heard.append(message)
            if wanted(message):
                return message
        raise AssertionError(f"it never came; heard {self.heard}")

    def hear_type(self, kind: str, **more: Any) -> Any:
        return self.hear(lambda message: message["type"] == kind, **more)

    def hears_nothing_for(self, seconds: float, *, but: tuple[str, ...] = ("latest",)) -> None:
        try:
            got = self.hear(lambda message: message["type"] not in but, within_s=seconds)
        except AssertionError:
            return
        raise AssertionError(f"heard {got}")

    def is_closed_with(self, code: int, *, within_s: float = PATIENCE_S) -> None:
        with pytest.raises(ConnectionClosed) as closed:
            self.hear(lambda _: False, within_s=within_s)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == code


@contextmanager
def page(
    port: int,
    *,
    host: str = "kunlun.localhost",
    session: str = "",
    origin: str | None = None,
    path: str = "/ws/live/",
) -> Iterator[Page]:
    """Opens the socket as a page of `host` does; raises InvalidStatus where it is refused."""
    own = f"http://{host}:{port}"
    raw = socket.create_connection(("127.0.0.1", port), timeout=5)
    cookie = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session}"} if session else {}
    with connect(
        f"ws://{host}:{port}{path}",
        sock=raw,
        origin=own if origin is None else origin,  # type: ignore[arg-type]
        additional_headers=cookie,
        open_timeout=5,
    ) as opened:
        yield Page(opened)
