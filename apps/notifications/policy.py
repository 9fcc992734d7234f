"""Who is told of an alarm event: the organisation's contacts and the manufacturer's staff."""

from collections.abc import Sequence

from apps.alarms.models import AlarmEvent, Severity
from apps.notifications.channel import Channel
from apps.notifications.models import Contact
from apps.notifications.registry import channels


def usable_contacts() -> list[Contact]:
    """The contacts that can be told at all: verified, not switched off, on a working channel."""
    ready = [kind for kind, channel in channels().items() if channel.is_ready()]
    return list(
        Contact.objects.filter(
            kind__in=ready, verified_at__isnull=False, disabled_at__isnull=True
        ).select_related("user")
    )


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
    if contact.user is not None and not contact.user.is_active:
        return False
    if contact.organisation_id is None:
        return contact.user is None or contact.user.is_staff_of_tenant
    vehicle = event.alarm.connector.vehicle
    return vehicle is not None and vehicle.organisation_id == contact.organisation_id
