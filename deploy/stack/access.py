"""Lets the unprivileged user reach a checkout in a private folder, and takes it back.

A clone under /root, or made with a strict umask, is closed to the system user `ohmwatch`. Each
folder on the way gets one access control entry for that one user: x (pass through), nothing more.
The lists as they were are kept, and `reset` puts them back exactly.
"""

import subprocess
from pathlib import Path

from deploy.stack.errors import StackError
from deploy.stack.layout import CHECKOUT, RUN, write_private
from deploy.stack.owner import Owner
from deploy.stack.steps import say

_KEPT = RUN / "access-before.acl"


def grant(owner: Owner) -> None:
    """Opens the way for `owner` where it is closed. Says so before."""
    if not owner.is_somebody_else:
        return
    closed = [folder for folder in CHECKOUT.parents if not _may(owner, "-x", folder)]
    sources = not _may(owner, "-r", CHECKOUT / "manage.py") or not _may(owner, "-x", CHECKOUT)
    if sources or closed:
        _open(owner, closed, sources=sources)
    if not _may(owner, "-r", CHECKOUT / "manage.py"):
        raise StackError(
            f"The user {owner.name} can't read {CHECKOUT}, and access control lists don't help "
            "here. Move the checkout to a folder that others may enter, /srv for example."
        )


def revoke() -> None:
    """Puts the access control lists back as they were before the first `grant`."""
    if _KEPT.exists():
        subprocess.run(["setfacl", f"--restore={_KEPT}"], cwd="/", check=True)
        _KEPT.unlink()


def _open(owner: Owner, closed: list[Path], *, sources: bool) -> None:
    _keep(closed, sources=sources)
    for folder in closed:
        say(f"{folder} is private: letting the user {owner.name} pass through it (setfacl x).")
        _setfacl("-m", f"u:{owner.name}:x", str(folder))
    if sources:
        say(f"{CHECKOUT} is private: letting the user {owner.name} read it (setfacl rX).")
        kept = [str(entry) for entry in CHECKOUT.iterdir() if entry != RUN]
        _setfacl("-m", f"u:{owner.name}:rx", str(CHECKOUT))
        _setfacl("-R", "-m", f"u:{owner.name}:rX", *kept)
    say("`./ohmwatch reset` takes that back.")


def _keep(closed: list[Path], *, sources: bool) -> None:
    """Appends: a second `grant` (the checkout was moved open and shut) must not lose the first."""
    command = ["getfacl", "--absolute-names", *map(str, closed)]
    before = subprocess.run(command, capture_output=True, text=True).stdout if closed else ""
    if sources:
        kept = [str(entry) for entry in CHECKOUT.iterdir() if entry != RUN]
        for extra in (
            ["getfacl", "--absolute-names", str(CHECKOUT)],
            [
                "getfacl",
                "-R",
                "--absolute-names",
                *kept,
            ],
        ):
            before += subprocess.run(extra, capture_output=True, text=True).stdout
    earlier = _KEPT.read_text() if _KEPT.exists() else ""
    write_private(_KEPT, before + earlier)


def _may(owner: Owner, test: str, path: Path) -> bool:
    """Asks the kernel, as that user; its own folder is `/`, which everybody may enter."""
    command = ["test", test, str(path)]
    return (
        subprocess.run(
            command, cwd="/", user=owner.uid, group=owner.gid, extra_groups=[]
        ).returncode
        == 0
    )


def _setfacl(*arguments: str) -> None:
    result = subprocess.run(["setfacl", *arguments], capture_output=True, text=True)
    if result.returncode:
        raise StackError(f"setfacl {' '.join(arguments[:2])} failed: {result.stderr.strip()}")
