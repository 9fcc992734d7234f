"""A connector was plugged as often as it is made for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ohmwatch.conditions import Condition, Pole
from ohmwatch.detector import Batch, Floats, Ratings, State
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.heat import column
from ohmwatch.physics.hold import Level, as_findings, hold_dtype, judge
from ohmwatch.physics.sequence import Runs


@dataclass(frozen=True)
class MatingCyclesExceeded:
    """The count of mating cycles against the rated number.

    Fault: none yet. Each mating wears the plating and the springs; up to the rated number the
    maker vouches for contact resistance and force (IEC 60512-9-1), beyond it nobody does.

    Physics: a comparison. Two readings in a row must agree, for a counter that is read while it
    changes may give any number.

    Input: `mating_cycles`. Rating: `rated_mating_cycles`; silent without it.

    Parameters:
        notice_share: of the rated number from which on a replacement is planned: at 90 % of
            10 000 cycles and two a day, more than a year before.
        warning_share: 1: what the maker vouches for is used up, the margin spent.
        agreement_share: of the rated number, within which two readings agree.

    Severities: notice, then warning; a count is never a reason to stop now.

    Can't see: how the plug was handled; wear shows itself in contact resistance.

    Cost: 0.02 µs a reading in batches; state: 28 bytes a connector.

    >>> detector = MatingCyclesExceeded()
    >>> state = np.zeros(1, detector.state_dtype)
    >>> times = [1_795_420_800_000 + 1000 * second for second in range(4)]
    >>> worn = Batch.of_one("inlet", times, mating_cycles=[9_000.0, 9_001.0, 10_000.0, 10_000.0])
    >>> model = Ratings(rated_mating_cycles=10_000.0)
    >>> [each.severity.name for each in detector.observe(worn, [model], state)]
    ['NOTICE', 'WARNING']
    """

    notice_share: float = 0.9
    warning_share: float = 1.0
    agreement_share: float = 0.01

    name = "mating_cycles_exceeded"
    version = "1"
    condition: str = Condition.MATING_CYCLES_EXCEEDED
    needs: frozenset[str] = frozenset({"mating_cycles"})

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is the share used; a count only falls where the connector was replaced."""
        return (
            Level(Severity.NOTICE, self.notice_share, self.notice_share - 0.05, 0.0, 0.0),
            Level(Severity.WARNING, self.warning_share, self.warning_share - 0.05, 0.0, 0.0),
        )

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return np.dtype([("hold", hold_dtype(self.levels)), ("cycles", "<f4"), ("sure", "<f4")])

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        rated = column(ratings, "rated_mating_cycles")[batch.connector]
        usable = ~np.isnan(batch.column("mating_cycles")) & (rated > 0)
        batch, rated = batch.rows(usable), rated[usable]
        sure = self._agreed(batch, rated, state)
        used = sure / rated
        said = judge(
            batch.connector, batch.time_ms, [used, used], self.levels, ratings, state["hold"]
        )
        if not said:
            return []
        return as_findings(
            self,
            batch,
            said,
            pole=lambda index: Pole.NONE,
            evidence={"mating_cycles": sure, "rated_mating_cycles": rated},
        )

    def _agreed(self, batch: Batch, rated: Floats, state: State) -> Floats:
        """The last count that two readings in a row agreed on; 0 where there was none."""
        runs = Runs.of(batch.connector)
        cycles = batch.column("mating_cycles")
        step = np.abs(cycles - runs.previous(cycles, state["cycles"]))
        at = runs.latest(step <= self.agreement_share * rated)
        carried = np.repeat(state["sure"][runs.owner], runs.ends - runs.starts + 1)
        sure = np.where(at >= 0, cycles[at], carried)
        state["cycles"][runs.owner], state["sure"][runs.owner] = cycles[runs.ends], sure[runs.ends]
        return sure
