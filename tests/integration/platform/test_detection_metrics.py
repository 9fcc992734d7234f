"""What detection's workers count is at /metrics: the sums of all of them, whoever was killed."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.test import Client
from django.utils import timezone
from django_tenants.utils import schema_context
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from apps.accounts.models import User
from apps.devices.directory import Directory
from apps.partitions.board import LAG_HOLDS_MS, LAGS_KEY, TOLD_KEY, Teller
from apps.partitions.log import Chunk, PartitionLog
from apps.partitions.metrics import REGISTRY
from apps.partitions.queries import positions
from apps.telemetry.slices import to_ms
from apps.telemetry.store import the_store
from apps.warning.models import Mode
from apps.warning.operations import Content, make_rule
from config.celery import app as celery
from ohmwatch.detectors.overtemperature import Overtemperature
from ohmwatch.watch import warm_up
from tests import journal
from workers.detection import passes
from workers.detection.desk import Desk
from workers.detection.panel import DETECTORS, Panel

ROOT = Path(__file__).resolve().parents[3]
WORKER = ["-m", "celery", "-A", "config.celery", "worker", "-Q", "detection", "-P", "solo"]
QUIET = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING"]
JUDGED = "ohmwatch_detection_readings_judged_total"
LAG = "ohmwatch_detection_lag_seconds"
PASS_SECONDS = "ohmwatch_detection_pass_seconds"
UNJUDGED = "ohmwatch_detection_unjudged_seconds"

pytestmark = pytest.mark.usefixtures("db")


def shown(client: Client) -> dict[str, float]:
    """By series, as the page has them."""
    lines = client.get("/metrics").text.splitlines()
    found = [re.fullmatch(r"(ohmwatch_detection_\S+) (\S+)", line) for line in lines]
    return {each[1]: float(each[2]) for each in found if each}


def of(name: str, series: dict[str, float]) -> dict[str, float]:
    """The series of one metric."""
    return {each: value for each, value in series.items() if each.partition("{")[0] == name}


def now_ms() -> int:
    return to_ms(timezone.now())


# --- whoever counts -----------------------------------------------------------------------------


class Process:
    """What one worker counts, and how it tells."""

    def __init__(self, client: redis.Redis) -> None:
        own = CollectorRegistry()
        self.judged = Counter(JUDGED, "as declared", registry=own)
        self.took_s = Histogram(PASS_SECONDS, "as declared", registry=own)
        self.lag_s = Gauge(LAG, "as declared", ["partition"], registry=own)
        self.teller = Teller(client, own)

    def tell(self, *, at_ms: int | None = None) -> None:
        self.teller.tell(now_ms=at_ms or now_ms())


def test_a_count_is_the_sum_of_all_workers_and_of_those_that_are_gone(
    client: Client, redis_log: redis.Redis
) -> None:
    one, two = Process(redis_log), Process(redis_log)
    for process, number in ((one, 3), (two, 4), (one, 5), (two, 0), (Process(redis_log), 1)):
        process.judged.inc(number)
        process.tell()
        process.tell()
    assert shown(client)[JUDGED] == 13


def test_a_histogram_is_summed_by_bucket_and_its_buckets_are_in_order(
    client: Client, redis_log: redis.Redis
) -> None:
    for took_s in (0.004, 0.03, 20.0):
        process = Process(redis_log)
        process.took_s.observe(took_s)
        process.tell()
    buckets = of(f"{PASS_SECONDS}_bucket", shown(client))
    assert list(buckets.values()) == sorted(buckets.values())
    assert buckets[f'{PASS_SECONDS}_bucket{{le="0.005"}}'] == 1
    assert buckets[f'{PASS_SECONDS}_bucket{{le="10.0"}}'] == 2
    assert buckets[f'{PASS_SECONDS}_bucket{{le="+Inf"}}'] == 3
    assert shown(client)[f"{PASS_SECONDS}_count"] == 3
    assert shown(client)[f"{PASS_SECONDS}_sum"] == pytest.approx(20.034)


class Deaf(redis.Redis):
    """Its words are heard, their answers lost."""

    def eval(self, *said: Any) -> Any:  # type: ignore[override]
        super().eval(*said)
        raise redis.TimeoutError("no answer")


def test_what_is_told_again_because_its_answer_was_lost_counts_once(
    client: Client, redis_log: redis.Redis
) -> None:
    with Deaf.from_url(settings.REDIS_LOG_URL) as deaf:
        process = Process(deaf)
        process.judged.inc(3)
        with pytest.raises(redis.TimeoutError):
            process.tell()
        process.judged.inc(4)
        with pytest.raises(redis.TimeoutError):
            process.tell()
    process.teller._redis = redis_log
    process.tell()
    assert shown(client)[JUDGED] == 7


def test_where_redis_was_emptied_counts_begin_anew_and_all_of_them(
    client: Client, redis_log: redis.Redis
) -> None:
    process = Process(redis_log)
    process.took_s.observe(20.0)
    process.tell()
    before = shown(client)
    redis_log.flushdb()
    process.took_s.observe(20.0)
    process.tell()
    after = shown(client)
    assert before.keys() == after.keys()
    assert after[f"{PASS_SECONDS}_count"] == 1


def test_a_partitions_lag_is_that_of_who_judged_it_last(
    client: Client, redis_log: redis.Redis
) -> None:
    one, two = Process(redis_log), Process(redis_log)
    one.lag_s.labels(7).set(50.0)
    one.tell()
    two.lag_s.labels(7).set(0.5)
    two.tell()
    one.judged.inc()
    one.tell()  # what it says of the partition is old
    assert of(LAG, shown(client)) == {f'{LAG}{{partition="7"}}': 0.5}


def test_a_lag_that_nobody_has_told_for_minutes_is_no_more(
    client: Client, redis_log: redis.Redis
) -> None:
    process = Process(redis_log)
    process.lag_s.labels(7).set(50.0)
    process.tell(at_ms=now_ms() - LAG_HOLDS_MS - 1)
    assert redis_log.hlen(LAGS_KEY) == 1
    assert of(LAG, shown(client)) == {}


def test_what_an_older_version_has_told_is_left_out(client: Client, redis_log: redis.Redis) -> None:
    own = CollectorRegistry()
    Counter("ohmwatch_detection_former", "of yesterday", registry=own).inc()
    Teller(redis_log, own).tell(now_ms=now_ms())
    assert of("ohmwatch_detection_former_total", shown(client)) == {}


# --- detection itself ---------------------------------------------------------------------------


@contextmanager
def detection() -> Iterator["subprocess.Popen[bytes]"]:
    """A detection worker as production runs it; killed at the end."""
    name = f"detection-{time.time_ns()}@test"
    process = subprocess.Popen(
        [sys.executable, *WORKER, *QUIET, "-n", name],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def sweep_until(done: Callable[[], bool], what: str, *, limit_s: float = 90) -> None:
    """Plays the scheduler until something has happened."""
    until = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < until, what
        celery.send_task("detection.sweep", queue="detection", expires=4)
        time.sleep(0.5)


def is_committed(log: PartitionLog) -> bool:
    """Whether each checkpoint is at the end of its log."""
    known = positions()
    ends = {each: log.last_entry(each) for each in range(log.partitions)}
    return all(known[each].entry == last for each, last in ends.items() if last and each in known)


def number_of(chunks: Sequence[Chunk]) -> int:
    return sum(len(each.time_ms) for each in chunks)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("empty_elasticsearch")
def test_counts_of_two_workers_are_right_also_after_one_was_killed(
    client: Client, redis_log: redis.Redis
) -> None:
    chunks = journal.story(late=False, repeated=False)
    first, second, *rest = journal.parts(chunks, each_s=300)
    third = [chunk for part in rest for chunk in part]
    log = PartitionLog(redis_log)
    told: list[float] = [0]

    def is_told(number: int) -> bool:
        told.append(shown(client).get(JUDGED, 0.0))
        return told[-1] >= number and is_committed(log)

    with detection() as one, detection() as two:
        two.send_signal(signal.SIGSTOP)  # the first judges alone
        journal.append(first, log)
        sweep_until(lambda: is_told(number_of(first)), "the first part")
        assert told[-1] == number_of(first)
        two.send_signal(signal.SIGCONT)
        journal.append(second, log)
        sweep_until(lambda: is_told(number_of([*first, *second])), "the second part")
        assert told[-1] == number_of([*first, *second])
        sweep_until(lambda: len(redis_log.keys(f"{TOLD_KEY}*")) == 2, "both have told")
        one.kill()
        one.wait()
        journal.append(third, log)  # and the second alone
        sweep_until(lambda: is_told(1) and told[-1] > told[-2], "somebody judges the third part")
        sweep_until(lambda: is_committed(log), "the third part")
        two.terminate()  # it tells what it has not told yet
        assert two.wait(60) == 0
    series = shown(client)
    assert series[JUDGED] == number_of(chunks)
    assert told == sorted(told), "it never fell"
    assert series['ohmwatch_detection_passes_total{outcome="judged"}'] > 0
    assert series[f"{PASS_SECONDS}_count"] == sum(
        of("ohmwatch_detection_passes_total", series).values()
    )
    assert series['ohmwatch_detection_findings_total{condition="overtemperature",severity="ended"}']
    lags = of(LAG, series)
    assert {f'{LAG}{{partition="{each}"}}' for each in journal.partitions()} == lags.keys()
    assert set(of(UNJUDGED, series).values()) == {0.0}


@pytest.fixture
def desk(redis_log: redis.Redis) -> Desk:
    return new_desk(redis_log)


def new_desk(client: redis.Redis) -> Desk:
    """A worker's, in this process."""
    warm_up(DETECTORS)
    return Desk(
        client=client,
        log=PartitionLog(client, wake=lambda partitions, delay_ms: None),
        directory=Directory(),
        telemetry=the_store(),
        panel=Panel(DETECTORS),
        clock=timezone.now,
    )


