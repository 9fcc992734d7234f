"""`test`: every check and test, on stores of its own under .run/test/, also while a demo is up.

Lint, types and import contracts are tests as well (tests/contracts/test_clean.py), so that
the closing line counts them.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

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
_KILLS = "tests/faults/test_shared_stores.py"
# Two at a time, but one after the other what kills the stores that all share, and journeys, which
# share one product. (xdist's loadgroup would say so in one run; with this pytest it doesn't group.)
_RUNS = (
    ("-n", "2", "--durations", "15", "tests", "--ignore=tests/journeys", f"--ignore={_KILLS}"),
    ("--durations", "5", _KILLS),
    ("--durations", "5", "tests/journeys"),
)


def run(arguments: Sequence[str]) -> int:
    """Runs all tests, or pytest with these arguments. Returns 0 where all passed."""
    home, ports = Home(FOLDER / "stores"), Ports.from_base(free_base())
    stack = Stack(home, owner.current(), ports, shape=_SHAPE)
    with _alone(), _stores(stack):
        if arguments:
            return _pytest(stack, arguments, FOLDER / "files" / "report.xml")
        reports = [FOLDER / "files" / f"report-{number}.xml" for number in range(len(_RUNS))]
        statuses = [_pytest(stack, run, report) for run, report in zip(_RUNS, reports, strict=True)]
    print(closing_line(reports))
    return max(statuses)


def closing_line(reports: Sequence[Path]) -> str:
    """What the runs came to together; a run that left no report counts as one failure."""
    passed = failed = 0
    for report in reports:
        if not report.exists():
            failed += 1
            continue
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):  # noqa: S314 - ours
            count = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors")}
            bad = count["failures"] + count["errors"]
            failed += bad
            passed += count["tests"] - bad - int(suite.get("skipped", 0))
    return f"{passed} passed, {failed} failed"


def _pytest(stack: Stack, arguments: Sequence[str], report: Path) -> int:
    sys.stdout.flush()
    report.unlink(missing_ok=True)
    command = [str(PYTHON), "-m", "pytest", f"--junitxml={report}", *arguments]
    environment = test_environment(stack)
    tested = stack.owner.run(command, env=environment, stdin=subprocess.DEVNULL, umask=0o022)
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
        management.compile_detectors(stack)
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
