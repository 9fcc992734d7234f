"""What SMS may cost: where they go, how many a day, and who hears when no more go out."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import phonenumbers
import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django_tenants.utils import schema_context

from apps.accounts.models import Organisation, User
from apps.accounts.permissions import Role
from apps.alarms.operations import apply_findings
from apps.notifications import addressbook, budget, operations
from apps.notifications.addressbook import NotNow
from apps.notifications.allowance import take
from apps.notifications.channels.sms import limits
from apps.notifications.channels.sms.channel import CHANNEL
from apps.notifications.models import Delivery
from apps.tenants.models import Plan, Tenant
from apps.tenants.operations import change_countries
from ohmwatch.findings import Severity
from tests import cast
from tests.clock import Clock
from tests.contacts import contact
from tests.findings import CRITICAL, NOTICE, WARNING, finding
from tests.outside import MailServer, SmsGateway

NUMBER = "+4915112345678"
pytestmark = pytest.mark.usefixtures("in_kunlun", "gateway")


@pytest.fixture
def plan(kunlun: Tenant) -> Plan:
    """Kunlun's plan of 10 SMS a day."""
    with schema_context("public"):
        Plan.objects.filter(pk=kunlun.plan_id).update(limits={"sms_per_day": 10})
        return Plan.objects.get(pk=kunlun.plan_id)


@pytest.fixture
def operator(kunlun: Tenant) -> User:
    """Runs the platform, in the public schema."""
    with schema_context("public"):
        return User.objects.create_user(
            "operator", "operator@ohmwatch.example", cast.PASSWORD, role=Role.OPERATOR
        )


def _examples() -> list[str]:
    """A mobile and a costly number of each country that has them."""
    kinds = (
        phonenumbers.PhoneNumberType.MOBILE,
        phonenumbers.PhoneNumberType.PREMIUM_RATE,
        phonenumbers.PhoneNumberType.SHARED_COST,
    )
    found = [
        phonenumbers.example_number_for_type(region, kind)
        for region in sorted(phonenumbers.SUPPORTED_REGIONS)
        for kind in kinds
    ]
    found += [phonenumbers.example_number_for_non_geo_entity(870)]
    return [
        phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        for number in found
        if number is not None
    ]


def test_no_number_outside_the_countries_is_kept(
    kunlun: Tenant, ben: User, gateway: SmsGateway
) -> None:
    change_countries(tenant=kunlun, country="DE", sms_countries=[])
    examples = _examples()
    assert len(examples) > 300
    kept = []
    for number in examples:
        try:
            kept.append(_add(ben, number))
        except ValidationError:
            continue
    assert [phonenumbers.region_code_for_number(phonenumbers.parse(each)) for each in kept] == [
        "DE"
    ]
    assert not gateway.calls


def _add(user: User, number: str) -> str:
    return addressbook.add_contact(
        user=user,
        kind="sms",
        address=number,
        name="Ben",
        language="en",
        timezone="UTC",
        minimum_severity="warning",
        organisation=Organisation.objects.get(pk=cast.HARBOUR),
    ).address


def test_a_country_that_is_allowed_no_more_gets_nothing(
    kunlun: Tenant, ben: User, clock: Clock, gateway: SmsGateway
) -> None:
    known = contact("sms", NUMBER)
    change_countries(tenant=kunlun, country="CN", sms_countries=[])
    with pytest.raises(ValidationError):
        addressbook.send_test(user=ben, contact=known, now=clock.now)
    apply_findings([finding(CRITICAL, at=clock.now)], judged_at=clock.now)
    operations.plan_and_deliver(now=clock.now)
    assert Delivery.objects.get().error == "country_not_allowed"
    assert not gateway.calls


def test_without_a_country_nothing_goes_out(kunlun: Tenant) -> None:
    change_countries(tenant=kunlun, country="", sms_countries=[])
    assert not CHANNEL.admits(NUMBER, tenant=kunlun)
    with pytest.raises(ValidationError):
        change_countries(tenant=kunlun, country="DE", sms_countries=["Austria"])


def test_a_hundred_at_once_on_the_last_five(plan: Plan, kunlun: Tenant, clock: Clock) -> None:
    """To a hundred numbers at once, with five left of the day: exactly five go out."""
    day = [budget.counter(kunlun)]
    for number in range(5):
        take(tenant="kunlun", message=f"before-{number}", counters=day, now=clock.now)

    def send(number: int) -> float:
        counters = [limits.Counter("sms-critical", f"+49151{number}", ((60, 1),)), *day]
        return take(tenant="kunlun", message=f"m{number}", counters=counters, now=clock.now).wait_s

    with ThreadPoolExecutor(20) as pool:
        waits = list(pool.map(send, range(100)))
    assert waits.count(0) == 5
    assert budget.sms_of_the_day(kunlun, now=clock.now).used == 10


