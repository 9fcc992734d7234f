"""Closes the account: received = stored + duplicate + quarantined, and all of it is really held.

Per tenant and in total, over any stretch of arrival. What has expired since can't be compared and
is told. Exit status 1 where anything is open, 2 where nothing of the stretch can be compared.
"""

import json
import time
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.telemetry.accounting import Account, account
from apps.telemetry.answers import AccountLine, total_of
from apps.telemetry.slices import from_ms, moment_of, to_ms
from apps.telemetry.store import KEEP_REFUSED_DAYS, the_store
from apps.tenants.queries import retentions

COLUMNS = ("tenant", "received", "stored", "duplicate", "quarantined", "held", "refused", "apart")
_ROW = "{:<32}" + "{:>13}" * (len(COLUMNS) - 1)


def moment(text: str) -> datetime:
    """As `slices.moment_of`. Raises CommandError."""
    found = moment_of(text)
    if found is None:
        raise CommandError(f"not a time: {text!r}; write it like 2026-11-24T10:00:00Z")
    return found


class Command(BaseCommand):
    help = "Close the account: what the ledger says against what Elasticsearch holds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--tenant", help="one tenant's slug; all tenants without it")
        parser.add_argument(
            "--from",
            dest="start",
            help="first instant of arrival, ISO 8601; without it the last 30 days, which the "
            "shortest retention class holds",
        )
        parser.add_argument("--to", dest="end", help="first instant after it; now without it")
        parser.add_argument(
            "--wait",
            type=float,
            default=10.0,
            metavar="S",
            help="how long batches that are on their way may take to be entered",
        )
        parser.add_argument("--json", action="store_true", help="one JSON object, for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        end = moment(options["end"]) if options["end"] else now
        start = moment(options["start"]) if options["start"] else None
        found = settled(start, end, tenant=options["tenant"], wait_s=options["wait"], now=now)
        self.stdout.write(_as_json(found) if options["json"] else _as_table(found))
        if found.open:
            raise CommandError(f"the account is open: {', '.join(found.open)}", returncode=1)
        if not found.tells_something:
            raise CommandError("nothing of this stretch can be compared any more", returncode=2)


def settled(
    start: datetime | None, end: datetime, *, tenant: str | None, wait_s: float, now: datetime
) -> Account:
    """The account; asked again until it closes or wait_s is over, as batches are still entered."""
    deadline = time.monotonic() + wait_s
    start_ms = None if start is None else to_ms(start)
    kept = retentions()
    while True:
        found = account(the_store(), start_ms, to_ms(end), retentions=kept, now=now, tenant=tenant)
        if not found.open or time.monotonic() >= deadline:
            return found
        time.sleep(0.5)


def _as_table(found: Account) -> str:
    rows = [_ROW.format(*COLUMNS)]
    rows += [_ROW.format(*_cells(line)) for line in [*found.lines, total_of(found.lines)]]
    for line in found.lines:
        reasons = sorted(line.quarantined.keys() | line.held_quarantined.keys())
        rows += [f"  {line.tenant} {reason}: {_of_reason(line, reason)}" for reason in reasons]
    return "\n".join([*rows, *_left_out(found)])


def _of_reason(line: AccountLine, reason: str) -> str:
    said = f"{line.quarantined.get(reason, 0)} entered, {line.held_quarantined.get(reason, 0)} held"
    expired = line.expired.get(reason, 0)
    return f"{said}, {expired} expired" if expired else said


def _left_out(found: Account) -> Iterator[str]:
    """What of the stretch was not compared, and why."""
    by_instant: defaultdict[int, list[str]] = defaultdict(list)
    for tenant, since_ms in found.later.items():
        by_instant[since_ms].append(tenant)
    for since_ms, tenants in sorted(by_instant.items()):
        compared = f"from {_told(since_ms)} on" if since_ms < found.end_ms else "not at all"
        earlier = (
            "nothing was entered before"
            if since_ms == found.limits.ledger_ms
            else "of what came before, readings may have expired"
        )
        yield f"compared {compared}, as {earlier}: {', '.join(sorted(tenants))}"
    if any(line.expired for line in found.lines):
        yield (
            f"refused messages are kept for {KEEP_REFUSED_DAYS} days: of those that came before "
            f"{_told(found.limits.refused_ms)} the ledger alone tells"
        )


def _told(time_ms: int) -> str:
    return from_ms(time_ms).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cells(line: AccountLine) -> list[object]:
    return [
        line.tenant,
        line.received,
        line.stored,
        line.duplicate,
        line.quarantined_total,
        line.held_readings,
        sum(line.held_quarantined.values()),
        line.apart,
    ]


def _as_json(found: Account) -> str:
    """`closed` is null where nothing could be compared; `from` of a line, from when on it was."""
    return json.dumps(
        {
            "closed": not found.open if found.open or found.tells_something else None,
            "from": _told(found.start_ms),
            "to": _told(found.end_ms),
            "refused_from": _told(found.limits.refused_ms),
            "lines": [
                {
                    **dict(zip(COLUMNS, _cells(line), strict=True)),
                    "reasons": line.quarantined,
                    "expired": line.expired,
                    "from": _told(found.since_ms.get(line.tenant, found.start_ms)),
                }
                for line in [*found.lines, total_of(found.lines)]
            ],
        }
    )
