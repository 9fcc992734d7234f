"""What goes wrong: the stores of the tests are killed, stopped, blocked; a proxy lies for them."""

import os
import random
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from django.conf import settings
from django.db import connections

from apps.tenants import changes
from tests.acquisition import Worker, elasticsearch_port, until
from tests.faults.proxy import Proxy
from tests.mqtt import free_port
from tests.stores import TENANTS


def ports() -> dict[str, int]:
    """Where the tests' stores listen."""
    environment = settings.ENVIRONMENT
    return {
        "elasticsearch": elasticsearch_port(),
        "redis": urlsplit(str(environment.redis_url)).port or 6379,
        "postgres": urlsplit(str(environment.postgres_url)).port or 5432,
    }


def kill_store(name: str) -> None:
    """kill -9; the supervisor of the tests' stores starts it again by itself."""
    port = ports()[name]
    pid = listener(port)
    if name == "postgres":
        connections.close_all()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not _is_alive(pid), what=f"{name} is gone")
    if name == "postgres":
        for tenant in TENANTS:  # else nobody who takes readings in would ask it for minutes
            changes.count(tenant)


def wait_for_store(name: str, *, within_s: float = 90.0) -> None:
    """Until it is up again."""
    port = ports()[name]
    until(lambda: _listens(port), within_s=within_s, what=f"{name} is up again")
    if name == "elasticsearch":
        until(_is_yellow, within_s=within_s, what="the node can index again")
    if name == "postgres":
        time.sleep(2)  # recovery: it listens before it lets anybody in


def kill_unanswered(worker: Worker, way: Proxy, *, wait_s: float = 1.0) -> None:
    """kill -9 while the store has carried out bulk requests and the worker has no answer yet."""
    way.is_mute = True
    until(lambda: _BULK_ANSWER in way.unheard, what="a bulk request whose answer nobody hears")
    time.sleep(wait_s)
    worker.kill()
    way.mend()


def end_at_random(
    workers: Sequence[Worker], chance: random.Random, *, for_s: float, pause_s: float
) -> None:
    """Starts them, then stops, kills and starts one at a time, with pauses up to `pause_s`; at
    least one is killed, and at the end all run."""
    for worker in workers:
        worker.start()
    over = time.monotonic() + for_s
    while time.monotonic() < over:
        worker = chance.choice(workers)
        if not worker.runs:
            worker.start()
        elif chance.random() < 0.5:
            worker.kill()
        else:
            assert worker.stop() == 0, worker.tail()
        time.sleep(chance.uniform(0, pause_s))
    chance.choice([worker for worker in workers if worker.runs] or workers).kill()
    for worker in workers:
        if not worker.runs:
            worker.start()


def listener(port: int) -> int:
    """The process that listens there. Raises LookupError where there is none."""
    wanted = f"{port:04X}"
    inodes = {
        fields[9]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if (fields := line.split())[3] == "0A" and fields[1].rpartition(":")[2] == wanted
    }
    sockets = {f"socket:[{inode}]" for inode in inodes}
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                links = {str(each.readlink()) for each in (folder / "fd").iterdir()}
                if links & sockets:
                    found.append(int(folder.name))
    if not found:
        raise LookupError(f"nobody listens on {port}")
    return min(found)  # a server before its children


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_yellow() -> bool:
    try:
        answer = _ask("GET", "/_cluster/health?wait_for_status=yellow&timeout=1s")
    except httpx.HTTPError:
        return False
    return bool(answer.json().get("status") in ("yellow", "green"))


def _ask(method: str, path: str, **more: object) -> httpx.Response:
    base = str(settings.ENVIRONMENT.elasticsearch_url).rstrip("/")
    return httpx.request(method, base + path, timeout=20, **more)  # type: ignore[arg-type]


@contextmanager
def indices_blocked() -> Iterator[None]:
    """Every index of ours as the flood-stage watermark leaves it: reads and deletes only.

    Again every second: a node that finds room on its disk takes the block away by itself.
    """
    over = threading.Event()

    def keep() -> None:
        while not over.wait(1):
            _block(True)

    _block(True)
    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()
        _block(None)


def _block(value: bool | None) -> None:
    address = f"/{settings.ENVIRONMENT.elasticsearch_prefix}*/_settings"
    name = "index.blocks.read_only_allow_delete"
    _ask("PUT", address, json={name: value}).raise_for_status()


class Liar:
    """HTTP in front of Elasticsearch that answers bulk requests in its own way.

    `mode`: "" passes on, "busy" answers 429, "half" refuses every second document of a bulk with
    429, "garbage" answers no JSON, "late" passes on and answers after `late_s`, "small" answers 413
    to what has more than `most_bytes`, "picky" answers 400 to what has `poison` in it.
    """

    def __init__(self, late_s: float = 60.0) -> None:
        self.mode = ""
        self.late_s = late_s
        self.most_bytes, self.poison = 0, b""
        self.lied = 0
        self.port = free_port()
        liar = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, headers, answer = liar._answer(self, body)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _any

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True

    def __enter__(self) -> "Liar":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(
        self, asked: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        lies = self.mode if asked.path.startswith("/_bulk") else ""
        if lies == "small" and len(body) <= self.most_bytes:
            lies = ""
        if lies == "picky" and self.poison not in body:
            lies = ""
        self.lied += bool(lies)
        if lies == "small":
            return 413, {"Content-Type": "text/html"}, b"<html>413 Request Entity Too Large</html>"
        if lies == "picky":
            return 400, _JSON, b'{"error": {"type": "parse_exception", "reason": "picky"}}'
        if lies == "busy":
            return 429, _JSON, b'{"error": {"type": "es_rejected_execution_exception"}}'
        if lies == "garbage":
            return 200, _JSON, b"<html>an appliance in between</html>"
        if lies == "half":
            return self._half(asked, body)
        answer = self._forward(asked, body)
        if lies == "late":
            time.sleep(self.late_s)
        return answer

    def _half(
        self, asked: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        lines = body.splitlines(keepends=True)
        pairs = [lines[i : i + 2] for i in range(0, len(lines), 2)]
        let_in = b"".join(b"".join(pair) for pair in pairs[::2])
        status, headers, answer = self._forward(asked, let_in)
        if status != 200:
            return status, headers, answer
        items = re.findall(rb'\{"(?:create|index|update)":\{.*?\}\}(?=[,\]])', answer)
        refused = b'{"create":{"status":429,"error":{"type":"es_rejected_execution_exception"}}}'
        mixed = [items[i // 2] if i % 2 == 0 else refused for i in range(len(pairs))]
        return 200, _JSON, b'{"errors":true,"items":[' + b",".join(mixed) + b"]}"

    def _forward(
        self, asked: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        kept = ("authorization", "content-type", "accept")
        headers = {name: value for name, value in asked.headers.items() if name.lower() in kept}
        url = f"http://127.0.0.1:{elasticsearch_port()}{asked.path}"
        try:
            found = httpx.request(asked.command, url, headers=headers, content=body, timeout=120)
        except httpx.HTTPError:
            return 503, _JSON, b"{}"
        passed = {
            name: value
            for name, value in found.headers.items()
            if name.lower() in ("content-type", "x-elastic-product")
        }
        return found.status_code, passed, found.content


_BULK_ANSWER = b'"items":['
_JSON = {"Content-Type": "application/json", "X-Elastic-Product": "Elasticsearch"}
