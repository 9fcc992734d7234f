"""Connectors at which a detector failed while they were judged again: tried once more, and again
after twice as long, TRIES times in all. What fails then is the operator's: for a day it is told."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Max

from apps.partitions.models import Arrear
from apps.partitions.snapshots import REACH

FIRST_PAUSE = timedelta(minutes=2)
TRIES = 6
"""An hour from the first to the last: a detector that rests, a model that is loaded, a machine
that is short of memory have had their time."""

TOLD_FOR = REACH
LONGEST_ERROR = 500


@dataclass(frozen=True)
class Failure:
    """Of one connector: since which state (device time, ms) it lacks what, and the first error;
    empty where what failed before was not even asked."""

    connector: str
    since_ms: int
    failed: Sequence[str]
    error: str


@dataclass(frozen=True)
class GivenUp:
    """What the operator is told: at how many connectors this failed to the last try."""

    failed: str
    connectors: int
    error: str
    noted_at: datetime


def arrears_of(partition: int) -> Mapping[str, Arrear]:
    """All of a partition, by connector."""
    return {each.connector: each for each in Arrear.objects.filter(partition=partition)}


def partitions_in_arrears(*, now: datetime) -> list[int]:
    """Those with something to be tried once more by now."""
    due = Arrear.objects.filter(due_at__lte=now).order_by("partition")
    return list(due.values_list("partition", flat=True).distinct())


def begin(partition: int, connectors: Iterable[str], *, now: datetime) -> None:
    """Counts a try of those that are in arrears, before it is made: one that ends the process
    counts as well."""
    for row in Arrear.objects.filter(partition=partition, connector__in=connectors):
        row.due_at = now + FIRST_PAUSE * 2**row.tries if row.tries + 1 < TRIES else None
        row.tries = min(row.tries + 1, TRIES)
        row.save(update_fields=["due_at", "tries"])


def settle(
    partition: int, *, judged: Iterable[str], failures: Iterable[Failure], now: datetime
) -> list[Arrear]:
    """Takes in how the connectors that were judged again fared; those that are given up by it.

    Joins the caller's transaction.
    """
    left = [_failed(partition, each, now) for each in failures]
    still = {each.connector for each in left}
    gone = [each for each in judged if each not in still]
    Arrear.objects.filter(partition=partition, connector__in=gone).delete()
    return [each for each in left if each.due_at is None]


def _failed(partition: int, failure: Failure, now: datetime) -> Arrear:
    first = {"since_ms": failure.since_ms, "tries": 1, "due_at": now + FIRST_PAUSE}
    row, _is_new = Arrear.objects.get_or_create(
        partition=partition, connector=failure.connector, defaults={**first, "noted_at": now}
    )
    row.since_ms = min(row.since_ms, failure.since_ms)
    row.failed = ", ".join(failure.failed)
    row.error = failure.error[:LONGEST_ERROR] or row.error
    row.noted_at = now
    row.save()
    return row


def given_up() -> list[GivenUp]:
    """What failed to the last try within a day, by detector."""
    rows = (
        Arrear.objects.filter(due_at=None)
        .values("failed")
        .annotate(connectors=Count("pk"), last=Max("noted_at"), said=Max("error"))
        .order_by("failed")
    )
    return [
        GivenUp(each["failed"], each["connectors"], each["said"], each["last"]) for each in rows
    ]


def forget_old(*, now: datetime) -> None:
    """Drops what was given up so long ago that nothing reaches back to it any more."""
    Arrear.objects.filter(due_at=None, noted_at__lt=now - TOLD_FOR).delete()


def forget_of(partition: int, tenant: str) -> None:
    """Drops what there is of an erased tenant (slug)."""
    Arrear.objects.filter(partition=partition, connector__startswith=f"{tenant}/").delete()
