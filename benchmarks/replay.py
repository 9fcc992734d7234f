"""Stored readings a second, from Elasticsearch through the detectors: a lost log, a back-test.

A partition whose log is gone is read again and judged; a back-test reads the same way. The
yardstick is the store giving the same documents to somebody who doesn't look at them.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from apps.telemetry import cluster
from apps.telemetry.documents import READINGS
from apps.telemetry.pages import untold
from apps.telemetry.store import TenantTelemetry
from apps.telemetry.stretches import PAGE, PAGE_BODY
from benchmarks import ceiling, ground, load
from benchmarks.ground import TENANT, Ground
from benchmarks.harness import Measure, finish
from benchmarks.load import Recording
from ohmwatch.checks.detectors import EXAMPLE
from ohmwatch.detector import Batch
from ohmwatch.detectors.defaults import default_detectors
from ohmwatch.watch import Watch, warm_up
from tests.acquisition import now_ms

NEEDS_STORES = True
STEP_MS = 10_000
TARGET_READINGS_S = 50_000
TARGET_TIMES_REAL = 100
CONNECTORS = 1_000
ROUNDS = 3


def main(quick: bool) -> int:
    devices, instants = (40, 400) if quick else (CONNECTORS // ground.CHANNELS, 900)
    on = ground.prepare(devices)
    recording = load.record(on.fleet, instants, step_ms=STEP_MS)
    begin_ms = now_ms() - instants * STEP_MS
    ceiling.send(ceiling.bodies(recording, begin_ms, on.telemetry))
    warm_up(default_detectors())
    given: list[float] = []
    read: list[float] = []
    judged: list[float] = []
    for _round in range(ROUNDS):
        given.append(_given(on, recording))
        read.append(_read(on, recording, begin_ms))
        judged.append(_judged(on, recording, begin_ms))
    real = max(judged) / (CONNECTORS * 1000 / STEP_MS)
    measures = [
        Measure("read as columns", max(read), "readings/s", max(given), max(read) / max(given)),
        Measure.at_least("read and judged", max(judged), "readings/s", TARGET_READINGS_S),
        Measure.at_least(
            f"{CONNECTORS:,} connectors, a reading in {STEP_MS // 1000} s",
            real,
            "times real time",
            TARGET_TIMES_REAL,
        ),
    ]
    finish("replay", measures, quick)
    return 0


class Incomplete(Exception):
    """Not every reading came back."""


@contextmanager
def _clock(recording: Recording, rates: list[float]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    rates.append(len(recording) / (time.perf_counter() - began))


def _given(on: Ground, recording: Recording) -> float:
    """The documents as bytes, counted by page."""
    rates: list[float] = []
    on.telemetry.refresh(READINGS)
    body = {**PAGE_BODY, "query": {"term": {"tenant": TENANT}}}
    index = f"{on.telemetry.prefix}{READINGS.name}-*"
    with _clock(recording, rates):
        counts = cluster.everything(on.telemetry.client, index, body, untold, len, size=PAGE)
    return _whole(rates, sum(counts), recording)


def _read(on: Ground, recording: Recording, begin_ms: int) -> float:
    rates: list[float] = []
    with _clock(recording, rates):
        count = sum(map(len, _replay(on, begin_ms)))
    return _whole(rates, count, recording)


def _judged(on: Ground, recording: Recording, begin_ms: int) -> float:
    watch, count = Watch(default_detectors()), 0
    rates: list[float] = []
    with _clock(recording, rates):
        for batch in _replay(on, begin_ms):
            judged = watch.observe(batch, [EXAMPLE] * len(batch.connectors))
            count += len(judged.judged)
    return _whole(rates, count, recording)


def _replay(on: Ground, begin_ms: int) -> Iterator[Batch]:
    connectors = [unit.connector for unit in on.fleet.units]
    return TenantTelemetry(TENANT, store=on.telemetry).replay(connectors, since_ms=begin_ms)


def _whole(rates: list[float], count: int, recording: Recording) -> float:
    if count != len(recording):
        raise Incomplete(f"{count} of {len(recording)}")
    return rates[0]
