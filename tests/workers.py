"""Worker processes as production runs them, started and killed by a test."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def celery_worker(
    queue: str, environment: Mapping[str, str], *, log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """A Celery worker on this queue, ready when entered; killed when left, if it still lives."""
    command = [sys.executable, "-m", "celery", "-A", "config.celery", "worker", "-Q", queue]
    command += ["-P", "threads", "-c", "2", "-n", f"{queue}-{os.getpid()}@test", "-l", "INFO"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            until(lambda: b" ready." in log.read_bytes(), 60, f"no worker: {log}")
            yield process
        finally:
            kill(process)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """kill -9, the whole process group, and waits until it is gone."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=10)


def until(true: Callable[[], object], seconds: float, otherwise: str) -> None:
    """Waits until something is true; fails with these words where it never is."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)
