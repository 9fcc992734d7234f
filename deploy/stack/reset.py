"""`reset`: back to what a fresh clone is."""

import shutil

from deploy.stack import access, up
from deploy.stack.layout import ELASTICSEARCH_HOME, RUN, VENV
from deploy.stack.stack import Stack

_TOOLS = (VENV, ELASTICSEARCH_HOME, RUN / "downloads")


def reset_everything(stack: Stack, *, tools: bool) -> None:
    """Ends the stack and removes all it made; tools stay unless asked, they take minutes."""
    up.bring_down(stack)
    access.revoke()
    for entry in RUN.iterdir():
        if entry in _TOOLS and not tools:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    if tools:
        RUN.rmdir()
