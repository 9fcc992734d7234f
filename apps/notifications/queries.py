"""Questions about contacts and deliveries."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.db.models import F, Q, QuerySet
from psycopg import sql

from apps.accounts.models import User
from apps.accounts.permissions import Permission
from apps.alarms.models import Alarm
from apps.notifications.models import Contact, Delivery
from apps.tenants.lookups import find_or_404


def contacts(*, for_user: User) -> QuerySet[Contact]:
    """The contacts this person may see: staff all, others their organisation's."""
    found = Contact.objects.select_related("organisation", "user")
    if not for_user.can(Permission.VIEW_FLEET):
        return found.none()
    if for_user.is_staff_of_tenant:
        return found
    return found.filter(organisation=for_user.organisation_id)


def contact_for(*, user: User, pk: object) -> Contact:
    """One contact. Raises Http404 where it is missing or not this person's to see."""
    return find_or_404(contacts(for_user=user), pk)


def deliveries_of(*, for_user: User, alarm: Alarm) -> QuerySet[Delivery]:
    """What was sent about an alarm to the contacts this person may see, newest first."""
    return Delivery.objects.filter(
        event__alarm=alarm, contact__in=contacts(for_user=for_user)
    ).select_related("contact", "event")


def contacts_with_work(*, now: datetime) -> list[UUID]:
    """The contacts that somebody must be told at, those of the gravest events first."""
    rank = {"critical": 0, "warning": 1, "notice": 2}
    rows = undone(now=now).values_list("contact", "event__severity").distinct()
    gravest: dict[UUID, int] = {}
    for contact, severity in rows:
        gravest[contact] = min(rank[severity], gravest.get(contact, 9))
    return sorted(gravest, key=lambda contact: (gravest[contact], contact))


def undone(*, now: datetime) -> QuerySet[Delivery]:
    """Deliveries that wait for nobody: due, or claimed by somebody whose lease is over."""
    return Delivery.objects.filter(
        Q(state=Delivery.State.DUE, due_at__lte=now)
        | Q(state=Delivery.State.SENDING, leased_until__lt=now)
    )


def messages_since(*, contact: Contact, since: datetime) -> QuerySet[Delivery]:
    """The leads of messages to a contact that are going out, or went out after `since`."""
    return Delivery.objects.filter(
        Q(state=Delivery.State.SENDING) | Q(state=Delivery.State.SENT, sent_at__gt=since),
        contact=contact,
        lead=F("pk"),
    ).select_related("event")


def schemas_with_deliveries(*, schemas: Sequence[str], now: datetime) -> list[str]:
    """Which of these tenants' schemas hold deliveries to send, asked in one statement."""
    if not schemas:
        return []
    one = sql.SQL(
        "SELECT {name} WHERE EXISTS (SELECT 1 FROM {table} WHERE"
        " (state = 'due' AND due_at <= %(now)s) OR (state = 'sending' AND leased_until < %(now)s))"
    )
    query = sql.SQL(" UNION ALL ").join(
        one.format(name=sql.Literal(each), table=sql.Identifier(each, "notifications_delivery"))
        for each in schemas
    )
    with connection.cursor() as cursor:
        cursor.execute(query.as_string(cursor.cursor), {"now": now})
        return [row[0] for row in cursor.fetchall()]
