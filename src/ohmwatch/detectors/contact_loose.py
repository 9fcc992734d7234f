"""A contact makes and breaks: it jumps from one resistance to another, and flutters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ohmwatch.conditions import Condition
from ohmwatch.contacts import CONTACTS
from ohmwatch.detector import Batch, Ratings, State
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.hold import Level, hold_dtype
from ohmwatch.physics.known import contact_evidence, known, news, state, which
from ohmwatch.stage import Stage


@dataclass(frozen=True)
class ContactLoose:
    """How restless the difference of the poles is under load, with a resistance that has grown.

    Fault: a screw or a lock that lets go: under vibration the contact area changes from moment
    to moment, which wears it, and an arc is near.

    Physics: heat is slow, a steady contact's temperature follows its load; what the model with
    the present resistance can't follow is resistance that changes within minutes. The measure is
    the mean square innovation of the poles' difference over its own in the unit's first days.

    Inputs: `current_a` (A), `temperature_pos_c`, `temperature_neg_c` (°C). Rating:
    `rated_current_a`.

    Parameters:
        flutter: times the unit's own restlessness that a steadily growing contact doesn't reach.
        evidence: logs of odds that one pole's resistance has grown at all; restlessness alone
            may be a sensor's.

    It tells no time to the limit: what jumps follows no law of growth.

    Can't see: flutter that is over between two readings of a device that measures rarely.

    Cost: 0.01 µs a reading beside the contacts stage; state: 34 bytes a connector.

    >>> [level.severity.name for level in ContactLoose().levels]
    ['NOTICE', 'WARNING']
    """

    flutter: float = 6.0
    evidence: float = 10.0

    name = "contact_loose"
    version = "1"
    condition: str = Condition.CONTACT_LOOSE
    needs: frozenset[str] = frozenset({"current_a", "temperature_pos_c", "temperature_neg_c"})
    stages: tuple[Stage, ...] = (CONTACTS,)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is restlessness over the unit's own; for a warning it must have gone on."""
        return (
            Level(Severity.NOTICE, self.flutter, 0.5 * self.flutter, 0.0, 86_400.0),
            Level(Severity.WARNING, 2.0 * self.flutter, self.flutter, 0.0, 86_400.0),
        )

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return hold_dtype(self.levels)

    def observe(self, batch: Batch, ratings: Sequence[Ratings], records: State) -> list[Finding]:
        batch = news(batch, episodes_only=True)
        if not len(batch):
            return []
        pos, neg = known(batch, "apart_up"), known(batch, "apart_down")
        worse = pos >= neg
        grown = np.fmax(pos, neg) >= self.evidence
        excess = np.where(grown, known(batch, "flutter"), 0.0)
        return state(
            self,
            batch,
            ratings,
            records,
            levels=self.levels,
            excess=[excess, excess],
            pole=which(worse),
            evidence=lambda: {
                **contact_evidence(batch, ratings, worse),
                "restlessness": known(batch, "flutter"),
            },
        )
