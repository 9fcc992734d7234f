"""Heat gets away from a connector worse than it did."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ohmwatch.conditions import Condition, Pole
from ohmwatch.contacts import CONTACTS
from ohmwatch.detector import Batch, Ratings, State
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.hold import Level, hold_dtype
from ohmwatch.physics.known import (
    air_moved_since,
    contact_evidence,
    heats_more,
    known,
    least_trust,
    news,
    same_current,
    state,
)
from ohmwatch.stage import Stage


@dataclass(frozen=True)
class CoolingReduced:
    """Both poles' heating against the unit's own past, where their difference has stayed.

    Fault: a coolant path blocked, a fan or a pump down, a housing packed in dirt: the thermal
    resistance grows for both poles at once, while the contacts are what they were.

    Physics: rise is R·Rth·I² (IEC 60512-5-2); what both poles gain is Rth's. It is told apart
    from a current that is measured too small by the current itself: that one shrinks on the day
    on which the heating seems to grow; and from a sensor of the air that hangs, by waiting for it
    to move.

    Inputs: `current_a` (A), `ambient_c` (°C), a pole's temperature (°C). Rating:
    `rated_current_a`.

    Parameters:
        evidence: logs of odds for a warning; two thirds of it for a notice.
        least_change: of the newest episodes, in parts of cooling that is slower by 1.8; without
            it nothing is stated, but what was stated lasts as long as its evidence.
        most_change: the same, beyond which it is no cooling: without any of it, a contact in still
            air keeps a third of what a new one gives off.
        shift_k, pair_k: K by which the air's sensor has come at rest, or a pole's against the
            other's, that make it a matter of the sensors. Healthy pairs of the hard tuning sets
            came to 2.5 in a month.
        same_current: the least share of the former largest current of a day that a day since the
            change must have reached (see contact_resistance_rising).
        drop_log: growth of both measured resistances that says that it is the current.

    Can't see: cooling that was bad from the first day; two contacts that age alike, which look
    the same from outside where no voltage drop is measured.

    Cost: 0.01 µs a reading beside the contacts stage; state: 20 bytes a connector.

    >>> CoolingReduced().condition.value
    'cooling_reduced'
    """

    evidence: float = 24.0
    least_change: float = 0.4
    most_change: float = 3.0
    shift_k: float = 2.2
    pair_k: float = 3.2
    same_current: float = 0.92
    drop_log: float = 0.1

    name = "cooling_reduced"
    version = "3"
    condition: str = Condition.COOLING_REDUCED
    needs: frozenset[str] = frozenset({"current_a", "ambient_c"})
    stages: tuple[Stage, ...] = (CONTACTS,)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is evidence."""
        return (
            Level(Severity.NOTICE, 0.67 * self.evidence, 2.0, 0.0, 0.0),
            Level(Severity.WARNING, self.evidence, 2.0, 0.0, 0.0),
        )

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return hold_dtype(self.levels)

    def observe(self, batch: Batch, ratings: Sequence[Ratings], records: State) -> list[Finding]:
        batch = news(batch, episodes_only=True)
        if not len(batch):
            return []
        pole_k = np.fmax(known(batch, "apart_up"), known(batch, "apart_down"))
        drops = np.fmin(known(batch, "drop_pos"), known(batch, "drop_neg"))
        since_ms = known(batch, "cooling_since_ms")
        undecided = np.isnan(drops) & ~same_current(batch, since_ms, self.same_current)
        is_current = drops > self.drop_log
        is_contact = pole_k > 6.0
        # What one pole's sensor gained with or without load is half of it the mean's.
        is_sensor = np.abs(known(batch, "pair_shift_k")) > self.pair_k
        change = known(batch, "cooling")
        undecided |= (change < self.least_change) | (change > self.most_change)
        undecided |= heats_more(batch)
        # Air that has stood still since then may be a sensor's: nothing but it says so yet.
        undecided |= ~air_moved_since(batch, since_ms)
        up = known(batch, "cooling_up")
        # A cool day takes nothing back: what was stated ends when the evidence of it does.
        excess = np.where(undecided, np.minimum(up, 0.5 * self.levels[0].on), up)
        excess = np.where(is_current | is_contact | is_sensor, 0.0, excess)
        # A sensor that may lie makes heat of its own: at most a notice.
        doubted = (least_trust(batch) < 1.0) | (np.abs(known(batch, "shift_air_k")) > self.shift_k)
        excess = np.where(doubted, np.minimum(excess, self.evidence - 1.0), excess)
        worse = known(batch, "heating_pos_k") >= known(batch, "heating_neg_k")
        return state(
            self,
            batch,
            ratings,
            records,
            levels=self.levels,
            excess=[excess, excess],
            pole=lambda index: Pole.BOTH,
            evidence=lambda: {
                **contact_evidence(batch, ratings, worse),
                "slower": known(batch, "cooling"),
                "log_odds": known(batch, "cooling_up"),
            },
            since_ms=known(batch, "cooling_since_ms"),
        )
