"""Back-tests as rows: asked for, claimed, carried on group by group, cancelled, finished."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext as _
from psycopg import sql

from apps.accounts.models import User
from apps.accounts.permissions import Permission
from apps.tenants.lookups import find_or_404
from apps.tenants.schema import current_schema
from apps.warning import operations, queries
from apps.warning.models import BackTest, Mode, Progress, Rule
from apps.warning.operations import Content
from config.celery import app as celery

QUEUE = "backtest"
LEASE = timedelta(seconds=60)
LONGEST = timedelta(days=400)
UNDONE_AT_ONCE = 5
ATTEMPTS = 5
"""Claims of one group of connectors; who dies on it each time is told to have failed."""


@dataclass(frozen=True, slots=True)
class TruthSet:
    """Connectors where faults or nothings are confirmed, of a model and a month ("" for all)."""

    connectors: tuple[UUID, ...]
    model: str = ""
    month: str = ""


class Overtaken(Exception):
    """Another worker has this back-test now, or nobody wants it any more."""


def request(
    *,
    user: User,
    detector: str,
    content: Content,
    start: datetime,
    end: datetime,
    now: datetime,
    rule: Rule | None = None,
    truth: TruthSet | None = None,
) -> BackTest:
    """Asks for one over start ≤ measured < end. Raises PermissionDenied, ValidationError."""
    if not user.can(Permission.EDIT_RULES):
        raise PermissionDenied
    operations.check(detector, content)
    if not timedelta(0) < end - start <= LONGEST:
        raise ValidationError({"end": [_("It ends after it begins, at most 400 days later.")]})
    with transaction.atomic():
        undone = BackTest.objects.filter(state__in=[Progress.WAITING, Progress.RUNNING])
        if undone.count() >= UNDONE_AT_ONCE:
            raise ValidationError(_("Five back-tests are under way. Wait for one, or cancel one."))
        # Only what a share reaches is a matter of the day; what it does to all is the question.
        said = {**asdict(content), "share_pct": 100.0}
        if content.mode in (Mode.SHADOW, Mode.DISABLED):
            said["mode"] = Mode.LIVE.value
        row = BackTest(
            detector=detector,
            rule=rule,
            rule_version=rule.version if rule else None,
            start=start,
            end=end,
            requested_at=now,
            requested_by=user,
            among=[str(each) for each in truth.connectors] if truth else [],
            truth={"model": truth.model, "month": truth.month} if truth else {},
            **said,
        )
        row.connectors_total = queries.judged_by(row).count()
        row.save()
        transaction.on_commit(partial(work_soon, current_schema(), row.pk))
    return row


def cancel(*, user: User, back_test: BackTest, now: datetime) -> bool:
    """Stops a back-test; false where it was over already. Raises PermissionDenied."""
    if not user.can(Permission.EDIT_RULES):
        raise PermissionDenied
    return bool(
        BackTest.objects.filter(
            pk=back_test.pk, state__in=[Progress.WAITING, Progress.RUNNING]
        ).update(state=Progress.CANCELLED, finished_at=now, leased_until=None)
    )


def back_tests(*, for_user: User) -> QuerySet[BackTest]:
    """The tenant's back-tests, newest first, for its own staff."""
    if not (for_user.is_staff_of_tenant and for_user.can(Permission.VIEW_FLEET)):
        return BackTest.objects.none()
    return BackTest.objects.select_related("rule", "requested_by")


def back_test_for(*, user: User, pk: object) -> BackTest:
    """One back-test. Raises Http404."""
    return find_or_404(back_tests(for_user=user), pk)


# --- for the worker -------------------------------------------------------------------------------


def claim(pk: UUID | str, *, now: datetime) -> BackTest | None:
    """Takes a back-test for LEASE; None where somebody has it, or nothing is left to do."""
    free = Q(state=Progress.WAITING) | Q(state=Progress.RUNNING, leased_until__lt=now)
    won = BackTest.objects.filter(free, pk=pk).update(
        state=Progress.RUNNING,
        attempt=F("attempt") + 1,
        barren=F("barren") + 1,
        leased_until=now + LEASE,
    )
    if not won:
        return None
    BackTest.objects.filter(pk=pk, started_at=None).update(started_at=now)
    row = BackTest.objects.get(pk=pk)
    if row.barren > ATTEMPTS:
        fail(row, "worker_died", now=now)
        return None
    return row


def hold(row: BackTest, *, now: datetime) -> None:
    """Keeps the claim. Raises Overtaken where it is lost, or the back-test cancelled."""
    _write(row, leased_until=now + LEASE)


def carry_on(
    row: BackTest, *, done: int, readings: int, result: Mapping[str, Any], now: datetime
) -> None:
    """A group of connectors is through. Raises Overtaken."""
    _write(
        row,
        connectors_done=done,
        readings=row.readings + readings,
        result=result,
        leased_until=now + LEASE,
        barren=0,
    )
    row.refresh_from_db()


def let_go(row: BackTest) -> None:
    """Gives a claim back before its end, for the next task to go on."""
    _write(row, state=Progress.WAITING, leased_until=None, barren=0)


def finish(row: BackTest, result: Mapping[str, Any], *, now: datetime) -> None:
    """It is through. Raises Overtaken."""
    _write(row, state=Progress.DONE, result=result, finished_at=now, leased_until=None)


def fail(row: BackTest, error: str, *, now: datetime) -> None:
    """It can't go on. Raises Overtaken."""
    _write(row, state=Progress.FAILED, error=error[:500], finished_at=now, leased_until=None)


def work_soon(schema: str, pk: UUID) -> None:
    """Asks a worker to go on with it; where Redis is away the sweep finds the row."""
    keyword = {"schema": schema, "back_test": str(pk)}
    celery.send_task("backtest.work", kwargs=keyword, queue=QUEUE, retry=False)


def to_wake(schemas: Sequence[str], *, now: datetime) -> list[tuple[str, UUID]]:
    """(schema, key) of what waits for nobody in these tenants, asked in one statement."""
    if not schemas:
        return []
    one = sql.SQL(
        "SELECT {name}, id FROM {table} WHERE state = 'waiting'"
        " OR (state = 'running' AND leased_until < %(now)s)"
    )
    query = sql.SQL(" UNION ALL ").join(
        one.format(name=sql.Literal(each), table=sql.Identifier(each, "warning_backtest"))
        for each in schemas
    )
    with connection.cursor() as cursor:
        cursor.execute(query.as_string(cursor.cursor), {"now": now})
        return [(schema, key) for schema, key in cursor.fetchall()]


def _write(row: BackTest, **changes: Any) -> None:
    changed = BackTest.objects.filter(
        pk=row.pk, state=Progress.RUNNING, attempt=row.attempt
    ).update(**changes)
    if not changed:
        raise Overtaken
