"""Stored readings a second, from Elasticsearch through the detectors: a lost log, a back-test.

A partition whose log is gone is read again and judged; a back-test reads the same way. The
yardstick is the store giving the same documents, over one connection, to somebody who doesn't look
at them. Then a rule is back-tested on the server, as an engineer asks for it: half a day of all
connectors, group by group, by the rule that is tried and by what is in force.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.utils import timezone
from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.accounts.operations import create_user
from apps.accounts.permissions import Role
from apps.telemetry import cluster
from apps.telemetry.documents import READINGS
from apps.telemetry.pages import untold
from apps.telemetry.questions import within
from apps.telemetry.slices import from_ms
from apps.telemetry.store import TenantTelemetry
from apps.telemetry.stretches import PAGE, PAGE_BODY
from apps.tenants.models import Tenant
from apps.warning import backtests
from apps.warning.operations import Content
from benchmarks import ceiling, ground, load
from benchmarks.ground import TENANT, Ground
from benchmarks.harness import Measure, finish
from benchmarks.load import Recording
from ohmwatch.checks.detectors import EXAMPLE
from ohmwatch.detector import Batch
from ohmwatch.detectors.defaults import default_detectors
from ohmwatch.watch import Watch, warm_up
from tests.acquisition import now_ms
from workers.backtest.running import Runner

NEEDS_STORES = True
STEP_MS = 10_000
TARGET_READINGS_S = 50_000
TARGET_TIMES_REAL = 100
CONNECTORS = 1_000
ROUNDS = 3
INSTANTS = 900
LENGTHS = 3
"""The recording is stored so often, one length after the other: 7.5 hours for the back-test."""
RULE = "temperature_rise_high"
"""Of the detectors the one that takes longest, and it stands on the stage."""


def main(quick: bool) -> int:
    devices, instants = (40, 400) if quick else (CONNECTORS // ground.CHANNELS, INSTANTS)
    on = ground.prepare(devices)
    recording = load.record(on.fleet, instants, step_ms=STEP_MS)
    newest_ms = now_ms() - instants * STEP_MS
    begins_ms = [newest_ms - n * instants * STEP_MS for n in range(1 if quick else LENGTHS)]
    for begin_ms in begins_ms:
        ceiling.send(ceiling.bodies(recording, begin_ms, on.telemetry))
    warm_up(default_detectors())
    given: list[float] = []
    read: list[float] = []
    judged: list[float] = []
    for _round in range(ROUNDS):
        given.append(_given(on, recording, newest_ms))
        read.append(_read(on, recording, newest_ms))
        judged.append(_judged(on, recording, newest_ms))
    back_test = _back_tested(on, len(recording) * len(begins_ms), begins_ms[-1])
    connectors = len(on.fleet.units)
    a_second = connectors * 1000 / STEP_MS
    every = f"{connectors:,} connectors, a reading in {STEP_MS // 1000} s"
    hours = len(begins_ms) * instants * STEP_MS / 3_600_000
    measures = [
        Measure("read as columns", max(read), "readings/s", max(given), max(read) / max(given)),
        Measure.at_least("read and judged", max(judged), "readings/s", TARGET_READINGS_S),
        Measure.at_least(every, max(judged) / a_second, "times real time", TARGET_TIMES_REAL),
        Measure(f"back-test of a rule over {hours:.1f} h of them", back_test, "readings/s"),
        Measure.at_least("the same", back_test / a_second, "times real time", TARGET_TIMES_REAL),
    ]
    finish("replay", measures, quick)
    return 0


class Incomplete(Exception):
    """Not every reading came back."""


@contextmanager
def _clock(readings: int, rates: list[float]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    rates.append(readings / (time.perf_counter() - began))


def _given(on: Ground, recording: Recording, begin_ms: int) -> float:
    """The documents as bytes, counted by page."""
    rates: list[float] = []
    on.telemetry.refresh(READINGS)
    filters = [{"term": {"tenant": TENANT}}, within("@timestamp", begin_ms, None)]
    body = {**PAGE_BODY, "query": {"bool": {"filter": filters}}}
    index = f"{on.telemetry.prefix}{READINGS.name}-*"
    with _clock(len(recording), rates):
        counts = cluster.everything(on.telemetry.client, index, body, untold, len, size=PAGE)
    return _whole(rates, sum(counts), len(recording))


def _read(on: Ground, recording: Recording, begin_ms: int) -> float:
    rates: list[float] = []
    with _clock(len(recording), rates):
        count = sum(map(len, _replay(on, begin_ms)))
    return _whole(rates, count, len(recording))


def _judged(on: Ground, recording: Recording, begin_ms: int) -> float:
    watch, count = Watch(default_detectors()), 0
    rates: list[float] = []
    with _clock(len(recording), rates):
        for batch in _replay(on, begin_ms):
            judged = watch.observe(batch, [EXAMPLE] * len(batch.connectors))
            count += len(judged.judged)
    return _whole(rates, count, len(recording))


def _replay(on: Ground, begin_ms: int) -> Iterator[Batch]:
    connectors = [unit.connector for unit in on.fleet.units]
    return TenantTelemetry(TENANT, store=on.telemetry).replay(connectors, since_ms=begin_ms)


def _back_tested(on: Ground, readings: int, begin_ms: int) -> float:
    """As the worker does it: asked for, claimed, carried on to its end."""
    rates: list[float] = []
    with tenant_context(Tenant.objects.get(slug=TENANT)):
        now = timezone.now()
        row = backtests.request(
            user=_engineer(now),
            detector=RULE,
            content=Content("Bench", parameters={"allowance_k": 3.0}),
            start=from_ms(begin_ms),
            end=now,
            now=now,
        )
        claimed = backtests.claim(row.pk, now=now)
        assert claimed is not None
        runner = Runner(TenantTelemetry(TENANT, store=on.telemetry), clock=timezone.now)
        with _clock(readings, rates):
            runner.carry_on(claimed, is_time_up=lambda: False)
        if claimed.connectors_done != len(on.fleet.units):
            raise Incomplete(f"{claimed.connectors_done} connectors")
        return _whole(rates, claimed.readings, readings)


def _engineer(now: datetime) -> User:
    found = User.objects.filter(username=TENANT).first()
    return found or create_user(
        username=TENANT, email="engineer@bench.example", role=Role.ENGINEER, now=now
    )


def _whole(rates: list[float], count: int, expected: int) -> float:
    if count != expected:
        raise Incomplete(f"{count} of {expected}")
    return rates[0]
