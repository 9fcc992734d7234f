"""Who may add contacts, and which addresses there are."""

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from apps.accounts.models import Organisation, User
from apps.notifications import operations
from apps.notifications.models import Contact
from tests import cast
from tests.conftest import Clock

pytestmark = pytest.mark.usefixtures("in_kunlun")


def add(user: User, clock: Clock, **changes: object) -> Contact:
    fields: dict[str, object] = {
        "kind": "email",
        "address": " ben@harbour.example ",
        "name": "Ben\r\nBcc: all@x.example",
        "language": "en",
        "timezone": "Europe/Berlin",
        "minimum_severity": "warning",
        "organisation": Organisation.objects.get(pk=cast.HARBOUR),
    }
    return operations.add_contact(user=user, now=clock.now, **{**fields, **changes})  # type: ignore[arg-type]


def test_an_owner_adds_contacts_of_the_own_organisation(ben: User, clock: Clock) -> None:
    contact = add(ben, clock)
    assert (contact.address, contact.name) == ("ben@harbour.example", "Ben Bcc: all@x.example")


def test_nobody_else_does(clara: User, dora: User, anna: User, ada: User, clock: Clock) -> None:
    for user in (clara, dora, anna):
        with pytest.raises(PermissionDenied):
            add(user, clock)
    with pytest.raises(PermissionDenied):
        add(clara, clock, organisation=None)
    assert add(ada, clock, organisation=None).organisation is None


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
def test_addresses_that_can_not_be(ben: User, clock: Clock, kind: str, address: str) -> None:
    with pytest.raises(ValidationError):
        add(ben, clock, kind=kind, address=address)


def test_a_number_is_kept_in_its_one_form(ben: User, clock: Clock) -> None:
    assert add(ben, clock, kind="sms", address="+49 (151) 123-45678").address == "+4915112345678"


def test_a_zone_that_is_not(ben: User, clock: Clock) -> None:
    with pytest.raises(ValidationError):
        add(ben, clock, timezone="Harbour/Berth7")
