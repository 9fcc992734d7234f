"""Promise 4: a connector's readings reach its detectors in order, and the same readings give the
same findings, whatever was killed, flushed, repeated or taken over in between."""

import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import redis
from django.conf import settings
from django.test import Client
from django.utils import timezone
from django_tenants.utils import schema_context

from apps.accounts.models import User
from apps.alarms.models import AlarmEvent
from apps.devices.directory import Directory
from apps.partitions import arrears, operations
from apps.partitions.arrears import partitions_in_arrears
from apps.partitions.lease import LEASE_MS, lease_key
from apps.partitions.log import Chunk, PartitionLog, log_key
from apps.partitions.models import Checkpoint
from apps.partitions.queries import partitions_with_late, snapshots
from apps.partitions.snapshots import take_snapshot
from apps.partitions.wakeups import wake_key
from apps.telemetry import erasing
from apps.telemetry.documents import STATE_INDEX
from apps.telemetry.store import the_store
from apps.tenants.models import Tenant
from apps.tenants.operations import close_tenant
from apps.warning import operations as warning
from apps.warning.models import Mode
from apps.warning.operations import Content
from config.celery import app as celery
from ohmwatch.detectors.overtemperature import Overtemperature
from ohmwatch.watch import Watch, warm_up
from tests import cast, journal, stores
from workers.detection import again, faults, passes
from workers.detection.desk import Desk
from workers.detection.gathering import key_of
from workers.detection.panel import Panel
from workers.detection.recompute import recompute

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("empty_elasticsearch"),
]
ROOT = Path(__file__).resolve().parents[2]
WORKER = ["-m", "celery", "-A", "config.celery", "worker", "-Q", "detection", "-P", "solo"]
QUIET = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING"]
POINTS = ["after_detectors", "before_checkpoint", "before_commit", "after_commit"]
DEATHS = ["after_detectors", "before_checkpoint:2", "before_commit", "after_commit:2"]


@pytest.fixture
def log(redis_log: redis.Redis) -> PartitionLog:
    return PartitionLog(redis_log, wake=lambda partitions, delay_ms: None)


def _warm_panel() -> Panel:
    """As the worker makes it: compiling would run into the limit of a turn."""
    panel = Panel()
    warm_up(panel.detectors)
    return panel


@pytest.fixture
def desk(redis_log: redis.Redis) -> Desk:
    return new_desk(redis_log)


def new_desk(client: redis.Redis) -> Desk:
    """A worker's, in this process."""
    return Desk(
        client=client,
        log=PartitionLog(client, wake=lambda partitions, delay_ms: None),
        directory=Directory(),
        telemetry=the_store(),
        panel=_warm_panel(),
        clock=timezone.now,
    )


def judge_all(desk: Desk, *, visits: int = 400) -> None:
    """Visits until nothing is left to judge or to commit."""
    for _ in range(visits):
        for partition in journal.partitions():
            passes.visit(partition, desk=desk)
        if all(is_judged(partition, desk.log) for partition in journal.partitions()):
            break
        time.sleep(0.05)
    for partition in journal.partitions():
        holding = desk.holdings[partition]
        if holding.is_dirty:
            passes._commit(holding, desk)


def is_judged(partition: int, log: PartitionLog) -> bool:
    """Whether a checkpoint, or who holds the partition, is at the end of its log."""
    return log._redis.xlen(log_key(partition)) == 0 or not _behind(partition, log)


def _behind(partition: int, log: PartitionLog) -> bool:
    row = Checkpoint.objects.filter(partition=partition).first()
    last = log.last_entry(partition)
    return row is None or last is None or row.position.partition("/")[2] != last


@pytest.fixture
def chunks() -> list[Chunk]:
    return journal.story()


@pytest.fixture
def undisturbed(chunks: list[Chunk], log: PartitionLog, desk: Desk) -> list[journal.Line]:
    """What a quiet run makes of the story; then nothing of that run is left."""
    journal.append(chunks, log)
    judge_all(desk)
    told = journal.events()
    assert {line.condition for line in told} >= {"overtemperature", "insulation_low"}
    assert {line.tenant for line in told} == {"kunlun", "aurora"}
    assert len(told) > 20
    stores.restore()
    stores.flush_redis()
    return told


