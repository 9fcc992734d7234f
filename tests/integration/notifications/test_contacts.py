"""Who may keep contacts, how an address is proved, and that nothing else reaches it before."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404
from django_tenants.utils import tenant_context

from apps.accounts.models import Organisation, User
from apps.alarms.operations import apply_findings
from apps.notifications import addressbook, allowance, operations, queries
from apps.notifications.addressbook import NotNow, WrongCode
from apps.notifications.models import Contact, ContactCode, Delivery
from apps.tenants.models import Tenant
from tests import cast
from tests.clock import Clock
from tests.contacts import contact as proved
from tests.findings import CRITICAL, finding
from tests.outside import MailServer, SmsGateway

pytestmark = pytest.mark.usefixtures("in_kunlun", "mails", "gateway")


def add(user: User, **changes: object) -> Contact:
    fields: dict[str, object] = {
        "kind": "email",
        "address": " ben@harbour.example ",
        "name": "Ben\r\nBcc: all@x.example",
        "language": "en",
        "timezone": "Europe/Berlin",
        "minimum_severity": "warning",
        "organisation": Organisation.objects.get(pk=cast.HARBOUR),
    }
    return addressbook.add_contact(user=user, **{**fields, **changes})  # type: ignore[arg-type]


def code_in(text: str) -> str:
    return re.search(r"\d{4} \d{4}", text)[0]  # type: ignore[index]


# --- who may ------------------------------------------------------------------------------------


def test_an_owner_adds_contacts_of_the_own_organisation(ben: User) -> None:
    contact = add(ben)
    assert (contact.address, contact.name) == ("ben@harbour.example", "Ben Bcc: all@x.example")
    assert contact.verified_at is None


def test_nobody_else_does(clara: User, dora: User, anna: User, rita: User, ada: User) -> None:
    for user in (clara, dora, anna, rita):
        with pytest.raises(PermissionDenied):
            add(user)
    for user in (clara, rita):
        with pytest.raises(PermissionDenied):
            add(user, organisation=None)
    for number, user in enumerate((ada, anna)):
        assert add(user, organisation=None, address=f"a{number}@k.example").organisation is None


def test_everybody_keeps_their_own(dora: User, rita: User) -> None:
    assert add(dora, person=dora, address="dora@harbour.example").user == dora
    assert add(rita, person=rita, organisation=None, address="rita@k.example").user == rita


def test_a_person_of_another_organisation_is_not_told(ben: User, ada: User, clara: User) -> None:
    for user in (ben, ada):
        with pytest.raises(ValidationError):
            add(user, person=clara)


def test_who_sees_whom(ben: User, dora: User, clara: User, sam: User) -> None:
    shared, doras = add(ben), add(dora, person=dora, address="dora@harbour.example")
    assert set(queries.contacts(for_user=ben)) == {shared, doras}
    assert set(queries.contacts(for_user=sam)) == {shared, doras}
    assert list(queries.contacts(for_user=dora)) == [doras]
    with pytest.raises(Http404):
        queries.contact_for(user=clara, pk=shared.pk)
    with pytest.raises(Http404):
        queries.contact_for(user=dora, pk=shared.pk)


def test_who_only_sees_a_contact_changes_nothing_of_it(ben: User, sam: User, clock: Clock) -> None:
    contact = add(ben)
    for change in (addressbook.send_code, addressbook.send_test, addressbook.remove_contact):
        with pytest.raises(PermissionDenied):
            change(user=sam, contact=contact, now=clock.now)
    with pytest.raises(PermissionDenied):
        addressbook.verify(user=sam, contact=contact, code="1", now=clock.now)


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("email", "nobody"),
        ("email", "a@b.example\nBcc: c@d.example"),
        ("sms", "0151 12345678"),
        ("sms", "+49 1"),
        ("sms", "+49 900 1 234567"),
        ("pigeon", "roof"),
    ],
)
def test_addresses_that_can_not_be(ben: User, kind: str, address: str) -> None:
    with pytest.raises(ValidationError):
        add(ben, kind=kind, address=address)


def test_a_number_is_kept_in_its_one_form(ben: User) -> None:
    assert add(ben, kind="sms", address="+49 (151) 123-45678").address == "+4915112345678"


def test_a_zone_that_is_not_and_an_address_twice(ben: User) -> None:
    with pytest.raises(ValidationError):
        add(ben, timezone="Harbour/Berth7")
    add(ben)
    with pytest.raises(ValidationError, match="already"):
        add(ben)


# --- the code -----------------------------------------------------------------------------------


def test_an_address_is_proved_by_its_code(ben: User, clock: Clock, mails: MailServer) -> None:
    contact = add(ben)
    assert addressbook.send_code(user=ben, contact=contact, now=clock.now).accepted
    (mail,) = mails.mails
    assert mail["To"] == "ben@harbour.example"  # and no name, which somebody could advertise with
    code = code_in(mail.get_content())
    kept = ContactCode.objects.get(contact=contact)
    assert code.replace(" ", "") not in kept.code_hash
    addressbook.verify(user=ben, contact=contact, code=f" {code} ", now=clock.now)
    contact.refresh_from_db()
    assert contact.verified_at == clock.now
    with pytest.raises(WrongCode):
        addressbook.verify(user=ben, contact=contact, code=code, now=clock.now)


def test_a_phone_is_proved_in_its_language(ben: User, clock: Clock, gateway: SmsGateway) -> None:
    contact = add(ben, kind="sms", address="+4915112345678", language="zh-hans")
    answer = addressbook.send_code(user=ben, contact=contact, now=clock.now)
    assert answer.accepted
    assert answer.words.startswith("HTTP 202")
    assert '"status":"queued"' in answer.words
    (call,) = gateway.calls
    addressbook.verify(user=ben, contact=contact, code=code_in(call["text"]), now=clock.now)
    assert Contact.objects.get(pk=contact.pk).verified_at


def test_five_tries_and_ten_minutes(ben: User, clock: Clock, mails: MailServer) -> None:
    contact = add(ben)
    addressbook.send_code(user=ben, contact=contact, now=clock.now)
    right = code_in(mails.mails[0].get_content())
    left = []
    for _ in range(6):
        with pytest.raises(WrongCode) as wrong:
            addressbook.verify(user=ben, contact=contact, code="no", now=clock.now)
        left.append(wrong.value.tries_left)
    assert left == [4, 3, 2, 1, 0, 0]
    with pytest.raises(WrongCode):
        addressbook.verify(user=ben, contact=contact, code=right, now=clock.now)
    clock.advance(seconds=61)
    addressbook.send_code(user=ben, contact=contact, now=clock.now)
    with pytest.raises(WrongCode):  # the older one is void
        addressbook.verify(user=ben, contact=contact, code=right, now=clock.now)
    newer, late = code_in(mails.mails[1].get_content()), clock.now + timedelta(minutes=10)
    with pytest.raises(WrongCode):
        addressbook.verify(user=ben, contact=contact, code=newer, now=late)


def test_a_code_is_good_for_its_contact_only(ben: User, clock: Clock, mails: MailServer) -> None:
    one, other = add(ben), add(ben, address="other@harbour.example")
    for contact in (one, other):
        addressbook.send_code(user=ben, contact=contact, now=clock.now)
    code = code_in(mails.mails[0].get_content())
    with pytest.raises(WrongCode):
        addressbook.verify(user=ben, contact=other, code=code, now=clock.now)


def test_a_refused_code_is_no_code(ben: User, clock: Clock, mails: MailServer) -> None:
    mails.answer = "550 5.1.1 no such mailbox"
    contact = add(ben)
    answer = addressbook.send_code(user=ben, contact=contact, now=clock.now)
    assert (answer.accepted, answer.words) == (False, "550 5.1.1 no such mailbox")
    assert not ContactCode.objects.filter(contact=contact).exists()


# --- how often ----------------------------------------------------------------------------------


def test_codes_to_an_address_are_limited_whoever_asks(
    ben: User, ada: User, clock: Clock, mails: MailServer
) -> None:
    """A minute, an hour, a day: the same address in two organisations is one address."""
    contacts = [(ben, add(ben)), (ada, add(ada, organisation=None))]
    asked, waits = 0, list[float]()
    for minute in range(3 * 24 * 4):
        for user, contact in contacts:
            asked += 1
            now = clock.now + timedelta(minutes=5 * minute)
            try:
                addressbook.send_code(user=user, contact=contact, now=now)
            except NotNow as full:
                waits.append(full.wait_s)
    assert asked > 500
    assert len(mails.mails) == 20
    assert min(waits) > 0


def test_a_person_is_limited_over_all_addresses(
    ben: User, clock: Clock, gateway: SmsGateway
) -> None:
    refused = 0
    for number in range(15):
        contact = add(ben, kind="sms", address=f"+49151123456{number:02d}")
        try:
            addressbook.send_code(user=ben, contact=contact, now=clock.now)
        except NotNow:
            refused += 1
    assert (len(gateway.calls), refused) == (10, 5)


def test_without_counters_no_code_goes_out(
    ben: User, clock: Clock, mails: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    contact = add(ben)
    monkeypatch.setattr(settings, "REDIS_CACHE_URL", "redis://127.0.0.1:9/0")
    allowance.forget()
    try:
        with pytest.raises(NotNow):
            addressbook.send_code(user=ben, contact=contact, now=clock.now)
    finally:
        allowance.forget()
    assert not mails.mails


@pytest.mark.parametrize("limit", [1, 5])
def test_a_hundred_at_once_are_as_many_as_allowed(kunlun: Tenant, clock: Clock, limit: int) -> None:
    counters = [
        allowance.Counter("test", "one", ((60, limit),)),
        allowance.Counter("test", "wide", ((60, 1000),)),
    ]

    def ask(number: int) -> allowance.Verdict:
        return allowance.take(
            tenant="kunlun", message=f"m{number}", counters=counters, now=clock.now
        )

    with ThreadPoolExecutor(20) as pool:
        verdicts = list(pool.map(ask, range(100)))
    assert [verdict.wait_s for verdict in verdicts].count(0) == limit
    # All or none: what the narrow counter refused is not in the wide one.
    taken = allowance.used(
        tenant="kunlun", counter=counters[1], within=timedelta(minutes=1), now=clock.now
    )
    assert taken == limit


# --- what goes out ------------------------------------------------------------------------------


def test_nothing_but_the_code_goes_to_an_address_nobody_proved(
    ben: User, clock: Clock, mails: MailServer
) -> None:
    contact = add(ben, minimum_severity="notice")
    apply_findings([finding(CRITICAL, at=clock.now)], judged_at=clock.now)
    operations.plan_and_deliver(now=clock.now)
    assert not Delivery.objects.exists()
    with pytest.raises(ValidationError):
        addressbook.send_test(user=ben, contact=contact, now=clock.now)
    assert not mails.mails


def test_a_test_shows_the_other_sides_own_words(
    ben: User, clock: Clock, mails: MailServer, gateway: SmsGateway
) -> None:
    by_mail, by_sms = proved(), proved("sms", "+4915112345678")
    mails.answer = "250 2.0.0 queued as 4F2A"
    assert addressbook.send_test(user=ben, contact=by_mail, now=clock.now).words == mails.answer
    gateway.answers = [(403, {}, b'{"why":"no credit\x00\n for sms-token"}')]
    answer = addressbook.send_test(user=ben, contact=by_sms, now=clock.now)
    assert not answer.accepted
    assert "no credit for ***" in answer.words
    assert "sms-token" not in answer.words
    assert "Nothing is wrong" in gateway.calls[0]["text"]


def test_who_does_not_answer_is_said_so(
    ben: User, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OHMWATCH_SMS_GATEWAY_URL", "http://127.0.0.1:9/")
    contact = proved("sms", "+4915112345678")
    answer = addressbook.send_test(user=ben, contact=contact, now=clock.now)
    assert (answer.accepted, answer.words) == (False, "ConnectError")


def test_tests_take_nothing_from_alarms(ben: User, clock: Clock, gateway: SmsGateway) -> None:
    contact = proved("sms", "+4915112345678")
    addressbook.send_test(user=ben, contact=contact, now=clock.now)
    with pytest.raises(NotNow):
        addressbook.send_test(user=ben, contact=contact, now=clock.now)
    apply_findings([finding(CRITICAL, at=clock.now)], judged_at=clock.now)
    assert operations.plan_and_deliver(now=clock.now) == 1
    assert len(gateway.calls) == 2


def test_the_way_back_is_a_code(ben: User, clock: Clock, mails: MailServer) -> None:
    contact = proved(disabled_at=clock.now, disabled_reason="smtp_550", failures=3)
    with pytest.raises(ValidationError):
        addressbook.send_test(user=ben, contact=contact, now=clock.now)
    addressbook.send_code(user=ben, contact=contact, now=clock.now)
    code = code_in(mails.mails[0].get_content())
    addressbook.verify(user=ben, contact=contact, code=code, now=clock.now)
    contact.refresh_from_db()
    assert (contact.disabled_at, contact.failures, contact.disabled_reason) == (None, 0, "")


def test_a_removed_contact_is_told_nothing_and_its_address_forgotten(
    ben: User, clock: Clock, mails: MailServer
) -> None:
    contact = proved()
    apply_findings([finding(CRITICAL, at=clock.now)], judged_at=clock.now)
    operations.plan_due(now=clock.now)
    addressbook.remove_contact(user=ben, contact=contact, now=clock.now)
    assert operations.deliver_due(now=clock.now) == 0
    contact.refresh_from_db()
    assert contact.address == ""
    assert not queries.contacts(for_user=ben).exists()
    (delivery,) = Delivery.objects.all()
    assert delivery.state == Delivery.State.ABANDONED
    assert list(queries.deliveries_of(for_user=ben, alarm=delivery.event.alarm)) == [delivery]
    assert not mails.mails
    add(ben)  # and it may come back


def test_aurora_knows_nothing_of_it(
    ben: User, aurora: Tenant, clock: Clock, mails: MailServer
) -> None:
    """The same contact's key, the same code: another tenant's is not proved by it."""
    contact = add(ben)
    addressbook.send_code(user=ben, contact=contact, now=clock.now)
    code = code_in(mails.mails[0].get_content())
    sent = ContactCode.objects.get(contact=contact)
    with tenant_context(aurora):
        twin = proved(id=contact.pk, address=contact.address, verified_at=None)
        ContactCode.objects.create(
            contact=twin, code_hash=sent.code_hash, sent_at=clock.now, expires_at=sent.expires_at
        )
        auroras_ben = User.objects.get(pk=cast.BEN)
        with pytest.raises(WrongCode):
            addressbook.verify(user=auroras_ben, contact=twin, code=code, now=clock.now)
