"""Promise 7 in alarms and messages: three times are told apart, and old news wakes nobody."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from apps.alarms import operations
from apps.alarms.models import Alarm, AlarmEvent, Consumer, Outbox
from apps.live.hints import hint
from apps.notifications import operations as notifications
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


def test_browsers_get_the_three_times_apart(clock: Clock) -> None:
    measured, arrived = clock.now, clock.now + timedelta(seconds=30)
    clock.advance(seconds=31)
    [event] = judge(clock, finding(WARNING, at=measured, arrived=arrived))
    told = hint(event, previous=0)
    assert [told[name] for name in ("measured_at", "arrived_at", "judged_at")] == [
        round(instant.timestamp() * 1000) for instant in (measured, arrived, clock.now)
    ]
    assert told["old_news"] is False