def test_codes_leave_a_part_of_the_day_to_alarms(
    plan: Plan, ada: User, ben: User, clock: Clock, gateway: SmsGateway
) -> None:
    """8 of 10 by hand, however many ask; then an alarm still goes out."""
    for number in range(12):
        asker, house = (ada, None) if number % 2 else (ben, cast.HARBOUR)
        unproved = contact(
            "sms", f"+4915{number:02d}2345678", organisation_id=house, verified_at=None
        )
        try:
            addressbook.send_code(user=asker, contact=unproved, now=clock.now)
        except (NotNow, ValidationError):
            continue
    assert len(gateway.calls) == 8
    contact("sms", NUMBER)
    apply_findings([finding(CRITICAL, at=clock.now)], judged_at=clock.now)
    assert operations.plan_and_deliver(now=clock.now) == 1
    assert gateway.calls[-1]["to"] == NUMBER


def test_consecutive_numbers_are_stopped(kunlun: Tenant, clock: Clock) -> None:
    """A thousand numbers in a row, from whomever: twenty an hour."""
    taken = 0
    for number in range(1000):
        counters = limits.of_note(f"+4915112345{number:03d}", tenant=kunlun)
        verdict = take(tenant="kunlun", message=f"m{number}", counters=counters, now=clock.now)
        taken += not verdict.wait_s
    assert taken == 20


def test_a_notice_waits_where_the_day_is_used_up(
    plan: Plan, kunlun: Tenant, clock: Clock, gateway: SmsGateway
) -> None:
    _use_up(kunlun, clock)
    contact("sms", NUMBER, minimum_severity="notice")
    apply_findings([finding(NOTICE, at=clock.now)], judged_at=clock.now)
    assert operations.plan_and_deliver(now=clock.now) == 0
    waiting = Delivery.objects.get()
    assert (waiting.state, waiting.due_at) == ("due", clock.now + timedelta(days=1))
    assert not gateway.calls


@pytest.mark.parametrize("severity", [WARNING, CRITICAL])
def test_a_warning_or_worse_goes_by_mail_where_the_day_is_used_up(
    plan: Plan,
    kunlun: Tenant,
    operator: User,
    clock: Clock,
    mails: MailServer,
    gateway: SmsGateway,
    django_capture_on_commit_callbacks: object,
    severity: Severity,
) -> None:
    """At once, to the organisation's mail contact, and the operator hears of it."""
    _use_up(kunlun, clock)
    contact("sms", NUMBER)
    contact("email", "night@harbour.example", minimum_severity="critical")
    contact("email", "city@clara.example", organisation_id=cast.CITY)
    apply_findings([finding(severity, at=clock.now)], judged_at=clock.now)
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        operations.plan_and_deliver(now=clock.now)
        operations.deliver_due(now=clock.now)
    assert not gateway.calls
    assert Delivery.objects.get(channel="sms").error == "sms_cap_reached"
    told = [message["To"] for message in mails.mails]
    assert told.count("operator@ohmwatch.example") == 1
    assert sum("night@harbour.example" in each for each in told) == 1
    assert not any("clara" in each for each in told)


def test_without_a_mail_contact_the_staff_hear_it(
    plan: Plan, kunlun: Tenant, clock: Clock, mails: MailServer
) -> None:
    _use_up(kunlun, clock)
    contact("sms", NUMBER)
    contact("email", "desk@kunlun.example", organisation_id=None, minimum_severity="critical")
    apply_findings([finding(CRITICAL, at=clock.now)], judged_at=clock.now)
    operations.plan_and_deliver(now=clock.now)
    operations.deliver_due(now=clock.now)
    assert len(mails.mails) == 1


def test_operators_are_told_once_when_most_is_used(
    plan: Plan,
    kunlun: Tenant,
    operator: User,
    clock: Clock,
    django_capture_on_commit_callbacks: object,
) -> None:
    day = [budget.counter(kunlun)]
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        for number in range(10):
            take(tenant="kunlun", message=f"m{number}", counters=day, now=clock.now)
            budget.warn_early(kunlun, now=clock.now)
            assert bool(budget.sms_of_the_day(kunlun, now=clock.now).is_short) == (number >= 7)
    assert [sent.to for sent in mail.outbox] == [["operator@ohmwatch.example"]]
    assert "80 %" in mail.outbox[0].subject
    assert "Of the 10 SMS a day of Kunlun" in mail.outbox[0].body


def _use_up(tenant: Tenant, clock: Clock) -> None:
    for number in range(10):
        take(
            tenant=tenant.slug,
            message=f"used-{number}",
            counters=[budget.counter(tenant)],
            now=clock.now,
        )
