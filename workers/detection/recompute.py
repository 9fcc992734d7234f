"""Stored readings of a connector judged once more, and each step of its story held against them."""

import sys
from datetime import datetime

from django.utils import timezone
from django_tenants.utils import schema_context

from apps.alarms.correcting import Outcome, Verdict, compare
from apps.fleet.models import Connector
from apps.partitions.models import Checkpoint
from apps.telemetry.slices import from_ms, moment_of, to_ms
from apps.tenants.lookups import key_of
from workers.detection import again
from workers.detection.desk import Desk
from workers.detection.gathering import name_of
from workers.detection.tasks import the_bench

_LINE = "{:<9}{:<30}{:<30}{:<11}{:<10}{}"


def recompute(
    slug: str, connector: str, *, start: str | None, end: str | None, desk: Desk | None = None
) -> int:
    """0: all steps are the same to the bit; 1: some are not; 2: it can't be told."""
    try:
        until = _moment(end)
        verdicts = _verdicts(desk or the_bench(), slug, connector, _moment(start))
    except (_CantTell, again.Failed, Checkpoint.DoesNotExist) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's answer
        return 2
    shown = [each for each in verdicts if until is None or each.measured_at < until]
    for each in shown:
        print(_line(each))  # noqa: T201
    same = sum(each.outcome is Outcome.SAME for each in shown)
    print(f"{same} of {len(shown)} steps are the same to the bit.")  # noqa: T201
    return 0 if same == len(shown) else 1


class _CantTell(Exception):
    pass


def _verdicts(desk: Desk, slug: str, connector: str, start: datetime | None) -> list[Verdict]:
    desk.directory.refresh_if_changed()
    tenant = desk.directory.tenant(slug)
    if tenant is None:
        raise _CantTell(f"There is no tenant {slug}.")
    with schema_context(tenant.schema_name):
        rows = Connector.objects.values_list("pk", flat=True)
        asked = key_of(connector)
        own = rows.filter(pk=asked) if asked else rows.none()
        key = own.first() or rows.filter(serial=connector).first()
        if key is None:
            raise _CantTell(f"{slug} has no connector {connector}.")
        start_ms = to_ms(start) if start else None
        told = again.recompute(name_of(slug, str(key)), desk=desk, from_ms=start_ms)
        if told is None:
            raise _CantTell("Not all of its readings are stored and judged: late ones may wait.")
        print(f"Judged from {_instant(told.since_ms)} to {_instant(told.until_ms)}.")  # noqa: T201
        return compare(told, now=timezone.now())


def _line(verdict: Verdict) -> str:
    number = f"#{verdict.number}" if verdict.number else ""
    when = verdict.measured_at.isoformat(timespec="milliseconds")
    about = (verdict.condition, verdict.kind, verdict.severity, number)
    return _LINE.format(verdict.outcome, when, *about).rstrip()


def _instant(ms: int) -> str:
    return from_ms(ms).isoformat(timespec="milliseconds")


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    found = moment_of(text)
    if found is None:
        raise _CantTell(f"Not a time: {text!r}; write it like 2026-11-24T10:00:00Z.")
    return found
