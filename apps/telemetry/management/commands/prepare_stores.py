"""Makes what Elasticsearch must have before anything runs: templates, indices, slices."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from apps.telemetry.store import the_store


class Command(BaseCommand):
    help = "Make Elasticsearch's templates, indices and slices. Safe to repeat."

    def handle(self, *args: Any, **options: Any) -> None:
        made = the_store().prepare(timezone.now())
        there = len(the_store().indices())
        self.stdout.write(f"{there} indices are there, {len(made)} of them new.")
