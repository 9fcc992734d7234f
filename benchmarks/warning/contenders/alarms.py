"""From "is it so at this reading" to alarm events, for contenders that only compare.

An alarm opens when its level held in `needed` readings running, worsens with a higher level,
and is cleared after `release_ms` without any.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from benchmarks.warning.events import Event
from ohmwatch.detector import Batch
from ohmwatch.findings import Severity

RELEASE_MS = 24 * 3_600_000
"""A day without: what is hot each afternoon is one alarm, and not one a day."""


@dataclass(slots=True)
class _Standing:
    level: int = 0
    last_ms: int = 0
    candidate: int = 0
    count: int = 0


@dataclass
class Alarms:
    """The alarms of one condition over many connectors."""

    condition: str
    needed: int = 2
    release_ms: int = RELEASE_MS
    _of: dict[str, _Standing] = field(default_factory=dict)

    def follow(self, batch: Batch, level: np.ndarray, pole: np.ndarray) -> Iterator[Event]:
        """Events of a batch. `level` int[n]: the severity that holds at each reading, 0: none,
        −1: the reading doesn't say. `pole` int[n]: 0 positive, 1 negative, 2 neither."""
        # A quiet connector costs nothing: only readings with a level, and their successors.
        for at in _eventful(batch, level, self._loud(batch)):
            name = batch.connectors[int(batch.connector[at])]
            standing = self._of.setdefault(name, _Standing())
            yield from self._step(name, standing, batch, at, int(level[at]), int(pole[at]))

    def _loud(self, batch: Batch) -> np.ndarray:
        """Which connectors have something standing or half confirmed."""
        known = self._of
        return np.array(
            [
                (each := known.get(name)) is not None and (each.level > 0 or each.count > 0)
                for name in batch.connectors
            ],
            dtype=np.bool_,
        )

    def _step(
        self, name: str, now: _Standing, batch: Batch, at: int, level: int, pole: int
    ) -> Iterator[Event]:
        time_ms, arrived_ms = int(batch.time_ms[at]), int(batch.arrived_ms[at])
        if level == 0:
            now.count = 0
            if now.level and time_ms - now.last_ms > self.release_ms:
                severity, now.level = Severity(now.level), 0
                yield Event(name, time_ms, arrived_ms, severity, self.condition, "cleared")
            return
        # A run of readings counts with the lowest level in it.
        now.candidate = level if now.count == 0 else min(now.candidate, level)
        now.count += 1
        if level >= now.level:
            now.last_ms = time_ms
        if now.count >= self.needed and now.candidate > now.level:
            event = "worsened" if now.level else "opened"
            now.level, now.last_ms = now.candidate, time_ms
            severity, where = Severity(now.level), ("pos", "neg", "")[pole]
            yield Event(name, time_ms, arrived_ms, severity, self.condition, event, where)
        if now.count >= self.needed:
            now.count = 0


def _eventful(batch: Batch, level: np.ndarray, loud: np.ndarray) -> list[int]:
    """Readings with a level, the ones after them, and of loud connectors one in sixteen."""
    says = level >= 0
    at = np.flatnonzero(says)
    high = level[at] > 0
    after = np.zeros_like(high)
    after[1:] = high[:-1]
    sparse = loud[batch.connector[at]] & (np.arange(len(at)) % 16 == 0)
    return at[high | after | sparse].tolist()
