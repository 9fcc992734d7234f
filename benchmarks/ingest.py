"""Readings a second end to end (MQTT in, stored, PUBACK), against Elasticsearch's own ceiling.

12 quantities with a sensor's noise; ours and the yardstick alternate within one run, each on
indices that are emptied before. Each round closes its account to zero, or the run fails.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

from django.utils import timezone

from apps.telemetry import cluster
from apps.telemetry.store import TelemetryStore
from benchmarks import ceiling, ground, load
from benchmarks.ground import Broker, Ground
from benchmarks.harness import Measure, finish
from benchmarks.load import Packets, Published, Recording
from tests.acquisition import Worker, now_ms

NEEDS_STORES = True
QUEUED_READINGS = 60_000
"""How far the publisher runs ahead of the workers."""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    devices: int
    instants: int
    rounds: int

    @classmethod
    def of(cls, quick: bool) -> "Size":
        return cls(100, 100, 1) if quick else cls(200, 200, 4)


@dataclass
class Course:
    """One way of sending: its rates, round by round, with the ceiling's beside them."""

    name: str
    messages: Callable[[Recording, int], Iterator[Published]]
    target: float
    share: float = 1.0
    """Of the instants: small messages take longer."""
    rates: list[float] = field(default_factory=list)
    ceilings: list[float] = field(default_factory=list)

    def measure(self) -> Measure:
        """The median of the rounds' ratios, not the ratio of medians: neighbours are alike."""
        ratio = median(o / c for o, c in zip(self.rates, self.ceilings, strict=True))
        ours, yardstick = median(self.rates), median(self.ceilings)
        met = ratio >= self.target
        return Measure(self.name, ours, "readings/s", yardstick, ratio, self.target, met)


def courses() -> list[Course]:
    return [
        Course("50 a message, by columns", lambda r, at: load.by_columns(r, at, 50), 0.75),
        Course("10 a message, by rows", lambda r, at: load.by_rows(r, at, 10), 0.60),
    ]


def main(quick: bool) -> int:
    size, measured = Size.of(quick), courses()
    on = ground.prepare(size.devices)
    recording = load.record(on.fleet, size.instants)
    broker = Broker()
    broker.start()
    workers = ground.workers_on(broker, slots=1)
    try:
        for _ in range(size.rounds):
            for course in measured:
                course.ceilings.append(_ceiling(recording, on.telemetry))
                course.rates.append(_ours(course, recording, on, broker, workers))
    finally:
        for worker in workers:
            worker.stop()
        broker.stop()
    finish("ingest", [course.measure() for course in measured], quick)
    return 0


def empty(telemetry: TelemetryStore) -> None:
    """Fresh indices: neither round pays for merging what the other wrote."""
    cluster.delete(telemetry.client, telemetry.indices())
    telemetry.ensure_slices(timezone.now())
    ground.flush_redis()


def _begin_ms(recording: Recording) -> int:
    """So that the newest reading is of now."""
    return now_ms() - recording.instants * recording.step_ms


def _ceiling(recording: Recording, telemetry: TelemetryStore) -> float:
    empty(telemetry)
    bodies = ceiling.bodies(recording, _begin_ms(recording), telemetry)
    return len(recording) / ceiling.send(bodies)


def _ours(
    course: Course, recording: Recording, on: Ground, broker: Broker, workers: list[Worker]
) -> float:
    empty(on.telemetry)
    packets = Packets.of(course.messages(recording, _begin_ms(recording)))
    with broker.loader() as loader:
        began = time.perf_counter()
        load.publish(loader, packets, may_send=Ahead())
        while ground.counted() < packets.total:
            time.sleep(0.005)
        took_s = time.perf_counter() - began
    ground.close_account(on, workers, packets.total)
    return packets.total / took_s


class Ahead:
    """Whether the publisher is not too far ahead of what is received; looks 50 times a second."""

    def __init__(self) -> None:
        self._counted = 0
        self._looked_at = 0.0

    def __call__(self, readings: int) -> bool:
        if readings - self._counted <= QUEUED_READINGS:
            return True
        if time.monotonic() - self._looked_at > 0.02:
            self._looked_at = time.monotonic()
            self._counted = ground.counted()
        return readings - self._counted <= QUEUED_READINGS
