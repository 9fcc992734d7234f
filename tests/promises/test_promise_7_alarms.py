"""Promise 7 in alarms and messages: three times are told apart, and old news wakes nobody."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from apps.accounts.models import User
from apps.alarms import correcting, operations
from apps.alarms.correcting import Retelling
from apps.alarms.models import Alarm, AlarmEvent, Consumer, Outbox
from apps.live.hints import hint
from apps.notifications import operations as notifications
from apps.telemetry.slices import to_ms
from tests import cast
from tests.clock import Clock
from tests.contacts import contact
from tests.findings import CRITICAL, OVER, WARNING, finding
from tests.outside import SmsGateway, sms_gateway

pytestmark = pytest.mark.usefixtures("in_kunlun")
HOURS = timedelta(hours=1)


@pytest.fixture(autouse=True)
def gateway(monkeypatch: pytest.MonkeyPatch, in_kunlun: object) -> Iterator[SmsGateway]:
    with sms_gateway() as server:
        monkeypatch.setenv("OHMWATCH_SMS_GATEWAY_URL", server.url)
        monkeypatch.setenv("OHMWATCH_SMS_GATEWAY_TOKEN", server.token)
        contact("sms", "+4915112345678")
        yield server


def judge(clock: Clock, *findings: object) -> list[AlarmEvent]:
    written = operations.apply_findings(findings, judged_at=clock.now)  # type: ignore[arg-type]
    notifications.plan_and_deliver(now=clock.now)
    return written


def test_a_late_finding_corrects_the_story_and_wakes_nobody(
    clock: Clock, gateway: SmsGateway
) -> None:
    """The device was in a tunnel for two days: hot, and cool again, long before it told us."""
    two_days_ago = clock.now - timedelta(days=2)
    events = judge(
        clock,
        finding(CRITICAL, at=two_days_ago, arrived=clock.now),
        finding(OVER, at=two_days_ago + HOURS, arrived=clock.now),
    )
    assert [(event.kind, event.old_news) for event in events] == [
        ("opened", True),
        ("cleared", True),
    ]
    assert [event.measured_at for event in events] == [two_days_ago, two_days_ago + HOURS]
    assert {event.arrived_at for event in events} == {clock.now}
    assert {event.judged_at for event in events} == {clock.now}
    assert not Outbox.objects.filter(consumer=Consumer.NOTIFY).exists()
    assert gateway.calls == []


def test_what_began_long_ago_and_still_holds_is_told_now(clock: Clock, gateway: SmsGateway) -> None:
    began = clock.now - timedelta(hours=5)
    judge(clock, finding(WARNING, at=began, arrived=clock.now))
    assert gateway.calls == []
    [event] = judge(clock, finding(WARNING, at=clock.now, since=began))
    assert (event.kind, event.reason) == ("evidence", "still_holds_now")
    [sms] = gateway.calls
    assert f"since {began:%Y-%m-%d %H:%M} UTC" in sms["text"]
    clock.advance(minutes=1)
    assert judge(clock, finding(WARNING, at=clock.now)) == []  # told once


def test_what_grew_worse_unseen_is_told_at_its_severity(clock: Clock, gateway: SmsGateway) -> None:
    judge(clock, finding(WARNING, at=clock.now - 30 * HOURS, arrived=clock.now))
    judge(clock, finding(CRITICAL, at=clock.now - 20 * HOURS, arrived=clock.now))
    judge(clock, finding(CRITICAL, at=clock.now))
    [sms] = gateway.calls
    assert sms["text"].startswith("Critical:")


def test_older_than_what_is_known_changes_nothing(clock: Clock, gateway: SmsGateway) -> None:
    judge(clock, finding(WARNING, at=clock.now))
    alarm = Alarm.objects.get()
    assert judge(clock, finding(CRITICAL, at=clock.now - HOURS, arrived=clock.now)) == []
    assert judge(clock, finding(OVER, at=clock.now - HOURS, arrived=clock.now)) == []
    known = Alarm.objects.get()
    assert (known.severity, known.last_measured_at) == ("warning", alarm.last_measured_at)
    assert len(gateway.calls) == 1


def test_the_end_of_what_nobody_heard_of_is_told_to_nobody(
    clock: Clock, gateway: SmsGateway
) -> None:
    contact()  # mail tells ends, too
    judge(clock, finding(WARNING, at=clock.now - 5 * HOURS, arrived=clock.now))
    [event] = judge(clock, finding(OVER, at=clock.now))
    assert (event.kind, event.old_news) == ("cleared", False)
    assert not Outbox.objects.filter(consumer=Consumer.NOTIFY).exists()


def correct(clock: Clock, *findings: object, hours: int = 24) -> list[AlarmEvent]:
    """What the last hours of the connector come to, once late readings are among the others."""
    retelling = Retelling(
        connector=str(cast.BENS_CONNECTOR),
        since_ms=to_ms(clock.now - hours * HOURS),
        until_ms=to_ms(clock.now),
        findings=findings,  # type: ignore[arg-type]
        judged_by={"overtemperature": ("overtemperature", "1", "", 0)},
    )
    written = correcting.correct([retelling], judged_at=clock.now)
    notifications.plan_and_deliver(now=clock.now)
    return written


def test_what_late_readings_show_is_told_at_its_time_and_wakes_only_if_it_still_holds(
    clock: Clock, gateway: SmsGateway
) -> None:
    began = clock.now - 5 * HOURS
    late = finding(WARNING, at=began, arrived=clock.now)
    [event] = correct(clock, late)
    assert (event.kind, event.measured_at, event.old_news) == ("opened", began, True)
    assert gateway.calls == []
    assert correct(clock, late) == []
    judge(clock, finding(WARNING, at=clock.now, since=began))
    [sms] = gateway.calls
    assert f"since {began:%Y-%m-%d %H:%M} UTC" in sms["text"]


def test_late_readings_add_what_was_before_an_alarm_that_is_known(
    clock: Clock, gateway: SmsGateway
) -> None:
    """Hot six hours ago, and again two hours ago: the first came last."""
    six, two = clock.now - 6 * HOURS, clock.now - 2 * HOURS
    known = [finding(CRITICAL, at=two), finding(OVER, at=two + HOURS)]
    late = [finding(WARNING, at=six), finding(OVER, at=six + HOURS)]
    judge(clock, *known)
    written = correct(clock, *late, *known)
    assert [(each.kind, each.severity, each.measured_at) for each in written] == [
        ("opened", "warning", six),
        ("cleared", "warning", six + HOURS),
    ]
    alarm = Alarm.objects.get()
    assert (alarm.state, alarm.occurrences, alarm.severity) == ("cleared", 2, "critical")
    assert gateway.calls == []


def test_what_late_readings_disprove_is_withdrawn_and_who_had_heard_hears_the_end(
    clock: Clock, gateway: SmsGateway
) -> None:
    contact()  # mail tells ends, too
    [opened] = judge(clock, finding(WARNING, at=clock.now))
    assert len(gateway.calls) == 1
    clock.advance(minutes=5)
    withdrawn, cleared = correct(clock)
    assert (withdrawn.kind, withdrawn.corrects, withdrawn.reason) == (
        "withdrawn",
        opened,
        "late_readings",
    )
    assert (cleared.kind, cleared.reason) == ("cleared", "late_readings")
    assert Alarm.objects.get().state == "cleared"
    told = Outbox.objects.filter(consumer=Consumer.NOTIFY, event=cleared)
    assert told.exists()
    assert len(gateway.calls) == 1
    assert correct(clock) == []


def test_other_evidence_stands_in_the_place_of_the_first(clock: Clock) -> None:
    at = clock.now - HOURS
    [opened] = judge(clock, finding(WARNING, at=at))
    truth = finding(WARNING, at=at, evidence={"temperature_pos_c": 130.5})
    [event] = correct(clock, truth)
    assert (event.kind, event.corrects) == ("opened", opened)
    assert Alarm.objects.get().evidence == {"temperature_pos_c": 130.5}
    assert correct(clock, truth) == []


def test_what_another_version_had_judged_keeps_its_story(clock: Clock) -> None:
    judge(clock, finding(WARNING, at=clock.now - HOURS, detector_version="0"))
    assert correct(clock) == []
    assert Alarm.objects.get().state == "open"


def test_what_a_person_ended_stays_ended(clock: Clock) -> None:
    known = finding(WARNING, at=clock.now - 2 * HOURS)
    judge(clock, known)
    operations.clear(user=User.objects.get(pk=cast.ANNA), alarm=Alarm.objects.get(), now=clock.now)
    assert correct(clock, known) == []
    assert Alarm.objects.get().state == "cleared"


def test_browsers_get_the_three_times_apart(clock: Clock) -> None:
    measured, arrived = clock.now, clock.now + timedelta(seconds=30)
    clock.advance(seconds=31)
    [event] = judge(clock, finding(WARNING, at=measured, arrived=arrived))
    told = hint(event, previous=0)
    assert [told[name] for name in ("measured_at", "arrived_at", "judged_at")] == [
        round(instant.timestamp() * 1000) for instant in (measured, arrived, clock.now)
    ]
    assert told["old_news"] is False
