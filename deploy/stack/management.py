"""Django's management commands, run as the services' user with the stack's settings."""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.stack.errors import StackError
from deploy.stack.layout import CHECKOUT, COMPILED
from deploy.stack.python_environment import PYTHON
from deploy.stack.settings import process_environment
from deploy.stack.stack import Stack
from deploy.stack.steps import step

# What the prepared stores, translations and assets are made from.
_SOURCES = ("apps", "config", "src", "workers", "locale", "static", "templates", "requirements")
# Pooled connections would keep a short-lived command alive, and don't survive a fork.
_WITHOUT_POOL = {"OHMWATCH_POSTGRES_POOL": "false"}


def manage(stack: Stack, *arguments: str, **options: Any) -> subprocess.CompletedProcess[Any]:
    """One management command; its output is the caller's business."""
    environment = process_environment(stack, _WITHOUT_POOL)
    command = [str(PYTHON), str(CHECKOUT / "manage.py"), *arguments]
    return stack.owner.run(command, env=environment, **options)


def manage_as_caller(stack: Stack, *arguments: str) -> int:
    """The same under the user and in the folder of who calls: what it writes is theirs."""
    environment = process_environment(stack, _WITHOUT_POOL)
    command = [str(PYTHON), str(CHECKOUT / "manage.py"), *arguments]
    return subprocess.run(command, env=environment).returncode


def prepare_product(stack: Stack) -> None:
    """Schemas, indices, translations, assets, the demo. Each is quick where nothing changed."""
    with step("Postgres: schemas and tables"):
        must(stack, "migrate_schemas", "--shared")
        must(stack, "migrate_schemas", "--tenant")
    with step("Elasticsearch: templates and slices"):
        must(stack, "prepare_stores")
    with step("Translations and assets"):
        compile_translations(stack)
        must(stack, "collectstatic", "--no-input")
    compile_detectors(stack)
    with step("Demo: two manufacturers, their people, vehicles and devices"):
        must(stack, "seed_demo")
        must(stack, "publish_credentials")
    _stamp(stack).write_text(fingerprint())


def compile_detectors(stack: Stack) -> None:
    """Detectors become machine code before the first reading comes; quick where they are it."""
    stack.owner.make(COMPILED)
    command = [str(PYTHON), "-m", "ohmwatch", "compile"]
    with step("Detectors become machine code"):
        made = stack.owner.run(
            command, env=process_environment(stack), capture_output=True, text=True
        )
    if made.returncode:
        raise StackError(f"The detectors can't be compiled:\n{made.stderr[-2000:]}")


def is_prepared(stack: Stack) -> bool:
    """True where nothing that `prepare_product` reads has changed since it ran last."""
    return _stamp(stack).exists() and _stamp(stack).read_text() == fingerprint()


def compile_translations(stack: Stack) -> None:
    """msgfmt for each catalogue that is newer than what was compiled from it."""
    for source in (CHECKOUT / "locale").rglob("*.po"):
        compiled = source.with_suffix(".mo")
        if compiled.exists() and compiled.stat().st_mtime >= source.stat().st_mtime:
            continue
        made = subprocess.run(
            ["msgfmt", "--check-format", "-o", str(compiled), str(source)],
            capture_output=True,
            text=True,
        )
        if made.returncode:
            raise StackError(f"msgfmt refuses {source}:\n{made.stderr}")


def fingerprint() -> str:
    """Changes with any file that the product is made of."""
    digest = hashlib.sha256()
    for path in sorted(_files()):
        status = path.stat()
        digest.update(f"{path} {status.st_mtime_ns} {status.st_size}\n".encode())
    return digest.hexdigest()


def _files() -> Iterator[Path]:
    for source in _SOURCES:
        for path in (CHECKOUT / source).rglob("*"):
            if path.is_file() and path.suffix not in (".pyc", ".mo"):
                yield path


def must(stack: Stack, *arguments: str) -> None:
    """A management command that says nothing. Raises StackError where it fails; see its log."""
    result = manage(stack, *arguments, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    log = stack.home.log_of("manage")
    with log.open("a") as file:
        file.write(f"$ manage.py {' '.join(arguments)}\n{result.stdout}{result.stderr}\n")
    if result.returncode:
        raise StackError(f"manage.py {' '.join(arguments)} failed.", service="manage")


def _stamp(stack: Stack) -> Path:
    return stack.home.path / "prepared-from"


def run_module(stack: Stack, module: str, *arguments: str) -> int:
    """`python -m module` with the stack's settings; returns its exit status."""
    command = [str(PYTHON), "-m", module, *arguments]
    return stack.owner.run(command, env=process_environment(stack)).returncode
