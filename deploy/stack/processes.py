"""Processes of this machine, read from /proc: which are ours, what they use, how to end them."""

import os
import signal
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Process:
    """started: in clock ticks since boot. A number alone would be somebody else's one day."""

    pid: int
    started: str

    def is_alive(self) -> bool:
        return _start_of(self.pid) == self.started


def marked(name: str, value: str) -> list[Process]:
    """Processes whose environment holds NAME=value, this one and its parents left out."""
    wanted = f"{name}={value}".encode()
    found = []
    for pid in _pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in environment and pid not in (os.getpid(), os.getppid()):
            found.append(Process(pid, _start_of(pid) or ""))
    return [process for process in found if process.is_alive()]


def send(processes: Collection[Process], number: signal.Signals) -> None:
    for process in processes:
        if process.is_alive():
            try:
                os.kill(process.pid, number)
            except ProcessLookupError:
                continue


def wait_for_end(processes: Collection[Process], *, seconds: float) -> None:
    """Returns when all have ended, or after so many seconds."""
    deadline = time.monotonic() + seconds
    while any(process.is_alive() for process in processes) and time.monotonic() < deadline:
        time.sleep(0.1)


def memory_bytes(group: int) -> int:
    """Resident memory of a process group: a service with its children."""
    total = 0
    for pid in _pids():
        try:
            fields = _stat(pid)
        except OSError:
            continue
        # After the name: state, ppid, pgrp, ...; resident pages are the 22nd.
        if int(fields[2]) == group:
            total += int(fields[21]) * _PAGE
    return total


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _start_of(pid: int) -> str | None:
    """None where there is no such process, or only what is left of it for its parent to see."""
    try:
        fields = _stat(pid)
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _stat(pid: int) -> list[str]:
    """The fields behind the name, which may hold blanks and brackets."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
