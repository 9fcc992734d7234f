"""The Debian packages Ohmwatch stands on: which are missing, why each, and how they come."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.stack.errors import StackError
from deploy.stack.steps import say

INSTALLER = Path(__file__).with_name("install-packages.sh")

FOR_UP = {
    "ca-certificates": "checks who it downloads from",
    "python3-venv": "the Python environment under .run/venv",
    "postgresql-15": "keeps tenants, people, vehicles, alarms",
    "redis-server": "queues and the logs of the detection partitions",
    "mosquitto": "the MQTT broker that devices talk to",
    "openjdk-17-jre-headless": "runs Elasticsearch, which keeps the readings",
    "gettext": "compiles the translations",
}
TO_FETCH_ELASTICSEARCH = {"maven": "fetches Elasticsearch from Maven Central, once"}
AS_ROOT = {"acl": "lets the unprivileged user reach a checkout in a private folder"}
FOR_TEST = {"chromium": "the browser of the journey tests"}


def needed(*, test: bool, elasticsearch_here: bool, as_root: bool) -> dict[str, str]:
    """Package to reason, for this command on this machine."""
    wanted = dict(FOR_UP)
    if not elasticsearch_here:
        wanted |= TO_FETCH_ELASTICSEARCH
    if as_root:
        wanted |= AS_ROOT
    if test:
        wanted |= FOR_TEST
    return wanted


def missing(wanted: dict[str, str]) -> dict[str, str]:
    """Those that dpkg does not know as installed."""
    return {name: why for name, why in wanted.items() if not _is_installed(name)}


def install(absent: dict[str, str]) -> None:
    """Says what and why, then installs; stops with the exact command where nobody may."""
    say("These Debian packages are missing:")
    for name, why in absent.items():
        say(f"  {name:24} {why}")
    command = [*_rights(absent), "sh", str(INSTALLER), *absent]
    say(f"Installing them, without starting any service of the system's:\n  {shlex.join(command)}")
    result = subprocess.run(command, stdin=None if sys.stdin.isatty() else subprocess.DEVNULL)
    if result.returncode:
        raise StackError(
            f"Installing the packages failed (status {result.returncode}); apt's words are above."
        )


def command_for(absent: dict[str, str]) -> str:
    """What a person with rights types."""
    return shlex.join(["sudo", "sh", str(INSTALLER), *absent])


def _rights(absent: dict[str, str]) -> list[str]:
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and (sys.stdin.isatty() or _sudo_without_password()):
        return ["sudo"]
    raise StackError(
        "This needs rights that you don't have here. A person with rights has to run\n\n"
        f"  {command_for(absent).removeprefix('sudo ')}\n\n"
        "as root; then run ./ohmwatch again. Nothing else it does needs them."
    )


def _sudo_without_password() -> bool:
    return subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0


def _is_installed(name: str) -> bool:
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status}", name]
    return subprocess.run(query, capture_output=True, text=True).stdout == "installed"
