"""A contact's resistance has grown since the connector was new, and grows on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ohmwatch.conditions import Condition
from ohmwatch.contacts import CONTACTS
from ohmwatch.detector import Batch, Floats, Ratings, State
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.hold import Level, hold_dtype
from ohmwatch.physics.known import contact_evidence, known, news, same_current, state, which
from ohmwatch.stage import Stage

DAY_S = 86_400.0


@dataclass(frozen=True)
class ContactResistanceRising:
    """One pole's heating, or its measured resistance, against its own past and its twin's.

    Fault: fretting, oxidation, relaxation of the spring, loosening: the constriction grows, and
    with it the heat that makes it grow.

    Physics: a pole's rise is R·Rth·I² (IEC 60512-5-2), with the same current and air at both
    poles, so the difference of their heating, less what it was when the connector was young, is
    the growth of one contact: cooling, load and air cancel. Where the voltage drop is measured,
    R itself is compared, referred to 20 °C. The evidence is a cumulative sum of log-likelihood
    ratios over independent load episodes (Page 1954): 11 is odds of 60 000 to 1, and no single
    episode brings more than 4.

    Inputs: `current_a` (A), `temperature_pos_c` and `temperature_neg_c` (°C), or
    `drop_pos_mv`, `drop_neg_mv` (mV); `ambient_c` helps. Ratings: `rated_current_a`;
    `temperature_limit_c` for the time left.

    Parameters:
        notice_evidence, warning_evidence: logs of odds. In 53 connector-years of nominal and hard
            tuning sets no healthy connector was warned of.
        release_evidence: below, the change has gone.
        foreseeable_days: a limit within this time is a warning, also for a small change.
        large_change: parts of the rated rise that are a warning without a known time.
        apart_log: by how much one pole's resistance must outgrow the other's; a current that is
            measured too small makes both grow.
        same_current: where one pole alone is measured, the least share of the former largest
            current of a day that a day since the change must have reached. Healthy days reach
            it in 94 of 100; a current shown too small by a fifth in 1 of 100.

    Severities: notice, resistance grows; warning, and the limit is foreseeable or the change
    large; critical, the unit's usual load takes it to the limit now.

    Where one pole alone is measured, its own heating is compared, if more heat explains it better
    than slower cooling does.

    Can't see: both poles ageing alike without a voltage drop (see cooling_reduced); the pole that
    is not measured; anything without current.

    Cost: 0.2 µs a reading beside the contacts stage; state: 26 bytes a connector.

    >>> [level.severity.name for level in ContactResistanceRising().levels]
    ['NOTICE', 'WARNING', 'CRITICAL']
    """

    notice_evidence: float = 7.0
    warning_evidence: float = 11.0
    release_evidence: float = 2.0
    foreseeable_days: float = 120.0
    large_change: float = 0.25
    apart_log: float = 0.08
    same_current: float = 0.92

    name = "contact_resistance_rising"
    version = "2"
    condition: str = Condition.CONTACT_RESISTANCE_RISING
    needs: frozenset[str] = frozenset({"current_a"})
    stages: tuple[Stage, ...] = (CONTACTS,)

    @property
    def undecided(self) -> float:
        """Evidence that begins nothing and ends nothing."""
        return 0.5 * (self.release_evidence + self.notice_evidence)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is evidence."""
        off = self.release_evidence
        return (
            Level(Severity.NOTICE, self.notice_evidence, off, 0.0, 0.0),
            Level(Severity.WARNING, self.warning_evidence, off, 0.0, 0.0),
            Level(Severity.CRITICAL, self.warning_evidence, off, 0.0, 0.0),
        )

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return hold_dtype(self.levels)

    def observe(self, batch: Batch, ratings: Sequence[Ratings], records: State) -> list[Finding]:
        batch = news(batch, episodes_only=True)
        if not len(batch):
            return []
        drop_apart = known(batch, "drop_pos") - known(batch, "drop_neg")
        pos = np.fmax(
            known(batch, "apart_up"), _where(drop_apart > self.apart_log, batch, "drop_pos_up")
        )
        neg = np.fmax(
            known(batch, "apart_down"), _where(drop_apart < -self.apart_log, batch, "drop_neg_up")
        )
        single = np.isnan(known(batch, "apart_sd")) & (known(batch, "slower_fit") > 0.0)
        steady = same_current(batch, known(batch, "common_since_ms"), self.same_current)
        # What was stated lasts: until noon no day has seen as much current as all of them.
        alone = np.minimum(known(batch, "common_up"), np.where(steady, np.inf, self.undecided))
        alone = np.where(single, alone, 0.0)
        measured = ~np.isnan(batch.column("temperature_pos_c"))
        pos = np.where(measured, np.fmax(pos, alone), pos)
        neg = np.where(measured, neg, np.fmax(neg, alone))
        worse = pos >= neg
        evidence = np.fmax(pos, neg)
        left_s = known(batch, "left_s")
        change = np.fmax(np.abs(known(batch, "apart")), np.abs(drop_apart))
        change = np.where(single, known(batch, "common"), change)
        foreseeable = (left_s < self.foreseeable_days * DAY_S) | (change > self.large_change)
        base = known(batch, "apart_base")
        # Exactly the poles' own difference, turned round: the sensors have changed places.
        # The newest episode shows it at once, the level after some, with less noise.
        swapped = _is_turned(known(batch, "apart"), base)
        swapped |= _is_turned(known(batch, "apart_newest"), base)
        swapped &= (np.abs(base) > 0.03) & ~(np.abs(drop_apart) > self.apart_log)
        # Both poles' heating fell: the current is shown too large, and the difference with it.
        rescaled = (known(batch, "common_down") >= self.warning_evidence) & (
            np.abs(known(batch, "apart")) < self.large_change
        )
        foreseeable &= ~(swapped | rescaled)
        small = np.minimum(evidence, self.warning_evidence - 1.0)
        excess = [
            evidence,
            np.where(foreseeable, evidence, small),
            np.where(known(batch, "limit_share") >= 1.0, evidence, small),
        ]
        return state(
            self,
            batch,
            ratings,
            records,
            levels=self.levels,
            excess=excess,
            pole=which(worse),
            evidence={
                **contact_evidence(batch, ratings, worse),
                "change_of_rated_rise": np.abs(known(batch, "apart")),
                "log_odds": evidence,
            },
            since_ms=known(batch, "apart_since_ms"),
            time_left=True,
        )


def _is_turned(change: Floats, base: Floats) -> np.ndarray:
    """Where the change takes the poles' difference to its opposite."""
    return np.asarray(np.abs(change + 2.0 * base) < 0.03 + 0.6 * np.abs(base))


def _where(chosen: np.ndarray, batch: Batch, name: str) -> Floats:
    return np.where(chosen, known(batch, name), 0.0)
