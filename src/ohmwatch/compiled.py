"""Recursions over readings as machine code: numba, and where it keeps what it has compiled.

A recursion runs reading by reading and can't be written as whole arrays; compiled it costs
nanoseconds a step. The code is strict IEEE arithmetic (no reassociation, no fused operations), so
that the same readings give the same bits on every machine of a kind.

What was compiled is kept on disk, never beside the sources: under NUMBA_CACHE_DIR where it is
set, else in the user's cache folder. Below that is a folder for each state of the core's sources,
for numba sees a change in a function's own file only, not in one that it calls.
"""

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import config

Function = TypeVar("Function", bound=Callable[..., Any])

SOURCES = Path(__file__).parent


def compiled(function: Function) -> Function:
    """The function as machine code, compiled or read from the cache at its first call."""
    keep = _has_folder()
    return cast(Function, numba.njit(cache=keep, error_model="numpy", nogil=True)(function))


def inlined(function: Function) -> Function:
    """For a part of a compiled function: becomes machine code with the one that calls it."""
    return cast(Function, numba.njit(error_model="numpy", nogil=True)(function))


@cache
def _has_folder() -> bool:
    """Points numba to the folder of the present sources.

    False where it can't be written to: then each process compiles for itself.
    """
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "ohmwatch"
    root = Path(os.environ.get("NUMBA_CACHE_DIR") or usual / "numba")
    folder = root / _state_of_sources()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    vars(config)["CACHE_DIR"] = str(folder)
    return os.access(folder, os.W_OK)


def _state_of_sources() -> str:
    digest = hashlib.sha256()
    for each in sorted(SOURCES.rglob("*.py")):
        digest.update(each.read_bytes())
    return digest.hexdigest()[:16]
