"""The high-voltage interlock loop is open though the plug is in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ohmwatch.conditions import Condition, Pole
from ohmwatch.detector import Batch, Ratings, State
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.hold import Level, as_findings, hold_dtype, judge
from ohmwatch.physics.mating import MATING_DTYPE, follow_mating


@dataclass(frozen=True)
class InterlockOpen:
    """The interlock of a mated connector, open for longer than a glitch.

    Fault: a plug that is not fully in or not locked, a broken loop contact or wire. Opened under
    load, a high-voltage contact draws an arc; open, live parts may be touched.

    Physics: none. The loop's contacts mate last and break first, so that an open loop comes
    before an open circuit; the vehicle must take the voltage away (ISO 6469-3, below 60 V DC).

    Inputs: `interlock` (1 closed). Of use: `mated`, `mating_cycles`, `current_a` (A), `voltage_v`.

    Parameters:
        hold_s: how long it must be open. Longer than the bounce of a contact and than one odd
            reading; a device that reports each minute needs two.
        release_s: how long it must be closed again.
        settle_s: after plugging or unplugging, for which nothing is said: hands are on the plug.
        live_v, live_a: above which the circuit is live: 60 V DC is voltage class B of
            ISO 6469-3; 5 A is over the zero error of a 500 A sensor.

    Severities: critical where the circuit is live, for nothing stands between a person and the
    voltage then; else warning.

    Can't see: an inlet that is unplugged where the device reports neither `mated` nor
    `mating_cycles` (what is left out is taken as mated); which place of the loop is open.

    Cost: 0.02 µs a reading in batches; state: 47 bytes a connector.

    >>> detector = InterlockOpen()
    >>> state = np.zeros(1, detector.state_dtype)
    >>> times = [1_795_420_800_000 + 1000 * second for second in range(40)]
    >>> loop = Batch.of_one("inverter", times, interlock=[1.0] * 10 + [0.0] * 30,
    ...     voltage_v=[400.0] * 40)
    >>> [each.severity.name for each in detector.observe(loop, [Ratings()], state)]
    ['CRITICAL']
    """

    hold_s: float = 10.0
    release_s: float = 60.0
    settle_s: float = 30.0
    live_v: float = 60.0
    live_a: float = 5.0

    name = "interlock_open"
    version = "1"
    condition: str = Condition.INTERLOCK_OPEN
    needs: frozenset[str] = frozenset({"interlock"})

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is 1 where the loop is open, 0 where it is closed."""
        return tuple(
            Level(severity, 1.0, 0.5, self.hold_s, self.release_s)
            for severity in (Severity.WARNING, Severity.CRITICAL)
        )

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return np.dtype([("hold", hold_dtype(self.levels)), ("mating", MATING_DTYPE)])

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        batch = batch.rows(~np.isnan(batch.column("interlock")))
        mating = follow_mating(batch, state["mating"])
        at_rest = mating.since_ms >= int(self.settle_s * 1000)
        is_open = mating.mated & at_rest & (batch.column("interlock") < 0.5)
        current_a, voltage_v = batch.column("current_a"), batch.column("voltage_v")
        live = (np.abs(current_a) > self.live_a) | (voltage_v > self.live_v)
        excess = [is_open.astype(np.float64), (is_open & live).astype(np.float64)]
        said = judge(batch.connector, batch.time_ms, excess, self.levels, ratings, state["hold"])
        if not said:
            return []
        return as_findings(
            self,
            batch,
            said,
            pole=lambda index: Pole.NONE,
            evidence={
                "interlock": batch.column("interlock"),
                "voltage_v": voltage_v,
                "current_a": current_a,
            },
        )
