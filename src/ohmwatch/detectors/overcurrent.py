"""More current than the connector may carry at this ambient, for longer than it can bear."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ohmwatch.conditions import Condition, Pole
from ohmwatch.detector import Batch, Floats, Ratings, State
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.heat import column, derated_current_a
from ohmwatch.physics.hold import Level, as_findings, hold_dtype, judge
from ohmwatch.physics.load import LOAD_DTYPE, follow


@dataclass(frozen=True)
class Overcurrent:
    """The load of a connector against its derating curve, short overloads allowed.

    Fault: not the connector's: a charger, an inverter or a limit in the vehicle asks too much of
    it. A sound contact overheats all the same, and ages in hours as in years.

    Physics: the derating curve (IEC 60512-5-2) is for steady current. A contact feels I² through
    its thermal lags, so an overload is borne as long as the lagged I² stays below the square of
    the derated current: twice the current for about 0.29 of the time constant from cold. The
    smallest of the lags' results counts, what was not seen counts as no load.

    Inputs: `current_a` (A). Of use: `ambient_c` (°C); without it the rated current is the limit.
    Ratings: `rated_current_a` (A), silent without; `derating`; `thermal_time_constants_s`.

    Parameters:
        warning_share: of the derated current, over which the lagged current must lie. 10 %, or
            21 % more heat: a rise of 50 K becomes one of 60 K, which the margin of a rating and
            the error of a current sensor (2 %) don't explain.
        critical_share: 30 %, or 69 % more heat: a rise of 50 K becomes one of 85 K.
        ambient_error_k: K by which the ambient may be read too warm: the sensor's own error,
            and the connector that warms it.
        hysteresis_share: by which a level must be undercut.
        hold_s, release_s: how long before it counts; the lags are the real hold time.

    Can't see: a current sensor with the wrong scale; a peak that melts a contact in a second
    (a fuse's matter).

    Cost: 0.03 µs a reading in batches; state: 82 bytes a connector.

    >>> model = Ratings(rated_current_a=200.0, thermal_time_constants_s=(60.0,))
    >>> detector = Overcurrent()
    >>> state = np.zeros(1, detector.state_dtype)
    >>> times = [1_795_420_800_000 + 1000 * second for second in range(300)]
    >>> burst = Batch.of_one("inlet", times, current_a=[260.0] * 40 + [150.0] * 260)
    >>> detector.observe(burst, [model], state)
    []
    >>> later = [time + 300_000 for time in times]
    >>> lasting = Batch.of_one("inlet", later, current_a=[280.0] * 300)
    >>> [each.severity.name for each in detector.observe(lasting, [model], state)]
    ['WARNING', 'CRITICAL']
    """

    warning_share: float = 0.10
    critical_share: float = 0.30
    ambient_error_k: float = 4.0
    hysteresis_share: float = 0.05
    hold_s: float = 30.0
    release_s: float = 120.0

    name = "overcurrent"
    version = "1"
    condition: str = Condition.OVERCURRENT
    needs: frozenset[str] = frozenset({"current_a"})

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is the lagged current over the derated one, as a share of it, less 1."""
        shares = ((Severity.WARNING, self.warning_share), (Severity.CRITICAL, self.critical_share))
        return tuple(
            Level(severity, share, share - self.hysteresis_share, self.hold_s, self.release_s)
            for severity, share in shares
        )

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return np.dtype([("hold", hold_dtype(self.levels)), ("load", LOAD_DTYPE)])

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        allowed_a = _allowed_a(batch, ratings, self.ambient_error_k)
        usable = ~np.isnan(batch.column("current_a") + allowed_a) & (allowed_a > 0)
        batch, allowed_a = batch.rows(usable), allowed_a[usable]
        if not len(batch):
            return []
        current_a = batch.column("current_a")
        load = follow(batch.connector, batch.time_ms, current_a, ratings, state["load"])
        load_a = np.sqrt(np.maximum(load.at_least_a2, 0.0))
        over = load_a / allowed_a - 1.0
        said = judge(
            batch.connector, batch.time_ms, [over, over], self.levels, ratings, state["hold"]
        )
        if not said:
            return []
        return as_findings(
            self,
            batch,
            said,
            pole=lambda index: Pole.NONE,
            evidence={
                "load_current_a": load_a,
                "derated_current_a": allowed_a,
                "current_a": current_a,
                "ambient_c": batch.column("ambient_c"),
            },
        )


def _allowed_a(batch: Batch, ratings: Sequence[Ratings], error_k: float) -> Floats:
    """The derated current at each reading's ambient; the rated one where that is not known."""
    by_curve = derated_current_a(ratings, batch.connector, batch.column("ambient_c") - error_k)
    rated = column(ratings, "rated_current_a")[batch.connector]
    return np.where(np.isnan(by_curve), rated, by_curve)
