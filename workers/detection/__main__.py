"""`python -m workers.detection recompute TENANT CONNECTOR`: stored readings, judged once more.

Nothing is changed. Status 0: each step of the connector's story is the same to the bit. 1: some
are not. 2: it can't be told.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter

import django


def main(arguments: list[str]) -> int:
    """Prints a line for each step of the connector's story; the exit status."""
    parser = ArgumentParser(
        prog="./ohmwatch", description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    asked = commands.add_parser("recompute")
    asked.add_argument("tenant", help="its slug")
    asked.add_argument("connector", help="its id or its serial number")
    asked.add_argument("--from", dest="start", help="from the newest snapshot before this on")
    asked.add_argument("--to", dest="end", help="only steps that were measured before this")
    given = parser.parse_args(arguments)
    django.setup()
    from workers.detection.recompute import recompute  # Django is ready now

    return recompute(given.tenant, given.connector, start=given.start, end=given.end)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
