"""Files that hold secrets: complete or not there, and for nobody else to read."""

import os
import tempfile
from pathlib import Path


def replace_private_file(path: Path, content: str) -> None:
    """Put the content in place in one step, with mode 600; readers see the old or the new whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w") as file:  # mkstemp made it with mode 600
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
