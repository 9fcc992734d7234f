"""Forbids django-elasticsearch-dsl's own command, which knows nothing of tenants.

It deletes an index that all tenants share and fills it again from the one schema that is set.
"""

import sys
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError

REFUSAL = (
    "search_index is off: it deletes an index that all tenants share and fills it from one of "
    "them. Indices are made by prepare_stores, and filled by the upkeep worker."
)


class Command(BaseCommand):
    help = REFUSAL

    def run_from_argv(self, argv: list[str]) -> NoReturn:
        """Refuse whatever the arguments are; they are not even looked at."""
        sys.exit(REFUSAL)

    def handle(self, *args: Any, **options: Any) -> NoReturn:
        raise CommandError(REFUSAL)
