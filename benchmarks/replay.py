"""Stored readings a second, from Elasticsearch through the detectors: a lost log, a back-test.

A partition whose log is gone is read again and judged; a back-test reads the same way. The
yardstick is the store giving the same documents, over one connection, to somebody who doesn't look
at them. Then a rule is back-tested on the server, as an engineer asks for it: half a day of all
connectors, group by group, by the rule that is tried and by what is in force.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

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
from apps.telemetry.stretches import PAGE, PAGE_BODY
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.models import Tenant
from apps.warning import backtests
from apps.warning.operations import Content
from benchmarks import ceiling, ground, load
from benchmarks.ground import TENANT, Ground
from benchmarks.harness import Measure, close, finish
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
    devices, instants = (40, 200) if quick else (CONNECTORS // ground.CHANNELS, INSTANTS)
    on = ground.prepare(devices)
    recording = load.record(on.fleet, instants, step_ms=STEP_MS)
    newest_ms = now_ms() - instants * STEP_MS
    begins_ms = [newest_ms - n * instants * STEP_MS for n in range(1 if quick else LENGTHS)]
    stored = sum(_stored(on, recording, begin_ms) for begin_ms in begins_ms)
    warm_up(default_detectors())
    on.telemetry.refresh(READINGS)
    given: list[Came] = []
    read: list[Came] = []
    judged: list[Came] = []
    for _round in range(ROUNDS):
        given.append(_timed(lambda: _given(on, newest_ms)))
        read.append(_timed(lambda: _read(on, newest_ms)))
        judged.append(_timed(lambda: _judged(on, newest_ms)))
    back_test = _back_tested(on, begins_ms[-1])
    closed = [
        close(
            f"readings of {ROUNDS} rounds",
            recorded=ROUNDS * len(recording),
            given=_count(given),
            read=_count(read),
            judged=_count(judged),
        ),
        close(
            "readings in all",
            recorded=len(recording) * len(begins_ms),
            stored=stored,
            documents=int(on.telemetry.client.count(index=_index(on))["count"]),
            back_tested=back_test.count,
        ),
    ]
    connectors = len(on.fleet.units)
    a_second = connectors * 1000 / STEP_MS
    every = f"{connectors:,} connectors, a reading in {STEP_MS // 1000} s"
    hours = len(begins_ms) * instants * STEP_MS / 3_600_000
    measures = [
        Measure(
            "read as columns", _best(read), "readings/s", _best(given), _best(read) / _best(given)
        ),
        Measure.at_least("read and judged", _best(judged), "readings/s", TARGET_READINGS_S),
        Measure.at_least(every, _best(judged) / a_second, "times real time", TARGET_TIMES_REAL),
        Measure(f"back-test of a rule over {hours:.1f} h of them", back_test.rate, "readings/s"),
        Measure.at_least(
            "the same", back_test.rate / a_second, "times real time", TARGET_TIMES_REAL
        ),
    ]
    finish("replay", measures, quick, closed=closed)
    return 0


class Came(NamedTuple):
    """How many readings came, and how many a second."""

    count: int
    rate: float


def _timed(work: Callable[[], int]) -> Came:
    began = time.perf_counter()
    count = work()
    return Came(count, count / (time.perf_counter() - began))


def _best(rounds: Sequence[Came]) -> float:
    return max(each.rate for each in rounds)


def _count(rounds: Sequence[Came]) -> int:
    return sum(each.count for each in rounds)


def _stored(on: Ground, recording: Recording, begin_ms: int) -> int:
    """Documents that the store took, all of them or RuntimeError."""
    bodies = ceiling.bodies(recording, begin_ms, on.telemetry)
    ceiling.send(bodies)
    return sum(body.count(b"\n") // 2 for body in bodies)


def _index(on: Ground) -> str:
    return f"{on.telemetry.prefix}{READINGS.name}-*"


def _given(on: Ground, begin_ms: int) -> int:
    """The documents as bytes, counted by page."""
    filters = [{"term": {"tenant": TENANT}}, within("@timestamp", begin_ms, None)]
    body = {**PAGE_BODY, "query": {"bool": {"filter": filters}}}
    return sum(cluster.everything(on.telemetry.client, _index(on), body, untold, len, size=PAGE))


def _read(on: Ground, begin_ms: int) -> int:
    return sum(map(len, _replay(on, begin_ms)))


def _judged(on: Ground, begin_ms: int) -> int:
    watch = Watch(default_detectors())
    return sum(
        len(watch.observe(batch, [EXAMPLE] * len(batch.connectors)).judged)
        for batch in _replay(on, begin_ms)
    )


def _replay(on: Ground, begin_ms: int) -> Iterator[Batch]:
    connectors = [unit.connector for unit in on.fleet.units]
    return TenantTelemetry(TENANT, store=on.telemetry).replay(connectors, since_ms=begin_ms)


def _back_tested(on: Ground, begin_ms: int) -> Came:
    """As the worker does it: asked for, claimed, carried on to its end."""
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
        began = time.perf_counter()
        runner.carry_on(claimed, is_time_up=lambda: False)
        took_s = time.perf_counter() - began
    close("connectors", fleet=len(on.fleet.units), back_tested=claimed.connectors_done)
    return Came(claimed.readings, claimed.readings / took_s)


def _engineer(now: datetime) -> User:
    found = User.objects.filter(username=TENANT).first()
    return found or create_user(
        username=TENANT, email="replay@bench.example", role=Role.ENGINEER, now=now
    )
