"""A temperature sensor goes away from the truth, day by day."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ohmwatch.conditions import Condition, Pole
from ohmwatch.contacts import CONTACTS
from ohmwatch.detector import Batch, Ratings, State
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.hold import Level, hold_dtype
from ohmwatch.physics.known import known, news, state
from ohmwatch.stage import Stage


@dataclass(frozen=True)
class SensorDrifting:
    """What a sensor shows of a resting connector, against what it showed in its first rests.

    Fault: an ageing element, moisture in its lead, a self-heating contact: the number wanders,
    and with it everything that is concluded from it.

    Physics: after many time constants without current both poles are as warm as the air. Where
    one is not, and was, its sensor has moved; where both are off alike, the air's has.

    Inputs: `current_a` (A), two of `temperature_pos_c`, `temperature_neg_c`, `ambient_c` (°C).

    Parameters:
        shift_k: K from the first rests. 3.2 is over what sun on one side and slow cooling do.
        leap_k: K in one step that are no drift (see sensor_implausible).

    Can't see: drift of a connector that never rests, or of one sensor alone; a fault that keeps
    a connector warm for hours without current.

    Cost: 0.01 µs a reading beside the contacts stage; state: 14 bytes a connector.

    >>> SensorDrifting().levels[0].severity.name
    'NOTICE'
    """

    shift_k: float = 3.2
    leap_k: float = 3.0

    name = "sensor_drifting"
    version = "1"
    condition: str = Condition.SENSOR_DRIFTING
    needs: frozenset[str] = frozenset({"current_a"})
    stages: tuple[Stage, ...] = (CONTACTS,)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is K over the shift that a healthy sensor doesn't show."""
        return (Level(Severity.NOTICE, 0.0, -1.2, 0.0, 0.0),)

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return hold_dtype(self.levels)

    def observe(self, batch: Batch, ratings: Sequence[Ratings], records: State) -> list[Finding]:
        batch = news(batch)
        if not len(batch):
            return []
        shifts = {place: _shift_k(batch, place) for place in ("pos", "neg", "air")}
        leapt = [np.abs(known(batch, f"leapt_{place}_k")) for place in shifts]
        gradual = np.fmax(np.fmax(leapt[0], leapt[1]), leapt[2]) < self.leap_k
        largest = np.fmax(np.fmax(shifts["pos"], shifts["neg"]), shifts["air"])
        excess = np.where(gradual, largest, 0.0) - self.shift_k
        return state(
            self,
            batch,
            ratings,
            records,
            levels=self.levels,
            excess=[excess],
            pole=lambda index: _pole(*(float(each[index]) for each in shifts.values())),
            evidence=lambda: {
                f"shift_{place}_k": known(batch, f"shift_{place}_k") for place in shifts
            },
        )


def _shift_k(batch: Batch, place: str) -> np.ndarray:
    """How far the sensor has come, where it is the one that lies; 0 elsewhere."""
    lies = (known(batch, f"trust_{place}") == 0.0) & (known(batch, f"noisy_{place}") == 0.0)
    if place != "air":
        lies &= known(batch, f"stuck_{place}") == 0.0
    return np.where(lies, np.abs(known(batch, f"shift_{place}_k")), 0.0)


def _pole(pos_k: float, neg_k: float, air_k: float) -> Pole:
    if air_k >= max(pos_k, neg_k):
        return Pole.NONE
    return Pole.POSITIVE if pos_k >= neg_k else Pole.NEGATIVE
