"""Detection judges by the tenant's rules: learned while it runs, kept apart, shadows silent."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from django.utils import timezone
from django_tenants.utils import schema_context

from apps.accounts.models import User
from apps.alarms.models import Alarm, AlarmEvent, Outbox
from apps.devices.directory import Directory
from apps.partitions.log import PartitionLog
from apps.telemetry.store import the_store
from apps.warning import operations
from apps.warning.models import Mode, Rule, ShadowAlarm
from apps.warning.operations import Content
from tests import cast, journal
from workers.detection import passes
from workers.detection.desk import Desk
from workers.detection.panel import Panel

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("elasticsearch"),
]
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def desk(redis_log: redis.Redis) -> Desk:
    return Desk(
        client=redis_log,
        log=PartitionLog(redis_log, wake=lambda partitions, delay_ms: None),
        directory=Directory(),
        telemetry=the_store(),
        panel=Panel(),
        clock=timezone.now,
    )


def set_rule(anna: User, name: str, **content: Any) -> Rule:
    with schema_context("t_kunlun"):
        said = Content(**{"name": name, **content})
        return operations.make_rule(user=anna, detector="overtemperature", content=said, now=NOW)


def judge(desk: Desk, chunks: list[Any]) -> None:
    journal.append(chunks, desk.log)
    time.sleep(0.31)
    for _ in range(4):
        for partition in journal.partitions():
            passes.visit(partition, desk=desk)


def of_overtemperature(connector: Any) -> list[AlarmEvent]:
    rows = AlarmEvent.objects.filter(alarm__condition="overtemperature")
    return list(rows.filter(alarm__connector=connector).order_by("number"))


def test_rules_decide_who_is_judged_and_how(desk: Desk, anna: User) -> None:
    one = {"connector": [str(cast.BENS_CONNECTOR)]}
    set_rule(anna, "Not this one", mode=Mode.OFF.value, selection=one)
    milder = {"warning": "notice", "critical": "notice"}
    by = {"vehicle": [str(cast.CLARAS_VEHICLE)]}
    mild = set_rule(anna, "Milder", selection=by, severities=milder)
    shadow = set_rule(anna, "Earlier", mode=Mode.SHADOW.value, parameters={"margin_k": 80.0})
    judge(desk, journal.story(late=False, repeated=False))
    with schema_context("t_kunlun"):
        assert of_overtemperature(cast.BENS_CONNECTOR) == []
        hers = of_overtemperature(cast.CLARAS_CONNECTOR)
        assert {event.severity for event in hers} == {"notice"}
        assert {(event.rule_id, event.rule_version) for event in hers} == {(mild.pk, 1)}
        default = of_overtemperature(cast.BENS_SECOND_CONNECTOR)
        assert {event.severity for event in default} >= {"critical"}
        assert {(event.detector, event.rule_id) for event in default} == {("overtemperature", None)}
        others = Alarm.objects.filter(connector=cast.BENS_CONNECTOR).exclude(condition="")
        assert "insulation_low" in {alarm.condition for alarm in others}
        # The shadow saw all three, by its own limit, and nobody is told of it.
        raised = ShadowAlarm.objects.filter(rule=shadow)
        assert {row.connector_id for row in raised} == {
            cast.BENS_CONNECTOR,
            cast.BENS_SECOND_CONNECTOR,
            cast.CLARAS_CONNECTOR,
        }
        assert not AlarmEvent.objects.filter(rule=shadow).exists()
        assert Outbox.objects.count() > 0
        assert not Outbox.objects.filter(event__rule=shadow).exists()
    with schema_context("t_aurora"):
        assert not ShadowAlarm.objects.exists()
        assert set(AlarmEvent.objects.values_list("rule_id", flat=True)) == {None}


def test_a_change_is_learned_within_seconds_and_keeps_the_states(desk: Desk, anna: User) -> None:
    """The rule comes in the middle of the heat: by its limit it is over, and the alarm clears."""
    cuts = list(journal.parts(journal.story(late=False, repeated=False), each_s=60))
    judge(desk, [chunk for part in cuts[:4] for chunk in part])  # hot since second 140 or later
    with schema_context("t_kunlun"):
        assert of_overtemperature(cast.BENS_SECOND_CONNECTOR)[0].kind == "opened"
    rule = set_rule(anna, "Much later", parameters={"margin_k": 0.0, "hysteresis_k": 0.0})
    clock_ms = {p: desk.holdings[p].watch.newest_ms() for p in journal.partitions()}
    began = time.monotonic()
    while time.monotonic() - began < 2.5:
        desk.directory.refresh_if_changed()
        time.sleep(0.1)
    judge(desk, [chunk for part in cuts[4:] for chunk in part])
    assert all(desk.holdings[p].watch.newest_ms() > clock_ms[p] > 0 for p in journal.partitions())
    with schema_context("t_kunlun"):
        told = of_overtemperature(cast.BENS_SECOND_CONNECTOR)
        assert told[-1].kind == "cleared"
        assert (told[0].rule_id, told[-1].rule_id, told[-1].rule_version) == (None, rule.pk, 1)
        assert len(told) == len({event.number for event in told})


def test_a_removed_shadow_leaves_the_checkpoint(desk: Desk, anna: User) -> None:
    shadow = set_rule(anna, "Earlier", mode=Mode.SHADOW.value)
    cuts = list(journal.parts(journal.story(late=False, repeated=False), each_s=300))
    judge(desk, cuts[0])
    watch = next(iter(desk.holdings.values())).watch
    key = f"overtemperature@kunlun/{shadow.pk}"
    assert any(key in desk.holdings[p].watch._states for p in journal.partitions())
    with schema_context("t_kunlun"):
        operations.remove_rule(user=anna, rule=shadow, now=NOW)
    desk.directory._looked_at = float("-inf")
    for part in cuts[1:]:
        judge(desk, part)
    assert not any(key in desk.holdings[p].watch._states for p in journal.partitions())
    assert watch.newest_ms() > 0
