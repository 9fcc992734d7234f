"""The Python environment under .run/venv, from lock files with hashes."""

import hashlib
import os
import subprocess
from pathlib import Path

from deploy.stack.errors import StackError
from deploy.stack.layout import CHECKOUT, RUN, VENV

PYTHON = VENV / "bin" / "python"
_STAMP = VENV / "ohmwatch-locks"
_BASE_PYTHON = "/usr/bin/python3"


BENCHMARKS = CHECKOUT / "requirements" / "benchmarks.txt"
"""What some benches need on top, compiled against the product's lock; the test lock holds it."""


def lock_of(*, test: bool) -> Path:
    """test.txt holds all of product.txt and what the tests need."""
    return CHECKOUT / "requirements" / ("test.txt" if test else "product.txt")


def is_current(*, test: bool) -> bool:
    """True where the environment holds exactly what the lock says."""
    if not PYTHON.exists() or not _STAMP.exists():
        return False
    return _digest(lock_of(test=test)) in _STAMP.read_text().split()


def has_benchmarks() -> bool:
    """True where the environment holds what the benches' lock says."""
    return is_current(test=True) or _digest(BENCHMARKS) in _STAMP.read_text().split()


def is_made() -> bool:
    """True where there is an environment, current or not."""
    return PYTHON.exists() and _STAMP.exists()


def install(*, test: bool) -> None:
    """Makes or mends the environment."""
    if not PYTHON.exists():
        _run([_BASE_PYTHON, "-m", "venv", str(VENV)])
    _STAMP.unlink(missing_ok=True)
    _install(lock_of(test=test))
    # The test lock is compiled against the product's, so it satisfies both.
    held = [lock_of(test=False), lock_of(test=True)] if test else [lock_of(test=False)]
    _STAMP.write_text("\n".join(_digest(lock) for lock in held))


def install_benchmarks() -> None:
    """Adds what the benches need to an environment that is there."""
    _install(BENCHMARKS)
    with _STAMP.open("a") as stamp:
        stamp.write(f"\n{_digest(BENCHMARKS)}")


def _install(lock: Path) -> None:
    """Only wheels: nothing of a package runs while it installs."""
    command = [str(PYTHON), "-m", "pip", "install", "--require-hashes", "--only-binary", ":all:"]
    command += ["--quiet", "--no-input", "--disable-pip-version-check", "--no-warn-script-location"]
    _run([*command, "-r", str(lock)])


def _run(command: list[str]) -> None:
    """Quiet when it works; its own words when it doesn't."""
    # Who runs a stack as another user must be able to read it, whatever the umask.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    result = subprocess.run(
        command, cwd=RUN, env=environment, capture_output=True, text=True, umask=0o022
    )
    if result.returncode:
        raise StackError(
            f"{' '.join(command[:4])} ... failed:\n{(result.stdout + result.stderr)[-3000:]}"
        )


def _digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()
