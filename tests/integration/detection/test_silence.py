"""A device that falls silent for good is said so by the clock, and only where it is the device."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import redis
from django_tenants.utils import schema_context

from apps.accounts.models import User
from apps.alarms.models import Alarm, AlarmEvent, Consumer, Outbox
from apps.devices.directory import Directory
from apps.devices.models import Device, DeviceState
from apps.partitions.log import Chunk, PartitionLog
from apps.partitions.operations import take_over
from apps.partitions.queries import partitions_with_late
from apps.telemetry.store import the_store
from apps.warning import operations
from apps.warning.models import Mode, ShadowAlarm
from apps.warning.operations import Content
from tests import cast, journal
from tests.clock import Clock
from workers.detection import again, passes
from workers.detection.desk import Desk
from workers.detection.panel import Panel

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("elasticsearch"),
]
BENS = {cast.BENS_CONNECTOR, cast.BENS_SECOND_CONNECTOR}


class Scene:
    """Six connectors of two tenants that drove until now, and a clock that can be turned."""

    def __init__(self, client: redis.Redis) -> None:
        self.redis = client
        self.clock = Clock(datetime.now(UTC).replace(microsecond=0))
        self.desk = self.new_desk()
        self.slot_says()
        self.drive()

    def new_desk(self) -> Desk:
        """A worker's, in this process."""
        return Desk(
            client=self.redis,
            log=PartitionLog(self.redis, wake=lambda partitions, delay_ms: None),
            directory=Directory(),
            telemetry=the_store(),
            panel=Panel(),
            clock=lambda: self.clock.now,
        )

    @property
    def now_ms(self) -> int:
        return int(self.clock.now.timestamp() * 1000)

    def slot_says(self, **said: Any) -> None:
        """Slot 0 is well, but for what is said."""
        state = {"connected": True, "reading": True, "holding": {}, "oldest_ms": None, **said}
        self.redis.set("ow:acquisition:0", json.dumps(state))

    def minute(self, *, ago: int = 0) -> list[Chunk]:
        """A minute of every connector under load, ending so many minutes ago; it comes now."""
        step_ms = self.now_ms - 60_000 * (1 + ago) + 1000 * np.arange(61, dtype=np.int64)
        values = {"current_a": np.full(61, 120.0), "ambient_c": np.full(61, 21.0)}
        return [
            Chunk(tenant, connector, self.now_ms, step_ms, values)
            for tenant, connector in journal.CONNECTORS
        ]

    def drive(self) -> None:
        """A minute of every connector under load, ending now; each device says it is online."""
        self.desk.log.append(self.minute())
        for tenant in ("kunlun", "aurora"):
            for device in ("tbox-1", "tbox-2"):
                self.says(tenant, device, online=True)
        time.sleep(0.31)
        self.visit()

    def says(self, tenant: str, device: str, *, online: bool) -> None:
        """What acquisition puts up of a device that says so now."""
        status = {"online": online, "firmware": "", "at_ms": self.now_ms}
        self.redis.hset(f"ow:status:{tenant}", device, json.dumps(status))
        self.redis.hset(f"ow:seen:{tenant}", device, self.now_ms)

    def visit(self) -> None:
        self.desk.ear.listen(self.now_ms)
        for partition in journal.partitions():
            passes.visit(partition, desk=self.desk)

    def pass_time(self, minutes: int, *, talks: str = "") -> None:
        """The clock goes on; the devices of one tenant may go on talking."""
        for _ in range(0, minutes, 2):
            self.clock.advance(minutes=2)
            for device in ("tbox-1", "tbox-2") if talks else ():
                self.redis.hset(f"ow:seen:{talks}", device, self.now_ms)
            self.visit()


@pytest.fixture
def scene(redis_log: redis.Redis) -> Scene:
    return Scene(redis_log)


def silent(schema: str = "t_kunlun", **more: Any) -> list[Alarm]:
    with schema_context(schema):
        return list(Alarm.objects.filter(condition="device_silent", **more).order_by("connector"))


def test_it_opens_once_and_the_next_reading_clears_it(scene: Scene) -> None:
    heard_at = scene.clock.now
    scene.says("kunlun", "tbox-2", online=False)  # Clara's says goodbye
    scene.pass_time(58, talks="aurora")
    assert silent() == []
    scene.pass_time(60, talks="aurora")
    found = silent()
    assert {alarm.connector_id for alarm in found} == BENS
    assert {(alarm.state, alarm.severity, alarm.occurrences) for alarm in found} == {
        ("open", "notice", 1)
    }
    assert {alarm.since for alarm in found} == {heard_at}
    assert {alarm.evidence["silent_for_s"] for alarm in found} == {3600.0}
    assert silent("t_aurora") == []  # equal keys, another tenant: its devices talk
    with schema_context("t_kunlun"):
        events = AlarmEvent.objects.filter(alarm__condition="device_silent")
        assert events.count() == 2
        assert Outbox.objects.filter(consumer=Consumer.NOTIFY, event__in=events).count() == 2
        assert not any(event.old_news for event in events)
    scene.drive()
    assert {alarm.state for alarm in silent()} == {"cleared"}


