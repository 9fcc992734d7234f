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
from ohmwatch.physics.known import (
    contact_evidence,
    heats_more,
    known,
    measures_positive,
    news,
    same_current,
    state,
    which,
)
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
        notice_evidence, warning_evidence: logs of odds.
        soon_evidence, soon_days: logs of odds that are enough for a warning where the limit is
            as likely as not to come within so many days: what grows in days may show in a drive
            or two before it burns, and the next may be the last.
        turn_evidence: the same, that a difference did more or less than turn round. The one episode
            in which sensors change places brings at most 4.
        release_evidence: below, the change has gone.
        foreseeable_days: a limit within this time is a warning, also for a small change.
        large_change: parts of the rated rise that are a warning without a known time.
        apart_log: by how much one pole's resistance must outgrow the other's; a current that is
            measured too small makes both grow.
        same_current: where one pole alone is measured, the least share of the former largest
            current of a day that a day since the change must have reached. Healthy days reach
            it in 94 of 100; a current shown too small by a fifth in 1 of 100. Growth that a
            current as much smaller does not explain needs no such day (`known.same_current`).

    Where both poles' drops are measured and their resistance stayed, what one pole heats more is no
    contact's: a notice at most.

    Severities: notice, resistance grows; warning, and the limit is foreseeable or the change
    large; critical, the 99th percentile of the unit's duty takes it to the limit now.

    Sensors that changed places turn the poles' difference to its opposite, and there it stays: such
    a change is a notice at most, until its cumulative sum says that it is more than that, or less.
    Once it has stood for days, sensor_implausible says what it is.

    Where one pole alone is measured, its own heating is compared, if more heat explains it better
    than slower cooling does, and so is its own voltage drop.

    Can't see: both poles ageing alike without a voltage drop (see cooling_reduced); the pole that
    is not measured; anything without current.

    Cost: 0.01 µs a reading beside the contacts stage; state: 26 bytes a connector.

    >>> [level.severity.name for level in ContactResistanceRising().levels]
    ['NOTICE', 'WARNING', 'CRITICAL']
    """

    notice_evidence: float = 7.0
    warning_evidence: float = 11.0
    turn_evidence: float = 5.0
    soon_evidence: float = 8.0
    soon_days: float = 4.6
    release_evidence: float = 2.0
    foreseeable_days: float = 120.0
    large_change: float = 0.25
    apart_log: float = 0.08
    same_current: float = 0.92

    name = "contact_resistance_rising"
    version = "4"
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
        denied = known(batch, "drop_denies") > 0.0
        heated = np.where(denied, self.warning_evidence - 1.0, np.inf)
        pos = np.fmax(
            np.minimum(known(batch, "apart_up"), heated),
            _where(drop_apart > self.apart_log, batch, "drop_pos_up"),
        )
        neg = np.fmax(
            np.minimum(known(batch, "apart_down"), heated),
            _where(drop_apart < -self.apart_log, batch, "drop_neg_up"),
        )
        pos = np.fmax(pos, self._one_drop(batch, "drop_pos", "drop_neg"))
        neg = np.fmax(neg, self._one_drop(batch, "drop_neg", "drop_pos"))
        single = heats_more(batch)
        steady = same_current(
            batch, known(batch, "common_since_ms"), self.same_current, known(batch, "common")
        )
        # What was stated lasts: until noon no day has seen as much current as all of them.
        alone = np.minimum(known(batch, "common_up"), np.where(steady, np.inf, self.undecided))
        alone = np.where(single, alone, 0.0)
        measured = measures_positive(batch)
        pos = np.where(measured, np.fmax(pos, alone), pos)
        neg = np.where(measured, neg, np.fmax(neg, alone))
        worse = pos >= neg
        evidence = np.fmax(pos, neg)
        left_s = known(batch, "left_s")
        change = np.fmax(np.abs(known(batch, "apart")), np.abs(drop_apart))
        change = np.where(single, known(batch, "common"), change)
        foreseeable = (left_s < self.foreseeable_days * DAY_S) | (change > self.large_change)
        # The poles' own difference, turned round, until it is seen to be more or less than that.
        swapped = known(batch, "apart") * known(batch, "apart_base") < 0.0
        swapped &= known(batch, "turn_doubt") < self.turn_evidence
        swapped &= ~(np.abs(drop_apart) > self.apart_log)
        # Both poles' heating fell: the current is shown too large, and the difference with it.
        rescaled = (known(batch, "common_down") >= self.warning_evidence) & (
            np.abs(known(batch, "apart")) < self.large_change
        )
        foreseeable &= ~(swapped | rescaled)
        small = np.minimum(evidence, self.warning_evidence - 1.0)
        soon = (left_s < self.soon_days * DAY_S) & (evidence >= self.soon_evidence) & ~denied
        warned = np.where(soon, np.maximum(evidence, self.warning_evidence), evidence)
        excess = [
            evidence,
            np.where(foreseeable, warned, small),
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
            evidence=lambda: {
                **contact_evidence(batch, ratings, worse),
                "change_of_rated_rise": np.abs(known(batch, "apart")),
                "log_odds": evidence,
            },
            since_ms=known(batch, "apart_since_ms"),
            time_left=True,
        )

    def _one_drop(self, batch: Batch, name: str, other: str) -> Floats:
        """Evidence by the drop of one pole where the other's is not measured, if its resistance
        has grown by more than a current that is shown too small explains.
        """
        drop, since_ms = known(batch, name), known(batch, "drop_since_ms")
        steady = same_current(batch, since_ms, self.same_current, 2.0 * drop)
        alone = np.isnan(known(batch, other)) & steady & (drop > self.apart_log)
        return _where(alone, batch, f"{name}_up")


def _where(chosen: np.ndarray, batch: Batch, name: str) -> Floats:
    return np.where(chosen, known(batch, name), 0.0)
