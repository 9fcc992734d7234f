"""How many messages alarms would have made, by channel: by the contacts as they are now."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from apps.alarms.models import Alarm, AlarmEvent, Severity
from apps.fleet.models import Connector
from apps.notifications import policy
from apps.notifications.models import Contact
from apps.notifications.operations import WINDOW


@dataclass(frozen=True, slots=True)
class News:
    """A step of an alarm that people are told of: at which connector, when, how bad."""

    connector: str
    kind: str
    severity: str
    at: datetime


def messages_by_channel(news: Sequence[News]) -> dict[str, int]:
    """Messages that these would have made: a contact gets one in WINDOW, critical ones at once."""
    contacts = policy.usable_contacts()
    connectors = Connector.objects.select_related("vehicle").in_bulk(
        {UUID(each.connector) for each in news}
    )
    last: dict[tuple[UUID, bool], datetime] = {}
    counts: Counter[str] = Counter()
    for each in sorted(news, key=lambda one: one.at):
        connector = connectors.get(UUID(each.connector))
        if connector is None:
            continue
        event = AlarmEvent(kind=each.kind, severity=each.severity, alarm=Alarm(connector=connector))
        for contact in policy.recipients(event, contacts):
            counts[contact.kind] += _is_new(contact, each, last)
    return dict(counts)


def _is_new(contact: Contact, news: News, last: dict[tuple[UUID, bool], datetime]) -> bool:
    """Whether it is a message of its own, or goes along with the one before."""
    urgent = news.severity == Severity.CRITICAL and news.kind != "cleared"
    key = (contact.pk, urgent)
    previous = last.get(key)
    if previous is not None and news.at - previous < WINDOW:
        return False
    last[key] = news.at
    return True
