"""A clock that tests turn by hand, where the product is told the time."""

from datetime import datetime, timedelta


class Clock:
    """`now` stands still until `advance` is called."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def advance(self, **duration: float) -> datetime:
        """Turn by timedelta's arguments and tell the new time."""
        self.now += timedelta(**duration)
        return self.now


class Seconds:
    """A monotonic clock that is turned by hand: calling it tells `now`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
