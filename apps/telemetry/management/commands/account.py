"""Closes the account: received = stored + duplicate + quarantined, and all of it is really held.

Per tenant and in total, over any stretch of arrival. Exit status 1 where anything is open.
"""

import json
import time
from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.telemetry.answers import AccountLine, total_of
from apps.telemetry.slices import CLASSES, DEFAULT_CLASS, moment_of, to_ms
from apps.telemetry.store import the_store

DEFAULT_STRETCH = timedelta(days=CLASSES[DEFAULT_CLASS].keep_days)
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
        parser.add_argument("--from", dest="start", help="first instant of arrival, ISO 8601")
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
        start = moment(options["start"]) if options["start"] else now - DEFAULT_STRETCH
        lines = closed_lines(start, end, tenant=options["tenant"], wait_s=options["wait"])
        self.stdout.write(_as_json(lines) if options["json"] else _as_table(lines))
        still_open = [line.tenant for line in lines if not line.is_closed]
        if still_open:
            raise CommandError(f"the account is open: {', '.join(still_open)}", returncode=1)


def closed_lines(
    start: datetime, end: datetime, *, tenant: str | None, wait_s: float
) -> list[AccountLine]:
    """The lines; asked again until they close or wait_s is over, as batches are still entered."""
    deadline = time.monotonic() + wait_s
    while True:
        lines = the_store().account(to_ms(start), to_ms(end), tenant=tenant)
        if all(line.is_closed for line in lines) or time.monotonic() >= deadline:
            return lines
        time.sleep(0.5)


def _as_table(lines: list[AccountLine]) -> str:
    rows = [_ROW.format(*COLUMNS)]
    rows += [_ROW.format(*_cells(line)) for line in [*lines, total_of(lines)]]
    for line in lines:
        reasons = sorted(line.quarantined.keys() | line.held_quarantined.keys())
        rows += [
            f"  {line.tenant} {reason}: {line.quarantined.get(reason, 0)} entered, "
            f"{line.held_quarantined.get(reason, 0)} held"
            for reason in reasons
        ]
    return "\n".join(rows)


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


def _as_json(lines: list[AccountLine]) -> str:
    return json.dumps(
        {
            "closed": all(line.is_closed for line in lines),
            "lines": [
                {**dict(zip(COLUMNS, _cells(line), strict=True)), "reasons": line.quarantined}
                for line in [*lines, total_of(lines)]
            ],
        }
    )
