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
    for folder in reversed(CHECKOUT.parents):
        if not _may(owner, "-x", folder):
            say(f"{folder} is private: letting the user {owner.name} pass through it (setfacl x).")
            _change(["-m", f"u:{owner.name}:x"], [folder], recursive=False)
    if not _may(owner, "-r", CHECKOUT / "manage.py"):
        say(f"{CHECKOUT} is private: letting the user {owner.name} read it (setfacl rX).")
        sources = [entry for entry in CHECKOUT.iterdir() if entry != RUN]
        _change(["-m", f"u:{owner.name}:rx"], [CHECKOUT], recursive=False)
        _change(["-m", f"u:{owner.name}:rX"], sources, recursive=True)
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


def _change(entries: list[str], paths: list[Path], *, recursive: bool) -> None:
    """setfacl, after the lists as they are were put beside those kept before."""
    names = [*(["-R"] if recursive else []), *map(str, paths)]
    listed = ["getfacl", "--absolute-names", *names]
    before = subprocess.run(listed, capture_output=True, text=True).stdout
    earlier = _KEPT.read_text() if _KEPT.exists() else ""
    # The oldest state comes last, because --restore goes through them in order.
    write_private(_KEPT, before + earlier)
    result = subprocess.run(["setfacl", *entries, *names], capture_output=True, text=True)
    if result.returncode:
        raise StackError(f"setfacl {entries[1]} failed: {result.stderr.strip()}")


def _may(owner: Owner, test: str, path: Path) -> bool:
    """Asks the kernel, as that user; its own folder is `/`, which everybody may enter."""
    command = ["test", test, str(path)]
    return (
        subprocess.run(
            command, cwd="/", user=owner.uid, group=owner.gid, extra_groups=[]
        ).returncode
        == 0
    )
