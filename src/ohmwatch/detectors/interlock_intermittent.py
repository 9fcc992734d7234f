"""The interlock loop opens for moments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ohmwatch.conditions import Condition, Pole
from ohmwatch.detector import Batch, Flags, Floats, Ratings, State
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.hold import Level, as_findings, hold_dtype, judge
from ohmwatch.physics.mating import MATING_DTYPE, Mating, follow_mating
from ohmwatch.physics.recurrence import RECURRENCE_DTYPE, recent
from ohmwatch.physics.sequence import Runs

_DAY_S = 86_400.0


@dataclass(frozen=True)
class InterlockIntermittent:
    """Openings of the interlock, counted over weeks, against mating and against vibration.

    Fault: a loop contact that has lost its force, a worn latch, a broken strand: it opens for
    moments, ever more often, until the vehicle shuts off while it drives.

    Physics: openings of a sound loop are single events far apart (interference); those of a
    loose one come together. Each counts 1 and is forgotten with a time constant of days, so the
    count is the rate over that time. An opening beside a mating is a hand's and counts nothing;
    one under a jolt that opens sound contacts too counts half. A plug that a hand has put in to
    charge is another matter: current flows through it only once it is locked and its loop is
    closed (IEC 61851-23), and the vehicle stands (ISO 17409). What opens it under current is
    neither hand nor jolt, and counts twice, even if nobody saw the loop closed before.

    Inputs: `interlock` (1 closed). Of use: `mated`, `mating_cycles`, `vibration_g` (g rms),
    `current_a` (A).

    Parameters:
        memory_days: time constant in days over which openings are forgotten. Two within
            ten days are a pattern: interference at 0.3 a year pairs up once in 400 years.
        warning_count, notice_count: of openings not forgotten. One is a notice, the second
            within ten days a warning: what has begun to open goes on.
        settle_s: after plugging or unplugging, in s; hands and cable still move.
        plugged_h: hours after plugging for which a current is taken for that of a charge.
        charge_a: current from which on it is one; 5 A is over the zero error of a 500 A sensor.
        rough_g: g rms above which an opening counts half. 6 g rms is over what mounting on a
            body sees (ISO 16750-3: 2.8 g rms) and under what destroys the connector.

    Can't see: openings between two readings, unless the device reports them at once.

    Cost: 0.03 µs a reading in batches; state: 42 bytes a connector.

    >>> detector = InterlockIntermittent()
    >>> state = np.zeros(1, detector.state_dtype)
    >>> times = [1_795_420_800_000 + 60_000 * minute for minute in range(300)]
    >>> loop = Batch.of_one("battery", times,
    ...     interlock=[0.0 if minute in (100, 250) else 1.0 for minute in range(300)])
    >>> findings = detector.observe(loop, [Ratings()], state)
    >>> [each.name for each in dict.fromkeys(finding.severity for finding in findings)]
    ['NOTICE', 'WARNING']
    """

    memory_days: float = 21.0
    notice_count: float = 0.9
    warning_count: float = 1.6
    settle_s: float = 600.0
    plugged_h: float = 24.0
    charge_a: float = 5.0
    rough_g: float = 6.0

    name = "interlock_intermittent"
    version = "2"
    condition: str = Condition.INTERLOCK_INTERMITTENT
    needs: frozenset[str] = frozenset({"interlock"})

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is the count; a level is left at a third or half of what it takes to reach."""
        return (
            Level(Severity.NOTICE, self.notice_count, self.notice_count / 3, 0.0, 0.0),
            Level(Severity.WARNING, self.warning_count, self.warning_count / 2, 0.0, 0.0),
        )

    @property
    def state_dtype(self) -> np.dtype[Any]:
        loop = np.dtype([("closed", "?")])
        return np.dtype(
            [
                ("hold", hold_dtype(self.levels)),
                ("mating", MATING_DTYPE),
                ("loop", loop),
                ("recent", RECURRENCE_DTYPE),
            ]
        )

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        batch = batch.rows(~np.isnan(batch.column("interlock")))
        if not len(batch):
            return []
        mating = follow_mating(batch, state["mating"])
        opens = self._openings(batch, mating, state["loop"])
        weight = np.where(opens, self._weight(batch, mating), 0.0)
        last_ms = state["hold"]["last_ms"]
        count = recent(batch, weight, self.memory_days * _DAY_S, state["recent"], last_ms)
        excess = [count, count]
        said = judge(batch.connector, batch.time_ms, excess, self.levels, ratings, state["hold"])
        if not said:
            return []
        return as_findings(
            self,
            batch,
            said,
            pole=lambda index: Pole.NONE,
            evidence={
                "recent_openings": count,
                "vibration_g": batch.column("vibration_g"),
                "interlock": batch.column("interlock"),
            },
        )

    def _weight(self, batch: Batch, mating: Mating) -> Floats:
        """What an opening at each reading counts."""
        by_hand = ~mating.mated | (mating.since_ms < int(self.settle_s * 1000))
        is_rough = batch.column("vibration_g") > self.rough_g
        charges = mating.mated & (mating.since_ms < int(self.plugged_h * 3_600_000))
        charges &= np.abs(batch.column("current_a")) > self.charge_a
        weight = np.where(by_hand, 0.0, np.where(is_rough, 0.5, 1.0))
        return np.where(charges, 2.0, weight)

    def _openings(self, batch: Batch, mating: Mating, loop: State) -> Flags:
        """Where a loop opens that was seen closed, or unplugged; carries `loop` forward."""
        runs = Runs.of(batch.connector)
        is_closed = (batch.column("interlock") >= 0.5) | ~mating.mated
        opens = ~is_closed & runs.previous(is_closed, loop["closed"])
        loop["closed"][runs.owner] = is_closed[runs.ends]
        return opens