# --- the story itself -------------------------------------------------------------------------


def test_repeats_change_nothing(log: PartitionLog, redis_log: redis.Redis) -> None:
    told = []
    now_ms = int(timezone.now().timestamp()) * 1000
    for repeated in (False, True):
        chunks = journal.story(repeated=repeated, late=False, ends_ms=now_ms)
        journal.append(chunks, log)
        judge_all(new_desk(redis_log))
        told.append([replace(line, measured_at=None, arrived_at=None) for line in journal.events()])
        stores.restore()
        stores.flush_redis()
    assert told[0] == told[1]
    assert told[0]


def test_looking_often_or_once_makes_no_difference(
    chunks: list[Chunk], undisturbed: list[journal.Line], log: PartitionLog, desk: Desk
) -> None:
    for part in journal.parts(chunks, each_s=60):
        journal.append(part, log)
        time.sleep(0.31)
        for partition in journal.partitions():
            passes.visit(partition, desk=desk)
    judge_all(desk)
    assert journal.events() == undisturbed


# --- killed -----------------------------------------------------------------------------------


@contextmanager
def worker(fault: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """A real detection worker; dies by itself where `fault` says, by SIGKILL at the end."""
    process = subprocess.Popen(
        [sys.executable, *WORKER, *QUIET, "-n", f"detection-{time.time_ns()}@test"],
        cwd=ROOT,
        env={**os.environ, "OHMWATCH_FAULT": fault},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def sweep_until(done: Callable[[], bool], *, limit_s: float = 90) -> None:
    """Plays the scheduler until something has happened."""
    until = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < until, "it did not happen"
        celery.send_task("detection.sweep", queue="detection", expires=4)
        time.sleep(0.5)


def test_killed_workers_leave_the_findings_of_an_undisturbed_run(
    chunks: list[Chunk], undisturbed: list[journal.Line], redis_log: redis.Redis
) -> None:
    waking = PartitionLog(redis_log)
    several = list(journal.parts(chunks, each_s=180))
    for part, death in itertools.zip_longest(several, DEATHS[: len(several)]):
        journal.append(part or [], waking)
        if death:
            with worker(fault=death) as process:
                sweep_until(partial(_has_ended, process))
                assert process.returncode == -9
            _let_leases_run_out(redis_log)
    with worker():
        sweep_until(lambda: not any(_behind(each, waking) for each in journal.partitions()))
    assert journal.events() == undisturbed


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None


def _let_leases_run_out(client: redis.Redis) -> None:
    """Does not wait the 10 s, but proves that somebody would have."""
    for partition in journal.partitions():
        left_ms = client.pttl(lease_key(partition))
        assert left_ms == -2 or 0 < left_ms <= LEASE_MS
        client.delete(lease_key(partition))


# --- flushed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["flushed", "stream lost"])
def test_lost_log_is_read_again_from_elasticsearch(
    how: str,
    chunks: list[Chunk],
    undisturbed: list[journal.Line],
    log: PartitionLog,
    redis_log: redis.Redis,
) -> None:
    several = list(journal.parts(chunks, each_s=120))
    desk = new_desk(redis_log)
    for number, part in enumerate(several):
        journal.store(part)
        journal.append(part, log)
        if number == len(several) // 2:  # nobody has judged this part
            if how == "flushed":
                redis_log.flushdb()
                continue  # found out only when other readings are in the new log
            redis_log.delete(*[log_key(each) for each in journal.partitions()])
        time.sleep(0.31)
        for partition in journal.partitions():
            passes.visit(partition, desk=desk)
    judge_all(desk)
    assert journal.events() == undisturbed


def test_flush_while_a_worker_is_dead_and_another_starts_anew(
    chunks: list[Chunk],
    undisturbed: list[journal.Line],
    log: PartitionLog,
    redis_log: redis.Redis,
) -> None:
    first, *rest = journal.parts(chunks, each_s=300)
    journal.store(first)
    journal.append(first, log)
    judge_all(new_desk(redis_log))
    for part in rest:
        journal.store(part)
        journal.append(part, log)
    redis_log.flushdb()
    judge_all(new_desk(redis_log))
    assert journal.events() == undisturbed


def test_replay_leaves_out_what_came_late(
    chunks: list[Chunk], undisturbed: list[journal.Line], redis_log: redis.Redis
) -> None:
    """Sorted by measurement alone, late readings would be judged: here nothing was judged yet."""
    journal.store(chunks)
    judge_all(new_desk(redis_log))
    assert journal.events() == undisturbed


# --- two holders ------------------------------------------------------------------------------


def test_paused_holder_is_fenced_off_and_writes_nothing(
    chunks: list[Chunk],
    undisturbed: list[journal.Line],
    log: PartitionLog,
    redis_log: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal.append(chunks, log)
    time.sleep(0.31)
    paused, rival = new_desk(redis_log), new_desk(redis_log)
    took_over: list[int] = []

    def pause(point: str) -> None:
        """The first holder sleeps past its lease with findings in hand; a second one works."""
        partition = next(iter(paused.holdings), None)
        if point == "before_checkpoint" and not took_over and partition is not None:
            took_over.append(partition)
            redis_log.delete(lease_key(partition))
            while not is_judged(partition, rival.log):
                passes.visit(partition, desk=rival)

    monkeypatch.setattr(faults, "point", pause)
    outcomes = {each: passes.visit(each, desk=paused) for each in journal.partitions()}
    (partition,) = took_over
    assert outcomes[partition] == passes.Outcome.FENCED
    assert partition not in paused.holdings
    judge_all(new_desk(redis_log))
    assert journal.events() == undisturbed


def _visit_all(desk: Desk) -> None:
    for partition in journal.partitions():
        passes.visit(partition, desk=desk)


def test_one_visit_judges_all_that_the_worker_holds_and_is_due(
    chunks: list[Chunk], undisturbed: list[journal.Line], log: PartitionLog, desk: Desk
) -> None:
    _visit_all(desk)
    journal.append(chunks, log)
    first, *others = journal.partitions()
    while not is_judged(first, log):
        time.sleep(0.31)
        passes.visit(first, desk=desk)
    for partition in others:
        assert desk.holdings[partition].position.entry == log.last_entry(partition)
        assert desk.lease(partition).take()  # it was given back
        desk.lease(partition).release()
    judge_all(desk)
    assert journal.events() == undisturbed


def test_company_that_is_lost_in_the_middle_of_a_visit_is_judged_by_its_new_holder(
    chunks: list[Chunk],
    undisturbed: list[journal.Line],
    log: PartitionLog,
    redis_log: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paused, rival = new_desk(redis_log), new_desk(redis_log)
    _visit_all(paused)
    journal.append(chunks, log)
    time.sleep(0.31)
    first, *_, last = journal.partitions()

    def take_over(point: str) -> None:
        """While the first holder has findings of all, the last one's lease runs out."""
        if point == "after_detectors" and last not in rival.holdings:
            assert redis_log.get(lease_key(last)) == paused.holder.encode()
            redis_log.delete(lease_key(last))
            while not is_judged(last, rival.log):
                passes.visit(last, desk=rival)

    monkeypatch.setattr(faults, "point", take_over)
    assert passes.visit(first, desk=paused) == passes.Outcome.FENCED
    assert paused.holdings == {}
    assert not redis_log.exists(*(lease_key(each) for each in journal.partitions()))
    judge_all(paused)
    assert journal.events() == undisturbed


def test_worker_that_dies_with_company_leaves_the_findings_of_an_undisturbed_run(
    chunks: list[Chunk],
    undisturbed: list[journal.Line],
    log: PartitionLog,
    redis_log: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    *several, rest = journal.parts(chunks, each_s=210)
    for part, death in zip(several, POINTS, strict=True):
        doomed = new_desk(redis_log)
        _visit_all(doomed)
        journal.append(part, log)
        time.sleep(0.31)
        reached: list[str] = []

        def die(point: str, death: str = death, reached: list[str] = reached) -> None:
            reached.append(point)
            if reached.count(death) == 2 or (death == "after_detectors" and point == death):
                raise Died

        with monkeypatch.context() as patch:
            patch.setattr(faults, "point", die)
            with pytest.raises(Died):
                judge_all(doomed)
        assert len(doomed.holdings) < len(journal.partitions())
    journal.append(rest, log)
    judge_all(new_desk(redis_log))
    assert journal.events() == undisturbed


def test_checkpoints_are_written_at_one_go_but_for_who_was_fenced_off() -> None:
    now = timezone.now()
    held = [operations.take_over(partition=partition, now=now) for partition in (3, 4, 5)]
    operations.take_over(partition=4, now=now)
    told = [
        operations.Progress(each.partition, each.fencing, "life/7-0", b"known", 7, 2)
        for each in held
    ]
    with pytest.raises(operations.Fenced) as raised:
        operations.commit_all(told, now=now)
    assert raised.value.partition == 4
    rows = Checkpoint.objects.order_by("partition")
    assert [(row.partition, row.position, bytes(row.state), row.clock_ms) for row in rows] == [
        (3, "life/7-0", b"known", 7),
        (4, "", b"", 0),
        (5, "life/7-0", b"known", 7),
    ]


def test_wake_up_is_left_where_company_has_judged_since_and_another_is_due(
    chunks: list[Chunk], log: PartitionLog, desk: Desk
) -> None:
    _visit_all(desk)
    first, other, *_ = journal.partitions()
    assert not passes.is_early(other, desk=desk)  # the next to append wakes
    several = list(journal.parts(chunks, each_s=180))
    journal.append(several[0], log)
    time.sleep(0.31)
    journal.append(several[1], log)
    log._redis.delete(*(wake_key(each) for each in journal.partitions()))
    passes.visit(first, desk=desk)
    assert passes.is_early(other, desk=desk)
    assert not passes.is_early(1_000_000, desk=desk)
    time.sleep(0.7)
    assert not passes.is_early(other, desk=desk)


def test_old_fencing_number_changes_no_row() -> None:
    now = timezone.now()
    old = operations.take_over(partition=3, now=now)
    new = operations.take_over(partition=3, now=now)
    assert new.fencing == old.fencing + 1
    mine = operations.Progress(3, new.fencing, "g/2-0", b"new", 2)
    operations.commit(mine, now=now)
    with pytest.raises(operations.Fenced):
        operations.commit(operations.Progress(3, old.fencing, "g/1-0", b"old", 1), now=now)
    assert bytes(Checkpoint.objects.get(partition=3).state) == b"new"


def test_an_erased_tenant_leaves_no_state_and_the_others_go_on(
    chunks: list[Chunk], log: PartitionLog, desk: Desk, redis_log: redis.Redis
) -> None:
    """Who was half way through a story is forgotten; the other tenant's story ends the same."""
    journal.append(chunks[: len(chunks) // 2], log)
    judge_all(desk)
    for partition in journal.partitions():
        take_snapshot(partition, now=timezone.now())
    gone = [passes.forget(each, "aurora", desk=desk) for each in journal.partitions()]
    assert sum(left or 0 for left in gone) == 3
    for partition in journal.partitions():
        state = bytes(Checkpoint.objects.get(partition=partition).state)
        for each_state in (state, *snapshots(partition)):
            kept = Watch.load(each_state, desk.panel.detectors).connectors
            assert not [each for each in kept if key_of(each)[0] == "aurora"]
        assert redis_log.xlen(log_key(partition)) == 0
    assert {passes.forget(each, "aurora", desk=desk) for each in journal.partitions()} == {0}
    journal.append([each for each in chunks[len(chunks) // 2 :] if each.tenant == "kunlun"], log)
    judge_all(desk)
    told = [line for line in journal.events() if line.tenant == "kunlun"]
    stores.restore()
    stores.flush_redis()
    journal.append(chunks, log)
    judge_all(new_desk(redis_log))
    assert told == [line for line in journal.events() if line.tenant == "kunlun"]


def test_what_an_erased_tenant_has_in_the_log_comes_back_nowhere(
    chunks: list[Chunk], log: PartitionLog, desk: Desk, redis_log: redis.Redis, aurora: Tenant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Detection was away while it was erased: the log holds readings, one desk a state in hand."""
    early, later = chunks[: len(chunks) // 2], chunks[len(chunks) // 2 :]
    journal.append(early, log)
    judge_all(desk)
    desk.board.post()
    assert {tenant for tenant, _ in shown()} == {"kunlun", "aurora"}
    desk.board._paused_until = float("inf")  # the store does not answer it for a while
    journal.append(later[:60], log)
    judge_all(desk)
    assert {row["tenant"] for row in desk.board._waiting.values()} == {"kunlun", "aurora"}
    journal.append(later[60:], log)

    close_tenant(tenant=aurora)
    monkeypatch.setattr(erasing, "LEASES_S", 0.0)
    erasing.erase(the_store(), "aurora", now=timezone.now())

    back = new_desk(redis_log)
    gone = [_forgotten(each, "aurora", back) for each in journal.partitions()]
    desk.directory.load()  # as each visit does within moments
    desk.board._paused_until = 0.0
    for each in (back, desk):
        each.board.post()
        assert not each.board.is_waiting
    assert sum(gone) == 3
    assert shown() == {("kunlun", connector) for tenant, connector in journal.CONNECTORS
                       if tenant == "kunlun"}  # fmt: skip


def _forgotten(partition: int, slug: str, desk: Desk) -> int:
    """As the task does it: asked again while something is to be judged yet."""
    for _ in range(100):
        left = passes.forget(partition, slug, desk=desk)
        if left is not None:
            return left
        time.sleep(0.05)
    raise AssertionError("there is always more to judge")


def shown() -> set[tuple[str, str]]:
    """Tenant and connector of every state that there is."""
    store = the_store()
    store.refresh()
    hits = store.client.search(index=f"{store.prefix}{STATE_INDEX}", size=100)["hits"]["hits"]
    return {(hit["_source"]["tenant"], hit["_source"]["connector"]) for hit in hits}


def test_a_partition_that_another_holds_is_not_touched(desk: Desk, redis_log: redis.Redis) -> None:
    partition = journal.partitions()[0]
    rival = new_desk(redis_log).lease(partition)
    assert rival.take()
    assert passes.forget(partition, "aurora", desk=desk) is None


def test_fencing_survives_a_flush(desk: Desk, redis_log: redis.Redis) -> None:
    partition = journal.partitions()[0]
    passes.visit(partition, desk=desk)
    before = Checkpoint.objects.get(partition=partition).fencing
    redis_log.flushdb()
    passes.visit(partition, desk=new_desk(redis_log))
    assert Checkpoint.objects.get(partition=partition).fencing > before


def test_partitions_move_between_workers(
    chunks: list[Chunk],
    undisturbed: list[journal.Line],
    log: PartitionLog,
    redis_log: redis.Redis,
) -> None:
    desks = [new_desk(redis_log) for _ in range(3)]
    chance = random.Random(5)
    for part in journal.parts(chunks, each_s=60):
        journal.append(part, log)
        time.sleep(0.31)
        for partition in journal.partitions():
            passes.visit(partition, desk=chance.choice(desks))
    judge_all(desks[0])
    assert journal.events() == undisturbed


# --- late -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Truth:
    """What a quiet run in which every reading came in order has stated and learnt."""

    standing: list[journal.Standing]
    open_alarms: list[tuple[str, ...]]
    in_shadow: list[tuple[str, ...]]
    learnt: dict[str, bytes]


def known_now(desk: Desk) -> Truth:
    detectors = desk.panel.detectors
    return Truth(
        journal.standing(),
        journal.open_alarms(),
        journal.in_shadow(),
        journal.learnt(detectors),
    )


def set_shadows() -> None:
    """Rules in shadow, from long before the story; one is of some connectors only."""
    some = {"vehicle": [str(cast.BENS_VEHICLE)]}
    earlier = Content(name="Earlier", mode=Mode.SHADOW.value, parameters={"margin_k": 80.0})
    of_ben = Content(name="Of Ben", mode=Mode.SHADOW.value, selection=some)
    with schema_context("t_kunlun"):
        by = {"user": User.objects.get(pk=cast.ANNA), "now": timezone.now() - timedelta(days=5)}
        warning.make_rule(detector="overtemperature", content=earlier, **by)
        warning.make_rule(detector="insulation_low", content=of_ben, **by)


def truth_of(chunks: list[Chunk], log: PartitionLog, desk: Desk) -> Truth:
    """What is true; rules in shadow are set before and again after it."""
    set_shadows()
    journal.append(sorted(chunks, key=lambda each: int(each.time_ms[0])), log)
    judge_all(desk)
    truth = known_now(desk)
    assert len(truth.standing) > 20
    assert {line[2] for line in truth.in_shadow} == {"overtemperature", "insulation_low"}
    stores.restore()
    stores.flush_redis()
    set_shadows()
    return truth


def judge_late(desk: Desk, *, minutes: int = 0) -> int:
    """Plays the back-test worker, so much later; how many connectors were judged again."""
    now = timezone.now() + timedelta(minutes=minutes)
    desk.clock = lambda: now
    waiting = {*partitions_with_late(), *partitions_in_arrears(now=now)}
    return sum(again.judge_again(each, desk=desk) for each in waiting)


def a_day_ago() -> list[Chunk]:
    ends_ms = int(timezone.now().timestamp()) * 1000 - 25 * 3_600_000
    return journal.story(late=False, repeated=False, ends_ms=ends_ms)


def test_a_backlog_behind_newer_readings_is_judged_at_its_own_time(
    log: PartitionLog, redis_log: redis.Redis
) -> None:
    """A gateway sends what is new first, and then what it had kept."""
    chunks = a_day_ago()
    truth = truth_of(chunks, log, new_desk(redis_log))
    desk = new_desk(redis_log)
    for part in (chunks[-200:], chunks[:-200]):
        journal.store(part)
        journal.append(part, log)
        time.sleep(0.31)
        judge_all(desk)
    assert known_now(desk) != truth
    assert judge_late(new_desk(redis_log)) == len(journal.CONNECTORS)
    assert known_now(desk) == truth
    assert judge_late(new_desk(redis_log)) == 0
    judge_all(desk)
    assert known_now(desk) == truth


@pytest.fixture
def disturbed(log: PartitionLog, redis_log: redis.Redis) -> Truth:
    """A backlog that nobody has judged again yet; what would be true."""
    chunks = a_day_ago()
    truth = truth_of(chunks, log, new_desk(redis_log))
    desk = new_desk(redis_log)
    for part in (chunks[-200:], chunks[:-200]):
        journal.store(part)
        journal.append(part, log)
        time.sleep(0.31)
        judge_all(desk)
    return truth


@contextmanager
def failing(owner: type, method: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, method, _raise)
        yield


def _raise(*_: object, **__: object) -> None:
    raise MemoryError("for the moment")


def of_others(lines: list[journal.Standing]) -> list[journal.Standing]:
    return [each for each in lines if each.condition != "overtemperature"]


def test_a_detector_that_fails_at_it_is_asked_once_more_and_holds_up_no_other(
    disturbed: Truth, redis_log: redis.Redis
) -> None:
    before = known_now(new_desk(redis_log))
    with failing(Overtemperature, "observe"):
        assert judge_late(new_desk(redis_log)) == len(journal.CONNECTORS)
    after = known_now(new_desk(redis_log))
    assert of_others(after.standing) == of_others(disturbed.standing)
    own = [set(each.standing) - set(of_others(each.standing)) for each in (before, after)]
    assert own[0] == own[1]
    assert judge_late(new_desk(redis_log)) == 0, "not before its time"
    with failing(Overtemperature, "observe"):
        assert judge_late(new_desk(redis_log), minutes=3) == len(journal.CONNECTORS)
    assert known_now(new_desk(redis_log)) == after
    assert judge_late(new_desk(redis_log), minutes=10) == len(journal.CONNECTORS)
    assert known_now(new_desk(redis_log)) == disturbed
    assert judge_late(new_desk(redis_log), minutes=100) == 0


def test_a_stage_that_fails_leaves_all_as_it_was_until_the_next_try(
    disturbed: Truth, redis_log: redis.Redis
) -> None:
    before = known_now(new_desk(redis_log))
    stage = type(Watch(new_desk(redis_log).panel.detectors).stages[0])
    with failing(stage, "columns"):
        judge_late(new_desk(redis_log))
    assert known_now(new_desk(redis_log)) == before
    judge_late(new_desk(redis_log), minutes=3)
    assert known_now(new_desk(redis_log)) == disturbed


def test_what_fails_again_and_again_is_told_to_the_operator(
    disturbed: Truth, redis_log: redis.Redis, client: Client, operator: User
) -> None:
    with failing(Overtemperature, "observe"):
        judge_late(new_desk(redis_log))
        for hours in range(1, arrears.TRIES):
            assert judge_late(new_desk(redis_log), minutes=60 * hours) > 0
        assert judge_late(new_desk(redis_log), minutes=60 * 24) == 0
    (told,) = arrears.given_up()
    assert told.connectors == len(journal.CONNECTORS)
    assert told.failed.startswith("overtemperature")
    assert "for the moment" in told.error
    client.force_login(operator)
    assert "for the moment" in client.get("/readiness/", headers={"host": "localhost"}).text
    judge_late(new_desk(redis_log), minutes=60 * 50)
    assert of_others(known_now(new_desk(redis_log)).standing) == of_others(disturbed.standing)


def test_a_silence_that_late_readings_fill_was_none(
    log: PartitionLog, redis_log: redis.Redis
) -> None:
    """What recurs is told by the readings: three gaps under load, of which none is left."""
    desk = new_desk(redis_log)
    ends_ms = int(timezone.now().timestamp()) * 1000 - 60_000
    chunks = [_five_minutes(ends_ms - 300_000 * back) for back in range(36, 0, -1)]
    kept = [each for at, each in enumerate(chunks) if at % 9 in (5, 6, 7, 8)]
    sent = [each for each in chunks if each not in kept]
    for part in (sent, kept):
        journal.store(part)
        journal.append(part, log)
        time.sleep(0.31)
        judge_all(desk)
    assert {line.condition for line in journal.standing()} == {"device_silent"}
    assert judge_late(new_desk(redis_log)) == 1
    assert journal.standing() == []
    assert journal.open_alarms() == []


def _five_minutes(start_ms: int) -> Chunk:
    time_ms = start_ms + 10_000 * np.arange(30, dtype=np.int64)
    values = {"current_a": np.full(30, 120.0), "ambient_c": np.full(30, 21.0)}
    return Chunk("kunlun", str(cast.BENS_CONNECTOR), int(time_ms[-1]) + 100, time_ms, values)


def test_stored_readings_give_the_same_findings_bit_for_bit(
    log: PartitionLog, redis_log: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    chunks = a_day_ago()
    journal.store(chunks)
    journal.append(chunks, log)
    judge_all(new_desk(redis_log))
    told = [line for line in journal.standing() if line.tenant == "kunlun"]
    asked = partial(recompute, start=None, end=None, desk=new_desk(redis_log))
    for connector in (cast.BENS_CONNECTOR, cast.BENS_SECOND_CONNECTOR, cast.CLARAS_CONNECTOR):
        assert asked("kunlun", str(connector)) == 0
    printed = capsys.readouterr().out
    assert printed.count("same ") == len(told) + 3
    assert asked("kunlun", "nothing of this name") == 2

    with schema_context("t_kunlun"):
        event = AlarmEvent.objects.filter(alarm__connector=cast.BENS_CONNECTOR).latest("number")
        evidence = dict(event.evidence)
        name = next(iter(evidence))
        evidence[name] = float(np.nextafter(evidence[name], np.inf))
        AlarmEvent.objects.filter(pk=event.pk).update(evidence=evidence)
    assert asked("kunlun", str(cast.BENS_CONNECTOR)) == 1
    assert f"#{event.number}" in next(
        line for line in capsys.readouterr().out.splitlines() if line.startswith("differs")
    )


class Died(Exception):
    """As if the process had ended here."""


def test_all_of_it_at_once_equals_a_quiet_run_in_order(
    log: PartitionLog, redis_log: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed, flushed, moved, held by two at once, 1 % twice, 5 % late by up to a day."""
    chunks = a_day_ago()
    truth = truth_of(chunks, log, new_desk(redis_log))
    chunks = journal.disturbed(chunks)
    ends_ms = chunks[0].arrived_ms + journal.SECONDS * 1000
    story = [each for each in chunks if each.arrived_ms < ends_ms]
    afterwards = [each for each in chunks if each.arrived_ms >= ends_ms]
    assert len(afterwards) > len(truth.learnt) * journal.SECONDS * 0.04
    chance = random.Random(3)
    desks = [new_desk(redis_log) for _ in range(3)]

    def come(part: list[Chunk]) -> None:
        journal.store(part)
        journal.append(part, log)
        time.sleep(0.31)

    def look(partition: int) -> None:
        passes.visit(partition, desk=chance.choice(desks))

    first, killed, flushed, held_twice, *rest = journal.parts(story, each_s=180)
    come(first)
    for partition in journal.partitions():
        look(partition)

    journal.store(killed)
    journal.append(killed, PartitionLog(redis_log))
    with worker(fault="before_commit") as process:
        sweep_until(partial(_has_ended, process))
    _let_leases_run_out(redis_log)

    come(flushed)
    redis_log.flushdb()

    come(held_twice)
    with monkeypatch.context() as patch:
        patch.setattr(faults, "point", partial(_overtake, desks[0], desks[1], redis_log))
        outcomes = {passes.visit(each, desk=desks[0]) for each in journal.partitions()}
    assert passes.Outcome.FENCED in outcomes
    for partition in journal.partitions():
        take_snapshot(partition, now=timezone.now())

    for part in rest:
        come(part)
        for partition in journal.partitions():
            look(partition)
    for first_of in range(0, len(afterwards), 100):
        come(afterwards[first_of : first_of + 100])
        for partition in journal.partitions():
            look(partition)
        if first_of == 100:
            judge_all(desks[0])
            with monkeypatch.context() as patch:
                patch.setattr(faults, "point", _die)
                with pytest.raises(Died):
                    judge_late(new_desk(redis_log))
            assert judge_late(new_desk(redis_log)) > 0
            for partition in journal.partitions():
                take_snapshot(partition, now=timezone.now())
    judge_all(desks[0])
    assert known_now(desks[0]) != truth
    while judge_late(new_desk(redis_log)):
        pass
    assert known_now(desks[0]) == truth


def _overtake(paused: Desk, rival: Desk, client: redis.Redis, point: str) -> None:
    """At the moment of a commit, the holder's lease has run out, and another has taken over."""
    for partition in list(paused.holdings):
        is_its = client.get(lease_key(partition)) == paused.holder.encode()
        if point == "before_checkpoint" and is_its:
            client.delete(lease_key(partition))
            passes.visit(partition, desk=rival)


def _die(point: str) -> None:
    if point == "before_commit":
        raise Died


# --- Celery's order ---------------------------------------------------------------------------


def test_redelivery_late_twice_and_out_of_order_hurts_nothing(
    chunks: list[Chunk], undisturbed: list[journal.Line], redis_log: redis.Redis
) -> None:
    """Every wake-up comes three times, the oldest last: as after kill -9 with visibility."""
    wakes: list[int] = []
    log = PartitionLog(redis_log, wake=lambda partitions, delay_ms: wakes.extend(partitions))
    with worker():
        for part in journal.parts(chunks, each_s=120):
            journal.append(part, log)
            for partition in reversed(wakes):
                celery.send_task(
                    "detection.wake", kwargs={"partition": partition}, queue="detection"
                )
        for partition in wakes * 2:
            celery.send_task("detection.wake", kwargs={"partition": partition}, queue="detection")
        sweep_until(lambda: not any(_behind(each, log) for each in journal.partitions()))
    assert journal.events() == undisturbed


def test_wake_up_that_never_comes_is_made_good_by_the_sweep(
    chunks: list[Chunk], log: PartitionLog, redis_log: redis.Redis
) -> None:
    journal.append(chunks[:100], log)
    asked: list[int] = []
    desk = new_desk(redis_log)
    desk.log._wake = lambda partitions, delay_ms: asked.extend(partitions)
    redis_log.delete(*redis_log.keys("ow:wake:*"))
    passes.wake_unread(desk=desk)
    assert set(asked) >= set(journal.partitions())


def test_settled_partition_is_not_woken_again(desk: Desk, log: PartitionLog) -> None:
    for partition in range(desk.log.partitions):
        passes.visit(partition, desk=desk)
    assert passes.wake_unread(desk=desk) == []


def test_scheduler_sweeps_each_two_seconds() -> None:
    assert settings.CELERY_BEAT_SCHEDULE["detection.sweep"]["schedule"] == 2.0
