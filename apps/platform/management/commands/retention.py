"""Move a tenant to another retention class: how long what it measures from then on is kept."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.telemetry.slices import CLASSES, class_of, own_class
from apps.telemetry.store import the_store
from apps.tenants.models import Tenant
from apps.tenants.operations import change_retention


class Command(BaseCommand):
    help = "Keep a tenant's readings for another time. What came before stays as it was promised."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tenant", metavar="SLUG")
        parser.add_argument("kept_for", metavar="CLASS", choices=sorted(CLASSES))
        parser.add_argument(
            "--own",
            action="store_true",
            help="in indices of its own, which are kept as long: for a tenant as large as others "
            "together",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = Tenant.objects.filter(slug=options["tenant"]).first()
        if tenant is None:
            raise CommandError(f"no tenant has the slug {options['tenant']}")
        base = options["kept_for"]
        kept = class_of(own_class(base, tenant.slug)) if options["own"] else CLASSES[base]
        if kept is None:
            raise CommandError(f"{tenant.slug} can't have a class of its own")
        now = timezone.now()
        the_store().ensure_slices(now, classes=[kept.name])
        since = change_retention(tenant=tenant, retention_class=kept.name, now=now)
        self.stdout.write(
            f"{tenant.slug}: readings are kept {kept.keep_days} days, minutes "
            f"{kept.rollup_days['1m']}, hours {kept.rollup_days['1h']}, days "
            f"{kept.rollup_days['1d']}, for what is measured from {since:%Y-%m-%d %H:%M} UTC on."
        )
