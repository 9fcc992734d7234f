"""What changes replays, in the schema that is set. The work itself is the acquisition workers'."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Max
from django_tenants.utils import get_public_schema_name

from apps.accounts.models import User
from apps.quarantine.models import BATCHES_LIMIT, Replay, ReplayState
from apps.telemetry.quarantine import RefusedFilter
from apps.telemetry.slices import from_ms, to_ms
from apps.tenants.queries import current_tenant
from apps.tenants.schema import current_schema

UNCLAIMED_RUNS = "unclaimed_runs"
"""A sequence in the public schema: the platform's account has one entry for each number."""
UNDER_WAY = (ReplayState.WAITING, ReplayState.RUNNING, ReplayState.CANCELLING)


@dataclass(frozen=True)
class Page:
    """What a page of a run came to: messages by outcome, and readings."""

    replayed: int = 0
    partly: int = 0
    refused: int = 0
    stored: int = 0
    duplicate: int = 0


def request_replay(*, by: User, filters: RefusedFilter, now: datetime) -> Replay:
    """A run over what is refused now and fits; what is refused later is not in it.

    A second request for the same does no harm: what the first takes up is not taken up again.
    """
    end = now if filters.end_ms is None else min(now, from_ms(filters.end_ms))
    return _requested(by=by, filters=filters, end=end, now=now)


def request_unclaimed(*, filters: RefusedFilter, now: datetime) -> Replay:
    """The same over messages of this tenant's that came before anybody knew it: an operator's."""
    end = now if filters.end_ms is None else min(now, from_ms(filters.end_ms))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT nextval('{get_public_schema_name()}.{UNCLAIMED_RUNS}')")
        (unclaimed,) = cursor.fetchone()
    return _requested(by=None, filters=filters, end=end, now=now, unclaimed=unclaimed)


def _requested(
    *,
    by: User | None,
    filters: RefusedFilter,
    end: datetime,
    now: datetime,
    unclaimed: int | None = None,
) -> Replay:
    with _alone():
        last = Replay.objects.aggregate(last=Max("number"))["last"] or 0
        return Replay.objects.create(
            number=last + 1,
            unclaimed=unclaimed,
            requested_by=by,
            requested_at=now,
            message=filters.message,
            reason=str(filters.reason or ""),
            device=str(filters.device or ""),
            words=filters.words,
            start_at=None if filters.start_ms is None else from_ms(filters.start_ms),
            end_at=end,
        )


def cancel_replay(*, replay: Replay) -> bool:
    """End a run after the messages it has in hand; what it has replayed stays.

    False if it was over. Who works at it ends it, or else a message would stay in its hands.
    """
    under_way = Replay.objects.filter(pk=replay.pk, state__in=UNDER_WAY)
    return bool(under_way.update(state=ReplayState.CANCELLING))


def filters_of(replay: Replay) -> RefusedFilter:
    """Which messages a run is about."""
    return RefusedFilter(
        message=replay.message,
        reason=replay.reason or None,
        device=replay.device or None,
        words=replay.words,
        maker="" if replay.unclaimed is None else current_tenant().slug,
        start_ms=None if replay.start_at is None else to_ms(replay.start_at),
        end_ms=to_ms(replay.end_at),
    )


def reserve_batches(*, pk: UUID, wanted: int) -> int | None:
    """The first of `wanted` numbers that no other page of the run will ever have.

    None where the run has none left. Committed before one of them is used.
    """
    with transaction.atomic():
        run = Replay.objects.select_for_update().get(pk=pk)
        if run.batches + wanted > BATCHES_LIMIT:
            return None
        first, run.batches = run.batches, run.batches + wanted
        run.save(update_fields=["batches"])
        return first


def begin(*, pk: UUID, total: int, now: datetime) -> None:
    """The run's first page is about to be read."""
    Replay.objects.filter(pk=pk, state=ReplayState.WAITING).update(
        state=ReplayState.RUNNING, total=total, worked_at=now
    )


def note_page(*, pk: UUID, page: Page, now: datetime) -> None:
    """Count what a page came to."""
    Replay.objects.filter(pk=pk).update(
        replayed=F("replayed") + page.replayed,
        partly=F("partly") + page.partly,
        refused=F("refused") + page.refused,
        stored=F("stored") + page.stored,
        duplicate=F("duplicate") + page.duplicate,
        worked_at=now,
    )


def finish(*, run: Replay, outcome: Mapping[str, int], now: datetime) -> None:
    """Nothing is in its hands, nothing is left. `outcome`: messages by state as the store counts
    them, which a worker that was killed between a page and its count has not spoilt."""
    ended = run.state == ReplayState.CANCELLING
    Replay.objects.filter(pk=run.pk, state__in=UNDER_WAY).update(
        state=ReplayState.CANCELLED if ended else ReplayState.DONE,
        finished_at=now,
        worked_at=now,
        **{name: outcome.get(name, 0) for name in ("replayed", "partly", "refused")},
    )


@contextmanager
def turn() -> Iterator[bool]:
    """The tenant's turn at replaying, held by the database connection: True where it is ours.

    One page of one run at a time. A worker that was stopped keeps it and one that was killed gives
    it up with its connection, so nobody comes back to a page that another has finished.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_try_advisory_xact_lock(hashtext('ohmwatch.replay'), hashtext(%s))",
            [current_schema()],
        )
        yield bool(cursor.fetchone()[0])


@contextmanager
def _alone() -> Iterator[None]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtext('ohmwatch.replay.number'), hashtext(%s))",
            [current_schema()],
        )
        yield
