"""Waiting for what another process does, with an end and a word for what didn't come."""

import time
from collections.abc import Callable


def eventually(happened: Callable[[], object], what: str, *, within_s: float = 5.0) -> None:
    """Ask until it is so; fails with `what` after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.02)
