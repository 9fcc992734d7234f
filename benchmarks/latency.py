"""Time from a reading published to a query that finds it, and to a browser's socket, at half load.

Half of the rate that acquisition reached a moment before, with detection and web running beside it,
as they do in production. Then single readings are sent at random moments, and it is noted when a
question to the store first finds each, and when an open page's socket has it, or a newer one.
"""

import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import quantiles
from tempfile import mkdtemp

import httpx
from django.conf import settings
from django.test import Client
from django.utils import timezone
from django_tenants.utils import tenant_context
from websockets.sync.client import ClientConnection, connect

from apps.accounts.models import User
from apps.accounts.operations import create_user
from apps.accounts.permissions import Role
from apps.telemetry.slices import from_ms
from apps.telemetry.store import TenantTelemetry
from apps.tenants.models import Tenant
from benchmarks import ground, load
from benchmarks.ground import TENANT, Broker, Ground
from benchmarks.harness import Measure, finish
from benchmarks.ingest import Ahead
from benchmarks.load import Packets, Recording
from tests.acquisition import ROOT, now_ms, until
from tests.mqtt import MqttClient, free_port

NEEDS_STORES = True
TARGET_S = 1.5
INSTANTS = 50
STEP_MS = 100
CALIBRATION_READINGS = 200_000
_EACH_S = (0.3, 0.7)
_LOOK_S = 0.02
_GIVE_UP_S = 15.0


def main(quick: bool) -> int:
    on = ground.prepare(40 if quick else 200)
    recording = load.record(on.fleet, INSTANTS, step_ms=STEP_MS)
    folder = Path(mkdtemp(prefix="ohmwatch-latency-"))
    with ExitStack() as stack:
        broker = stack.enter_context(ground.broker())
        (worker,) = ground.workers_on(broker, slots=1)
        stack.callback(worker.stop)
        stack.enter_context(_process(folder / "detection.log", *_DETECTION))
        port = stack.enter_context(_web(folder))
        page = stack.enter_context(_page(port, on.fleet.units[0].connector))
        rate = _full_rate(recording, broker, part=0.2 if quick else 1.0)
        probes = Probes(on, page)
        with _loaded(recording, broker, rate / 2), broker.loader(ground.PROBE) as device:
            probes.run(device, for_s=10 if quick else 90)
    finish(
        "latency", [*_measures(probes), Measure("load meanwhile", rate / 2, "readings/s")], quick
    )
    return 0


def _measures(probes: "Probes") -> list[Measure]:
    return [
        measure
        for name, taken in (
            ("published → found by a query", probes.found_s),
            ("published → in the browser's socket", probes.shown_s),
        )
        for measure in (
            Measure(f"{name}, p50", quantiles(taken, n=20)[9], "s"),
            Measure.at_most(f"{name}, p95", quantiles(taken, n=20)[18], "s", TARGET_S),
        )
    ]


# --- the processes ----------------------------------------------------------------------------

_DETECTION = (
    *("celery", "-A", "config.celery", "worker", "-Q", "detection", "-P", "solo"),
    *("-n", "detection@bench", "-l", "WARNING"),
)


@contextmanager
def _process(log: Path, *module: str) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *module], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield
            assert process.poll() is None, log.read_text()[-2000:]
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def _web(folder: Path) -> Iterator[int]:
    port = free_port()
    options = ("--host", "127.0.0.1", "--port", str(port), "--lifespan", "off")
    with _process(folder / "web.log", "uvicorn", "config.asgi:application", *options):
        until(lambda: _answers(port), what="the web process")
        yield port


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).is_success
    except httpx.TransportError:
        return False


@contextmanager
def _page(port: int, connector: str) -> Iterator[ClientConnection]:
    """An engineer's open page that shows one connector."""
    host = f"{TENANT}.{settings.BASE_DOMAIN}"
    with connect(
        f"ws://{host}:{port}/ws/live/",
        sock=socket.create_connection(("127.0.0.1", port), timeout=5),
        origin=f"http://{host}:{port}",  # type: ignore[arg-type]
        additional_headers={"Cookie": f"{settings.SESSION_COOKIE_NAME}={_session()}"},
    ) as opened:
        opened.send(json.dumps({"watch": [connector]}))
        yield opened


def _session() -> str:
    with tenant_context(Tenant.objects.get(slug=TENANT)):
        user = User.objects.filter(username="engineer").first() or create_user(
            username="engineer",
            email="engineer@bench.example",
            role=Role.ENGINEER,
            now=timezone.now(),
            password=ground.PASSWORD,
        )
        client = Client()
        client.force_login(user)
        return client.cookies[settings.SESSION_COOKIE_NAME].value