def test_late_readings_do_not_unsay_that_nobody_was_heard(scene: Scene) -> None:
    """Silence is told by arrival: what the devices had kept shows that they lived, not that they
    were watched. What their other detectors say of it is put right."""
    journal.store(scene.minute())
    scene.pass_time(100, talks="aurora")
    journal.store(scene.minute())
    scene.drive()
    known = told()
    assert [kind for _, kind, _ in known] == ["opened"] * 3 + ["cleared"] * 3
    backlog = [chunk for ago in range(90, 1, -2) for chunk in scene.minute(ago=ago)]
    journal.store(backlog)
    journal.append(backlog, scene.desk.log)
    time.sleep(0.31)
    scene.pass_time(4, talks="aurora")
    judged = [again.judge_again(each, desk=scene.new_desk()) for each in partitions_with_late()]
    assert sum(judged) == len(journal.CONNECTORS)
    assert told() == known
    assert {alarm.state for alarm in silent()} == {"cleared"}


def told() -> list[tuple[str, str, datetime]]:
    with schema_context("t_kunlun"):
        events = AlarmEvent.objects.filter(alarm__condition="device_silent").order_by("number")
        return [(str(each.alarm.connector_id), each.kind, each.measured_at) for each in events]


def test_a_closed_broker_is_no_silence_of_the_devices(scene: Scene) -> None:
    scene.pass_time(20)
    scene.slot_says(connected=False)
    scene.pass_time(300)
    assert silent() == []
    scene.slot_says()
    scene.pass_time(8)
    scene.drive()  # they are all there
    scene.pass_time(20)
    assert silent() == []


def test_after_a_break_it_listens_for_a_while_first(scene: Scene) -> None:
    scene.slot_says(holding={"elasticsearch": scene.now_ms})
    scene.pass_time(100)
    scene.slot_says()
    scene.pass_time(10)
    assert silent() == []
    scene.pass_time(4)
    (first, _, _) = silent()
    with schema_context("t_kunlun"):
        opened = AlarmEvent.objects.get(alarm=first)
    assert opened.measured_at == scene.clock.now - timedelta(minutes=2)
    assert not opened.old_news


def test_a_worker_that_starts_knows_what_was_said(scene: Scene) -> None:
    scene.pass_time(70)
    assert len(silent()) == 3
    scene.desk = scene.new_desk()
    scene.pass_time(80)
    with schema_context("t_kunlun"):
        assert AlarmEvent.objects.filter(alarm__condition="device_silent").count() == 3


def test_a_worker_that_was_overtaken_says_nothing(scene: Scene) -> None:
    scene.pass_time(58)
    late, scene.desk = scene.desk, scene.new_desk()
    for partition in journal.partitions():
        take_over(partition=partition, now=scene.clock.now)
    scene.desk = late
    own = {number: holding.fencing for number, holding in late.holdings.items()}
    scene.clock.advance(minutes=2)
    for partition, fencing in own.items():
        holding = late.holdings[partition]
        with pytest.raises(passes.operations.Fenced):
            passes._look_at_the_clock(holding, late)
        assert holding.fencing == fencing
    assert silent() == []


def test_rules_decide_when_and_how_bad_and_shadows_tell_nobody(scene: Scene, anna: User) -> None:
    with schema_context("t_kunlun"):
        at = {"detector": "device_silent", "user": anna, "now": scene.clock.now}
        of_clara = {"vehicle": [str(cast.CLARAS_VEHICLE)]}
        of_ben = {"connector": [str(cast.BENS_CONNECTOR)]}
        later = operations.make_rule(
            content=Content(
                name="Later, and worse",
                selection=of_clara,
                parameters={"gone_s": 7200.0},
                severities={"notice": "warning"},
            ),
            **at,
        )
        off = Content(name="Off", mode=Mode.OFF.value, selection=of_ben)
        operations.make_rule(content=off, **at)
        soon = Content(name="Soon", mode=Mode.SHADOW.value, parameters={"gone_s": 1200.0})
        shadow = operations.make_rule(content=soon, **at)
    scene.desk = scene.new_desk()
    scene.pass_time(40)
    with schema_context("t_kunlun"):
        raised = ShadowAlarm.objects.filter(rule=shadow)
        assert {row.connector_id for row in raised} == {*BENS, cast.CLARAS_CONNECTOR}
    assert silent() == []
    scene.pass_time(30)
    assert [alarm.connector_id for alarm in silent()] == [cast.BENS_SECOND_CONNECTOR]
    scene.pass_time(60)
    (hers,) = silent(connector=cast.CLARAS_CONNECTOR)
    assert (hers.severity, hers.rule_id, hers.rule_version) == ("warning", later.pk, 1)


def test_a_device_that_must_not_report_is_not_missed(scene: Scene) -> None:
    with schema_context("t_kunlun"):
        Device.objects.filter(identifier="tbox-1").update(state=DeviceState.DISABLED)
    scene.desk = scene.new_desk()
    scene.pass_time(80)
    assert {alarm.connector_id for alarm in silent()} == {cast.CLARAS_CONNECTOR}


def test_the_clock_wakes_partitions_of_which_nobody_hears(scene: Scene) -> None:
    assert set(passes.wake_for_the_clock(desk=scene.desk)) >= set(journal.partitions())
