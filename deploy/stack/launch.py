"""The way from a bare Debian to the real command line. Standard library only.

`up`, `test`, `bench` and `restore` first make sure of packages, Python environment, Elasticsearch,
`backtest` of the Python environment alone; every command is then handed over to
deploy/stack/cli.py inside that environment.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from deploy.stack import (
    access,
    distribution,
    owner,
    packages,
    python_environment,
)
from deploy.stack.errors import StackError
from deploy.stack.layout import CHECKOUT, RUN
from deploy.stack.steps import say, step

_HELP = """\
Ohmwatch warns before a high-voltage connector of an electric vehicle burns.

  ./ohmwatch up        installs what is missing, starts everything, says where to look
  ./ohmwatch test      installs what is missing, runs every check in stacks of its own
  ./ohmwatch backtest  judges a recording; installs nothing but the Python environment
  ./ohmwatch doctor    checks this machine and says how to mend what it finds

`./ohmwatch up` makes the environment that all other commands need; --help then lists them."""


def main(arguments: list[str]) -> int:
    command = next((word for word in arguments if not word.startswith("-")), "")
    asks_for_help = "--help" in arguments
    try:
        owner.refuse_foreign_run()
        if command in ("up", "test", "bench", "restore") and not asks_for_help:
            make_ready(test=command == "test")
        if command == "backtest" and not asks_for_help:
            make_environment()
        if python_environment.is_made():
            hand_over(arguments)
        return without_environment(command, asks_for_help=asks_for_help)
    except StackError as error:
        say(f"\n{error.message}")
        return 1
    except KeyboardInterrupt:
        say("\nInterrupted.")
        return 130


def make_ready(*, test: bool) -> None:
    """Packages, user, environment, Elasticsearch: each only where it is missing."""
    absent = packages.missing(
        packages.needed(
            test=test,
            elasticsearch_here=distribution.is_here() or distribution.is_downloaded(),
            as_root=os.geteuid() == 0,
        )
    )
    if absent:
        packages.install(absent)
    RUN.mkdir(mode=0o755, exist_ok=True)
    RUN.chmod(0o755)
    owner.create()
    access.grant(owner.current())
    if not python_environment.is_current(test=test):
        with step("Python environment in .run/venv, from the lock file with hashes"):
            python_environment.install(test=test)
    if not distribution.is_here():
        with step("Elasticsearch from Maven Central, checked against our checksum"):
            distribution.install()


def make_environment() -> None:
    """Only the Python environment, where it is missing or behind the lock: no server is needed."""
    if python_environment.is_current(test=False):
        return
    name = "python3-venv"
    absent = packages.missing({name: packages.FOR_UP[name]})
    if absent:
        packages.install(absent)
    RUN.mkdir(mode=0o755, exist_ok=True)
    with step("Python environment in .run/venv, from the lock file with hashes"):
        python_environment.install(test=False)


def hand_over(arguments: list[str]) -> None:
    """Becomes the real command line; doesn't return."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{CHECKOUT / 'src'}:{CHECKOUT}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    python = str(python_environment.PYTHON)
    os.execve(python, [python, "-m", "deploy.stack", *arguments], environment)  # noqa: S606 - the point


def without_environment(command: str, *, asks_for_help: bool) -> int:
    """What can be said and done before the first `up`."""
    if command == "doctor" and not asks_for_help:
        from deploy.stack import doctor

        return doctor.report()
    if command and not asks_for_help:
        say(f"`{command}` needs what `./ohmwatch up` makes; it hasn't run here yet.\n")
    say(_HELP)
    return 0 if asks_for_help or not command else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
