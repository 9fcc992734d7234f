"""A contact is as hot as its model allows, or nearly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ohmwatch.conditions import Condition, Pole
from ohmwatch.contacts import CONTACTS
from ohmwatch.detector import Batch, Flags, Floats, Ratings, State
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.heat import column
from ohmwatch.physics.hold import Level, as_findings, hold_dtype, hotter_pole, judge
from ohmwatch.physics.known import KNOWN_WITNESSES, believed, known
from ohmwatch.stage import Stage

PAIR_K = 6.0
"""By which two sensors may differ on poles that are alike."""

USED_TO_K = 3.0
CHANGE = 6.0
"""K, and logs of odds from which on something has changed: nearly those of a notice."""

_CHANGES = ("apart_up", "apart_down", "common_up", "cooling_up", "drop_pos_up", "drop_neg_up")


@dataclass(frozen=True)
class Overtemperature:
    """The hottest pole against the temperature limit of the connector's model.

    Fault: whatever heats a contact to where its plating, its insulation and its seals fail; the
    last thing that can be noticed, minutes before damage.

    Physics: none but a comparison. The limit is the lowest upper temperature of the parts that
    touch the contact (IEC 61984: upper limiting temperature; IEC 62196-1 for inlets).

    Inputs: `temperature_pos_c`, `temperature_neg_c` (°C at the contact; one of them is enough).
    Rating: `temperature_limit_c` (°C); silent without it.

    Parameters:
        margin_k: K below the limit at which the safety margin is spent: warning. 10 K is
            some minutes of a heating contact, and the class accuracy of an NTC twice over.
        hysteresis_k: K that a level must be left by. 3 K: three times a sensor's noise.
        warning_hold_s, critical_hold_s: how long before it counts; a spike of one reading never
            does. Critical is short, for here each second is heat.
        release_s: how long it must be better before it counts as over.

    A unit that the stage knows, and of which nothing has changed, may come nearer by USED_TO_K:
    there are such that are used almost to their limits day after day, and that is no news.

    Both poles are named where both are over the level, or differ by no more than sensors err.

    A sensor that was seen to lie (contacts stage) is left out: it has a finding of its own.

    Can't see: a fault on a cold day or at part load (see temperature_rise_high), a sensor that
    is stuck or sits far from the contact.

    Cost: 0.01 µs a reading in batches; state: 34 bytes a connector.

    >>> model = Ratings(temperature_limit_c=90.0)
    >>> detector = Overtemperature()
    >>> state = np.zeros(1, detector.state_dtype)
    >>> times = [1_795_420_800_000 + 1000 * second for second in range(8)]
    >>> hot = Batch.of_one("inlet", times, temperature_pos_c=[91.0] * 8)
    >>> [(each.severity.name, each.pole.value) for each in detector.observe(hot, [model], state)]
    [('CRITICAL', 'pos')]
    """

    margin_k: float = 10.0
    hysteresis_k: float = 3.0
    warning_hold_s: float = 30.0
    critical_hold_s: float = 5.0
    release_s: float = 60.0

    name = "overtemperature"
    version = "4"
    condition: str = Condition.OVERTEMPERATURE
    needs: frozenset[str] = frozenset()
    stages: tuple[Stage, ...] = (CONTACTS,)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is K over the limit."""
        warn, back = -self.margin_k, self.hysteresis_k
        return (
            Level(Severity.WARNING, warn, warn - back, self.warning_hold_s, self.release_s),
            Level(Severity.CRITICAL, 0.0, -back, self.critical_hold_s, self.release_s),
        )

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return hold_dtype(self.levels)

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        batch = believed(batch)
        limit_c = column(ratings, "temperature_limit_c")[batch.connector]
        hottest = np.fmax(batch.column("temperature_pos_c"), batch.column("temperature_neg_c"))
        usable = ~np.isnan(hottest - limit_c)
        batch, limit_c = batch.rows(usable), limit_c[usable]
        positive_c, negative_c = (
            batch.column("temperature_pos_c"),
            batch.column("temperature_neg_c"),
        )
        excess = np.fmax(positive_c, negative_c) - limit_c
        # Few come near: only of these it is asked what they are used to.
        warm = np.flatnonzero(excess >= -self.margin_k - self.hysteresis_k)
        near = excess.copy()
        if len(warm):
            near[warm] -= np.where(self._is_as_ever(batch.rows(warm)), USED_TO_K, 0.0)
        said = judge(batch.connector, batch.time_ms, [near, excess], self.levels, ratings, state)
        if not said:
            return []
        return as_findings(
            self,
            batch,
            said,
            pole=_pole(positive_c, negative_c, limit_c - self.margin_k),
            evidence={
                "temperature_pos_c": positive_c,
                "temperature_neg_c": negative_c,
                "temperature_limit_c": limit_c,
                "margin_k": -excess,
                "current_a": batch.column("current_a"),
                "ambient_c": batch.column("ambient_c"),
            },
        )

    def _is_as_ever(self, batch: Batch) -> Flags:
        """Where the stage knows the unit well and sees no change of it."""
        changed = np.zeros(len(batch), dtype=np.bool_)
        for name in _CHANGES:
            changed |= known(batch, name) >= CHANGE
        return (known(batch, "witnesses") >= KNOWN_WITNESSES) & ~changed


def _pole(positive_c: Floats, negative_c: Floats, least_c: Floats) -> Callable[[int], Pole]:
    """Which pole is meant: both that are over `least_c`, or as hot as far as sensors tell."""
    alike = np.abs(positive_c - negative_c) < PAIR_K
    return hotter_pole(
        np.where(alike, np.inf, positive_c - least_c),
        np.where(alike, np.inf, negative_c - least_c),
        0.0,
    )
