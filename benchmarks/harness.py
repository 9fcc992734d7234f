"""How every bench tells what it measured: a table for people, one JSON object for machines.

A machine that others use as well makes times incomparable, so a bench measures a yardstick in the
same run, in turns with ours, and the ratio is what counts.
"""

import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.table import Table

from deploy.stack.layout import ELASTICSEARCH_VERSION

RESULTS = Path(__file__).parent / "results"
QUICK_S = 45
"""A quick look that takes longer, on a stack that is up, is none."""
_SERVERS = {
    "postgres": ("psql", "--version"),
    "redis": ("redis-server", "--version"),
    "mosquitto": ("mosquitto", "-h"),
}
_PACKAGES = ("numpy", "msgspec", "orjson", "paho-mqtt", "elasticsearch", "redis", "django")


@dataclass(frozen=True)
class Measure:
    """One number. `ratio` is value / yardstick; `target` is the ratio's, or the value's where
    there is no yardstick; `met` says whether it is reached, None where there is no target, or
    nothing to compare with."""

    name: str
    value: float
    unit: str
    yardstick: float | None = None
    ratio: float | None = None
    target: float | None = None
    met: bool | None = None

    @classmethod
    def at_least(
        cls, name: str, value: float, unit: str, target: float, yardstick: float | None = None
    ) -> Self:
        """More is better."""
        ratio = None if yardstick is None else value / yardstick
        reached = (value if ratio is None else ratio) >= target
        return cls(name, value, unit, yardstick, ratio, target, reached)

    @classmethod
    def at_most(
        cls, name: str, value: float, unit: str, target: float, yardstick: float | None = None
    ) -> Self:
        """Less is better."""
        ratio = None if yardstick is None else value / yardstick
        reached = (value if ratio is None else ratio) <= target
        return cls(name, value, unit, yardstick, ratio, target, reached)


class AccountOpen(Exception):
    """Readings are missing or doubled: what was measured is worth nothing."""


def close(what: str, **sides: int) -> str:
    """One line that says what each side counts; all of them the same number, or AccountOpen."""
    told = f"{what}: " + " = ".join(f"{name} {count:,}" for name, count in sides.items())
    if len(set(sides.values())) != 1:
        raise AccountOpen(told.replace(" = ", ", "))
    return told


def finish(
    bench: str,
    measures: Sequence[Measure],
    quick: bool,
    *,
    closed: Sequence[str] = (),
    results: Path = RESULTS,
) -> None:
    """Print the table and, as the last line, the JSON object; keep it with its circumstances.

    `closed`: the accounts that came to zero, as `close` says them.
    """
    told: dict[str, object] = {"bench": bench, "measures": [asdict(each) for each in measures]}
    if closed:
        told["closed"] = list(closed)
    if quick:
        told["rough"] = True
    _show(bench, measures)
    for line in [*(f"Closed: {each}" for each in closed), *([_rough(_took_s())] if quick else [])]:
        print(line)
    results.mkdir(exist_ok=True)
    kept = {**told, "quick": quick, **circumstances()}
    name = f"{bench}-quick.json" if quick else f"{bench}.json"
    (results / name).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(told, ensure_ascii=False))


def _took_s() -> float:
    """Since this process was started."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def _rough(took_s: float) -> str:
    said = f"Rough: a quick look, of {took_s:.0f} s. Without --quick it is measured."
    return said if took_s <= QUICK_S else f"{said} It should take {QUICK_S} s at most."


def circumstances() -> dict[str, object]:
    """When and where: machine, load by others at the end, versions."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "kernel": platform.release(),
            "load": round(os.getloadavg()[0], 1),
        },
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in _PACKAGES},
        "servers": _servers(),
    }


def _servers() -> dict[str, str]:
    """What each server on this machine says of itself; those that a bench doesn't use as well."""
    said = {name: _says(*command) for name, command in _SERVERS.items()}
    return {"elasticsearch": ELASTICSEARCH_VERSION} | {n: v for n, v in said.items() if v}


def _says(*command: str) -> str:
    """The first version number in a program's answer; empty where there is no such program."""
    with suppress(OSError):
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if found := re.search(r"\d+(\.\d+)+", answer.stdout + answer.stderr):
            return found.group()
    return ""


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _show(bench: str, measures: Sequence[Measure]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column(bench)
    for heading in ("value", "yardstick", "ratio", "target"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for one in measures:
        table.add_row(
            one.name,
            f"{_number(one.value)} {one.unit}".strip(),
            _number(one.yardstick),
            _number(one.ratio),
            _number(one.target),
            _said_of(one),
        )
    Console(highlight=False, width=120).print(table)


def _said_of(one: Measure) -> str:
    if one.met is None:
        return "" if one.target is None else "not compared"
    return "met" if one.met else "not met"


def _number(value: float | None) -> str:
    """Three significant digits, or the whole number where it has more."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
