"""A temperature sensor stands still while its place warms and cools."""

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
class SensorStuck:
    """The same number again and again, while current and air say that it must change.

    Fault: a frozen converter, a gateway that repeats its last value, a broken wire with a held
    reading. What it says about the contact is worth nothing, least of all that all is well.

    Physics: the place has moved by the model's typical rise times the lagged load, plus the air;
    a healthy sensor of any resolution follows that.

    Inputs: `current_a` (A), `temperature_pos_c`, `temperature_neg_c`, `ambient_c` (°C).

    Parameters:
        moved_k: K that the model saw the pole go since the sensor last changed, more than twice
            the coarsest resolution in use (2 K) and the model's own error.
        still_air_h: hours without a change of measured air, over many readings.

    Can't see: a stuck sensor of a connector that carries nothing.

    Cost: 0.01 µs a reading beside the contacts stage; state: 24 bytes a connector.

    >>> SensorStuck().levels[0].severity.name
    'NOTICE'
    """

    moved_k: float = 5.0
    still_air_h: float = 10.0

    name = "sensor_stuck"
    version = "1"
    condition: str = Condition.SENSOR_STUCK
    needs: frozenset[str] = frozenset({"current_a"})
    stages: tuple[Stage, ...] = (CONTACTS,)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is in parts of what is allowed, over 1."""
        return (Level(Severity.NOTICE, 0.0, -0.9, 0.0, 3600.0),)

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return hold_dtype(self.levels)

    def observe(self, batch: Batch, ratings: Sequence[Ratings], records: State) -> list[Finding]:
        batch = news(batch)
        if not len(batch):
            return []
        pos = known(batch, "still_pos_k") * known(batch, "stuck_pos")
        neg = known(batch, "still_neg_k") * known(batch, "stuck_neg")
        air_h = known(batch, "still_air_s") / 3600.0
        lies = (known(batch, "trust_air") == 0.0) & (air_h > self.still_air_h)
        air = np.where(lies, air_h / self.still_air_h, 0.0)
        poles = np.fmax(pos, neg) / self.moved_k
        excess = np.fmax(poles, air) - 1.0
        return state(
            self,
            batch,
            ratings,
            records,
            levels=self.levels,
            excess=[excess],
            pole=lambda index: _pole(float(pos[index]), float(neg[index]), self.moved_k),
            evidence=lambda: {
                "moved_pos_k": pos,
                "moved_neg_k": neg,
                "still_air_h": air_h,
                "temperature_pos_c": batch.column("temperature_pos_c"),
                "temperature_neg_c": batch.column("temperature_neg_c"),
                "ambient_c": batch.column("ambient_c"),
            },
        )


def _pole(pos_k: float, neg_k: float, moved_k: float) -> Pole:
    if pos_k >= moved_k:
        return Pole.BOTH if neg_k >= moved_k else Pole.POSITIVE
    return Pole.NEGATIVE if neg_k >= moved_k else Pole.NONE
