"""Causes with their consequences, and what comes and goes: one story, and few messages."""

from datetime import timedelta

import pytest

from apps.alarms import operations
from apps.alarms.models import Alarm, AlarmEvent, Consumer, Kind, Outbox, State
from tests import cast
from tests.conftest import Clock
from tests.findings import CRITICAL, OVER, WARNING, finding

pytestmark = pytest.mark.usefixtures("in_kunlun")
LOOSE, HOT, RISE = "contact_loose", "overtemperature", "temperature_rise_high"


def judge(clock: Clock, severity: object, condition: str = HOT) -> list[AlarmEvent]:
    """What a reading of now states; a minute goes by."""
    said = finding(severity, at=clock.now, condition=condition)  # type: ignore[arg-type]
    events = operations.apply_findings([said], judged_at=clock.now + timedelta(seconds=2))
    clock.advance(minutes=1)
    return events


def messages() -> list[tuple[str, str]]:
    """What people are told, in order."""
    entries = Outbox.objects.filter(consumer=Consumer.NOTIFY).order_by("event__number")
    return [(entry.event.alarm.condition, entry.event.kind) for entry in entries]


def test_consequences_of_a_loose_contact_are_one_message(clock: Clock) -> None:
    judge(clock, WARNING, LOOSE)
    judge(clock, WARNING, RISE)
    [event] = judge(clock, WARNING, HOT)
    assert (event.kind, event.reason) == (Kind.OPENED, "consequence_of_a_known_cause")
    assert messages() == [(LOOSE, Kind.OPENED)]
    assert Alarm.objects.filter(state=State.OPEN).count() == 3


def test_cause_that_is_found_later_wakes_nobody_again(clock: Clock) -> None:
    judge(clock, WARNING, RISE)
    [event] = judge(clock, WARNING, LOOSE)
    assert event.reason == "cause_of_what_is_known"
    assert messages() == [(RISE, Kind.OPENED)]


def test_getting_worse_is_told_whatever_the_cause(clock: Clock) -> None:
    judge(clock, WARNING, LOOSE)
    judge(clock, WARNING, HOT)
    judge(clock, CRITICAL, HOT)
    judge(clock, CRITICAL, LOOSE)
    assert messages() == [(LOOSE, Kind.OPENED), (HOT, Kind.WORSENED)]


def test_another_connector_is_another_story(clock: Clock) -> None:
    judge(clock, WARNING, LOOSE)
    said = finding(WARNING, at=clock.now, condition=HOT, connector=cast.CLARAS_CONNECTOR)
    operations.apply_findings([said], judged_at=clock.now)
    assert messages() == [(LOOSE, Kind.OPENED), (HOT, Kind.OPENED)]


def test_end_is_told_once_all_of_it_is_over(clock: Clock) -> None:
    judge(clock, WARNING, LOOSE)
    judge(clock, CRITICAL, HOT)
    judge(clock, OVER, HOT)
    assert messages() == [(LOOSE, Kind.OPENED), (HOT, Kind.OPENED)]
    judge(clock, OVER, LOOSE)
    assert messages()[2:] == [(LOOSE, Kind.CLEARED)]


def test_consequence_that_outlives_its_cause_is_told_then(clock: Clock) -> None:
    judge(clock, WARNING, LOOSE)
    judge(clock, WARNING, HOT)
    assert judge(clock, WARNING, HOT) == []
    judge(clock, OVER, LOOSE)
    [event] = judge(clock, WARNING, HOT)
    assert (event.kind, event.reason) == (Kind.EVIDENCE, "still_holds_now")
    assert messages() == [(LOOSE, Kind.OPENED), (LOOSE, Kind.CLEARED), (HOT, Kind.EVIDENCE)]


def flap(clock: Clock, times: int) -> list[AlarmEvent]:
    events = []
    for _ in range(times):
        events += judge(clock, WARNING)
        events += judge(clock, OVER)
    return events


def test_what_comes_and_goes_is_held_open_and_said_so_once(clock: Clock) -> None:
    events = flap(clock, 10)
    assert [event.kind for event in events[-2:]] == [Kind.REOPENED, Kind.EVIDENCE]
    assert len(events) == 8
    assert events[-1].reason == "comes_and_goes"
    alarm = Alarm.objects.get()
    assert (alarm.state, alarm.occurrences) == (State.OPEN, 4)
    assert operations.HELD_OPEN_SINCE in alarm.evidence
    assert len(messages()) == 8


def test_flapping_is_the_same_in_one_batch_and_in_many(clock: Clock) -> None:
    """A replay commits many findings at once."""
    start, said = clock.now, []
    for step in range(12):
        severity = OVER if step % 2 else WARNING
        said.append(finding(severity, at=start + timedelta(minutes=step)))
    events = operations.apply_findings(said, judged_at=start + timedelta(minutes=13))
    assert len(events) == 8
    assert events[-1].reason == "comes_and_goes"
    assert operations.apply_findings(said, judged_at=start + timedelta(minutes=13)) == []


def test_quiet_ends_it(clock: Clock) -> None:
    flap(clock, 5)
    assert operations.settle_held(now=clock.now + timedelta(minutes=100)) == []
    [event] = operations.settle_held(now=clock.now + timedelta(hours=2))
    assert (event.kind, event.reason) == (Kind.CLEARED, "stayed_quiet")
    assert messages()[-1] == (HOT, Kind.CLEARED)
    assert operations.settle_held(now=clock.now + timedelta(hours=3)) == []
    assert Alarm.objects.get().state == State.CLEARED


def test_what_is_back_is_not_cleared_as_quiet(clock: Clock) -> None:
    flap(clock, 5)
    assert judge(clock, WARNING) == []
    assert operations.settle_held(now=clock.now + timedelta(hours=9)) == []
    alarm = Alarm.objects.get()
    assert (alarm.state, operations.HELD_OPEN_SINCE in alarm.evidence) == (State.OPEN, False)


def test_after_quiet_it_may_come_back_as_an_occurrence(clock: Clock) -> None:
    flap(clock, 5)
    operations.settle_held(now=clock.advance(hours=7))
    [event] = judge(clock, WARNING)
    assert event.kind == Kind.REOPENED
    [event] = judge(clock, OVER)
    assert event.kind == Kind.CLEARED


def test_slow_comings_and_goings_are_no_flapping(clock: Clock) -> None:
    for _ in range(6):
        judge(clock, WARNING)
        [event] = judge(clock, OVER)
        assert event.kind == Kind.CLEARED
        clock.advance(hours=3)
