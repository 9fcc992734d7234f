"""Acquisition at full rate while rollups are built, against the same without them.

In turns, on fresh indices. Before each round with rollups the store is given hours that have closed
and are in no rollup yet, more than the task can build meanwhile: so it has work from the first to
the last second, as when the hour of a whole fleet closes. The task runs in its worker, in the
cadence of the product. Each round closes its account to zero, or the run fails.

Then acquisition is quiet, and what is left is caught up with: how fast is told, too, and what
rollups take of the store's processor time beside what the readings themselves took.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from statistics import median

import redis
from django.conf import settings
from django.utils import timezone

from apps.telemetry.answers import LedgerEntry
from apps.telemetry.building import LEASE_KEY
from apps.telemetry.levels import HOUR_MS
from apps.telemetry.rollups import Builder, Pace
from apps.telemetry.slices import to_ms
from apps.telemetry.store import TelemetryStore
from benchmarks import corpus, ground, load
from benchmarks.ground import Broker, Ground
from benchmarks.harness import Measure, finish
from benchmarks.ingest import Ahead, empty
from benchmarks.load import Packets, Recording
from tests.acquisition import ROOT, Worker, now_ms, until
from workers.upkeep.rollups import rollups

NEEDS_STORES = True
READINGS_A_MESSAGE = 50
TARGET = 0.90
CADENCE_S = settings.CELERY_BEAT_SCHEDULE["upkeep.rollups"]["schedule"]
OTHERS = "history"
"""Whose hours have closed; another tenant, so that the round's own account is of the round."""


class NothingBuilt(Exception):
    """No rollup was written during a round: it says nothing about their cost."""


@dataclass(frozen=True)
class Size:
    """Devices; instants of a recording, how often it is sent in a round; rounds; connectors whose
    hours have closed."""

    devices: int
    instants: int
    times: int
    rounds: int
    waiting: int

    @classmethod
    def of(cls, quick: bool) -> "Size":
        return cls(40, 100, 1, 1, 6) if quick else cls(200, 200, 3, 4, 60)


@dataclass
class Rounds:
    """What the rounds came to, pair by pair."""

    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    taking_in_us: list[float] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    stopped_s: list[float] = field(default_factory=list)

    def take(self, building: bool, rate: float, store_us: float) -> None:
        """Note a round."""
        if building:
            self.beside.append(rate)
        else:
            self.alone.append(rate)
            self.taking_in_us.append(store_us)

    def measures(self) -> list[Measure]:
        """The median of the pairs' ratios: neighbours are alike."""
        ratio = median(b / a for a, b in zip(self.alone, self.beside, strict=True))
        rate = Measure(
            "acquisition while rollups are built, against without",
            median(self.beside),
            "readings/s",
            median(self.alone),
            ratio,
            TARGET,
            ratio >= TARGET,
        )
        return [
            rate,
            Measure("rollups written in a round", median(self.written), ""),
            Measure.at_most("upkeep told to stop ends within", max(self.stopped_s), "s", 10),
        ]


def main(quick: bool) -> int:
    size, rounds = Size.of(quick), Rounds()
    on = ground.prepare(size.devices)
    recording = load.record(on.fleet, size.instants)
    waiting = list(_closed_hours(on.telemetry, size.waiting))
    with ground.broker() as broker:
        (worker,) = ground.workers_on(broker, slots=1)
        try:
            _round(on, broker, worker, recording, 1)  # the store warms up
            for number in range(size.rounds):
                # First and second in turn: the store grows warmer, and others come and go.
                for building in (False, True) if number % 2 else (True, False):
                    _give(on.telemetry, waiting)
                    spent_s = _cpu_s(on.telemetry)
                    with _upkeep(rounds, building=building):
                        rate = _round(on, broker, worker, recording, size.times)
                    spent_s = _cpu_s(on.telemetry) - spent_s
                    rounds.take(building, rate, spent_s / (len(recording) * size.times) * 1e6)
                    if building:
                        rounds.written.append(_written(on.telemetry))
        finally:
            worker.stop()
    finish("rollups", [*rounds.measures(), *_catching_up(on.telemetry, rounds)], quick)
    return 0


def _round(on: Ground, broker: Broker, worker: Worker, recording: Recording, times: int) -> float:
    """Readings a second, from the first message to the last reading stored; its account closed."""
    before = ground.counted()
    length_ms = recording.instants * recording.step_ms
    begin_ms = now_ms() - times * length_ms
    packets = Packets.of(
        chain.from_iterable(
            load.by_columns(recording, begin_ms + n * length_ms, READINGS_A_MESSAGE)
            for n in range(times)
        )
    )
    with broker.loader() as loader:
        began = time.perf_counter()
        load.publish(loader, packets, may_send=Ahead(packets, lambda: ground.counted() - before))
        while ground.counted() - before < packets.total:
            time.sleep(0.01)
        took_s = time.perf_counter() - began
    ground.close_account(on, [worker], packets.total, beside=[OTHERS])
    return packets.total / took_s


