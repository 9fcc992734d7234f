"""manage.py create_tenant SLUG NAME: a manufacturer with its schema, host and topic root."""

import time
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from apps.tenants.models import Plan
from apps.tenants.operations import TenantFailed, create_tenant


class Command(BaseCommand):
    help = "Create a tenant: schema, host <slug>.<base domain>, topic root."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="small letters, digits, hyphens: kunlun")
        parser.add_argument("name", help='as people read it: "Kunlun Connectors"')
        parser.add_argument("--plan", default=None, help="code of a plan; the standard one if left")
        parser.add_argument("--country", default="", help="ISO 3166 code; SMS go nowhere else")

    def handle(
        self, *, slug: str, name: str, plan: str | None, country: str, **options: Any
    ) -> None:
        started = time.monotonic()
        try:
            tenant = create_tenant(
                slug=slug,
                name=name,
                plan=_plan_of(plan) if plan else None,
                country=country,
                now=timezone.now(),
            )
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        except TenantFailed as error:
            raise CommandError(f"{slug} failed: {error.__cause__}") from error
        self.stdout.write(
            f"{tenant.slug} is ready after {time.monotonic() - started:.1f} s"
            f" · host {tenant.domains.get().domain} · topics {tenant.topic_root}<device>/…"
        )


def _plan_of(code: str) -> Plan:
    try:
        return Plan.objects.get(code=code)
    except Plan.DoesNotExist as error:
        raise CommandError(f"no plan has the code {code}") from error
