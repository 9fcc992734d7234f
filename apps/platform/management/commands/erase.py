"""Erase a tenant, or the telemetry of one of its connectors, and tell what was erased."""

import time
from argparse import ArgumentParser
from typing import Any

import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from kombu.exceptions import OperationalError

from apps.partitions.wakeups import send_farewell
from apps.telemetry.erasing import Report, erase
from apps.telemetry.errors import TelemetryError
from apps.telemetry.store import the_store
from apps.tenants.models import Tenant
from apps.tenants.operations import close_tenant, drop_tenant

_KEYS = ("counts", "seen", "status", "unknown-fields")
_STRAGGLERS_S = 5.0
"""Workers learn within 2 s that a tenant is closed; what is in their hands is written by then."""


class Command(BaseCommand):
    help = "Erase a tenant completely, or all telemetry of one connector, for good."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--tenant", required=True, metavar="SLUG")
        parser.add_argument("--connector", metavar="ID", help="its telemetry only")
        parser.add_argument("--yes", action="store_true", help="don't ask")
        parser.add_argument("--wait", type=float, default=_STRAGGLERS_S, metavar="S")

    def handle(self, *args: Any, **options: Any) -> None:
        slug, connector = options["tenant"], options["connector"]
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
        try:
            report = erase(the_store(), slug, connector, now=timezone.now())
        except TelemetryError as error:
            raise CommandError(f"{error}; ask again, and the rest goes") from error
        if connector is None:
            self._forget_records(slug, tenant)
        self.stdout.write(as_table(report, what))

    def _forget_records(self, slug: str, tenant: Tenant | None) -> None:
        if tenant is not None:
            drop_tenant(tenant=tenant)
            self.stdout.write(f"Postgres: schema {tenant.schema_name}, its hosts, its record")
        with redis.Redis.from_url(settings.REDIS_LOG_URL, socket_timeout=5) as client:
            gone = client.delete(*(f"ow:{key}:{slug}" for key in _KEYS))
        self.stdout.write(f"Redis: {gone} counters and boards")
        try:
            send_farewell(slug)
        except OperationalError as error:
            raise CommandError(f"detection could not be asked to forget it: {error}") from error
        self.stdout.write("Detection: asked to drop its states and what its log still holds")


def as_table(report: Report, what: str) -> str:
    """The report, a line a kind."""
    rows = [f"{kind:<12}{count:>12}" for kind, count in sorted(report.documents.items())]
    dropped = [f"dropped whole: {index}" for index in report.indices]
    return "\n".join([f"Erased {what}:", *rows, *dropped, f"{report.total} documents in all."])
