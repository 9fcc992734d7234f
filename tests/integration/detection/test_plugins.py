"""Plug-ins judge beside our detectors: hired, heard, reported, and never in the way."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.test import Client
from django.utils import timezone
from django_tenants.utils import schema_context

from apps.accounts.models import User
from apps.alarms.models import Alarm
from apps.devices.directory import Directory
from apps.partitions.log import PartitionLog
from apps.telemetry.store import the_store
from apps.warning.plugins import reports
from ohmwatch.plugins.remote import RemoteDetector
from tests import journal, packages
from workers.detection import passes
from workers.detection.board import Board
from workers.detection.desk import Desk
from workers.detection.panel import DETECTORS, Panel
from workers.detection.plugins import Agency

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("elasticsearch"),
]


@pytest.fixture
def agency(redis_log: redis.Redis) -> Agency:
    return Agency(redis_log, timezone.now)


@pytest.fixture
def desk(redis_log: redis.Redis) -> Iterator[Desk]:
    made = Desk(
        client=redis_log,
        log=PartitionLog(redis_log, wake=lambda partitions, delay_ms: None),
        directory=Directory(),
        telemetry=the_store(),
        panel=Panel(Agency(redis_log, timezone.now).hire(beside=DETECTORS)),
        board=Board(the_store()),
        clock=timezone.now,
    )
    yield made
    for each in made.panel.detectors:
        if isinstance(each, RemoteDetector):
            each.close()


def judge_the_story(desk: Desk) -> None:
    journal.append(journal.story(late=False, repeated=False), desk.log)
    time.sleep(0.31)
    for _ in range(4):
        for partition in journal.partitions():
            passes.visit(partition, desk=desk)


def conditions() -> set[str]:
    with schema_context("t_kunlun"):
        return set(Alarm.objects.values_list("condition", flat=True))


class TestOneThatIsRight:
    @pytest.fixture(autouse=True)
    def _installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        packages.lay(tmp_path, monkeypatch)

    def test_its_findings_become_alarms(self, desk: Desk, redis_log: redis.Redis) -> None:
        judge_the_story(desk)
        assert conditions() >= {"hot_hand_warm", "overtemperature"}
        (told,) = reports(redis_log)
        assert (told.plugin, told.state, told.condition) == ("hot", "ready", "hot_hand_warm")

    def test_two_of_one_name_are_one(self, agency: Agency, redis_log: redis.Redis) -> None:
        first = agency.hire(beside=())
        assert agency.hire(beside=first) == first
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
    assert agency.hire(beside=DETECTORS) == DETECTORS
    (told,) = reports(redis_log)
    assert (told.state, "ModuleNotFoundError" in told.detail) == ("refused", True)
