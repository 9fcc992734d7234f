"""Plug-ins judge beside our detectors: hired, heard, reported, and never in the way."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from django.test import Client
from django.utils import timezone
from django_tenants.utils import schema_context

from apps.accounts.models import User
from apps.alarms.models import Alarm
from apps.devices.directory import Directory
from apps.partitions.log import Chunk, PartitionLog
from apps.partitions.queries import partitions_with_late
from apps.telemetry.store import the_store
from apps.warning.plugins import reports
from ohmwatch.plugins.remote import RemoteDetector
from tests import journal, packages, stores
from workers.detection import again, passes
from workers.detection.desk import Desk
from workers.detection.panel import DETECTORS, Panel
from workers.detection.plugins import Agency
from workers.detection.rulebooks import Rulebooks

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("elasticsearch"),
]


START_S = 60.0


@pytest.fixture
def agency(redis_log: redis.Redis) -> Agency:
    return Agency(redis_log, timezone.now)


@pytest.fixture
def late(redis_log: redis.Redis) -> Iterator[Desk]:
    """A desk whose plug-ins have been called, and are not there yet."""
    made = Desk(
        client=redis_log,
        log=PartitionLog(redis_log, wake=lambda partitions, delay_ms: None),
        directory=Directory(),
        telemetry=the_store(),
        panel=Panel(DETECTORS),
        clock=timezone.now,
    )
    made.agency.call()
    yield made
    for each in made.agency.hire(beside=made.panel.detectors, within_s=START_S):
        if isinstance(each, RemoteDetector):
            each.close()


@pytest.fixture
def desk(empty_elasticsearch: str, late: Desk) -> Desk:
    """One whose plug-ins have started, or were refused. Who begins anew reads what is stored."""
    begun = time.monotonic()
    while late.agency.is_waiting and time.monotonic() - begun < START_S:
        late.admit_plugins()
        time.sleep(0.05)
    return late


class Asleep:
    """The process of a plug-in that takes its time to start."""

    def is_waiting_to_greet(self, *, within_s: float) -> bool:
        return False

    def is_overdue(self) -> bool:
        return False


def seat(desk: Desk, panel: Panel) -> None:
    """As if the worker had started anew with these detectors."""
    desk.panel, desk.rulebooks = panel, Rulebooks(desk.directory, panel.detectors)
    desk.holdings.clear()


def judge_the_story(desk: Desk) -> None:
    judge(desk, journal.story(late=False, repeated=False))


def judge(desk: Desk, chunks: Sequence[Chunk]) -> None:
    journal.append(chunks, desk.log)
    time.sleep(0.31)
    for _ in range(4):
        for partition in journal.partitions():
            passes.visit(partition, desk=desk)


def conditions() -> set[str]:
    with schema_context("t_kunlun"):
        return set(Alarm.objects.values_list("condition", flat=True))


def hot_hands() -> list[journal.Standing]:
    return [each for each in journal.standing() if each.condition == "hot_hand_warm"]


class TestOneThatIsRight:
    @pytest.fixture(autouse=True)
    def _installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        packages.lay(tmp_path, monkeypatch)

    def test_its_findings_become_alarms(self, desk: Desk, redis_log: redis.Redis) -> None:
        judge_the_story(desk)
        assert conditions() >= {"hot_hand_warm", "overtemperature"}
        (told,) = reports(redis_log)
        assert (told.plugin, told.state, told.condition) == ("hot", "ready", "hot_hand_warm")

    def test_nobody_waits_for_its_start_and_its_record_is_kept(self, desk: Desk) -> None:
        """A worker that starts anew judges at once; who was slow goes on where it was."""
        cuts = list(journal.parts(journal.story(late=False, repeated=False), each_s=300))
        judge(desk, cuts[0])
        with_plugin = desk.panel
        seat(desk, Panel(DETECTORS))
        desk.agency._coming["hot"] = Asleep()  # type: ignore[assignment]
        judge(desk, cuts[1])
        for holding in desk.holdings.values():
            passes._commit(holding, desk)
        assert "hot_hand" not in {each.name for each in desk.panel.detectors}
        desk.agency._coming.clear()
        seat(desk, with_plugin)
        judge(desk, cuts[2])
        before, after = (sum(len(each.time_ms) for each in cuts[at]) for at in (0, 2))
        seen = sum(
            int(holding.watch._states["hot_hand"]["seen"].sum())
            for holding in desk.holdings.values()
        )
        assert seen == before + after, "not what came while it was not there"

    def test_late_readings_are_judged_by_it_as_well(
        self, desk: Desk, agency: Agency, redis_log: redis.Redis
    ) -> None:
        """In a process beside, from its record in the checkpoint's copy; its own count shows it."""
        chunks = journal.story(late=False, repeated=False)
        judge(desk, chunks)
        truth = hot_hands()
        assert truth
        stores.restore()
        stores.flush_redis()
        desk.holdings.clear()
        for part in (chunks[-200:], chunks[:-200]):
            journal.store(part)
            judge(desk, part)
            for holding in desk.holdings.values():
                passes._commit(holding, desk)
        assert hot_hands() != truth
        beside = Agency(redis_log, timezone.now, is_beside=True)
        beside.call()
        bench = replace(desk, holder="bench", holdings={})
        bench.panel = Panel(beside.hire(beside=DETECTORS, within_s=START_S))
        bench.rulebooks = Rulebooks(bench.directory, bench.panel.detectors)
        judged = [again.judge_again(each, desk=bench) for each in partitions_with_late()]
        assert sum(judged) == len(journal.CONNECTORS)
        assert hot_hands() == truth
        assert [again.judge_again(each, desk=bench) for each in partitions_with_late()] == []
        for each in bench.panel.detectors:
            if isinstance(each, RemoteDetector):
                each.close()

    def test_two_of_one_name_are_one(self, agency: Agency, redis_log: redis.Redis) -> None:
        agency.call()
        first = agency.hire(beside=(), within_s=START_S)
        agency.call()
        assert agency.hire(beside=first, within_s=START_S) == first
        (told,) = reports(redis_log)
        assert (told.state, "already" in told.detail) == ("refused", True)
        for each in first:
            assert isinstance(each, RemoteDetector)
            each.close()


class TestOneThatFails:
    @pytest.fixture(autouse=True)
    def _installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        packages.lay(tmp_path, monkeypatch, "raise RuntimeError('no model')")

    def test_the_others_judge_on_and_the_operator_sees_it(
        self, desk: Desk, client: Client, operator: User
    ) -> None:
        judge_the_story(desk)
        assert "overtemperature" in conditions()
        client.force_login(operator)
        page = client.get("/readiness/", headers={"host": "localhost"}).text
        assert "RuntimeError: no model" in page


def test_one_that_cannot_be_loaded_is_refused_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agency: Agency, redis_log: redis.Redis
) -> None:
    packages.lay(tmp_path, monkeypatch, module="import nothing_of_this_name")
    agency.call()
    assert agency.hire(beside=DETECTORS, within_s=START_S) == DETECTORS
    (told,) = reports(redis_log)
    assert (told.state, "ModuleNotFoundError" in told.detail) == ("refused", True)
