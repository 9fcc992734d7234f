"""Tells what the cluster has against what this version wants, and puts it right."""

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.telemetry.differences import differences, mend, missing
from apps.telemetry.errors import TelemetryError
from apps.telemetry.growth import too_full
from apps.telemetry.reindexing import Copy
from apps.telemetry.store import the_store


class Command(BaseCommand):
    help = "Compare Elasticsearch's templates and indices with this version. Status 1 if unlike."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--mend", action="store_true", help="add what can be added in place")
        parser.add_argument("--rewrite", metavar="INDEX", help="copy one index into a new shape")
        parser.add_argument(
            "--shards", type=int, metavar="N", help="with --rewrite: into so many shards"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        store = the_store()
        if options["rewrite"]:
            self._rewrite(options["rewrite"], options["shards"])
        now = timezone.now()
        if options["mend"]:
            store.prepare(now)
            self.stdout.write(f"{mend(store)} indices have fields that they lacked.")
        self._tell_sizes(now)
        found = [*missing(store, now), *differences(store)]
        for each in found:
            remedy = f"--rewrite {each.where}" if each.needs_rewriting else "--mend"
            self.stdout.write(
                f"{each.where}  {each.what}: wanted {each.wanted}, found {each.found}  [{remedy}]"
            )
        if found:
            raise CommandError(f"{len(found)} differences", returncode=1)
        self.stdout.write("Elasticsearch is as this version wants it.")

    def _tell_sizes(self, now: datetime) -> None:
        for each in too_full(the_store().extents(now)):
            self.stdout.write(
                f"{each.index}  of its {each.shards} shards the fullest holds {each.documents} "
                f"documents, {each.bytes / 2**30:.1f} GiB: more than it should. Where it is still "
                f"being filled it is written anew with more  [--rewrite {each.index} --shards N]"
            )

    def _rewrite(self, index: str, shards: int | None) -> None:
        try:
            done = Copy(the_store(), index, shards=shards, say=self.stdout.write).run()
        except TelemetryError as error:
            raise CommandError(f"{error}; nothing has changed") from error
        self.stdout.write(
            f"{done.old} is now {done.new}: {done.documents} documents; "
            f"writes waited {done.waited_s:.1f} s."
        )
