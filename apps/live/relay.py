"""Pushes alarm events to open browsers: hints, in groups, never the truth.

The channel layer drops what a slow reader leaves; so events carry their numbers, and the browser
asks for what it missed. What could not be pushed at all stays in the outbox for the sweep.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django_tenants.utils import schema_context

from apps.alarms import outbox
from apps.alarms.models import AlarmEvent, Consumer, Outbox, OutboxState
from apps.alarms.signals import events_written
from apps.live import groups
from apps.live.hints import hint

log = structlog.get_logger(__name__)
PUSH_LIMIT_S = 2.0
SINGLY = 20
"""More events than this for one group at once go as one word: there is news, fetch it."""


def connect() -> None:
    """Listens to alarms from now on."""
    events_written.connect(on_events, sender=AlarmEvent, dispatch_uid="live")


def on_events(*, schema: str, numbers: Sequence[int], **_more: Any) -> None:
    """Pushes freshly committed events. Raises where the layer is away; the sweep comes back."""
    with schema_context(schema):
        entries = Outbox.objects.filter(consumer=Consumer.LIVE, event__number__in=numbers)
        found = entries.select_related(*outbox.RELATIONS).order_by("event__number")
        push(schema, [entry.event for entry in found])
        entries.update(state=OutboxState.DONE)


def catch_up(*, schema: str, now: datetime) -> int:
    """Pushes what an earlier push left behind; returns how many events."""
    with schema_context(schema):
        entries = outbox.claim(consumer=Consumer.LIVE, now=now)
        push(schema, [entry.event for entry in entries])
        return outbox.settle(entries)


def push(schema: str, events: Sequence[AlarmEvent]) -> None:
    """Sends the events of one tenant to the groups of those who may see them."""
    if events:
        async_to_sync(_send)(list(_messages(schema, events).items()))


async def _send(messages: Sequence[tuple[str, dict[str, Any]]]) -> None:
    layer = get_channel_layer()
    async with asyncio.timeout(PUSH_LIMIT_S):
        for group, message in messages:
            await layer.group_send(group, message)


def _messages(schema: str, events: Sequence[AlarmEvent]) -> dict[str, dict[str, Any]]:
    by_group: dict[str, list[AlarmEvent]] = defaultdict(list)
    for event in events:
        by_group[groups.staff(schema)].append(event)
        vehicle = event.alarm.connector.vehicle
        if vehicle is not None:
            by_group[groups.organisation(schema, vehicle.organisation_id)].append(event)
    return {
        group: _message(seen, staff=group == groups.staff(schema))
        for group, seen in by_group.items()
    }


def _message(events: Sequence[AlarmEvent], *, staff: bool) -> dict[str, Any]:
    latest = events[-1].number
    if len(events) > SINGLY:
        return {"type": "alarm.latest", "number": latest}
    before = events[0].number - 1 if staff else _number_before(events[0])
    hints = []
    for event in events:
        hints.append(hint(event, previous=before))
        before = event.number
    return {"type": "alarm.events", "hints": hints}


def _number_before(event: AlarmEvent) -> int:
    """The newest number before this one that the event's organisation may see; 0: none."""
    organisation = event.alarm.connector.vehicle.organisation_id  # type: ignore[union-attr]
    earlier = AlarmEvent.objects.filter(
        alarm__connector__vehicle__organisation=organisation, number__lt=event.number
    )
    return earlier.order_by("-number").values_list("number", flat=True).first() or 0
