"""What the engine was when the report's seeds were run: a hash over its sources.

Without the codecs: the benchmark's readings come as columns and go through none of them.
"""

import hashlib
from pathlib import Path

import ohmwatch


def source() -> Path:
    """The folder of the pure core."""
    return Path(next(iter(ohmwatch.__path__)))


def fingerprint(folder: Path | None = None) -> str:
    """SHA-256 over path and content of every Python file of the core, in order of their names."""
    folder = folder or source()
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        if path.is_relative_to(folder / "codecs"):
            continue
        digest.update(str(path.relative_to(folder)).encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()
