"""What acquisition loses while detection judges beside it on the same machine: readings a second.

Acquisition at full rate with the detection worker at work, against the same while that worker is
held, in turns, on fresh indices; nothing else differs, the log is written and wake-ups are sent in
both. Each round closes its account to zero, and one with detection ends when every partition has
judged all of it: else what is measured is a worker that does nothing.
"""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import redis
from django.conf import settings
from django.utils import timezone

from apps.partitions.log import START, PartitionLog, is_behind
from apps.partitions.queries import positions
from benchmarks import ground, load
from benchmarks.ground import Broker, Ground
from benchmarks.harness import Measure, finish
from benchmarks.ingest import Ahead, empty
from benchmarks.load import Packets, Recording
from tests.acquisition import Worker, now_ms
from workers.detection.tasks import sweep

NEEDS_STORES = True
READINGS_A_MESSAGE = 50
TARGET = 0.75
LOOK_BACK_MS = 7_200_000
"""How long ago the first round's readings were measured: each round's are newer than the last's,
or they would be late and judged by nobody."""
CATCH_UP_S = 300.0
SWEEP_S = settings.CELERY_BEAT_SCHEDULE["detection.sweep"]["schedule"]


@dataclass(frozen=True)
class Size:
    """Devices; instants of a recording, how often it is sent in a round; pairs of rounds."""

    devices: int
    instants: int
    times: int
    rounds: int

    @classmethod
    def of(cls, quick: bool) -> "Size":
        return cls(40, 100, 1, 1) if quick else cls(200, 200, 2, 4)


@dataclass
class Rounds:
    """What the rounds came to, pair by pair."""

    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    spent_us: list[float] = field(default_factory=list)

    def measures(self) -> list[Measure]:
        """The median of the pairs' ratios: neighbours are alike."""
        ratio = median(b / a for a, b in zip(self.alone, self.beside, strict=True))
        name = "acquisition while detection judges, against without"
        beside, alone = median(self.beside), median(self.alone)
        return [
            Measure(name, beside, "readings/s", alone, ratio, TARGET, ratio >= TARGET),
            Measure("detection's CPU", median(self.spent_us), "µs a reading"),
        ]


def main(quick: bool) -> int:
    size, rounds = Size.of(quick), Rounds()
    on = ground.prepare(size.devices)
    series = Series(load.record(on.fleet, size.instants), size.times)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="ohmwatch-together-")))
        broker = stack.enter_context(ground.broker())
        (worker,) = ground.workers_on(broker, slots=1)
        stack.callback(worker.stop)
        log = folder / "detection.log"
        detection = stack.enter_context(ground.process(log, *ground.DETECTION))
        table = Table(on, broker, worker, detection, series)
        table.take(Rounds(), judging=True)  # the store warms up, detection compiles
        for number in range(size.rounds):
            # First and second in turn: the store grows warmer, and others come and go.
            for judging in (False, True) if number % 2 else (True, False):
                table.take(rounds, judging=judging)
    finish("together", rounds.measures(), quick)
    return 0


@dataclass
class Series:
    """The same recording again and again, each time measured after the last."""

    recording: Recording
    times: int
    begins_ms: Iterator[int] = field(init=False)

    def __post_init__(self) -> None:
        length_ms = self.recording.instants * self.recording.step_ms
        self.begins_ms = count(now_ms() - LOOK_BACK_MS, length_ms)

    def packets(self) -> Packets:
        """A round's messages."""
        parts = (
            load.by_columns(self.recording, next(self.begins_ms), READINGS_A_MESSAGE)
            for _ in range(self.times)
        )
        return Packets.of(chain.from_iterable(parts))


@dataclass
class Table:
    """All that a round stands on."""

    on: Ground
    broker: Broker
    worker: Worker
    detection: subprocess.Popen[bytes]
    series: Series

    def take(self, rounds: Rounds, *, judging: bool) -> None:
        """A round, noted."""
        empty(self.on.telemetry)
        self.on.telemetry.prepare(timezone.now())
        if not judging:
            rounds.alone.append(self.round())
            return
        with self.judging():
            _catch_up()  # an emptied log is a lost one: that it was is noticed first
            spent_s = ground.cpu_s(self.detection)
            rounds.beside.append(self.round())
            _catch_up()
        readings = len(self.series.recording) * self.series.times
        rounds.spent_us.append((ground.cpu_s(self.detection) - spent_s) / readings * 1e6)

    @contextmanager
    def judging(self) -> Iterator[None]:
        """Detection works as long as the `with` lasts; else it is held, with all that it holds."""
        self.detection.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.detection.send_signal(signal.SIGSTOP)

    def round(self) -> float:
        """Readings a second, from the first message to the last stored; its account closed."""
        before, packets = ground.counted(), self.series.packets()
        with self.broker.loader() as loader:
            began = time.perf_counter()
            is_near = Ahead(packets, lambda: ground.counted() - before)
            load.publish(loader, packets, may_send=is_near)
            while ground.counted() - before < packets.total:
                time.sleep(0.01)
            took_s = time.perf_counter() - began
        ground.close_account(self.on, [self.worker], packets.total)
        return packets.total / took_s


def _catch_up() -> None:
    """Until all is judged, with the sweeps that the scheduler would send."""
    give_up = time.monotonic() + CATCH_UP_S
    while not _is_all_judged():
        if time.monotonic() > give_up:
            raise TimeoutError("detection doesn't catch up")
        sweep.apply_async(expires=SWEEP_S)
        time.sleep(SWEEP_S)


def _is_all_judged() -> bool:
    """Whether every partition's checkpoint stands at the end of its log, of this life of it."""
    with redis.Redis.from_url(settings.REDIS_LOG_URL) as client:
        log = PartitionLog(client)
        known, generation = positions(), log.generation()
        return all(
            at in known
            and known[at].generation == generation
            and not is_behind(known[at].entry, log.last_entry(at) or START)
            for at in range(log.partitions)
        )