def unjudged(client: Client) -> set[str]:
    """The partitions where something waits."""
    waiting = of(UNJUDGED, shown(client))
    assert len(waiting) == settings.ENVIRONMENT.partitions
    return {re.findall(r'"(\d+)"', each)[0] for each, waiting_s in waiting.items() if waiting_s}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("empty_elasticsearch")
class TestWhatIsUnjudged:
    def test_is_what_no_checkpoint_covers_whether_a_worker_runs_or_not(
        self, client: Client, desk: Desk
    ) -> None:
        partition, *others = map(str, journal.partitions())
        journal.append(journal.story(), desk.log)
        time.sleep(0.31)
        assert unjudged(client) == {partition, *others}
        judge(int(partition), desk)
        assert unjudged(client) == set(others)

    def test_is_nothing_where_a_worker_died_between_commit_and_trim(
        self, client: Client, desk: Desk, redis_log: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        partition = journal.partitions()[0]
        journal.append(journal.story(), desk.log)
        time.sleep(0.31)
        with monkeypatch.context() as patch:
            patch.setattr(desk.log, "trim_several", _die)
            with pytest.raises(Died):
                judge(partition, desk)
        assert str(partition) in unjudged(client)
        judge(partition, new_desk(redis_log))
        assert str(partition) not in unjudged(client)


class Died(Exception):
    """As if the process had ended here."""


def _die(*_: object) -> None:
    raise Died


def judge(partition: int, desk: Desk) -> None:
    """To the end of its log, with a checkpoint."""
    while desk.log.last_entry(partition) != _judged(partition, desk):
        passes.visit(partition, desk=desk)
    passes._checkpoint([desk.holdings[partition]], desk)


def _judged(partition: int, desk: Desk) -> str | None:
    holding = desk.holdings.get(partition)
    return None if holding is None else holding.position.entry


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("empty_elasticsearch")
def test_a_detector_that_fails_is_counted_by_its_name(
    client: Client,
    desk: Desk,
    anna: User,
    redis_log: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shadow = Content(name="Earlier", mode=Mode.SHADOW.value, parameters={"margin_k": 80.0})
    with schema_context("t_kunlun"):
        make_rule(user=anna, detector="overtemperature", content=shadow, now=timezone.now())
    monkeypatch.setattr(Overtemperature, "observe", _die)
    journal.append(journal.story(), desk.log)
    time.sleep(0.31)
    for partition in journal.partitions():
        judge(partition, desk)
    Teller(redis_log, REGISTRY).tell(now_ms=now_ms())
    failures = of("ohmwatch_detection_detector_failures_total", shown(client))
    labels = '{detector="overtemperature",error="Died"}'
    assert failures[f"ohmwatch_detection_detector_failures_total{labels}"] > 0
    assert not any("@" in each for each in failures)
