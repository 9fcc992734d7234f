"""What must still be told of alarm events, to whom, and how a consumer takes it.

A consumer claims entries for a while (a lease), tells, and settles them. What a crash leaves
claimed is due again once its lease is over.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from psycopg import sql

from apps.alarms.models import Consumer, Outbox, OutboxState

LEASE = timedelta(seconds=60)
RELATIONS = (
    "event__alarm__connector__model",
    "event__alarm__connector__vehicle__organisation",
    "event__actor",
)


def due(consumer: Consumer, *, now: datetime) -> QuerySet[Outbox]:
    """The entries that nobody holds, oldest event first."""
    free = Q(state=OutboxState.DUE) | Q(state=OutboxState.SENDING, leased_until__lt=now)
    return Outbox.objects.filter(free, consumer=consumer).order_by("event__number")


def claim(*, consumer: Consumer, now: datetime, size: int = 500) -> list[Outbox]:
    """Takes up to `size` entries for LEASE, with all that tells of their events loaded."""
    with transaction.atomic():
        keys = due(consumer, now=now).select_for_update(skip_locked=True, of=("self",))
        taken = list(keys.values_list("pk", flat=True)[:size])
        Outbox.objects.filter(pk__in=taken).update(
            state=OutboxState.SENDING, attempt=F("attempt") + 1, leased_until=now + LEASE
        )
    entries = Outbox.objects.filter(pk__in=taken).select_related(*RELATIONS)
    return list(entries.order_by("event__number"))


def settle(entries: Sequence[Outbox]) -> int:
    """Marks entries as told; those that somebody else has claimed meanwhile stay theirs."""
    by_attempt: dict[int, list[Outbox]] = defaultdict(list)
    for entry in entries:
        by_attempt[entry.attempt].append(entry)
    return sum(
        Outbox.objects.filter(
            pk__in=[entry.pk for entry in held], state=OutboxState.SENDING, attempt=attempt
        ).update(state=OutboxState.DONE, leased_until=None)
        for attempt, held in by_attempt.items()
    )


def drop(*, consumer: Consumer) -> int:
    """Ends all that a consumer has not told yet, whoever holds it; returns how many those were."""
    untold = Outbox.objects.filter(consumer=consumer).exclude(state=OutboxState.DONE)
    return untold.update(state=OutboxState.DONE, attempt=F("attempt") + 1, leased_until=None)


def schemas_with_work(
    consumers: Iterable[Consumer], *, schemas: Sequence[str], now: datetime
) -> list[str]:
    """Which of these tenants' schemas hold entries to tell, asked in one statement."""
    if not schemas:
        return []
    one = sql.SQL(
        "SELECT {name} WHERE EXISTS (SELECT 1 FROM {table} WHERE consumer = ANY(%(consumers)s)"
        " AND (state = 'due' OR (state = 'sending' AND leased_until < %(now)s)))"
    )
    query = sql.SQL(" UNION ALL ").join(
        one.format(name=sql.Literal(schema), table=sql.Identifier(schema, "alarms_outbox"))
        for schema in schemas
    )
    with connection.cursor() as cursor:
        text = query.as_string(cursor.cursor)
        cursor.execute(text, {"consumers": [str(each) for each in consumers], "now": now})
        return [row[0] for row in cursor.fetchall()]
