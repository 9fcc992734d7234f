"""`logs`, and the lines that explain a failure."""

import time
from pathlib import Path

from deploy.stack.errors import StackError
from deploy.stack.services import services
from deploy.stack.stack import Stack

_EXPLAINING_LINES = 25


def show(stack: Stack, service: str | None, *, follow: bool, lines: int) -> None:
    """Prints the last lines of one service or all; follow goes on until interrupted."""
    files = _files(stack, service)
    many = len(files) > 1
    for name, path in files.items():
        for line in last_lines(path, lines):
            print(f"{name}: {line}" if many else line)
    if follow:
        _follow(files)


def explain(stack: Stack, service: str) -> str:
    """The last lines of a service's log, with where to find the rest."""
    path = stack.home.log_of(service)
    lines = last_lines(path, _EXPLAINING_LINES)
    return "\n".join([f"\nThe last lines of {path}:", *(f"  {line}" for line in lines)])


def last_lines(path: Path, count: int) -> list[str]:
    """Reads no more than the file's last 64 KiB."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 65536))
        return file.read().decode(errors="replace").splitlines()[-count:]


def _files(stack: Stack, service: str | None) -> dict[str, Path]:
    names = [s.name for s in services(stack)] + ["supervisord", "manage"]
    if service is not None and service not in names:
        raise StackError(f"There is no service {service}. There are: {', '.join(names)}")
    chosen = names if service is None else [service]
    return {name: stack.home.log_of(name) for name in chosen}


def _follow(files: dict[str, Path]) -> None:
    """Looks twice a second; a file that shrank was rotated and is read from its start."""
    many = len(files) > 1
    places = {n: path.stat().st_size if path.exists() else 0 for n, path in files.items()}
    try:
        while True:
            for name, path in files.items():
                size = path.stat().st_size if path.exists() else 0
                if size < places[name]:
                    places[name] = 0
                if size > places[name]:
                    places[name] = _print_from(path, places[name], f"{name}: " if many else "")
            time.sleep(0.5)
    except KeyboardInterrupt:
        return


def _print_from(path: Path, place: int, prefix: str) -> int:
    """Whole lines only; returns where the next ones begin."""
    with path.open("rb") as file:
        file.seek(place)
        text = file.read()
    whole = text[: text.rfind(b"\n") + 1]
    for line in whole.decode(errors="replace").splitlines():
        print(f"{prefix}{line}", flush=True)
    return place + len(whole)
