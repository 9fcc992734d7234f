"""More voltage than the connector is rated for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ohmwatch.conditions import Condition, Pole
from ohmwatch.detector import Batch, Ratings, State
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.heat import column
from ohmwatch.physics.hold import Level, as_findings, hold_dtype, judge


@dataclass(frozen=True)
class Overvoltage:
    """The voltage against the connector's rated voltage.

    Fault: not the connector's: a charger or an inverter out of control, a load that was cut off.
    Creepage and clearance of the connector are made for its rated voltage (IEC 60664-1); over
    it, a track across damp plastic begins that ends in an arc.

    Physics: a comparison.

    Input: `voltage_v` (V). Rating: `rated_voltage_v` (V); silent without it.

    Parameters:
        warning_share, critical_share: of the rated voltage, over it. 2 %: a battery monitor's
            error, and the ripple of a full battery that takes back what braking gives. 10 %:
            the permanent overvoltage that basic insulation is laid out for (IEC 60664-1).
        hysteresis_share: by which a level must be undercut.
        hold_s, release_s: how long before it counts; switching peaks are shorter.

    Can't see: transients between two readings, which insulation is tested for by impulses.

    Cost: 0.01 µs a reading in batches; state: 34 bytes a connector.

    >>> detector = Overvoltage()
    >>> state = np.zeros(1, detector.state_dtype)
    >>> times = [1_795_420_800_000 + 1000 * second for second in range(30)]
    >>> high = Batch.of_one("battery", times, voltage_v=[830.0] * 30)
    >>> [each.severity.name for each in detector.observe(high, [Ratings(rated_voltage_v=800.0)],
    ...     state)]
    ['WARNING']
    """

    warning_share: float = 0.02
    critical_share: float = 0.10
    hysteresis_share: float = 0.01
    hold_s: float = 10.0
    release_s: float = 60.0

    name = "overvoltage"
    version = "1"
    condition: str = Condition.OVERVOLTAGE
    needs: frozenset[str] = frozenset({"voltage_v"})

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is the voltage over the rated one, as a share of it, less 1."""
        shares = ((Severity.WARNING, self.warning_share), (Severity.CRITICAL, self.critical_share))
        return tuple(
            Level(severity, share, share - self.hysteresis_share, self.hold_s, self.release_s)
            for severity, share in shares
        )

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return hold_dtype(self.levels)

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        rated_v = column(ratings, "rated_voltage_v")[batch.connector]
        usable = ~np.isnan(batch.column("voltage_v")) & (rated_v > 0)
        batch, rated_v = batch.rows(usable), rated_v[usable]
        over = batch.column("voltage_v") / rated_v - 1.0
        said = judge(batch.connector, batch.time_ms, [over, over], self.levels, ratings, state)
        if not said:
            return []
        return as_findings(
            self,
            batch,
            said,
            pole=lambda index: Pole.NONE,
            evidence={"voltage_v": batch.column("voltage_v"), "rated_voltage_v": rated_v},
        )
