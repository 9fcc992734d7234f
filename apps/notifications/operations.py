"""From an event in the outbox to messages that were said.

`plan_due` makes a delivery for each contact that must hear of an event; `deliver_due` claims those
of a contact as one message, says it, and only then writes that it was said. A crash at any point
repeats at most a message under the same key, and loses none.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F, Q

from apps.alarms import outbox
from apps.alarms.models import AlarmEvent, Consumer, Kind, Outbox, OutboxState, Severity
from apps.alarms.queries import flapping
from apps.notifications import links, policy, queries
from apps.notifications.addressbook import give_up, recipient_of
from apps.notifications.channel import Item, Message, TransportError
from apps.notifications.models import Contact, Delivery
from apps.notifications.registry import channels
from apps.tenants.models import Tenant
from apps.tenants.queries import current_tenant
from ohmwatch.lifecycle import Reason

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=60)
"""Longer than any transport's own limit: who still holds it after that has died."""
WINDOW = timedelta(minutes=5)
"""A contact gets at most one message in it; what comes meanwhile goes together into the next.
A critical alarm waits for none but a critical message."""
RETRY_S = (5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14_400, 28_800)
LISTED = 10
"""Items that a message lists; the others are counted."""
PLANNED = 500
MESSAGE_RELATIONS = ("contact", "event__alarm__connector__vehicle")
UNREACHABLE_FOR_GOOD = 3
"""Messages refused for good, one after the other, that switch a contact off."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Deliveries of a contact that go out as one message. `attempt` fences a slow twin off."""

    lead: Delivery
    attempt: int
    message: Message


def plan_and_deliver(*, now: datetime) -> int:
    """Plans and sends what is due in the current tenant; returns how many messages went out."""
    plan_due(now=now)
    return deliver_due(now=now)


def plan_due(*, now: datetime) -> int:
    """Makes the deliveries of all events that people must hear of; returns how many events."""
    planned = 0
    while entries := _plan_some(now):
        planned += entries
    return planned


def _plan_some(now: datetime) -> int:
    with transaction.atomic():
        held = outbox.due(Consumer.NOTIFY, now=now).select_for_update(
            skip_locked=True, of=("self",)
        )
        entries = list(held.select_related(*outbox.RELATIONS)[:PLANNED])
        contacts = policy.usable_contacts() if entries else []
        Delivery.objects.bulk_create(
            [
                Delivery(contact=contact, event=entry.event, channel=contact.kind, due_at=now)
                for entry in entries
                for contact in policy.recipients(entry.event, contacts)
            ],
            ignore_conflicts=True,
        )
        # In the same commit: a crash before it leaves the entries due, and no delivery.
        Outbox.objects.filter(pk__in=[entry.pk for entry in entries]).update(state=OutboxState.DONE)
    return len(entries)


def deliver_due(*, now: datetime) -> int:
    """Sends what is due in the current tenant; returns how many messages went out."""
    sent, resting = 0, set[str]()
    kinds = dict(Contact.objects.values_list("pk", "kind"))
    for contact_id in queries.contacts_with_work(now=now):
        kind = kinds.get(contact_id)
        if kind in resting or kind not in channels():
            continue
        claimed = claim(contact_id=contact_id, now=now)
        if claimed is None:
            continue
        error = _say(claimed, now=now)
        sent += error is None
        if error is not None and not error.reached:
            resting.add(str(kind))  # the next contact would wait as long for nothing
    return sent


def claim(*, contact_id: UUID, now: datetime) -> Claimed | None:
    """Takes what the contact must hear as one message; None where there is nothing to say now.

    A group that was claimed before goes out again as it was, under the same key.
    """
    with transaction.atomic():
        contact = (
            Contact.objects.select_for_update(skip_locked=True, of=("self",))
            .select_related("user")
            .filter(pk=contact_id)
            .first()
        )
        if contact is None:
            return None
        if contact.disabled_at or (contact.user and not contact.user.is_active):
            give_up(contact)
            return None
        if not channels()[contact.kind].admits(contact.address, tenant=current_tenant()):
            give_up(contact, error="country_not_allowed")
            return None
        lead = _lapsed_lead(contact, now) or _new_lead(contact, now)
        if lead is None:
            return None
        won = Delivery.objects.filter(
            lead=lead,
            attempt=lead.attempt,
            state__in=[Delivery.State.DUE, Delivery.State.SENDING],
        ).update(state=Delivery.State.SENDING, attempt=F("attempt") + 1, leased_until=now + LEASE)
        if not won:
            return None
    return Claimed(lead, lead.attempt + 1, _message(lead))


