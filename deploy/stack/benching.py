"""`bench`: what there is to measure, and the stores that a measurement stands on.

A bench is `benchmarks/NAME.py` or a package `benchmarks/NAME/` with `main(quick: bool) -> int`; the
first line of its docstring says what it measures. `NEEDS_STORES = True` in it asks for Postgres,
Redis and Elasticsearch: stores of its own under .run/bench/, or, for a quick look while the demo's
stack is up, a corner of that one's; `NEEDS_PACKAGES = True` for requirements/benchmarks.txt. The
files are read, not imported: listing needs nothing.
"""

import ast
import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.stack import owner, python_environment, supervisor, up
from deploy.stack.errors import StackError
from deploy.stack.layout import CHECKOUT, RUN, VENV, Home
from deploy.stack.ports import Ports, free_base
from deploy.stack.python_environment import PYTHON
from deploy.stack.settings import process_environment
from deploy.stack.stack import Shape, Stack, demo_stack

BENCHMARKS = CHECKOUT / "benchmarks"
FOLDER = RUN / "bench"
CORNER = "bench-"
"""Before the name of each index of a bench that is a guest of the demo's Elasticsearch."""
_SHAPE = Shape(durable=True, product=False, heap="1g")
_CORNER_REDIS = 8
"""The demo's own are databases 0 to 3."""


@dataclass(frozen=True)
class Bench:
    """One measurement: its name, what it measures in a line, what it needs of stores, packages;
    whether it can be told of how many readings."""

    name: str
    about: str
    needs_stores: bool
    needs_packages: bool = False
    grows: bool = False


def known(folder: Path = BENCHMARKS) -> list[Bench]:
    """Every bench, by name."""
    modules = {path.stem: path for path in folder.glob("*.py")}
    packages = {path.parent.name: path for path in folder.glob("*/__init__.py")}
    found = (_read(name, path) for name, path in sorted({**modules, **packages}.items()))
    return [bench for bench in found if bench is not None]


def _read(name: str, path: Path) -> Bench | None:
    """What a file says of itself; None where it has no `main(quick)` and so measures nothing."""
    body = ast.parse(path.read_text()).body
    mains = [each for each in body if isinstance(each, ast.FunctionDef) and each.name == "main"]
    imported = [each for each in body if isinstance(each, ast.ImportFrom)]
    brought = {alias.name for each in imported for alias in each.names}
    takes = {a.arg for main in mains for a in main.args.args}
    if name.startswith("_") or not ("quick" in takes or "main" in brought):
        return None
    about = (ast.get_docstring(ast.Module(body, [])) or "").partition("\n")[0]
    needs = {true for each in body for true in _true_names(each)}
    return Bench(
        name, about, "NEEDS_STORES" in needs, "NEEDS_PACKAGES" in needs, grows="millions" in takes
    )


def _true_names(statement: ast.stmt) -> list[str]:
    if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Constant):
        return []
    names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
    return names if statement.value.value is True else []


def run(name: str, *, quick: bool, millions: int | None = None) -> int:
    """Measure; returns the bench's exit status. Raises StackError for a name that is none."""
    bench = next((each for each in known() if each.name == name), None)
    if bench is None:
        raise StackError(f"There is no bench {name}. `./ohmwatch bench` lists them.")
    if millions and (quick or not bench.grows):
        growing = ", ".join(each.name for each in known() if each.grows)
        raise StackError(f"--millions is for a whole run of {growing}.")
    options = ["--quick"] if quick else [f"--millions={millions}"] if millions else []
    if bench.needs_packages and not python_environment.has_benchmarks():
        print("Packages of requirements/benchmarks.txt into .run/venv ...", flush=True)
        python_environment.install_benchmarks()
    if not bench.needs_stores:
        return _measure(bench, plain_environment(), options)
    if quick and supervisor.is_running(demo_stack()):
        return _measure(bench, corner_environment(demo_stack()), options)
    with _alone(), _stores() as stack:
        return _measure(bench, own_environment(stack), options)


def plain_environment() -> dict[str, str]:
    """For what computes only: no settings, no secrets."""
    return {
        "PATH": f"{VENV / 'bin'}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "PYTHONPATH": f"{CHECKOUT / 'src'}:{CHECKOUT}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def own_environment(stack: Stack) -> dict[str, str]:
    """The product's settings on stores that nobody else uses."""
    return {**plain_environment(), **process_environment(stack, _here())}


def corner_environment(stack: Stack) -> dict[str, str]:
    """The same on a running stack: a database, indices and Redis databases of the bench's own."""
    settings = process_environment(stack)
    postgres, redis = settings["OHMWATCH_POSTGRES_URL"], settings["OHMWATCH_REDIS_URL"]
    corner = {
        "OHMWATCH_POSTGRES_URL": f"{postgres.rpartition('/')[0]}/ohmwatch_bench",
        "OHMWATCH_REDIS_URL": f"{redis.rpartition('/')[0]}/{_CORNER_REDIS}",
        "OHMWATCH_ELASTICSEARCH_PREFIX": CORNER,
    }
    return {**plain_environment(), **settings, **corner, **_here()}


def _here() -> dict[str, str]:
    """Files under .run/bench, no broker of the stack's, and no pool that would outlive a fork."""
    return {
        "OHMWATCH_DATA_DIR": str(FOLDER / "files"),
        "OHMWATCH_MQTT_PASSWORD_FILE": "",
        "OHMWATCH_MQTT_PID_FILE": "",
        "OHMWATCH_POSTGRES_POOL": "false",
        "HOME": str(FOLDER),
    }


def _measure(bench: Bench, environment: dict[str, str], options: list[str]) -> int:
    """In a process of the caller's user, who owns the results and the docs that a bench writes."""
    (FOLDER / "files").mkdir(mode=0o755, parents=True, exist_ok=True)
    command = [str(PYTHON), "-m", "benchmarks", bench.name, *options]
    measured = subprocess.run(command, env=environment, cwd=CHECKOUT, stdin=subprocess.DEVNULL)
    return measured.returncode


@contextmanager
def _stores() -> Iterator[Stack]:
    """Postgres, Redis and Elasticsearch, empty; ended afterwards."""
    FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
    home, ports = Home(FOLDER / "stores"), Ports.from_base(free_base())
    stack = Stack(home, owner.current(), ports, shape=_SHAPE)
    up.bring_down(stack)
    subprocess.run(["rm", "-rf", str(home.path)], check=True)
    try:
        up.bring_up(stack)
        yield stack
    finally:
        up.bring_down(stack)


@contextmanager
def _alone() -> Iterator[None]:
    """A second one would end the first one's stores, and spoil both measurements."""
    RUN.mkdir(exist_ok=True)
    with (RUN / "bench.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StackError("Another ./ohmwatch bench is under way in this checkout.") from None
        yield
