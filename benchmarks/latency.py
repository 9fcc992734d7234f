"""Time from a reading published to a query, a browser's socket and an alarm, at half load.

Half of the rate that acquisition reached a moment before, with detection and web running beside it,
as they do in production. Then single readings are sent at random moments, and it is noted when a
question to the store first finds each, and when an open page's socket has it, or a newer one.

In between, a connector that was well speaks of a contact hotter than its limit, in one message with
readings that last up to now for longer than the detector holds back: so nothing but the way is
measured until another connection to Postgres sees the alarm. At the end the account is closed over
all that was sent.
"""

import json
import random
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from django.conf import settings
from django.test import Client
from django.utils import timezone
from django_tenants.utils import tenant_context
from websockets.sync.client import ClientConnection, connect

from apps.accounts.models import User
from apps.accounts.operations import create_user
from apps.accounts.permissions import Role
from apps.alarms.models import Alarm
from apps.telemetry.slices import from_ms
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.models import Tenant
from benchmarks import ground, load
from benchmarks.ground import CHANNELS, TENANT, Broker, Ground
from benchmarks.harness import Measure, finish
from benchmarks.ingest import Ahead
from benchmarks.load import Packets, Recording
from tests.acquisition import now_ms, until
from tests.mqtt import MqttClient, free_port
from workers.simulator.fleet import Fleet, Unit

NEEDS_STORES = True
TARGET_S, ALARM_TARGET_S = 1.5, 1.0
WATCHED, ILL = 1, 24
"""Devices at the fleet's beginning that the load leaves out: whose connector the page shows, and
whose fall ill one by one."""
HOT_C, HOT_S = 140.0, 15
"""°C, over the model's limit; for how many readings, one a second."""
INSTANTS = 50
STEP_MS = 100
CALIBRATION_READINGS, WARM = 300_000, 4
_EACH_S = (0.3, 0.7)
_LOOK_S, _ALARM_LOOK_S = 0.02, 0.005
_GIVE_UP_S, _CATCH_UP_S = 15.0, 120.0
_AT_LEAST = 2
"""Alarms, or there is no quantile of them."""


def main(quick: bool) -> int:
    on = ground.prepare(40 if quick else 200)
    recording = load.record(on.fleet, INSTANTS, step_ms=STEP_MS)
    sent: Counter[str] = Counter()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="ohmwatch-latency-")))
        broker = stack.enter_context(ground.broker())
        (worker,) = ground.workers_on(broker, slots=1)
        stack.callback(worker.stop)
        stack.enter_context(ground.process(folder / "detection.log", *ground.DETECTION))
        port = stack.enter_context(_web(folder))
        page = stack.enter_context(_page(port, on.fleet.units[0].connector))
        rate = _full_rate(recording, broker, sent, part=0.05 if quick else 1.0)
        probes = Probes(on, page, sent)
        with _loaded(recording, broker, rate / 2, sent), broker.loader(ground.PROBE) as device:
            probes.run(device, for_s=7 if quick else 150)
        ground.close_account(on, [worker], sent.total())
    finish(
        "latency", [*_measures(probes), Measure("load meanwhile", rate / 2, "readings/s")], quick
    )
    return 0


def _measures(probes: "Probes") -> list[Measure]:
    return [
        measure
        for name, taken, target_s in (
            ("published → found by a query", probes.found_s, TARGET_S),
            ("published → in the browser's socket", probes.shown_s, TARGET_S),
            ("published → alarm committed", probes.alarmed_s, ALARM_TARGET_S),
        )
        for measure in (
            Measure(f"{name}, p50", quantiles(taken, n=20)[9], "s"),
            Measure.at_most(f"{name}, p95", quantiles(taken, n=20)[18], "s", target_s),
        )
    ] + [
        Measure(f"of a reading shown: {name}, p50", median(taken), "s")
        for name, taken in probes.hops_s.items()
    ]


# --- the processes ----------------------------------------------------------------------------


@contextmanager
def _web(folder: Path) -> Iterator[int]:
    port = free_port()
    options = ("--host", "127.0.0.1", "--port", str(port), "--lifespan", "off")
    with ground.process(folder / "web.log", "uvicorn", "config.asgi:application", *options):
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


def _full_rate(recording: Recording, broker: Broker, sent: Counter[str], *, part: float) -> float:
    """Readings a second that the whole takes in, once it is warm: the store makes machine code,
    detection opens its files, and the first readings take several times as long as the rest."""
    times = max(1, round(CALIBRATION_READINGS * part / len(recording)))
    begins_ms = count(now_ms() - 3_000_000, INSTANTS * STEP_MS)
    return [_pass(recording, broker, begins_ms, times, sent) for _ in range(WARM)][-1]


def _pass(
    recording: Recording,
    broker: Broker,
    begins_ms: Iterator[int],
    times: int,
    sent: Counter[str],
) -> float:
    base, total = ground.counted(), 0
    packets = [_packets(recording, next(begins_ms)) for _ in range(times)]
    began = time.perf_counter()
    with broker.loader() as loader:
        for each in packets:
            load.publish(loader, each, may_send=Ahead(each, _Since(base + total)))
            total += each.total
        sent["before"] += total
        while ground.counted() - base < total:
            time.sleep(_LOOK_S)
    return total / (time.perf_counter() - began)


