"""Where a test kills this process: `OHMWATCH_FAULT=after_bulk` or `after_bulk:3` (third time).

Only processes that a test starts have the variable; without it, `point` does nothing.
"""

import os
import signal
import threading

_NAME, _, _TIMES = os.environ.get("OHMWATCH_FAULT", "").partition(":")
_lock = threading.Lock()
_left = int(_TIMES or 1)


def point(name: str, times: int = 1) -> None:
    """Die here, as by a power cut, if this is the step that a test chose. `times`: how often the
    step happens at once."""
    global _left
    if name != _NAME:
        return
    with _lock:
        _left -= times
        if _left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
