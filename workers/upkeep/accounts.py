"""Closes the account every hour, of the last day and of all since it was closed last.

Queue `upkeep`; limit 120 s, prefetch 1. Killed: the next hour's run covers the same stretch. What
is open stands on the operator's pages, in /metrics and in the log until a run finds it closed, and
operators are told by mail: once that it is open, once that it closed again. A mail goes out before
it is noted that it did: a run that is killed in between says it twice, never not at all.
"""

import time
from datetime import datetime, timedelta
from functools import partial

import structlog
from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext, ngettext

from apps.notifications.operators import tell_operators
from apps.telemetry.accounting import Account, account
from apps.telemetry.answers import total_of
from apps.telemetry.board import AccountReport, last_account, put_account
from apps.telemetry.slices import CLASSES, EXPIRY_MARGIN, to_ms
from apps.telemetry.store import the_store
from apps.tenants.queries import retentions
from apps.tenants.tasks import public_task

log = structlog.get_logger(__name__)

STRETCH = timedelta(hours=25)
HELD = timedelta(days=min(kept.keep_days for kept in CLASSES.values())) - EXPIRY_MARGIN
SETTLING = timedelta(minutes=2)
"""Batches younger than this may still be on their way into the ledger."""
PATIENCE_S = 30.0
"""How long an open account is asked again: a replay may be moving readings within the stretch."""
NAMED_LIMIT = 20
"""So many tenants a mail names."""
_AGAIN_S = 2.0


@public_task(name="upkeep.close_account", queue="upkeep", time_limit=120)
def close_account(**later: object) -> None:
    """All tenants over `stretch`, up to what has settled."""
    now = timezone.now()
    before = last_account()
    start, end = stretch(before, now=now)
    found = closed(start, end, now=now)
    for tenant, apart in found.open.items():
        log.error("account_open", tenant=tenant, apart=apart, start=str(start), end=str(end))
    report = _report(found, now=now, told=before.told if before else [])
    put_account(report)  # the pages don't wait for a mail server
    told = tell(report)
    if told != report.told:
        put_account(_report(found, now=now, told=told))


def stretch(before: AccountReport | None, *, now: datetime) -> tuple[datetime, datetime]:
    """The last STRETCH, and what the run before found open, or what no run has looked at.

    So what is open stays so until it is found closed, or the shortest class's readings of then have
    expired; and a day on which nobody looked is looked at when somebody does again.
    """
    end = now - SETTLING
    start = end - STRETCH
    if before is not None:
        start = min(start, before.end if before.closed else before.start)
    return max(start, now - HELD), end


def closed(start: datetime, end: datetime, *, now: datetime) -> Account:
    """The account; where it is open, as it stands after a while."""
    deadline = time.monotonic() + PATIENCE_S
    kept = retentions()
    while True:
        found = account(the_store(), to_ms(start), to_ms(end), retentions=kept, now=now)
        if not found.open or time.monotonic() >= deadline:
            return found
        time.sleep(_AGAIN_S)


def tell(report: AccountReport) -> list[str]:
    """Mail operators of what they don't know yet; of which tenants they know now that it is open.

    Where no mail got out, the next run tries again.
    """
    if report.open.keys() - set(report.told):
        reached = tell_operators("account_open", partial(_open_words, report))
        return sorted({*report.told, *report.open}) if reached else report.told
    if report.told and not report.open:
        reached = tell_operators("account_closed", partial(_closed_words, report))
        return [] if reached else report.told
    return report.told


def _report(found: Account, *, now: datetime, told: list[str]) -> AccountReport:
    still_open = found.open
    return AccountReport(
        closed=not still_open,
        apart=sum(still_open.values()),
        from_ms=found.start_ms,
        to_ms=found.end_ms,
        at_ms=to_ms(now),
        received=total_of(found.lines).received,
        open=still_open,
        told=told,
    )


def _open_words(report: AccountReport) -> tuple[str, str]:
    subject = ngettext(
        "The account is open: %(count)d reading is unaccounted for",
        "The account is open: %(count)d readings are unaccounted for",
        report.apart,
    ) % {"count": report.apart}
    worst = sorted(report.open.items(), key=lambda each: (-each[1], each[0]))
    named = ", ".join(f"{tenant} {apart}" for tenant, apart in worst[:NAMED_LIMIT])
    lines = [
        subject + ".",
        gettext("Arrived from %(start)s to %(end)s: %(tenants)s.")
        % {
            "start": report.start.isoformat(timespec="seconds"),
            "end": report.end.isoformat(timespec="seconds"),
            "tenants": named + (" …" if len(worst) > NAMED_LIMIT else ""),
        },
        gettext("Ask for the details:"),
        f"./ohmwatch account --from {report.start.isoformat()} --to {report.end.isoformat()}",
        gettext("You are told once more when it has closed."),
        f"{settings.PUBLIC_URL}/readiness/",
    ]
    return subject, "\n\n".join(lines) + "\n"


def _closed_words(report: AccountReport) -> tuple[str, str]:
    subject = gettext("The account is closed again")
    text = gettext("All of %(count)d readings from %(start)s to %(end)s are accounted for.") % {
        "count": report.received,
        "start": report.start.isoformat(timespec="seconds"),
        "end": report.end.isoformat(timespec="seconds"),
    }
    return subject, f"{text}\n\n{settings.PUBLIC_URL}/readiness/\n"
