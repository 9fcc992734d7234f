"""A tenant's telemetry as files by day, and its connectors beside them."""

import csv
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django_tenants.utils import tenant_context

from apps.catalog.operations import RATINGS
from apps.fleet.models import Connector
from apps.platform.management.commands.account import moment
from apps.telemetry.errors import TelemetryError
from apps.telemetry.exporting import USUAL, AnotherExport, export
from apps.telemetry.leaving import PARTS, TenantExport, Wanted
from apps.telemetry.tables import ParquetMissing
from apps.tenants.models import Tenant

_RATINGS = tuple(name for name in RATINGS if name not in ("name", "reports"))


class Command(BaseCommand):
    help = (
        "Write readings, rollups, alarm events and refused messages as CSV or Parquet, "
        "a file a day. Asked again, it goes on."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--tenant", required=True, metavar="SLUG")
        parser.add_argument("--out", required=True, type=Path, metavar="FOLDER")
        parser.add_argument("--from", dest="start", required=True, help="measured from, ISO 8601")
        parser.add_argument("--to", dest="end", help="measured before; all there is without it")
        parser.add_argument("--connector", action="append", help="its id; all without it")
        parser.add_argument(
            "--what",
            action="append",
            choices=tuple(PARTS),
            help=f"a kind of document; without it {', '.join(USUAL)}",
        )
        parser.add_argument("--format", dest="form", choices=("csv", "parquet"), default="csv")

    def handle(self, *args: Any, **options: Any) -> None:
        end = moment(options["end"]) if options["end"] else None
        wanted = Wanted(moment(options["start"]), end, options["connector"])
        tenant = Tenant.objects.filter(slug=options["tenant"]).first()
        if tenant is None:
            raise CommandError(f"no tenant has the slug {options['tenant']}")
        folder: Path = options["out"]
        telemetry = TenantExport(tenant.slug)
        parts = options["what"] or USUAL
        total = 0
        try:
            for file in export(telemetry, wanted, folder, form=options["form"], parts=parts):
                total += file.rows or 0
                told = "was there" if file.rows is None else f"{file.rows} rows"
                self.stdout.write(f"{file.path.relative_to(folder)}: {told}")
        except AnotherExport as error:
            raise CommandError(str(error)) from error
        except (TelemetryError, ParquetMissing) as error:
            raise CommandError(f"{error}; ask again, and it goes on from here") from error
        with tenant_context(tenant):
            known = write_connectors(folder / "connectors.csv", options["connector"])
        self.stdout.write(f"{total} rows written, {known} connectors beside them.")


def write_connectors(path: Path, only: list[str] | None) -> int:
    """connectors.csv of the current tenant, as a back-test reads it; how many there are."""
    rows = Connector.objects.select_related("model", "vehicle").order_by("pk")
    chosen = rows.filter(pk__in=only) if only else rows
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["connector", "model", "batch", "vehicle", *_RATINGS])
        for connector in chosen:
            model = connector.model
            vehicle = connector.vehicle.vin if connector.vehicle else ""
            about = [connector.pk, model.code, connector.batch, vehicle]
            writer.writerow([*about, *(_cell(getattr(model, name)) for name in _RATINGS)])
    return len(chosen)


def _cell(value: object) -> object:
    """Pairs as `40:250 70:180`, several numbers as `80 780`, none as an empty cell."""
    if isinstance(value, list | tuple):
        return " ".join(
            ":".join(map(str, each)) if isinstance(each, list | tuple) else str(each)
            for each in value
        )
    return "" if value is None else value
