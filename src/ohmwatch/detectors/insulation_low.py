"""The high-voltage system is badly insulated against the chassis."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ohmwatch.conditions import Condition, Pole
from ohmwatch.detector import Batch, Floats, Ratings, State
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.heat import column
from ohmwatch.physics.hold import Level, as_findings, hold_dtype, judge

DC_KOHM_PER_V = 0.1
"""ISO 6469-3: at least 100 Ω for each volt of working voltage in a DC circuit."""


@dataclass(frozen=True)
class InsulationLow:
    """The insulation resistance against the least that the model, or the standard, allows.

    Fault: moisture, carbonised tracks, damaged seals or cables: a person who touches the chassis
    is in the circuit, and a second fault is a short.

    Physics: a comparison. Without the model's own minimum, ISO 6469-3's 100 Ω/V at rated
    voltage counts (DC).

    Inputs: `insulation_kohm` (kΩ). Ratings: `insulation_minimum_kohm`, else `rated_voltage_v`;
    silent without both.

    Parameters:
        warning_factor: times the minimum at which the safety margin is spent.
        hysteresis_share: of the minimum, by which a level must be left: at 500 kΩ, 100 kΩ.
            An insulation monitor's own error is ±15 %.
        hold_s, release_s: a monitor injects a slow signal and settles in some 10 s when loads
            switch; water dries in minutes.

    Can't see: where along the high-voltage system the insulation is weak; how fast it falls
    (see insulation_falling); a monitor that is stuck.

    Cost: about 0.5 µs a reading in batches; state: 60 bytes a connector.

    >>> model = Ratings(insulation_minimum_kohm=500.0)
    >>> detector = InsulationLow()
    >>> state = np.zeros(1, detector.state_dtype)
    >>> times = [1_795_420_800_000 + 1000 * second for second in range(90)]
    >>> wet = Batch.of_one("inlet", times, insulation_kohm=[420.0] * 90)
    >>> [each.severity.name for each in detector.observe(wet, [model], state)]
    ['CRITICAL']
    """

    warning_factor: float = 2.0
    hysteresis_share: float = 0.2
    hold_s: float = 60.0
    release_s: float = 300.0

    name = "insulation_low"
    version = "1"
    condition: str = Condition.INSULATION_LOW
    needs: frozenset[str] = frozenset({"insulation_kohm"})

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is how far below the level's limit, as a share of the minimum."""
        return tuple(
            Level(severity, 0.0, -self.hysteresis_share, self.hold_s, self.release_s)
            for severity in (Severity.WARNING, Severity.CRITICAL)
        )

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return hold_dtype(self.levels)

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        minimum_kohm = _minimum_kohm(ratings)[batch.connector]
        usable = ~np.isnan(batch.column("insulation_kohm") + minimum_kohm)
        batch, minimum_kohm = batch.rows(usable), minimum_kohm[usable]
        share = batch.column("insulation_kohm") / minimum_kohm
        excess = [self.warning_factor - share, 1.0 - share]
        said = judge(batch.connector, batch.time_ms, excess, self.levels, ratings, state)
        return as_findings(
            self,
            batch,
            said,
            pole=lambda index: Pole.NONE,
            evidence={
                "insulation_kohm": batch.column("insulation_kohm"),
                "insulation_minimum_kohm": minimum_kohm,
                "voltage_v": batch.column("voltage_v"),
                "humidity_pct": batch.column("humidity_pct"),
            },
        )


def _minimum_kohm(ratings: Sequence[Ratings]) -> Floats:
    """The least allowed insulation of each connector in kΩ; NaN where nothing says."""
    stated = column(ratings, "insulation_minimum_kohm")
    by_voltage = DC_KOHM_PER_V * column(ratings, "rated_voltage_v")
    chosen: Floats = np.where(np.isnan(stated) | (stated <= 0), by_voltage, stated)
    return np.where(chosen > 0, chosen, np.nan)
