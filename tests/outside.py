"""The world outside, as real servers on loopback: a mail server and an SMS gateway.

They can refuse, hang and be asked what they heard. The gateway honours the idempotency key, as
its protocol says: the same key is the same message.
"""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import orjson
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

HANG_S = 30.0


@dataclass
class Scene:
    """Where the outside stands still, so that a test can act exactly there.

    `asked` is set when somebody asks, `heard` when the message is taken.
    """

    asked: threading.Event = field(default_factory=threading.Event)
    heard: threading.Event = field(default_factory=threading.Event)
    hang_before: threading.Event = field(default_factory=threading.Event)
    hang_after: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def before(self) -> bool:
        """False where the one who asked was left hanging: their message is not taken."""
        self.asked.set()
        if self.hang_before.is_set():
            self.go_on.wait(HANG_S)
            return False
        return True

    def after(self) -> None:
        self.heard.set()
        if self.hang_after.is_set():
            self.go_on.wait(HANG_S)

    def live_on(self) -> None:
        """Stands still no more; who waits is let go, unheard."""
        self.hang_before.clear()
        self.hang_after.clear()
        self.go_on.set()


@dataclass
class MailServer:
    """SMTP on loopback. `answer` is what the next messages get in place of being taken."""

    scene: Scene = field(default_factory=Scene)
    mails: list[EmailMessage] = field(default_factory=list)
    answer: str = ""
    port: int = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.answer:
            return self.answer
        if not await asyncio.to_thread(self.scene.before):
            return "451 left hanging"
        parsed = message_from_bytes(cast(bytes, envelope.content), policy=policy.default)
        self.mails.append(cast(EmailMessage, parsed))
        await asyncio.to_thread(self.scene.after)
        return "250 OK"

    @property
    def keys(self) -> list[str]:
        return [mail["X-Ohmwatch-Delivery"] for mail in self.mails]


@contextmanager
def mail_server() -> Iterator[MailServer]:
    server = MailServer(port=free_port())
    controller = Controller(server, hostname="127.0.0.1", port=server.port, ready_timeout=10)
    controller.start()
    try:
        yield server
    finally:
        server.scene.go_on.set()
        controller.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class SmsGateway:
    """HTTP on loopback. `answers` are the next answers in place of 202: (status, headers, body)."""

    scene: Scene = field(default_factory=Scene)
    calls: list[dict[str, Any]] = field(default_factory=list)
    taken: dict[str, dict[str, str]] = field(default_factory=dict)
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""
    token: str = "sms-token"

    def answer(self, headers: Any, body: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        if not self.scene.before():
            return 503, {}, b"{}"
        key = headers["Idempotency-Key"]
        self.calls.append({"key": key, **body})
        if headers["Authorization"] != f"Bearer {self.token}":
            return 401, {}, b"{}"
        if self.answers:
            return self.answers.pop(0)
        known = self.taken.get(key)
        if known is not None and known != body:
            return 409, {}, b"{}"
        self.taken[key] = body
        self.scene.after()
        status = 200 if known else 202
        return status, {}, orjson.dumps({"id": f"sms-{key}", "status": "queued"})


@contextmanager
def sms_gateway() -> Iterator[SmsGateway]:
    gateway = SmsGateway()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, answer = gateway.answer(self.headers, orjson.loads(body))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):  # who asked was killed
                self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    gateway.url = f"http://127.0.0.1:{server.server_address[1]}/sms/v1/messages"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield gateway
    finally:
        gateway.scene.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
