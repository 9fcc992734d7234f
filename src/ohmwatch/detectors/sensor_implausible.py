"""A measurement that can't be: a leap, noise, poles exchanged, a wrong scale, a clock behind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ohmwatch.conditions import Condition, Pole
from ohmwatch.contacts import CONTACTS
from ohmwatch.detector import Batch, Floats, Ratings, State
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.hold import Level, hold_dtype
from ohmwatch.physics.known import (
    SCALE_DROP_LOG,
    SCALE_EVIDENCE,
    SCALE_SHARE,
    is_rescaled,
    known,
    news,
    state,
)
from ohmwatch.stage import Stage

PLACES = ("pos", "neg", "air")


@dataclass(frozen=True)
class SensorImplausible:
    """What no connector does, so that it must be what measures it.

    Fault: a sensor that leapt by an offset or jumps about, two that changed places, a current
    transducer that was exchanged for another or set wrongly, a device whose clock is behind.

    Physics: heat neither leaps at rest nor alternates from reading to reading; a current that
    shrinks or grows on the day on which the heating of both poles seems to do the opposite, with
    the temperatures as ever, is a matter of scale; readings that for hours all come long after
    they were measured were dated wrongly. What one pole heats more than the other turns round in
    one step, and stands for days, only where their sensors were exchanged
    (`ohmwatch.physics.estimate.turning`).

    Inputs: any of `current_a` (A), `temperature_pos_c`, `temperature_neg_c`, `ambient_c` (°C),
    `drop_pos_mv`, `drop_neg_mv` (mV), and the times of measurement and arrival.

    Parameters:
        leap_k: K in one step that a rest did not take back.
        evidence: logs of odds that both poles' heating has changed, for a wrong scale.
        scale_share: by how much the largest current of a day must have changed with it.
        drop_log: logs by which the measured drop's resistance moved with it on both poles.
        late_h: hours of arrival in which every reading was over 20 minutes old. A device that
            was offline sends all it has within minutes.

    Can't see: a wrong scale or clock from the first day; sensors exchanged before it, or between
    two contacts that heat alike, within about a twentieth: nothing that is measured differs then.

    Cost: 0.01 µs a reading beside the contacts stage; state: 24 bytes a connector.

    >>> SensorImplausible().levels[0].severity.name
    'NOTICE'
    """

    leap_k: float = 3.0
    evidence: float = SCALE_EVIDENCE
    scale_share: float = SCALE_SHARE
    drop_log: float = SCALE_DROP_LOG
    late_h: float = 3.0

    name = "sensor_implausible"
    version = "2"
    condition: str = Condition.SENSOR_IMPLAUSIBLE
    needs: frozenset[str] = frozenset({"current_a"})
    stages: tuple[Stage, ...] = (CONTACTS,)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is 1 where it is implausible."""
        return (Level(Severity.NOTICE, 0.5, 0.5, 0.0, 86_400.0),)

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return hold_dtype(self.levels)

    def observe(self, batch: Batch, ratings: Sequence[Ratings], records: State) -> list[Finding]:
        batch = news(batch)
        if not len(batch):
            return []
        lying = {place: self._lies(batch, place) for place in PLACES}
        late = known(batch, "delayed_s") > 3600.0 * self.late_h
        scaled = is_rescaled(
            batch, evidence=self.evidence, share=self.scale_share, drop_log=self.drop_log
        )
        swapped = known(batch, "turned") > 0.0
        excess = np.where(late | scaled | swapped, 1.0, 0.0)
        for lies in lying.values():
            excess = np.maximum(excess, lies)
        return state(
            self,
            batch,
            ratings,
            records,
            levels=self.levels,
            excess=[excess],
            pole=lambda index: _pole(
                lying["pos"][index] > 0 or bool(swapped[index]),
                lying["neg"][index] > 0 or bool(swapped[index]),
            ),
            evidence=lambda: {
                **{f"leapt_{place}_k": known(batch, f"leapt_{place}_k") for place in PLACES},
                **{f"noise_{place}_k": known(batch, f"noise_{place}_k") for place in PLACES},
                "largest_current_share": known(batch, "most_share"),
                "change_log": known(batch, "common"),
                "delayed_s": known(batch, "delayed_s"),
                "between_poles_before_of_rated_rise": known(batch, "apart_base"),
                "between_poles_of_rated_rise": known(batch, "apart_base")
                + known(batch, "apart_newest"),
            },
        )

    def _lies(self, batch: Batch, place: str) -> Floats:
        """1 where the sensor lies by a leap or by noise."""
        lies = known(batch, f"trust_{place}") == 0.0
        leapt = np.abs(known(batch, f"leapt_{place}_k")) >= self.leap_k
        shifted = np.abs(known(batch, f"shift_{place}_k")) > 3.2
        noisy = known(batch, f"noisy_{place}") > 0.0
        return np.where(lies & ((leapt & shifted) | noisy), 1.0, 0.0)


def _pole(positive: bool, negative: bool) -> Pole:
    if positive:
        return Pole.BOTH if negative else Pole.POSITIVE
    return Pole.NEGATIVE if negative else Pole.NONE
