"""`manage.py forget_second_factor USERNAME [--tenant SLUG]`: the way back for a lost phone."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django_tenants.utils import get_public_schema_name, schema_context

from apps.accounts import second_factor
from apps.accounts.models import User
from apps.tenants.models import Tenant


class Command(BaseCommand):
    help = "Take a person's second factor away, where nobody else can (a last administrator)"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--tenant", metavar="SLUG", help="without it: an operator")

    def handle(self, *, username: str, tenant: str | None, **options: Any) -> None:
        with schema_context(_schema_of(tenant)):
            user = User.objects.filter(username=username).first()
            if user is None:
                raise CommandError(f"There is nobody called {username}.")
            removed = second_factor.forget(user)
        self.stdout.write(f"{username}: {'taken away' if removed else 'there was none'}.")


def _schema_of(slug: str | None) -> str:
    if slug is None:
        return get_public_schema_name()
    tenant = Tenant.objects.filter(slug=slug).first()
    if tenant is None:
        raise CommandError(f"There is no tenant {slug}.")
    return tenant.schema_name
