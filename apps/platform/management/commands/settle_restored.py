"""manage.py settle_restored: what comes out of a backup wakes nobody again."""

from typing import Any

from django.core.management.base import BaseCommand
from django_tenants.utils import tenant_context

from apps.notifications.operations import give_up_undone
from apps.tenants.queries import ready_tenants


class Command(BaseCommand):
    help = "After a restore, before anything runs: give up the messages that waited in the backup."

    def handle(self, *args: Any, **options: Any) -> None:
        for tenant in ready_tenants():
            with tenant_context(tenant):
                given_up = give_up_undone()
            self.stdout.write(f"{tenant.slug}: {given_up} messages given up")
