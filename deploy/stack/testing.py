"""`test`: every check and test, on stores of its own under .run/test/, also while a demo is up.

Lint, types and import contracts are tests as well (tests/contracts/test_clean.py), so that
pytest's closing line counts them.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from deploy.stack import management, owner, up
from deploy.stack.errors import StackError
from deploy.stack.layout import RUN, Home
from deploy.stack.ports import Ports, free_base
from deploy.stack.python_environment import PYTHON
from deploy.stack.settings import process_environment
from deploy.stack.stack import Shape, Stack
from deploy.stack.steps import step

FOLDER = RUN / "test"
# Tests start their own Mosquitto, and journeys the whole product, each in a stack of its own.
_SHAPE = Shape(durable=False, product=False, heap="1g")
# One run, so that one closing line counts them all; two tests at a time, journeys together.
_EVERYTHING = ("-n", "2", "--dist", "loadgroup", "--durations", "15", "tests")


def run(arguments: Sequence[str]) -> int:
    """Runs all tests, or pytest with these arguments. Returns pytest's exit status."""
    home, ports = Home(FOLDER / "stores"), Ports.from_base(free_base())
    stack = Stack(home, owner.current(), ports, shape=_SHAPE)
    with _alone(), _stores(stack):
        sys.stdout.flush()
        command = [str(PYTHON), "-m", "pytest", *(arguments or _EVERYTHING)]
        tested = stack.owner.run(
            command, env=test_environment(stack), stdin=subprocess.DEVNULL, umask=0o022
        )
    return tested.returncode


def test_environment(stack: Stack) -> dict[str, str]:
    """OHMWATCH_* of the test's stores, and caches that stay out of the checkout."""
    cache = FOLDER / "cache"
    kept = {name: os.environ[name] for name in ("TERM", "COLUMNS") if name in os.environ}
    return {
        **process_environment(stack),
        **kept,
        "HOME": str(cache),
        "OHMWATCH_DATA_DIR": str(FOLDER / "files"),
        "OHMWATCH_SCREENSHOTS": str(FOLDER / "screenshots"),
        "OHMWATCH_POSTGRES_POOL": "false",
        "MYPY_CACHE_DIR": str(cache / "mypy"),
        "RUFF_CACHE_DIR": str(cache / "ruff"),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(cache / "hypothesis"),
    }


@contextmanager
def _stores(stack: Stack) -> Iterator[None]:
    """Postgres, Redis and Elasticsearch, empty. Says nothing at the end: pytest has that word."""
    up.bring_down(stack)
    subprocess.run(["rm", "-rf", str(stack.home.path)], check=True)
    folders = (FOLDER / name for name in ("cache", "files", "screenshots"))
    stack.owner.make(FOLDER, *folders)
    with step("Translations"):
        management.compile_translations(stack)
    try:
        up.bring_up(stack)
        yield
    finally:
        up.bring_down(stack)


@contextmanager
def _alone() -> Iterator[None]:
    """A second run would end the first one's stores."""
    RUN.mkdir(exist_ok=True)
    with (RUN / "test.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StackError("Another ./ohmwatch test is under way in this checkout.") from None
        yield
