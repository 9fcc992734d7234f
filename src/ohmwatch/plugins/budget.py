"""How much of a worker's time a plug-in may take, whatever its answers are worth."""

from collections import deque

SHARE = 0.5
"""Of the time that passes. With half of it gone a worker still judges as fast as readings come,
up to half its load; beyond that the plug-in alone would decide how late a warning is."""

WINDOW_S = 60.0
"""Long enough for a model that thinks hard about a large batch now and then."""


class Budget:
    """Adds up what turns took. Seconds on one clock, rising.

    >>> budget = Budget(share=0.5, window_s=60.0)
    >>> for turn in range(8):
    ...     budget.spend(3.9, now_s=4.0 * (turn + 1))
    >>> budget.overdrawn
    'its turns took 31 s of 60 s, at most 30 s'
    >>> moderate = Budget(share=0.5, window_s=60.0)
    >>> for turn in range(100):
    ...     moderate.spend(3.9, now_s=10.0 * turn)
    >>> moderate.overdrawn
    ''
    """

    def __init__(self, share: float = SHARE, window_s: float = WINDOW_S) -> None:
        self.overdrawn = ""
        self._allowed_s, self._window_s = share * window_s, window_s
        self._turns: deque[tuple[float, float]] = deque()
        self._spent_s = 0.0

    def spend(self, took_s: float, *, now_s: float) -> None:
        """A turn that ended now. Once overdrawn it stays so; `overdrawn` says by how much."""
        self._turns.append((now_s, took_s))
        self._spent_s += took_s
        while self._turns[0][0] <= now_s - self._window_s:
            self._spent_s -= self._turns.popleft()[1]
        if self._spent_s > self._allowed_s and not self.overdrawn:
            self.overdrawn = (
                f"its turns took {self._spent_s:.0f} s of {self._window_s:g} s,"
                f" at most {self._allowed_s:g} s"
            )
