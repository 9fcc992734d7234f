"""Who is told of an alarm event: the organisation's contacts and the manufacturer's staff."""

from collections.abc import Sequence

from apps.alarms.models import AlarmEvent, Severity
from apps.notifications.channel import Channel
from apps.notifications.models import Contact
from apps.notifications.registry import channels

STAND_IN = "email"
"""The channel that costs nothing, for what can't go out by another."""


def usable_contacts() -> list[Contact]:
    """The contacts that can be told at all: verified, not switched off, on a working channel."""
    ready = [kind for kind, channel in channels().items() if channel.is_ready()]
    return list(
        Contact.objects.filter(
            kind__in=ready, verified_at__isnull=False, disabled_at__isnull=True
        ).select_related("user")
    )


def stand_ins(contact: Contact) -> list[Contact]:
    """The email contacts that hear what is pressing where `contact` can't be told it.

    Those of the same organisation, else the manufacturer's staff; whatever severity they chose.
    """
    mails = [other for other in usable_contacts() if other.kind == STAND_IN and _has_access(other)]
    near = [other for other in mails if other.organisation_id == contact.organisation_id]
    return near or [other for other in mails if other.organisation_id is None]


def recipients(event: AlarmEvent, contacts: Sequence[Contact]) -> list[Contact]:
    """Those of `contacts` that must hear of the event."""
    return [contact for contact in contacts if _concerns(contact, event)]


def _concerns(contact: Contact, event: AlarmEvent) -> bool:
    channel: Channel = channels()[contact.kind]
    return (
        event.kind in channel.tells
        and Severity(event.severity).rank >= Severity(contact.minimum_severity).rank
        and _sees(contact, event)
    )


def _sees(contact: Contact, event: AlarmEvent) -> bool:
    if not _has_access(contact):
        return False
    if contact.organisation_id is None:
        return True
    vehicle = event.alarm.connector.vehicle
    return vehicle is not None and vehicle.organisation_id == contact.organisation_id


def _has_access(contact: Contact) -> bool:
    """Whether the contact's person, if it has one, may still know what it is told."""
    person = contact.user
    if person is None:
        return True
    return person.is_active and (contact.organisation_id is not None or person.is_staff_of_tenant)
