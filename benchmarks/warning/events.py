"""What an engine says in a set: alarm events, and when they were really said.

An engine states its own times. The judge believes none of them: an event counts from the
moment in which the engine could have known, which is when the batch in which it spoke began to
arrive, or later.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from ohmwatch.backtest.installed import Installed
from ohmwatch.detector import Batch
from ohmwatch.findings import Severity

WINDOW_MS = 15 * 60_000
"""An engine may hold readings back for so long to put them in order: the batch in which it
speaks may be the one after."""


class Alarm(Protocol):
    """An event of `ohmwatch.backtest`, as far as the judge looks. Times are ms since 1970 UTC."""

    @property
    def connector(self) -> str: ...
    @property
    def time_ms(self) -> int: ...
    @property
    def arrived_ms(self) -> int: ...
    @property
    def severity(self) -> Severity | None: ...
    @property
    def condition(self) -> str: ...
    @property
    def pole(self) -> str: ...
    @property
    def event(self) -> str: ...
    @property
    def limit_from_ms(self) -> int | None: ...
    @property
    def limit_to_ms(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Event:
    """What a contender of ours says: `event` is opened, worsened, eased or cleared."""

    connector: str
    time_ms: int
    arrived_ms: int
    severity: Severity | None
    condition: str
    event: str
    pole: str = ""
    limit_from_ms: int | None = None
    limit_to_ms: int | None = None


Contender = Callable[[Iterable[Batch], Mapping[str, Installed]], Iterator[Alarm]]
"""Readings in order of arrival in, alarm events out, in the course of reading them."""


@dataclass(frozen=True, slots=True)
class Said:
    """An event, and the moment from which it counts (`said_ms`, real time)."""

    alarm: Alarm
    said_ms: int


class Stamp:
    """The readings on their way to a contender, and the earliest time it can be speaking of."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = batches
        self.floor_ms = 0

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            if len(batch):
                self.floor_ms = max(self.floor_ms, int(batch.arrived_ms.min()) - WINDOW_MS)
            yield batch


def stamped(
    contender: Contender, batches: Iterable[Batch], installed: Mapping[str, Installed]
) -> Iterator[Said]:
    """All that the contender says of these readings, each event with the time it counts from."""
    stamp = Stamp(batches)
    for alarm in contender(stamp, installed):
        yield Said(alarm, max(alarm.arrived_ms, stamp.floor_ms))
