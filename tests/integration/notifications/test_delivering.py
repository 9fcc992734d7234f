"""From an event to a message that was said: who hears, when, and what a failure does."""

from datetime import timedelta

import pytest

from apps.accounts.models import User
from apps.alarms import operations as alarms
from apps.alarms.models import AlarmEvent
from apps.notifications import operations, queries
from apps.notifications.models import Contact, Delivery
from tests import cast
from tests.conftest import Clock
from tests.contacts import contact
from tests.findings import CRITICAL, NOTICE, OVER, WARNING, finding
from tests.outside import MailServer, SmsGateway

pytestmark = pytest.mark.usefixtures("in_kunlun", "mails", "gateway")


def happens(clock: Clock, *severities: object, **more: object) -> None:
    for severity in severities:
        clock.advance(seconds=2)
        said = finding(severity, at=clock.now, **more)  # type: ignore[arg-type]
        alarms.apply_findings([said], judged_at=clock.now)


def storm(clock: Clock, count: int) -> None:
    said = [
        finding(WARNING if number else CRITICAL, at=clock.now, condition=f"plugin_{number}")
        for number in reversed(range(count))
    ]
    alarms.apply_findings(said, judged_at=clock.now)


def send(clock: Clock) -> int:
    return operations.plan_and_deliver(now=clock.now)


def states() -> list[str]:
    return list(Delivery.objects.order_by("event__number").values_list("state", flat=True))


def test_an_alarm_is_said_by_mail_and_sms(
    clock: Clock, mails: MailServer, gateway: SmsGateway
) -> None:
    contact()
    contact("sms", "+4915112345678")
    happens(clock, CRITICAL)
    assert send(clock) == 2
    [mail], [sms] = mails.mails, gateway.calls
    assert mail["To"] == "Ben <ben@harbour.example>"
    assert "Contact too hot" in mail["Subject"]
    assert sms["to"] == "+4915112345678"
    for delivery in Delivery.objects.all():
        assert (delivery.state, delivery.sent_at) == ("sent", clock.now)
        assert str(delivery.pk) in delivery.receipt
    assert send(clock) == 0


def test_who_is_told(clock: Clock, mails: MailServer) -> None:
    addresses = {
        "ben": contact(address="ben@x.example"),
        "only critical": contact(address="critical@x.example", minimum_severity="critical"),
        "staff": contact(address="staff@x.example", organisation_id=None),
        "clara": contact(address="clara@x.example", organisation_id=cast.CITY),
        "unverified": contact(address="unverified@x.example", verified_at=None),
        "off": contact(address="off@x.example", disabled_at=cast.LONG_AGO),
        "unknown channel": contact("pigeon", "roof"),
    }
    happens(clock, WARNING)
    send(clock)
    told = {mail["To"].addresses[0].addr_spec for mail in mails.mails}
    assert told == {addresses["ben"].address, addresses["staff"].address}


def test_a_person_who_was_disabled_hears_nothing_more(
    clock: Clock, ben: User, mails: MailServer
) -> None:
    contact(user=ben)
    happens(clock, WARNING)
    operations.plan_due(now=clock.now)
    User.objects.filter(pk=ben.pk).update(is_active=False)
    send(clock)
    happens(clock, CRITICAL)
    send(clock)
    assert mails.mails == []
    assert states() == ["abandoned"]


def test_easing_wakes_nobody_and_the_end_is_told_by_mail_only(
    clock: Clock, mails: MailServer, gateway: SmsGateway
) -> None:
    contact()
    contact("sms", "+4915112345678")
    happens(clock, WARNING)
    send(clock)
    happens(clock, NOTICE, OVER)
    clock.advance(minutes=6)
    send(clock)
    assert len(gateway.calls) == 1
    assert [mail["Subject"].split("]")[0] for mail in mails.mails] == ["[Warning", "[Over"]


def test_what_comes_within_five_minutes_goes_together(clock: Clock, mails: MailServer) -> None:
    contact()
    happens(clock, WARNING)
    send(clock)
    happens(clock, WARNING, condition="pole_imbalance")
    happens(clock, WARNING, condition="insulation_low")
    assert send(clock) == 0
    clock.advance(minutes=5)
    assert send(clock) == 1
    assert len(mails.mails) == 2
    assert "and 1 more" in mails.mails[1]["Subject"]


def test_a_storm_is_one_message_with_its_count_and_the_gravest_first(
    clock: Clock, mails: MailServer, gateway: SmsGateway
) -> None:
    contact()
    contact("sms", "+4915112345678")
    storm(clock, 300)
    assert send(clock) == 2
    [mail], [sms] = mails.mails, gateway.calls
    assert mail["Subject"].startswith("[Critical]")
    assert "and 299 more" in mail["Subject"]
    assert sms["text"].startswith("Critical:")
    assert "299 more alarms" in sms["text"]
    assert set(states()) == {"sent"}


def test_a_critical_alarm_does_not_wait_behind_a_lesser_message(
    clock: Clock, mails: MailServer
) -> None:
    contact()
    happens(clock, NOTICE)
    send(clock)
    happens(clock, CRITICAL)
    assert send(clock) == 1
    happens(clock, CRITICAL, condition="insulation_low")
    assert send(clock) == 0  # behind a critical one it does, and goes along five minutes later