# --- what waits for its rollups ---------------------------------------------------------------


def _closed_hours(telemetry: TelemetryStore, connectors: int) -> Iterator[tuple[bytes, int]]:
    """`_bulk` bodies of the last whole hour but one of so many connectors, a reading a second."""
    end_ms = to_ms(timezone.now()) // HOUR_MS * HOUR_MS - HOUR_MS
    hour = corpus.Corpus(start_ms=end_ms - HOUR_MS, end_ms=end_ms, step_ms=1000)
    index = telemetry.reading_index("30d", end_ms - 1)
    ours, theirs = f'"tenant":"{corpus.TENANT}"'.encode(), f'"tenant":"{OTHERS}"'.encode()
    for number in range(connectors):
        connector = corpus.Connector(number)
        lines = corpus.bulk_lines(index, connector, hour.readings(connector))
        yield lines.replace(ours, theirs), len(hour)


def _give(telemetry: TelemetryStore, bodies: list[tuple[bytes, int]]) -> None:
    """Fresh indices with these in them, entered in the ledger as if they had been taken in."""
    empty(telemetry)
    telemetry.prepare(timezone.now())
    for number, (lines, count) in enumerate(bodies):
        if not all(result.is_stored for result in telemetry.bulk(lines)):
            raise RuntimeError("an hour that should wait was not stored")
        telemetry.write_ledger([LedgerEntry(OTHERS, number, now_ms(), count, 0, {})])


# --- the task ---------------------------------------------------------------------------------


@contextmanager
def _upkeep(rounds: Rounds, *, building: bool) -> Iterator[None]:
    """The upkeep worker, from when it is up; `building`: from when it is at work, sent the task as
    the scheduler sends it. It is there in both kinds of round, so that the store has as long to
    come to rest after it was filled."""
    log = Path(settings.ENVIRONMENT.data_dir) / f"upkeep-{time.monotonic_ns()}.log"
    command = (
        *(sys.executable, "-m", "celery", "-A", "config.celery", "worker", "-Q", "upkeep"),
        *("-P", "threads", "-c", "2", "-n", "upkeep@bench", "-l", "INFO"),
    )
    over = threading.Event()
    beat = threading.Thread(target=_send, args=(over,))
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        try:
            until(lambda: " ready." in log.read_text(), within_s=90, what="the upkeep worker")
            if building:
                beat.start()
                until(_is_at_work, within_s=90, what="the task")
            yield
        finally:
            over.set()
            began = time.monotonic()
            process.terminate()
            process.wait(60)
            if building:
                rounds.stopped_s.append(time.monotonic() - began)
                beat.join()


def _send(over: threading.Event) -> None:
    while True:
        rollups.apply_async(expires=CADENCE_S)
        if over.wait(CADENCE_S):
            return


def _is_at_work() -> bool:
    with redis.Redis.from_url(settings.REDIS_LOG_URL) as client:
        return bool(client.exists(LEASE_KEY))


def _written(telemetry: TelemetryStore) -> int:
    telemetry.client.indices.refresh(index=f"{telemetry.prefix}rollup-*")
    written = int(telemetry.client.count(index=f"{telemetry.prefix}rollup-*")["count"])
    if not written:
        raise NothingBuilt
    return written


def _catching_up(telemetry: TelemetryStore, rounds: Rounds) -> list[Measure]:
    """All of what is there, anew and without a rest, while nothing else is asked of the store."""
    telemetry.forget_marks(telemetry.marks())
    readings = int(telemetry.client.count(index=f"{telemetry.prefix}readings-*")["count"])
    spent_s, began = _cpu_s(telemetry), time.monotonic()
    Builder(telemetry, pace=Pace(share=1.0)).advance(timezone.now())
    took_s, spent_s = time.monotonic() - began, _cpu_s(telemetry) - spent_s
    taking_in_us = median(rounds.taking_in_us)
    spent_us = spent_s / readings * 1e6
    ratio = spent_us / taking_in_us
    about = "the store's CPU for minutes and hours, against taking in"
    return [
        Measure("readings caught up with, no rest", readings / took_s, "readings/s"),
        Measure(about, spent_us, "µs a reading", taking_in_us, ratio),
    ]


def _cpu_s(telemetry: TelemetryStore) -> float:
    """Processor time that the store has spent."""
    nodes = telemetry.client.nodes.stats(metric="process")["nodes"].values()
    return sum(node["process"]["cpu"]["total_in_millis"] for node in nodes) / 1000
