"""Memory that a batch has used, given back to the system before the next one.

Each batch takes and frees some 200 MB in pieces of all sizes. What glibc and Arrow keep of it for
later lies in ever more places: a recording four times as long took a seventh more, and the same
again for the next one. Giving it back costs a few hundredths of the time.
"""

import ctypes
import sys
from contextlib import suppress


def give_back() -> None:
    """What lies free, of Python's and numpy's and of Arrow's."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
    if arrow := sys.modules.get("pyarrow"):
        arrow.default_memory_pool().release_unused()