def _lapsed_lead(contact: Contact, now: datetime) -> Delivery | None:
    claimed_before = queries.undone(now=now).filter(contact=contact, lead=F("pk"))
    return claimed_before.select_related("event").order_by("due_at").first()


def _new_lead(contact: Contact, now: datetime) -> Delivery | None:
    waiting = list(
        Delivery.objects.filter(contact=contact, lead=None, state=Delivery.State.DUE)
        .select_related(*MESSAGE_RELATIONS)
        .order_by("event__number")
    )
    if not waiting:
        return None
    waiting.sort(key=_gravity)
    lead = waiting[0]
    keys = [delivery.pk for delivery in waiting]
    try:
        free_at = _free_at(contact, lead, keys, now)
    except TransportError as refusal:
        _say_otherwise(contact, waiting, refusal, now=now)
        return None
    if free_at > now:
        Delivery.objects.filter(pk__in=keys).update(due_at=free_at)
        return None
    Delivery.objects.filter(pk__in=keys).update(lead=lead)
    return lead


def _say_otherwise(
    contact: Contact, waiting: Sequence[Delivery], refusal: TransportError, *, now: datetime
) -> None:
    """What is pressing goes by email instead, to people around the contact; the rest waits on."""
    pressing = [delivery for delivery in waiting if _pressing(delivery)]
    Delivery.objects.filter(pk__in=[delivery.pk for delivery in pressing]).update(
        state=Delivery.State.ABANDONED, error=refusal.code
    )
    stand_ins = policy.stand_ins(contact)
    log.warning("said_otherwise", contact=str(contact.pk), error=refusal.code, to=len(stand_ins))
    Delivery.objects.bulk_create(
        [
            Delivery(contact=other, event=delivery.event, channel=other.kind, due_at=now)
            for delivery in pressing
            for other in stand_ins
        ],
        ignore_conflicts=True,  # who was told of it already is not told twice
    )


def _gravity(delivery: Delivery) -> tuple[bool, int, int]:
    event = delivery.event
    return event.kind == "cleared", -Severity(event.severity).rank, event.number


def _free_at(contact: Contact, lead: Delivery, keys: Sequence[UUID], now: datetime) -> datetime:
    """When the contact may get this message: its window, then the channel's own allowance."""
    recent = list(queries.messages_since(contact=contact, since=now - WINDOW))
    if _urgent(lead):
        recent = [delivery for delivery in recent if _urgent(delivery)]
    if recent:
        return max((each.sent_at or now) for each in recent) + WINDOW
    tenant = current_tenant()
    message = _message_of(lead, [lead], total=len(keys), tenant=tenant)
    wait_s = channels()[contact.kind].wait_s(message, tenant=tenant, now=now)
    return now + timedelta(seconds=wait_s)


def _urgent(delivery: Delivery) -> bool:
    return delivery.event.severity == Severity.CRITICAL and delivery.event.kind != "cleared"


def _pressing(delivery: Delivery) -> bool:
    return delivery.event.severity != Severity.NOTICE and delivery.event.kind != "cleared"


def _say(claimed: Claimed, *, now: datetime) -> TransportError | None:
    channel = channels()[claimed.lead.channel]
    try:
        receipt = channel.send(claimed.message)
    except TransportError as error:
        _not_said(claimed, error, now=now)
        return error
    except Exception as error:
        log.exception("channel_failed", channel=claimed.lead.channel)
        failure = TransportError("channel_failed", permanent=False, detail=type(error).__name__)
        _not_said(claimed, failure, now=now)
        return failure
    _said(claimed, receipt, now=now)
    return None


def _said(claimed: Claimed, receipt: str, *, now: datetime) -> None:
    with transaction.atomic():
        _settle(claimed, state=Delivery.State.SENT, sent_at=now, receipt=receipt[:200], error="")
        Contact.objects.filter(pk=claimed.lead.contact_id).exclude(failures=0).update(failures=0)


