"""The fleet's past, written through the same door as everything else: MQTT.

It goes in rounds of a day, oldest first: every connector's day is one message by columns, and the
next round starts when the broker has taken the whole of this one. So a connector's readings reach
its detectors in order, and a kill in the middle costs one round, which is sent again.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from workers.simulator.memory import Memory
from workers.simulator.payloads import column_message
from workers.simulator.plant import Plant, Sample
from workers.simulator.session import Message, Session

log = logging.getLogger("workers.simulator")

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Pace:
    """How dense the history is and how fast it may be sent.

    `step_ms` holds for the newest day; what is older is looked at in wider charts.
    """

    step_ms: int = 120_000
    readings_per_s: float = 6_000.0

    def step_of(self, rounds_after: int) -> int:
        """ms between readings of a round that has so many after it."""
        if rounds_after < 1:
            return self.step_ms
        return self.step_ms * (3 if rounds_after < 3 else 5)


class History:
    """What lies between `memory.history_begin_ms` and `history_end_ms`, as far as it is missing."""

    def __init__(
        self, plant: Plant, sessions: dict[str, Session], memory: Memory, *, pace: Pace
    ) -> None:
        self._plant = plant
        self._sessions = sessions
        self._memory = memory
        self._pace = pace
        self._missing = 0

    @property
    def rounds(self) -> int:
        """How many rounds the whole history has."""
        span_ms = self._memory.history_end_ms - self._memory.history_begin_ms
        return math.ceil(span_ms / DAY_MS)

    def write(self, *, go_on: Callable[[float], bool]) -> bool:
        """Send what is missing; `go_on(seconds)` lets the sessions work and says false to stop.

        Returns whether the history is complete. Rounds that were confirmed in an earlier life are
        played silently, so that the contacts' temperatures and the noise are the same as then.
        """
        for number in range(self.rounds):
            samples = list(self._samples(number))
            if number < self._memory.history_rounds:
                continue
            not_before_s = time.monotonic() + self._offer(number, samples)
            while self._missing or time.monotonic() < not_before_s:
                if not go_on(0.1):
                    return False
            self._memory.history_rounds = number + 1
            self._memory.save()
            log.info("history: day %d of %d", number + 1, self.rounds)
        return True

    def _samples(self, number: int) -> Iterator[Sample]:
        begin_ms = self._memory.history_begin_ms + number * DAY_MS
        end_ms = min(begin_ms + DAY_MS, self._memory.history_end_ms)
        for time_ms in range(begin_ms, end_ms, self._step_ms(number)):
            yield self._plant.advance(time_ms)

    def _step_ms(self, number: int) -> int:
        return self._pace.step_of(self.rounds - number - 1)

    def _offer(self, number: int, samples: list[Sample]) -> float:
        """Hand the round to the sessions; the seconds that it should take at least."""
        begin_ms = self._memory.history_begin_ms + number * DAY_MS
        fleet = self._plant.fleet
        for device in fleet.devices:
            for place in device.units:
                payload = column_message(
                    fleet.units[place],
                    place,
                    samples,
                    start_ms=begin_ms,
                    step_ms=self._step_ms(number),
                )
                self._missing += 1
                self._sessions[device.identity].offer(Message(payload, taken=self._one_taken))
        return len(samples) * len(fleet.units) / self._pace.readings_per_s

    def _one_taken(self) -> None:
        self._missing -= 1
