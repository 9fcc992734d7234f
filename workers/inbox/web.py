"""The inbox page: what the demo sent, newest first, shown as it would arrive."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
from aiohttp import web

from workers.inbox.gateway import Gateway
from workers.inbox.store import Inbox

_PAGE = Path(__file__).parent / "page"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "frame-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# A mail's own styles may apply and its links open beside; its scripts, forms and pictures from
# elsewhere may not.
_MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; "
    "style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
)
_HEAD = re.compile(r"<head[^>]*>|^", re.IGNORECASE)


class News:
    """Tells open pages that something came; they fetch what they lack."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    def tell(self) -> None:
        for event in self._waiting:
            event.set()

    async def stream(self, response: web.StreamResponse) -> None:
        """Write a server-sent event at each news until the browser leaves."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            while True:
                await response.write(b"data: news\n\n" if event.is_set() else b": alive\n\n")
                event.clear()
                await _wait(event, seconds=15)
        except (ConnectionResetError, asyncio.CancelledError):
            return
        finally:
            self._waiting.discard(event)


async def _wait(event: asyncio.Event, *, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


class Page:
    """The page, its files and the JSON behind it."""

    def __init__(self, inbox: Inbox, news: News) -> None:
        self._inbox = inbox
        self._news = news

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self._file("index.html", "text/html")),
            web.get("/inbox.css", self._file("inbox.css", "text/css")),
            web.get("/inbox.js", self._file("inbox.js", "text/javascript")),
            web.get("/favicon.svg", self._file("favicon.svg", "image/svg+xml")),
            web.get("/healthz", self._health),
            web.get("/events", self._events),
            web.get("/mails/{id}.html", self._mail_html),
            web.get("/api/mails", self._mails),
            web.get("/api/sms", self._texts),
            web.delete("/api/messages", self._clear),
        ]

    def _file(self, name: str, kind: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        content = (_PAGE / name).read_bytes()

        async def answer(request: web.Request) -> web.Response:
            return web.Response(body=content, content_type=kind, charset="utf-8")

        return answer

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _mails(self, request: web.Request) -> web.Response:
        return _json([mail.as_dict() for mail in self._inbox.mails()])

    async def _texts(self, request: web.Request) -> web.Response:
        return _json([sms.as_dict() for sms in self._inbox.texts()])

    async def _mail_html(self, request: web.Request) -> web.Response:
        mail = self._inbox.mail(request.match_info["id"])
        if mail is None:
            raise web.HTTPNotFound(text="No mail has this id.\n")
        return web.Response(
            text=_with_links_beside(mail.body("html")),
            content_type="text/html",
            headers={"Content-Security-Policy": _MAIL_POLICY},
        )

    async def _clear(self, request: web.Request) -> web.Response:
        self._inbox.clear()
        self._news.tell()
        return web.Response(status=204)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Cache-Control": "no-store"})
        response.content_type = "text/event-stream"
        await response.prepare(request)
        await self._news.stream(response)
        return response


def application(inbox: Inbox, *, token: str, news: News) -> web.Application:
    """The inbox page and the SMS gateway on one port."""
    app = web.Application(client_max_size=64 * 1024)
    app.on_response_prepare.append(_protect)
    app.router.add_routes(Gateway(inbox, token=token, told=news.tell).routes())
    app.router.add_routes(Page(inbox, news).routes())
    return app


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.setdefault("Content-Security-Policy", _POLICY)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"


def _with_links_beside(html: str) -> str:
    """The mail with its links opening in a tab of their own: a frame can't leave its sandbox."""
    place = max(_HEAD.finditer(html), key=lambda found: found.end())
    return f'{html[: place.end()]}<base target="_blank">{html[place.end() :]}'


def _json(answer: object) -> web.Response:
    return web.Response(body=orjson.dumps(answer), content_type="application/json")
