"""Erase a tenant, or the telemetry of one of its connectors, and tell what was erased."""

import time
from argparse import ArgumentParser
from dataclasses import dataclass, field
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from kombu.exceptions import OperationalError

from apps.partitions.wakeups import send_farewell
from apps.platform.traces import forget
from apps.telemetry.erasing import Report, erase
from apps.telemetry.errors import TelemetryError
from apps.telemetry.store import the_store
from apps.tenants.models import Erasure, Tenant
from apps.tenants.operations import close_tenant, drop_tenant, note_erasure
from apps.tenants.queries import classes_in_use

_STRAGGLERS_S = 5.0
"""Workers learn within 2 s that a tenant is closed; what is in their hands is written by then."""


@dataclass
class Erased:
    """What is gone so far: of Elasticsearch, of Postgres by table, of Redis."""

    telemetry: Report = field(default_factory=Report)
    rows: dict[str, int] = field(default_factory=dict)
    keys: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "documents": dict(self.telemetry.documents),
            "indices": self.telemetry.indices,
            "rows": self.rows,
            "keys": self.keys,
        }


class Command(BaseCommand):
    help = "Erase a tenant completely, or all telemetry of one connector, for good."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--tenant", metavar="SLUG")
        parser.add_argument("--connector", metavar="ID", help="its telemetry only")
        parser.add_argument("--yes", action="store_true", help="don't ask")
        parser.add_argument("--wait", type=float, default=_STRAGGLERS_S, metavar="S")
        parser.add_argument("--list", action="store_true", help="tell what was erased before")

    def handle(self, *args: Any, **options: Any) -> None:
        slug, connector = options["tenant"], options["connector"]
        if options["list"]:
            return self._tell_all(slug)
        if not slug:
            raise CommandError("Whom? Name the --tenant.")
        tenant = Tenant.objects.filter(slug=slug).first()
        if tenant is None and connector is not None:
            raise CommandError(f"no tenant has the slug {slug}")
        what = (
            f"all telemetry of connector {connector} of {slug}" if connector else f"all of {slug}"
        )
        if not options["yes"] and input(f"This erases {what}. Write {slug} to go on: ") != slug:
            raise CommandError("Nothing was erased.")
        if tenant is not None and connector is None:
            close_tenant(tenant=tenant)
            time.sleep(options["wait"])
        self.stdout.write(as_table(self._erase(slug, connector, tenant)))
        return None

    def _erase(self, slug: str, connector: str | None, tenant: Tenant | None) -> Erasure:
        """The rest of it; what was erased is kept, also where it ended in the middle."""
        began_at, erased, failure = timezone.now(), Erased(), "it was stopped"
        try:
            erase(
                the_store(),
                slug,
                connector,
                now=began_at,
                classes=classes_in_use(),
                report=erased.telemetry,
            )
            if connector is None:
                _forget_records(slug, tenant, erased)
                # What somebody had in hand, and wrote before there was no such tenant any more.
                erase(the_store(), slug, now=timezone.now(), report=erased.telemetry)
                send_farewell(slug)  # detection drops its states and what its log still holds
            failure = ""
        except (TelemetryError, redis.RedisError, OperationalError) as error:
            failure = f"{type(error).__name__}: {error}"
            raise CommandError(f"{error}; ask again, and the rest goes") from error
        finally:
            kept = note_erasure(
                slug=slug,
                connector=connector or "",
                began_at=began_at,
                ended_at=timezone.now(),
                report=erased.to_json(),
                failure=failure,
            )
        return kept

    def _tell_all(self, slug: str | None) -> None:
        found = Erasure.objects.filter(slug=slug) if slug else Erasure.objects.all()
        for each in found:
            self.stdout.write(f"{as_table(each)}\n")


def _forget_records(slug: str, tenant: Tenant | None, erased: Erased) -> None:
    if tenant is not None:
        erased.rows = drop_tenant(tenant=tenant)
    erased.keys = forget(slug)


def as_table(kept: Erasure) -> str:
    """The report, a line a kind of document and a table."""
    report = kept.report
    whose = f"the telemetry of connector {kept.connector} of" if kept.connector else "all of"
    lines = [f"{kept.ended_at:%Y-%m-%d %H:%M} UTC: erased {whose} {kept.slug}"]
    for title, counts in (("Elasticsearch", report["documents"]), ("Postgres", report["rows"])):
        lines.append(f"{title}: {sum(counts.values())} {_ROWS[title]}")
        lines += [f"  {name:<36}{number:>12}" for name, number in sorted(counts.items())]
    lines += [f"  dropped whole: {index}" for index in report["indices"]]
    if not kept.connector:
        lines.append(f"Redis: {report['keys']} counters and boards")
    if kept.failure:
        return "\n".join([*lines, f"It was not finished: {kept.failure}"])
    if not kept.connector:
        lines.append("Detection: asked to drop its states and what its log still holds")
    return "\n".join(lines)


_ROWS = {"Elasticsearch": "documents", "Postgres": "rows"}
