"""Questions about contacts and deliveries."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.db.models import F, Q, QuerySet
from psycopg import sql

from apps.accounts.models import User
from apps.accounts.permissions import Permission, Role
from apps.alarms.models import Alarm
from apps.alarms.queries import alarms
from apps.notifications.models import Contact, Delivery
from apps.tenants.lookups import find_or_404


def contacts(*, for_user: User) -> QuerySet[Contact]:
    """The contacts this person may see: staff all, owners their organisation's, drivers their own.

    Those that were removed are not among them.
    """
    found = _reachable(for_user).filter(removed_at__isnull=True)
    found = found.select_related("organisation", "user", "code")
    return found.filter(user=for_user) if for_user.role == Role.DRIVER else found


def contact_for(*, user: User, pk: object) -> Contact:
    """One contact. Raises Http404 where it is missing or not this person's to see."""
    return find_or_404(contacts(for_user=user), pk)


def _reachable(user: User) -> QuerySet[Contact]:
    """All whom messages about what this person sees go to, those who were removed since as well."""
    if not user.can(Permission.VIEW_FLEET):
        return Contact.objects.none()
    if user.is_staff_of_tenant:
        return Contact.objects.all()
    return Contact.objects.filter(organisation=user.organisation_id)


def last_deliveries(contacts: Iterable[Contact]) -> dict[UUID, Delivery]:
    """The newest delivery of each contact that was ever told something; one statement."""
    newest = Delivery.objects.filter(contact__in=[contact.pk for contact in contacts])
    rows = newest.order_by("contact_id", "-due_at", "-id").distinct("contact_id")
    return {delivery.contact_id: delivery for delivery in rows.select_related("event__alarm")}


def deliveries_to(*, for_user: User, contact: Contact) -> QuerySet[Delivery]:
    """What was sent to a contact about alarms this person may see, newest first."""
    return Delivery.objects.filter(
        contact=contact, event__alarm__in=alarms(for_user=for_user)
    ).select_related("event__alarm__connector")


def deliveries_of(*, for_user: User, alarm: Alarm) -> QuerySet[Delivery]:
    """What was sent about an alarm to whom this person knows, newest first."""
    return Delivery.objects.filter(
        event__alarm=alarm, contact__in=_reachable(for_user)
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
