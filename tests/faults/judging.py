"""Detection beside the load: a worker to kill, what is measured to be warned of, what was made of
it."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from django.conf import settings
from django_tenants.utils import schema_context

from apps.alarms.models import AlarmEvent, Kind
from apps.devices.directory import Directory
from apps.telemetry.slices import to_ms
from apps.telemetry.tenant import TenantTelemetry
from config.celery import app as celery
from ohmwatch.detector import Batch
from ohmwatch.findings import Finding
from ohmwatch.watch import Watch, warm_up
from tests.acquisition import ROOT, now_ms, until
from tests.faults.checker import Judged, Key, detection_violations
from tests.faults.load import CONNECTORS, TENANTS, Course, Load
from tests.faults.witness import witnessed
from workers.detection.gathering import name_of
from workers.detection.panel import DETECTORS

WATCHED = ("overtemperature", "insulation_low")
"""Of these an alarm is expected where the same readings, undisturbed, give one."""
STEPS = ("after_detectors:5", "before_checkpoint:3", "before_commit:3", "after_commit:3")
"""Where a detection worker can be told to die."""
SWEEP_S = 1.0
_SPELL, _BEGINS, _LASTS = 600, 200, 200
_SPELLS = 3
"""Of each kind: one more, and an alarm is held open for coming and going."""
_COMMAND = ("-m", "celery", "-A", "config.celery", "worker", "-Q", "detection", "-P", "solo")
_QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING")


class Judge:
    """A detection worker as the supervisor starts it, with a witness among its detectors."""

    def __init__(self, name: str = "judge") -> None:
        self._name = name
        self.log = Path(settings.ENVIRONMENT.data_dir) / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, fault: str = "") -> Self:
        """`fault`: where it is to die by itself."""
        name = f"{self._name}-{time.time_ns()}@test"
        self.process = subprocess.Popen(
            [sys.executable, *_COMMAND, *_QUIET, "-I", "tests.faults.seating", "-n", name],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}", "OHMWATCH_FAULT": fault},
            stdout=self.log.open("ab"),
            stderr=subprocess.STDOUT,
        )
        return self

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait(self, *, within_s: float = 60.0) -> int:
        """Until it has ended by itself; its exit status."""
        assert self.process is not None
        return self.process.wait(within_s)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """As by a power cut."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def tail(self) -> str:
        return self.log.read_text()[-3000:] if self.log.exists() else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@contextlib.contextmanager
def sweeping() -> Iterator[None]:
    """Plays the scheduler, which lives through whatever happens to Redis."""
    over = threading.Event()

    def sweep() -> None:
        while not over.wait(SWEEP_S):
            with contextlib.suppress(Exception):  # Redis is away: the next one may get through
                celery.send_task("detection.sweep", queue="detection", expires=4, retry=False)

    scheduler = threading.Thread(target=sweep)
    scheduler.start()
    try:
        yield
    finally:
        over.set()
        scheduler.join()


def course() -> Course:
    """A reading a second of the device's time, hours of it in a minute of ours: contacts get hot
    for a while, then insulation gets wet."""
    start_ms = now_ms() - 6 * 3_600_000

    def more(keys: Sequence[Key]) -> dict[str, list[float]]:
        seconds = [(time_ms - start_ms) // 1000 for _, _, time_ms in keys]
        ill = [second % _SPELL - _BEGINS in range(_LASTS) for second in seconds]
        spells = [second // _SPELL for second in seconds]
        hot = [is_ill and spell % 2 == 0 for is_ill, spell in zip(ill, spells, strict=True)]
        wet = [is_ill and spell % 2 == 1 for is_ill, spell in zip(ill, spells, strict=True)]
        last = 2 * _SPELLS
        return {
            "temperature_pos_c": [
                140.0 if is_hot and spell < last else 40.0 + second % 7 / 10
                for is_hot, spell, second in zip(hot, spells, seconds, strict=True)
            ],
            "insulation_kohm": [
                200.0 if is_wet and spell < last else 9_000.0 + second % 5
                for is_wet, spell, second in zip(wet, spells, seconds, strict=True)
            ],
        }

    return Course(start_ms=start_ms, step_ms=1000, more=more)


def check(load: Load, judge: Judge, *, within_s: float) -> None:
    """All that was acknowledged is judged within that time; then nothing is wrong."""
    accepted = load.history.acknowledged

    def all_judged() -> bool:
        if not judge.runs:
            judge.start()  # as the supervisor does: Celery ends where Redis goes at a bad moment
        return accepted <= set(witnessed())

    with contextlib.suppress(AssertionError):  # what is missing is told by its name
        until(all_judged, within_s=within_s)
    expected = expected_alarms()
    assert expected, "nothing to be warned of"
    judged = Judged(load.seed, set(accepted), expected, alarms(), witnessed())
    print(f"seed {load.seed}: {len(judged.clocks)} readings judged, {len(judged.alarms)} alarms")
    found = detection_violations(judged)
    assert not found, (found, judge.tail())


def alarms() -> list[Key]:
    """Each opening of an alarm that counts: whose and of what it is, by the reading that opened
    it."""
    found: list[Key] = []
    for tenant in TENANTS:
        with schema_context(f"t_{tenant}"):
            events = AlarmEvent.objects.select_related("alarm").filter(
                kind__in=(Kind.OPENED, Kind.REOPENED), alarm__condition__in=WATCHED
            )
            found += [
                _alarm(tenant, str(each.alarm.connector_id), each.alarm.condition, to_ms(measured))
                for each in events
                if (measured := each.measured_at) is not None
            ]
    return found


def expected_alarms() -> set[Key]:
    """The same as an undisturbed run would have it: the readings that are held, judged at once."""
    warm_up(DETECTORS)
    directory = Directory()
    directory.load()
    expected: set[Key] = set()
    for tenant in TENANTS:
        watch = Watch(DETECTORS)
        findings: list[Finding] = []
        for batch in TenantTelemetry(tenant).replay([str(each) for each in CONNECTORS], since_ms=0):
            named = _named(batch, tenant)
            ratings = [directory.ratings_of(tenant, each) for each in batch.connectors]
            findings += watch.observe(named, [each for each in ratings if each]).findings
        expected |= _openings(tenant, findings)
    return expected


def _named(batch: Batch, tenant: str) -> Batch:
    """As the worker calls the connectors, in the order that detectors are promised."""
    names = [name_of(tenant, each) for each in batch.connectors]
    return Batch(names, batch.connector, batch.time_ms, batch.arrived_ms, batch.values)


def _openings(tenant: str, findings: Sequence[Finding]) -> set[Key]:
    open_now: set[tuple[str, str]] = set()
    found: set[Key] = set()
    for each in findings:
        who = (each.connector, each.condition)
        if each.ended:
            open_now.discard(who)
        elif who not in open_now:
            open_now.add(who)
            if each.condition in WATCHED:
                connector = each.connector.partition("/")[2]
                found.add(_alarm(tenant, connector, each.condition, each.measured_ms))
    return found


def _alarm(tenant: str, connector: str, condition: str, measured_ms: int) -> Key:
    return tenant, f"{connector} {condition}", measured_ms