def test_a_transport_that_fails_is_asked_again_later_under_the_same_key(
    clock: Clock, gateway: SmsGateway
) -> None:
    contact("sms", "+4915112345678")
    gateway.answers = [(503, {}, b""), (429, {"Retry-After": "40"}, b"")]
    happens(clock, WARNING)
    assert send(clock) == 0
    assert send(clock) == 0  # not before its time
    clock.advance(seconds=5)
    assert send(clock) == 0
    clock.advance(seconds=39)
    assert send(clock) == 0
    clock.advance(seconds=1)
    assert send(clock) == 1
    assert len({call["key"] for call in gateway.calls}) == 1
    assert len({call["text"] for call in gateway.calls}) == 1
    assert Delivery.objects.get().attempt == 3


def test_what_is_refused_for_good_is_not_tried_again(clock: Clock, gateway: SmsGateway) -> None:
    contact("sms", "+4915112345678")
    gateway.answers = [(400, {}, b"{}")]
    happens(clock, WARNING)
    send(clock)
    clock.advance(days=1)
    send(clock)
    assert len(gateway.calls) == 1
    assert Delivery.objects.get().error == "gateway_400"


def test_three_refusals_switch_the_contact_off(clock: Clock, mails: MailServer) -> None:
    contact()
    mails.answer = "550 no such user"
    for condition in ("overtemperature", "insulation_low", "pole_imbalance", "interlock_open"):
        happens(clock, WARNING, condition=condition)
        send(clock)
        clock.advance(minutes=6)
    found = Contact.objects.get()
    assert (found.failures, found.disabled_reason) == (3, "smtp_550")
    assert states() == ["failed", "failed", "failed"]


def test_a_message_is_given_up_after_the_last_try(clock: Clock, mails: MailServer) -> None:
    contact()
    mails.answer = "451 try again"
    happens(clock, WARNING)
    for _ in range(len(operations.RETRY_S) + 1):
        send(clock)
        clock.advance(hours=9)
    assert states() == ["abandoned"]


def test_a_dead_gateway_holds_up_no_mail(
    clock: Clock, mails: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OHMWATCH_SMS_GATEWAY_URL", "http://127.0.0.1:9/sms")
    for number in range(5):
        contact("sms", f"+491511234567{number}")
    contact()
    happens(clock, WARNING)
    assert send(clock) == 1
    assert len(mails.mails) == 1
    tried = Delivery.objects.filter(channel="sms", attempt=1)
    assert [delivery.error for delivery in tried] == ["gateway_unreachable: ConnectError"]


def test_a_claimed_message_is_nobody_elses_until_its_lease_is_over(
    clock: Clock, mails: MailServer
) -> None:
    who = contact()
    happens(clock, WARNING)
    operations.plan_due(now=clock.now)
    claimed = operations.claim(contact_id=who.pk, now=clock.now)
    assert claimed is not None
    assert send(clock) == 0
    happens(clock, WARNING, condition="pole_imbalance")  # joins no group that is under way
    clock.advance(seconds=operations.LEASE.total_seconds() + 1)
    assert send(clock) == 1
    assert mails.keys == [claimed.message.key]
    assert "and" not in mails.mails[0]["Subject"]


def test_a_slow_twin_can_not_write_over_what_the_other_did(clock: Clock) -> None:
    who = contact()
    happens(clock, WARNING)
    operations.plan_due(now=clock.now)
    slow = operations.claim(contact_id=who.pk, now=clock.now)
    assert slow is not None
    clock.advance(seconds=operations.LEASE.total_seconds() + 1)
    send(clock)
    from apps.notifications.operations import _settle

    _settle(slow, state=Delivery.State.DUE)
    assert states() == ["sent"]


def test_each_event_is_planned_once(clock: Clock) -> None:
    contact()
    happens(clock, WARNING)
    assert operations.plan_due(now=clock.now) == 1
    assert operations.plan_due(now=clock.now) == 0
    assert Delivery.objects.count() == 1


def test_one_statement_tells_which_tenants_must_send(clock: Clock) -> None:
    schemas = ["t_aurora", "t_kunlun"]
    contact()
    happens(clock, WARNING)
    operations.plan_due(now=clock.now)
    ask = queries.schemas_with_deliveries
    assert ask(schemas=schemas, now=clock.now) == ["t_kunlun"]
    assert ask(schemas=schemas, now=clock.now - timedelta(minutes=1)) == []
    send(clock)
    assert ask(schemas=schemas, now=clock.now) == []


def test_who_sees_contacts_and_deliveries(clock: Clock, anna: User, ben: User, clara: User) -> None:
    contact()
    contact(address="claras@x.example", organisation_id=cast.CITY)
    happens(clock, WARNING)
    send(clock)
    alarm = AlarmEvent.objects.get().alarm
    assert queries.contacts(for_user=anna).count() == 2
    assert queries.contacts(for_user=ben).get().address == "ben@harbour.example"
    assert queries.deliveries_of(for_user=ben, alarm=alarm).count() == 1
    assert not queries.deliveries_of(for_user=clara, alarm=alarm).exists()


def test_what_flaps_is_said_to_come_and_go(clock: Clock, mails: MailServer) -> None:
    contact()
    happens(clock, *(WARNING, OVER) * 4)
    send(clock)
    body = mails.mails[0].get_body(("plain",)).get_content()
    assert "It comes and goes: held open until it stays quiet." in body
    assert mails.mails[0]["List-Unsubscribe"].endswith("/contacts/>")
    alarms.settle_held(now=clock.advance(hours=3))
    send(clock)
    calm = mails.mails[1].get_body(("plain",)).get_content()
    assert "It came and went, and has stayed quiet since." in calm
    assert "held open" not in calm
