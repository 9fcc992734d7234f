"""Contacts for stories about messages."""

from apps.notifications.models import Contact
from tests import cast


def contact(kind: str = "email", address: str = "ben@harbour.example", **more: object) -> Contact:
    """A verified contact of Ben's organisation, told of everything."""
    fields: dict[str, object] = {
        "name": "Ben",
        "organisation_id": cast.HARBOUR,
        "minimum_severity": "notice",
        "verified_at": cast.LONG_AGO,
    }
    return Contact.objects.create(kind=kind, address=address, **{**fields, **more})
