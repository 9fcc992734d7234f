"""The pages of contacts, from the first click to the last message."""

import re
from uuid import UUID

import pytest
from django.test import Client
from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.alarms.operations import apply_findings
from apps.notifications import operations
from apps.notifications.models import Contact
from apps.tenants.models import Tenant
from tests import cast
from tests.contacts import contact
from tests.findings import CRITICAL, finding
from tests.outside import MailServer, SmsGateway
from tests.pages import NOW, browser, check_clean, queries_of

NEW = {
    "kind": "sms",
    "address": "+49 151 12345678",
    "name": "Night shift",
    "minimum_severity": "critical",
    "language": "en",
    "timezone": "Europe/Berlin",
}
pytestmark = pytest.mark.usefixtures("mails", "gateway", "elasticsearch")


@pytest.fixture
def bens(kunlun: Tenant, ben: User) -> Client:
    return browser(ben, kunlun)


def add(client: Client, **changes: str) -> str:
    """Adds a contact; returns the address of its page."""
    answer = client.post("/contacts/add/", NEW | changes)
    assert answer.status_code == 302, answer.text
    return answer.headers["Location"]


def at_kunlun(kunlun: Tenant, page: str) -> Contact:
    with tenant_context(kunlun):
        return Contact.objects.get(pk=UUID(page.split("/")[2]))


def test_a_contact_from_the_first_click_to_the_last(
    kunlun: Tenant, bens: Client, gateway: SmsGateway
) -> None:
    assert "Nobody is told yet" in bens.get("/contacts/").text
    page = add(bens)
    shown = bens.get(page).text
    check_clean(shown)
    assert "A code is on its way to +4915112345678." in shown
    assert "HTTP 202" in shown
    assert "Send a test message" not in shown
    code = re.search(r"\d{4} \d{4}", gateway.calls[0]["text"])
    assert code
    assert "4 tries are left" in bens.post(f"{page}verify", {"code": "nope"}, follow=True).text
    assert "Proved" in bens.post(f"{page}verify", {"code": code[0]}, follow=True).text
    assert "minute" in bens.post(f"{page}test", follow=True).text  # the code was a moment ago
    changed = {**NEW, "minimum_severity": "notice", "language": "zh-hans"}
    assert "Saved" in bens.post(page, changed, follow=True).text
    kept = at_kunlun(kunlun, page)
    assert (kept.minimum_severity, kept.language) == ("notice", "zh-hans")
    assert "is told nothing more" in bens.post(f"{page}remove", follow=True).text
    assert bens.get(page).status_code == 404


def test_a_test_shows_what_the_mail_server_said(
    kunlun: Tenant, bens: Client, mails: MailServer
) -> None:
    with tenant_context(kunlun):
        known = contact()
    mails.answer = "452 4.2.2 mailbox <full>"
    shown = bens.post(f"/contacts/{known.pk}/test", follow=True).text
    assert "It was not taken. The other side said: 452 4.2.2 mailbox &lt;full&gt;" in shown


def test_a_refused_address_lands_on_its_field(bens: Client) -> None:
    page = bens.post("/contacts/add/", NEW | {"address": "0151 1"}).text
    assert 'id="id_address_error"' in page
    assert "country code" in page


def test_a_driver_adds_their_own_and_sees_no_other(
    kunlun: Tenant, bens: Client, dora: User
) -> None:
    add(bens)
    doras = browser(dora, kunlun)
    form = doras.get("/contacts/add/").text
    assert 'name="person"' not in form
    assert 'name="organisation"' not in form
    page = add(doras, address="+4915112345679", name="Dora")
    assert at_kunlun(kunlun, page).user_id == cast.DORA
    listed = doras.get("/contacts/").text
    assert "Dora" in listed
    assert "Night shift" not in listed


def test_staff_keep_their_own_and_see_the_organisations(
    kunlun: Tenant, bens: Client, ada: User, sam: User
) -> None:
    page = add(bens)
    adas, sams = browser(ada, kunlun), browser(sam, kunlun)
    own = add(adas, address="+4915112345677", name="Kunlun desk")
    assert at_kunlun(kunlun, own).organisation_id is None
    assert "Night shift" not in sams.get("/contacts/").text
    assert "Night shift" in sams.get("/contacts/?of=organisations").text
    shown = sams.get(page).text
    assert "Send a new code" not in shown
    for_them = add(adas, address="+4915112345676", organisation=str(cast.HARBOUR))
    assert at_kunlun(kunlun, for_them).organisation_id == cast.HARBOUR


def test_the_page_says_what_was_sent_and_why_it_is_switched_off(
    kunlun: Tenant, bens: Client, mails: MailServer
) -> None:
    mails.answer = "550 no such mailbox"
    with tenant_context(kunlun):
        known = contact(failures=2)
        apply_findings([finding(CRITICAL, at=NOW)], judged_at=NOW)
        operations.plan_and_deliver(now=NOW)
    listed = bens.get("/contacts/").text
    assert "Switched off" in listed
    assert "Refused" in listed
    shown = bens.get(f"/contacts/{known.pk}/").text
    assert "The mail server refused it (550)." in shown
    assert "Send the code" in shown


def test_a_hundred_contacts_cost_no_more_questions_than_two(kunlun: Tenant, bens: Client) -> None:
    with tenant_context(kunlun):
        for number in range(2):
            contact(address=f"{number}@harbour.example")
    few = queries_of(bens, "/contacts/")
    with tenant_context(kunlun):
        for number in range(2, 40):
            contact(address=f"{number}@harbour.example")
    assert queries_of(bens, "/contacts/") == few