def _not_said(claimed: Claimed, error: TransportError, *, now: datetime) -> None:
    log.warning(
        "message_not_sent",
        delivery=str(claimed.lead.pk),
        channel=claimed.lead.channel,
        error=str(error),
        attempt=claimed.attempt,
        permanent=error.permanent,
    )
    with transaction.atomic():
        if error.permanent:
            _settle(claimed, state=Delivery.State.FAILED, error=str(error)[:500])
            _count_failure(claimed.lead.contact_id, error, now=now)
        elif claimed.attempt > len(RETRY_S):
            _settle(claimed, state=Delivery.State.ABANDONED, error=str(error)[:500])
        else:
            wait_s = max(RETRY_S[claimed.attempt - 1], error.retry_after_s or 0)
            _settle(
                claimed,
                state=Delivery.State.DUE,
                due_at=now + timedelta(seconds=wait_s),
                error=str(error)[:500],
            )


def _settle(claimed: Claimed, **outcome: object) -> None:
    """Writes what became of the message, unless somebody else has claimed it meanwhile."""
    changed = Delivery.objects.filter(
        lead=claimed.lead, attempt=claimed.attempt, state=Delivery.State.SENDING
    ).update(leased_until=None, **outcome)
    if not changed:
        log.warning("message_taken_over", delivery=str(claimed.lead.pk), attempt=claimed.attempt)


def _count_failure(contact_id: UUID, error: TransportError, *, now: datetime) -> None:
    Contact.objects.filter(pk=contact_id).update(failures=F("failures") + 1)
    Contact.objects.filter(
        pk=contact_id, failures__gte=UNREACHABLE_FOR_GOOD, disabled_at__isnull=True
    ).update(disabled_at=now, disabled_reason=error.code[:200])


def give_up_undone() -> int:
    """Ends all that waits to be said in the current tenant; returns how many messages that were.

    For who comes out of a backup: what waited when it was made was said soon after, and is old
    news now. An alarm that still holds is told by the next finding.
    """
    undone = Q(state=Delivery.State.DUE) | Q(state=Delivery.State.SENDING)
    with transaction.atomic():
        outbox.drop(consumer=Consumer.NOTIFY)
        return Delivery.objects.filter(undone).update(
            state=Delivery.State.ABANDONED, error="restored_from_backup", leased_until=None
        )


def _message(lead: Delivery) -> Message:
    members = list(Delivery.objects.filter(lead=lead).select_related(*MESSAGE_RELATIONS))
    members.sort(key=_gravity)
    return _message_of(members[0], members, total=len(members), tenant=current_tenant())


def _message_of(
    lead: Delivery, members: Sequence[Delivery], *, total: int, tenant: Tenant
) -> Message:
    contact = lead.contact
    flaps = flapping(each.event.alarm_id for each in members[:LISTED])
    return Message(
        key=str(lead.pk),
        tenant=tenant.name,
        recipient=recipient_of(contact),
        items=tuple(_item(each, tenant, flaps) for each in members[:LISTED]),
        total=total,
        url=links.of_tenant(tenant, "/alarms/"),
        contacts_url=links.of_tenant(tenant, "/contacts/"),
    )


def _item(delivery: Delivery, tenant: Tenant, flaps: Collection[UUID]) -> Item:
    event = delivery.event
    alarm = event.alarm
    connector, vehicle = alarm.connector, alarm.connector.vehicle
    return Item(
        number=event.number,
        kind=event.kind,
        severity=event.severity,
        condition=alarm.condition,
        pole=alarm.pole,
        vehicle=str(vehicle) if vehicle else "",
        plate=vehicle.plate if vehicle else "",
        connector=connector.serial,
        position=connector.position,
        since=alarm.since,
        measured_at=event.measured_at,
        judged_at=event.judged_at,
        occurrences=alarm.occurrences,
        evidence=event.evidence,
        time_left_s=alarm.time_left_s if event.kind != "cleared" else None,
        url=links.of_alarm(tenant, alarm.pk),
        course=_course(event, is_flapping=alarm.pk in flaps),
    )


def _course(event: AlarmEvent, *, is_flapping: bool) -> str:
    if event.kind == Kind.CLEARED:
        return event.reason if event.reason == Reason.STAYED_QUIET else ""
    return str(Reason.COMES_AND_GOES) if is_flapping else ""
