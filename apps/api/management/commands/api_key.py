"""`manage.py api_key create|list|revoke`: keys of a tenant's API from the command line."""

from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django_tenants.utils import tenant_context

from apps.accounts.models import Organisation
from apps.api.models import ApiKey, Scope
from apps.api.operations import create_key, revoke_key
from apps.tenants.models import Tenant


class Command(BaseCommand):
    help = "Make, list and revoke API keys of a tenant"

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="make a key; it is shown once")
        create.add_argument("--name", required=True)
        create.add_argument("--organisation", help="its name; without it the key sees all")
        create.add_argument(
            "--scope", action="append", choices=Scope.values, help="default: all that only read"
        )
        create.add_argument("--days", type=int, help="until it expires; default: never")
        revoke = actions.add_parser("revoke", help="end a key at once")
        revoke.add_argument("key", help="its id or its beginning")
        for action in (create, revoke, actions.add_parser("list", help="all keys")):
            action.add_argument("--tenant", required=True, metavar="SLUG")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = Tenant.objects.filter(slug=options["tenant"]).first()
        if tenant is None:
            raise CommandError(f"There is no tenant {options['tenant']}.")
        with tenant_context(tenant):
            getattr(self, options["action"])(**options)

    def create(self, **options: Any) -> None:
        now = timezone.now()
        try:
            key, token = create_key(
                user=None,
                name=options["name"],
                scopes=options["scope"] or Scope.reading(),
                organisation=self._organisation(options["organisation"]),
                expires_at=now + timedelta(days=options["days"]) if options["days"] else None,
                now=now,
            )
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        self.stderr.write(f"{key.name}: {', '.join(key.scopes)}. Keep it, it is not shown again:")
        self.stdout.write(token)

    def list(self, **options: Any) -> None:
        for key in ApiKey.objects.select_related("organisation"):
            sees = key.organisation.name if key.organisation else "all of the tenant"
            state = "revoked" if key.revoked_at else "valid"
            self.stdout.write(f"{key.prefix}…  {state:8} {key.name}  ({sees}; {key.scopes})")

    def revoke(self, **options: Any) -> None:
        wanted = options["key"]
        found = [key for key in ApiKey.objects.all() if wanted in (str(key.pk), key.prefix)]
        if len(found) != 1:
            raise CommandError(f"{len(found)} keys are called {wanted}.")
        revoke_key(user=None, key=found[0], now=timezone.now())
        self.stdout.write(f"{found[0]} is revoked.")

    def _organisation(self, name: str | None) -> Organisation | None:
        if name is None:
            return None
        organisation = Organisation.objects.filter(name=name).first()
        if organisation is None:
            raise CommandError(f"There is no organisation {name}.")
        return organisation
