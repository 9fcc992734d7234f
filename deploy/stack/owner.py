"""Under which user the services run.

Root is refused by Postgres and Elasticsearch, so a stack started by root runs under the system
user `ohmwatch`, which owns the stack's data and nothing else: the tools that root itself executes
stay root's. Started by anybody else, everything is theirs.
"""

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.stack.errors import StackError
from deploy.stack.layout import CHECKOUT, RUN, Home
from deploy.stack.steps import say

SYSTEM_USER = "ohmwatch"


@dataclass(frozen=True)
class Owner:
    """The user and group that the services run under."""

    name: str
    uid: int
    gid: int

    @property
    def is_somebody_else(self) -> bool:
        return self.uid != os.geteuid()

    def run(
        self, command: Sequence[str], *, env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[Any]:
        """subprocess.run under this user, in the checkout."""
        return subprocess.run(command, env=env, cwd=CHECKOUT, **self._identity(), **options)

    def start(
        self, command: Sequence[str], *, env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[Any]:
        """subprocess.Popen under this user, in the checkout."""
        return subprocess.Popen(command, env=env, cwd=CHECKOUT, **self._identity(), **options)

    def owns(self, *paths: Path) -> None:
        """Hands paths that we made over to this user."""
        for path in paths:
            os.chown(path, self.uid, self.gid)

    def make(self, *folders: Path) -> None:
        """Folders of this user, closed to others."""
        for folder in folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.geteuid() == 0:
                self.owns(folder)

    def _identity(self) -> dict[str, Any]:
        if not self.is_somebody_else:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def current() -> Owner:
    """The owner of a stack of ours. Root gets the system user, which `create` has made."""
    if os.geteuid() == 0:
        return _of(pwd.getpwnam(SYSTEM_USER))
    return _of(pwd.getpwuid(os.geteuid()))


def create() -> None:
    """The system user, where root asks and it isn't there."""
    if os.geteuid() != 0 or _exists(SYSTEM_USER):
        return
    say(
        f"You are root, which Postgres and Elasticsearch refuse: the services will run under a\n"
        f"system user `{SYSTEM_USER}` without password, shell or home."
    )
    command = ["useradd", "--system", "--user-group", "--no-create-home"]
    command += ["--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
    subprocess.run(command, check=True)


def refuse_foreign_run() -> None:
    """A stack that root started is root's to steer."""
    if RUN.exists() and os.geteuid() not in (0, RUN.stat().st_uid):
        maker = pwd.getpwuid(RUN.stat().st_uid).pw_name
        raise StackError(
            f"The stack under {RUN} was made by {maker}: use `sudo ./ohmwatch ...`, or remove it "
            "with `sudo ./ohmwatch reset` and start your own."
        )


def prepare_home(home: Home, owner: Owner) -> None:
    """The folders of a stack, with the modes they keep."""
    home.path.mkdir(mode=0o755, parents=True, exist_ok=True)
    owner.make(*home.of_services())


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _of(entry: pwd.struct_passwd) -> Owner:
    return Owner(entry.pw_name, entry.pw_uid, entry.pw_gid)
