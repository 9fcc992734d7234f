"""manage.py seed_demo: the demo's manufacturers, fleets, people and device credentials."""

import os
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.platform.demo.seeding import credentials_file, seed


class Command(BaseCommand):
    help = "Fill a demo, safe to repeat; everybody's password is OHMWATCH_DEMO_PASSWORD."

    def handle(self, **options: Any) -> None:
        if not settings.DEMO:
            raise CommandError("This is no demo: OHMWATCH_DEMO is not true.")
        password = os.environ.get("OHMWATCH_DEMO_PASSWORD", "")
        if not password:
            raise CommandError("OHMWATCH_DEMO_PASSWORD is not set.")
        try:
            connectors = seed(password=password, now=timezone.now())
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        self.stdout.write(f"{connectors} connectors are equipped; devices in {credentials_file()}")
