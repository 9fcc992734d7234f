"""Tells what the cluster has against what this version wants, and puts it right."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.telemetry.differences import differences, mend
from apps.telemetry.errors import TelemetryError
from apps.telemetry.reindexing import Copy
from apps.telemetry.store import the_store


class Command(BaseCommand):
    help = "Compare Elasticsearch's templates and indices with this version. Status 1 if unlike."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--mend", action="store_true", help="add what can be added in place")
        parser.add_argument("--rewrite", metavar="INDEX", help="copy one index into a new shape")

    def handle(self, *args: Any, **options: Any) -> None:
        store = the_store()
        if options["rewrite"]:
            self._rewrite(options["rewrite"])
        if options["mend"]:
            store.prepare(timezone.now())
            self.stdout.write(f"{mend(store)} indices have fields that they lacked.")
        found = differences(store)
        for each in found:
            remedy = f"--rewrite {each.where}" if each.needs_rewriting else "--mend"
            self.stdout.write(
                f"{each.where}  {each.what}: wanted {each.wanted}, found {each.found}  [{remedy}]"
            )
        if found:
            raise CommandError(f"{len(found)} differences", returncode=1)
        self.stdout.write("Elasticsearch is as this version wants it.")

    def _rewrite(self, index: str) -> None:
        try:
            done = Copy(the_store(), index).run()
        except TelemetryError as error:
            raise CommandError(f"{error}; nothing has changed") from error
        self.stdout.write(f"{done.old} is now {done.new}: {done.documents} documents.")