@dataclass(frozen=True)
class _Since:
    """Readings counted beyond so many."""

    base: int

    def __call__(self) -> int:
        return ground.counted() - self.base


def _packets(recording: Recording, begin_ms: int) -> Packets:
    """All connectors' but those of the devices that are watched."""
    own = {_topic(recording.fleet, number) for number in range(WATCHED + ILL)}
    messages = load.by_columns(recording, begin_ms, INSTANTS)
    return Packets.of(message for message in messages if message[0] not in own)


def _topic(fleet: Fleet, device: int) -> str:
    return f"ow/v1/{fleet.devices[device].identity}/readings"


@contextmanager
def _loaded(
    recording: Recording, broker: Broker, rate: float, sent: Counter[str]
) -> Iterator[None]:
    """So many readings a second as long as the `with` lasts."""
    over = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            _play(recording, broker, rate, over, sent)
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


def _play(
    recording: Recording,
    broker: Broker,
    rate: float,
    over: threading.Event,
    sent: Counter[str],
) -> None:
    began, begin_ms = time.monotonic(), now_ms() - 2_000_000
    with broker.loader() as loader:
        while not over.is_set():
            packets = _packets(recording, begin_ms)
            begin_ms += INSTANTS * STEP_MS
            base = sent["load"]

            def is_due(readings: int, base: int = base) -> bool:
                return over.is_set() or base + readings <= (time.monotonic() - began) * rate

            load.publish(loader, packets, may_send=is_due)
            sent["load"] += packets.total


# --- the probes -------------------------------------------------------------------------------


@dataclass
class Probes:
    """Readings of one connector, and how long each took to be found and shown; and of others that
    fall ill, how long it took until their alarm stood.

    `hops_s` are the parts of those that were shown themselves, not a newer one.
    """

    on: Ground
    page: ClientConnection
    sent: Counter[str]
    found_s: list[float] = field(default_factory=list)
    shown_s: list[float] = field(default_factory=list)
    alarmed_s: list[float] = field(default_factory=list)
    hops_s: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _well: list[Unit] = field(init=False)
    _sent: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        places = range(WATCHED * CHANNELS, (WATCHED + ILL) * CHANNELS)
        self._well = [self.on.fleet.units[place] for place in places]

    def run(self, device: MqttClient, *, for_s: float) -> None:
        """One after the other, at random moments. Raises TimeoutError for one that never comes."""
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(over,), daemon=True)
        watcher.start()
        # Detection may be seconds behind the full load that came before: half load begins when
        # what comes after it has been shown.
        self._probe(device)
        self._await_all(within_s=_CATCH_UP_S)
        self.found_s.clear()
        self.shown_s.clear()
        self.hops_s.clear()
        end = time.monotonic() + for_s
        while time.monotonic() < end or len(self.alarmed_s) < _AT_LEAST:
            self._probe(device)
            time.sleep(random.uniform(*_EACH_S))
            if self._well:
                self._fall_ill(device, self._well.pop())
                time.sleep(random.uniform(*_EACH_S))
        self._await_all()
        over.set()
        watcher.join()

    def _await_all(self, *, within_s: float = _GIVE_UP_S) -> None:
        give_up = time.monotonic() + within_s
        while self._sent:
            if time.monotonic() > give_up:
                raise TimeoutError(f"{len(self._sent)} readings never came to the browser")
            time.sleep(_LOOK_S)

    def _probe(self, device: MqttClient) -> None:
        fleet = self.on.fleet
        measured_ms = now_ms()
        payload = json.dumps({"time": measured_ms, "channel": 0, "temperature_pos_c": 41.5})
        self.sent["probes"] += 1
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
            if said["measured_at"] in self._sent:
                self._note_hops(said)
            for measured_ms in [each for each in self._sent if each <= said["measured_at"]]:
                self.shown_s.append(now - self._sent.pop(measured_ms))

    def _note_hops(self, said: dict[str, Any]) -> None:
        instants = ("measured_at", "arrived_at", "judged_at")
        sent_ms, arrived_ms, judged_ms = (said[each] for each in instants)
        for hop, took_ms in (
            ("until taken in", arrived_ms - sent_ms),
            ("until judged", judged_ms - arrived_ms),
            ("until shown", now_ms() - judged_ms),
        ):
            self.hops_s[hop].append(took_ms / 1000)

    def _fall_ill(self, device: MqttClient, unit: Unit) -> None:
        document = {
            "channel": unit.channel,
            "start": now_ms() - (HOT_S - 1) * 1000,
            "step_ms": 1000,
            "columns": {"temperature_pos_c": [HOT_C] * HOT_S},
        }
        self.sent["probes"] += HOT_S
        sent = time.perf_counter()
        topic = f"ow/v1/{TENANT}.{ground.box(unit.vehicle)}/readings"
        device.deliver(topic, [json.dumps(document).encode()])
        with tenant_context(Tenant.objects.get(slug=TENANT)):
            alarm = Alarm.objects.filter(connector=unit.connector, condition="overtemperature")
            while not alarm.exists():
                if time.perf_counter() - sent > _GIVE_UP_S:
                    raise TimeoutError(f"no alarm of connector {unit.connector}")
                time.sleep(_ALARM_LOOK_S)
        self.alarmed_s.append(time.perf_counter() - sent)