# --- the load ---------------------------------------------------------------------------------


def _full_rate(recording: Recording, broker: Broker, *, part: float) -> float:
    """Readings a second that the whole takes in now."""
    times = max(1, round(CALIBRATION_READINGS * part / len(recording)))
    began, total = time.perf_counter(), 0
    with broker.loader() as loader:
        for number in range(times):
            packets = _packets(recording, now_ms() - 3_000_000 + number * INSTANTS * STEP_MS)
            load.publish(loader, packets, may_send=Ahead(packets, _Since(total)))
            total += packets.total
        while ground.counted() < total:
            time.sleep(_LOOK_S)
    return total / (time.perf_counter() - began)


@dataclass(frozen=True)
class _Since:
    """Readings counted beyond so many."""

    base: int

    def __call__(self) -> int:
        return ground.counted() - self.base


def _packets(recording: Recording, begin_ms: int) -> Packets:
    """All connectors' but the watched device's."""
    own = f"ow/v1/{recording.fleet.devices[0].identity}/readings"
    messages = load.by_columns(recording, begin_ms, INSTANTS)
    return Packets.of(message for message in messages if message[0] != own)


@contextmanager
def _loaded(recording: Recording, broker: Broker, rate: float) -> Iterator[None]:
    """So many readings a second as long as the `with` lasts."""
    over = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            _play(recording, broker, rate, over)
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if failures:
        raise failures[0]


def _play(recording: Recording, broker: Broker, rate: float, over: threading.Event) -> None:
    began, sent, begin_ms = time.monotonic(), 0, now_ms() - 2_000_000
    with broker.loader() as loader:
        while not over.is_set():
            packets = _packets(recording, begin_ms)
            begin_ms += INSTANTS * STEP_MS
            base = sent

            def is_due(readings: int, base: int = base) -> bool:
                return over.is_set() or base + readings <= (time.monotonic() - began) * rate

            load.publish(loader, packets, may_send=is_due)
            sent += packets.total


# --- the probes -------------------------------------------------------------------------------


@dataclass
class Probes:
    """Readings of one connector, and how long each took to be found and shown."""

    on: Ground
    page: ClientConnection
    found_s: list[float] = field(default_factory=list)
    shown_s: list[float] = field(default_factory=list)
    _sent: dict[int, float] = field(default_factory=dict)

    def run(self, device: MqttClient, *, for_s: float) -> None:
        """One after the other, at random moments. Raises TimeoutError for one that never comes."""
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(over,), daemon=True)
        watcher.start()
        # Detection may be seconds behind the full load that came before: half load begins when
        # what comes after it has been shown.
        self._probe(device)
        self._await_all()
        self.found_s.clear()
        self.shown_s.clear()
        end = time.monotonic() + for_s
        while time.monotonic() < end:
            self._probe(device)
            time.sleep(random.uniform(*_EACH_S))
        self._await_all()
        over.set()
        watcher.join()

    def _await_all(self) -> None:
        give_up = time.monotonic() + _GIVE_UP_S
        while self._sent:
            if time.monotonic() > give_up:
                raise TimeoutError(f"{len(self._sent)} readings never came to the browser")
            time.sleep(_LOOK_S)

    def _probe(self, device: MqttClient) -> None:
        fleet = self.on.fleet
        measured_ms = now_ms()
        payload = json.dumps({"time": measured_ms, "channel": 0, "temperature_pos_c": 41.5})
        sent = self._sent[measured_ms] = time.perf_counter()
        device.deliver(f"ow/v1/{fleet.devices[0].identity}/readings", [payload.encode()])
        telemetry = TenantTelemetry(TENANT)
        start = from_ms(measured_ms)
        while not telemetry.readings(
            fleet.units[0].connector, start=start, end=start + timedelta(milliseconds=1)
        ).readings:
            if time.perf_counter() - sent > _GIVE_UP_S:
                raise TimeoutError(f"the reading of {start} is not found")
            time.sleep(_LOOK_S)
        self.found_s.append(time.perf_counter() - sent)

    def _watch(self, over: threading.Event) -> None:
        while not over.is_set():
            try:
                said = json.loads(self.page.recv(timeout=0.5))
            except TimeoutError:
                continue
            if said["type"] != "state":
                continue
            now = time.perf_counter()
            for measured_ms in [each for each in self._sent if each <= said["measured_at"]]:
                self.shown_s.append(now - self._sent.pop(measured_ms))
