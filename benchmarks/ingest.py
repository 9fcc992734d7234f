"""Readings a second end to end (MQTT in, stored, PUBACK), against Elasticsearch's own ceiling.

12 quantities with a sensor's noise; ours and the yardstick alternate within one run, each on
indices that are emptied before. Each round closes its account to zero, or the run fails. Readings
that come one by one are measured against Telegraf where it has been built (telegraf.py says how).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from django.utils import timezone

from apps.telemetry import cluster
from apps.telemetry.documents import READINGS
from apps.telemetry.store import TelemetryStore
from benchmarks import ceiling, ground, load, telegraf
from benchmarks.ground import Broker, Ground
from benchmarks.harness import Measure, close, finish
from benchmarks.load import Packets, Published, Recording
from tests.acquisition import Worker, now_ms

NEEDS_STORES = True
AHEAD_READINGS, AHEAD_MESSAGES = 60_000, 6_000
"""How far the publisher runs ahead of the workers: enough that they never wait for it."""


@dataclass(frozen=True)
class Size:
    """How much is measured: devices, instants in batches and one by one, rounds."""

    devices: int
    instants: int
    single_instants: int
    rounds: int

    @classmethod
    def of(cls, quick: bool) -> "Size":
        return cls(100, 50, 10, 1) if quick else cls(200, 200, 60, 4)


@dataclass
class Course:
    """One way of sending: its rates, round by round, with the yardstick's beside them."""

    name: str
    messages: Callable[[Recording, int], Iterator[Published]]
    target: float
    is_single: bool = False
    rates: list[float] = field(default_factory=list)
    yardsticks: list[float] = field(default_factory=list)
    worker_us: list[float] = field(default_factory=list)
    """The worker's processor time of a reading: what other load on the machine changes least."""
    published: int = 0
    stored: int = 0

    def closed(self) -> str:
        """The account of all rounds."""
        return close(self.name, published=self.published, stored=self.stored)

    def measures(self) -> list[Measure]:
        """The rate against the yardstick, and what the worker spends."""
        spent = Measure(f"{self.name}: the worker's CPU", median(self.worker_us), "µs a reading")
        return [self.measure(), spent]

    def measure(self) -> Measure:
        """The median of the rounds' ratios, not the ratio of medians: neighbours are alike."""
        ours = median(self.rates)
        if not self.yardsticks:
            return Measure(self.name, ours, "readings/s", target=self.target)
        ratio = median(o / y for o, y in zip(self.rates, self.yardsticks, strict=True))
        met = ratio >= self.target
        yardstick = median(self.yardsticks)
        return Measure(self.name, ours, "readings/s", yardstick, ratio, self.target, met)


def courses() -> list[Course]:
    return [
        Course("50 a message, by columns", lambda r, at: load.by_columns(r, at, 50), 0.75),
        Course("10 a message, by rows", lambda r, at: load.by_rows(r, at, 10), 0.60),
        Course("one a message", load.one_by_one, 1.5, is_single=True),
    ]


def main(quick: bool) -> int:
    size, measured = Size.of(quick), courses()
    on = ground.prepare(size.devices)
    recording = load.record(on.fleet, size.instants)
    with ExitStack() as stack:
        broker = stack.enter_context(ground.broker())
        (worker,) = ground.workers_on(broker, slots=1)
        stack.callback(worker.stop)
        rival = stack.enter_context(_rival()) if telegraf.BINARY.exists() else None
        _ceiling(recording, on.telemetry)  # the store warms up
        for _ in range(size.rounds):
            for course in measured:
                part = recording.part(0, size.single_instants) if course.is_single else recording
                if not course.is_single:
                    course.yardsticks.append(_ceiling(part, on.telemetry))
                elif rival is not None:
                    course.yardsticks.append(_telegraf(part, rival))
                course.rates.append(_ours(course, part, on, broker, worker))
    if rival is None:
        print(
            f"Single readings are compared with nothing: there is no {telegraf.BINARY}. Build it:"
        )
        print(f"    {telegraf.BUILD}")
    measures = [measure for course in measured for measure in course.measures()]
    finish("ingest", measures, quick, closed=[course.closed() for course in measured])
    return 0 if rival or quick else 1


def empty(telemetry: TelemetryStore) -> None:
    """Fresh indices: neither round pays for merging what the other wrote. Those that nobody wrote
    to are fresh, and to make one takes a while."""
    found = telemetry.client.indices.stats(index=telemetry.indices(), metric="indexing")["indices"]
    used = [
        name for name, each in found.items() if each["primaries"]["indexing"]["index_total"] > 0
    ]
    cluster.delete(telemetry.client, used)
    telemetry.ensure_slices(timezone.now())
    ground.flush_redis()


def _begin_ms(recording: Recording) -> int:
    """So that the newest reading is of now."""
    return now_ms() - recording.instants * recording.step_ms


def _ceiling(recording: Recording, telemetry: TelemetryStore) -> float:
    empty(telemetry)
    bodies = ceiling.bodies(recording, _begin_ms(recording), telemetry)
    took_s = ceiling.send(bodies)
    telemetry.refresh(READINGS)
    held = telemetry.client.count(index=f"{telemetry.prefix}{READINGS.name}-*")["count"]
    close("the ceiling", sent=len(recording), documents=held)
    return len(recording) / took_s


def _ours(
    course: Course, recording: Recording, on: Ground, broker: Broker, worker: Worker
) -> float:
    empty(on.telemetry)
    packets = Packets.of(course.messages(recording, _begin_ms(recording)))
    spent_s = worker.cpu_s()
    took_s = _publish(broker, packets, ground.counted)
    course.worker_us.append((worker.cpu_s() - spent_s) / packets.total * 1e6)
    line = ground.close_account(on, [worker], packets.total)
    course.published += packets.total
    course.stored += line.stored
    return packets.total / took_s


@contextmanager
def _rival() -> Iterator[Broker]:
    """Telegraf on a broker of its own: on ours, both would get every message."""
    try:
        with (
            TemporaryDirectory(prefix="ohmwatch-telegraf-") as folder,
            ground.broker() as broker,
            telegraf.Telegraf(broker, Path(folder)),
        ):
            yield broker
    finally:
        telegraf.drop_index()


def _telegraf(recording: Recording, broker: Broker) -> float:
    telegraf.make_index()
    packets = Packets.of(load.one_by_one(recording, _begin_ms(recording)))
    took_s = _publish(broker, packets, telegraf.indexed)
    close("Telegraf", published=packets.total, documents=telegraf.indexed())
    return packets.total / took_s


def _publish(broker: Broker, packets: Packets, counted: Callable[[], int]) -> float:
    """Seconds from the first message to the last reading stored."""
    with broker.loader() as loader:
        began = time.perf_counter()
        load.publish(loader, packets, may_send=Ahead(packets, counted))
        while counted() < packets.total:
            time.sleep(0.01)
        return time.perf_counter() - began


class Ahead:
    """Whether the publisher is not too far ahead of what is counted; looks 25 times a second."""

    def __init__(self, packets: Packets, counted: Callable[[], int]) -> None:
        each = packets.total / len(packets.packets)
        self._limit = min(AHEAD_READINGS, AHEAD_MESSAGES * each)
        self._count = counted
        self._counted = 0
        self._looked_at = 0.0

    def __call__(self, readings: int) -> bool:
        if readings - self._counted <= self._limit:
            return True
        if time.monotonic() - self._looked_at > 0.04:
            self._looked_at = time.monotonic()
            self._counted = self._count()
        return readings - self._counted <= self._limit
