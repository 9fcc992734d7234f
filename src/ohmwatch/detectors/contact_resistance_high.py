"""A contact is bad from the first day: crimped, mated or screwed wrongly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ohmwatch.conditions import Condition
from ohmwatch.contacts import CONTACTS
from ohmwatch.detector import Batch, Ratings, State
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.heat import column
from ohmwatch.physics.hold import Level, hold_dtype
from ohmwatch.physics.known import contact_evidence, known, measures_positive, news, state, which
from ohmwatch.stage import Stage


@dataclass(frozen=True)
class ContactResistanceHigh:
    """What a connector shows in its first hours of load against its model and between its poles.

    Fault: assembly: a crimp short of strands, a screw not torqued, a contact not home. It need
    not grow, so no trend will ever show it.

    Physics: heating R·Rth·I² of each pole (IEC 60512-5-2), as in contact_resistance_rising; the
    yardstick is the other pole, which has the same design, current and air, and the model's own
    typical rise and resistance. The excess is in standard deviations over what pairs and models
    spread by.

    Inputs: `current_a` (A), a pole's temperature (°C) or voltage drop (mV). Ratings:
    `rated_current_a`, `temperature_rise_rated_k` (K), `contact_resistance_new_uohm` (µΩ).

    Parameters:
        pair_share: parts of the rated rise that healthy poles of a new connector don't differ by.
            Contacts of a lot spread by 4 to 8 %, a pair by up to 11 %: three times that.
        model_log: log of a heating over the model's that is no spread of cooling and resistance.
        drop_log: the same of a measured resistance, which cooling doesn't spread.
        deviations: standard deviations beyond these for a warning; half of them for a notice.
        witnesses: half hours of load before anything is said.
        plain_witnesses: the same where the excess is twice what a warning takes: a contact that is
            so bad may not live to a second drive.

    Can't see: a small fault, and one that both poles have if the model's ratings are missing.

    Cost: 0.01 µs a reading beside the contacts stage; state: 20 bytes a connector.

    >>> [level.severity.name for level in ContactResistanceHigh().levels]
    ['NOTICE', 'WARNING']
    """

    pair_share: float = 0.36
    model_log: float = 0.55
    drop_log: float = 0.45
    deviations: float = 5.0
    witnesses: float = 1.5
    plain_witnesses: float = 0.9

    name = "contact_resistance_high"
    version = "3"
    condition: str = Condition.CONTACT_RESISTANCE_HIGH
    needs: frozenset[str] = frozenset({"current_a"})
    stages: tuple[Stage, ...] = (CONTACTS,)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is standard deviations over the spread of healthy contacts."""
        return (
            Level(Severity.NOTICE, 0.5 * self.deviations, 0.0, 0.0, 0.0),
            Level(Severity.WARNING, self.deviations, 0.0, 0.0, 0.0),
        )

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return hold_dtype(self.levels)

    def observe(self, batch: Batch, ratings: Sequence[Ratings], records: State) -> list[Finding]:
        batch = news(batch, episodes_only=True)
        if not len(batch):
            return []
        new_uohm = column(ratings, "contact_resistance_new_uohm")[batch.connector]
        pair, sd = known(batch, "apart_base"), known(batch, "apart_sd")
        known_sd = np.sqrt(sd * sd + 0.02**2)
        by_pair = (np.abs(pair) - self.pair_share) / known_sd
        single = np.isnan(sd)
        by_model = np.where(single, (known(batch, "common_base") - self.model_log) / 0.08, -np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):
            pos = np.log(known(batch, "resistance_pos_base_uohm") / new_uohm)
            neg = np.log(known(batch, "resistance_neg_base_uohm") / new_uohm)
        by_drop = (np.fmax(pos, neg) - self.drop_log) / 0.04
        by_drop = np.where(np.isnan(pos - neg) | (np.abs(pos - neg) > 0.3), by_drop, -np.inf)
        excess = np.fmax(np.fmax(by_pair, by_model), by_drop)
        heard = known(batch, "witnesses")
        plain = (heard >= self.plain_witnesses) & (excess >= 2.0 * self.deviations)
        excess = np.where(plain | (heard >= self.witnesses), excess, -np.inf)
        worse = np.where(single, measures_positive(batch), pair > 0.0)
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
                "between_poles_of_rated_rise": np.abs(pair),
            },
            time_left=True,
        )
