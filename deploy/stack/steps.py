"""Progress: one line a step, with the time it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def step(title: str) -> Iterator[None]:
    """Prints the title at once at a terminal, and the time in seconds when the step is done."""
    started = time.monotonic()
    terminal = sys.stdout.isatty()
    if terminal:
        print(f"  … {title}", end="", flush=True)
    begin = "\r" if terminal else ""
    try:
        yield
    except BaseException:
        print(f"{begin}  ✗ {title}", flush=True)
        raise
    print(f"{begin}  ✓ {title} ({time.monotonic() - started:.1f} s)", flush=True)


def say(text: str = "") -> None:
    """A line that isn't a step."""
    print(text, flush=True)
