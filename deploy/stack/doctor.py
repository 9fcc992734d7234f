"""`doctor`: what about this machine would get in the way, and how to mend it.

Standard library only: it also runs before the first `up`.
"""

import platform
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.stack import packages
from deploy.stack.layout import CHECKOUT, RUN, SOCKET_PATH_LIMIT, Choices, Home
from deploy.stack.ports import Ports, taken
from deploy.stack.steps import say

_FREE_DISK = 6 * 2**30
_MEMORY = 5 * 2**30
_OPEN_FILES = 8192
# Elasticsearch refuses to listen on other than this machine's address below this.
_MAPS = 262144
_BUILT = time.mktime((2026, 11, 1, 0, 0, 0, 0, 0, 0))


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. mend is empty where it is well; a warning doesn't fail."""

    name: str
    seen: str
    mend: str = ""
    warning: bool = False


def report() -> int:
    """Prints a line for each finding; returns 1 where something must be mended."""
    found = list(findings())
    for finding in found:
        mark = "✓" if not finding.mend else "!" if finding.warning else "✗"
        say(f"  {mark} {finding.name:14} {finding.seen}")
        if finding.mend:
            say(f"    {'':14} {finding.mend}")
    return int(any(finding.mend and not finding.warning for finding in found))


def findings() -> Iterator[Finding]:
    yield system()
    yield python()
    yield debian_packages()
    yield ports()
    yield disk(shutil.disk_usage(CHECKOUT).free)
    yield memory(_meminfo("MemTotal"))
    yield clock(time.time())
    yield open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    yield memory_maps(int(Path("/proc/sys/vm/max_map_count").read_text()))
    yield socket_path(Home(RUN).socket)


def system() -> Finding:
    release = Path("/etc/debian_version")
    seen = f"Debian {release.read_text().strip()}" if release.exists() else platform.platform()
    mend = "" if seen.startswith("Debian 12") else "Ohmwatch is tried on Debian 12 only."
    return Finding("system", f"{seen}, {platform.machine()}", mend, warning=True)


def python() -> Finding:
    found = subprocess.run(["/usr/bin/python3", "--version"], capture_output=True, text=True)
    version = found.stdout.strip()
    mend = "" if version.startswith("Python 3.11") else "The lock is made for Debian's Python 3.11."
    return Finding("python", version, mend)


def debian_packages() -> Finding:
    absent = packages.missing(packages.FOR_UP)
    if not absent:
        return Finding("packages", "all there")
    mend = f"./ohmwatch up installs them, or: {packages.command_for(absent)}"
    return Finding("packages", f"missing: {', '.join(absent)}", mend, warning=True)


def ports() -> Finding:
    """Ours count as free while our own stack listens on them."""
    choices = Choices.remembered(Home(RUN))
    wanted = Ports.from_base(choices.port_base)
    span = f"{wanted.web} ... {wanted.spare}"
    if (Home(RUN).socket).exists():
        return Finding("ports", f"{span}, in use by this stack")
    others = taken(wanted, choices.host)
    if not others:
        return Finding("ports", f"{span} are free")
    told = ", ".join(f"{port} ({name})" for name, port in others.items())
    return Finding("ports", f"taken: {told}", "Move ours: ./ohmwatch up --port-base 8100")


def disk(free: int) -> Finding:
    mend = "" if free >= _FREE_DISK else "Elasticsearch stops indexing on a full disk: free 6 GiB."
    return Finding("disk", f"{free / 2**30:.1f} GiB free", mend)


def memory(total: int) -> Finding:
    mend = "" if total >= _MEMORY else "The whole demo takes about 4 GiB; use a larger machine."
    return Finding("memory", f"{total / 2**30:.1f} GiB", mend, warning=True)


def clock(now: float) -> Finding:
    """Can't ask another clock here; one before this release was made is wrong for sure."""
    seen = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    mend = "" if now > _BUILT else "It is wrong: timedatectl set-ntp true"
    return Finding("clock", seen, mend)


def open_files(hard: int) -> Finding:
    enough = hard == resource.RLIM_INFINITY or hard >= _OPEN_FILES
    seen = "no limit" if hard == resource.RLIM_INFINITY else str(hard)
    mend = "" if enough else f"Raise nofile to {_OPEN_FILES} in /etc/security/limits.conf."
    return Finding("open files", f"at most {seen}", mend)


def memory_maps(count: int) -> Finding:
    mend = (
        "" if count >= _MAPS else f"For a larger Elasticsearch: sysctl -w vm.max_map_count={_MAPS}"
    )
    return Finding("memory maps", f"at most {count}", mend, warning=True)


def socket_path(path: Path) -> Finding:
    length = len(str(path))
    mend = "" if length <= SOCKET_PATH_LIMIT else "Move the checkout to a shorter path."
    return Finding("path", f"{length} characters to the socket", mend)


def _meminfo(name: str) -> int:
    """A line of /proc/meminfo in bytes."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0
