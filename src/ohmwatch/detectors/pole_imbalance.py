"""One pole is warmer than the other by more than two healthy contacts differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ohmwatch.conditions import Condition, Pole
from ohmwatch.contacts import CONTACTS
from ohmwatch.detector import Batch, Flags, Floats, Ratings, State
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.heat import column
from ohmwatch.physics.hold import Level, as_findings, hold_dtype, judge
from ohmwatch.physics.known import KNOWN_WITNESSES, believed, known, rises_k
from ohmwatch.physics.load import LOAD_DTYPE, follow
from ohmwatch.stage import Stage


@dataclass(frozen=True)
class PoleImbalance:
    """The difference of the poles' temperatures against the rise that the load explains.

    Fault: one contact has a higher resistance than its twin: loose, fretted, badly crimped. The
    best early sign there is: both carry the same current in the same air, so ambient, cooling
    and load cancel.

    Physics: each pole rises by I²·R·Rth, so their difference is I²·Rth·ΔR: as a share of the
    expected rise it is ΔR/R, whatever the load. The expected rise is the model's typical rise
    at rated current scaled by the lagged I² (the larger of the model's time constants' results).
    Where the stage knows that the better pole rises by more (a hot unit, or worse cooling), its
    rise is the expected one: ΔR/R is no larger for it.

    Inputs: `temperature_pos_c`, `temperature_neg_c` (°C, both), `current_a` (A). Ratings:
    `temperature_rise_rated_k` (K; else 0.7 of `temperature_rise_limit_k`), `rated_current_a`.

    Parameters:
        notice_share, warning_share: ΔR/R that a healthy pair doesn't reach (spread of new
            contacts is ±10 %), and one where the better pole says nothing about the worse.
        notice_offset_k, warning_offset_k: K that two sensors may differ without any load.
        hysteresis_k, hold_s, release_s: as everywhere; imbalance is slow, so is its judgement.

        least_rise_k: K of expected rise below which a reading says nothing, good or bad.

    A difference that doesn't follow the load is an offset of the sensors, and not stated: the
    contacts stage knows the part that follows it, with its standard deviation. What the sensors
    of a unit that it knows differed by from the first is taken off.

    Can't see: both poles ageing alike; anything without current.

    Cost: 0.04 µs a reading in batches; state: 82 bytes a connector.

    >>> model = Ratings(rated_current_a=200.0, temperature_rise_rated_k=40.0)
    >>> detector = PoleImbalance()
    >>> state = np.zeros(1, detector.state_dtype)
    >>> times = [1_795_420_800_000 + 1000 * second for second in range(5000)]
    >>> lopsided = Batch.of_one("inlet", times, current_a=[200.0] * 5000,
    ...     temperature_pos_c=[60.0] * 5000, temperature_neg_c=[80.0] * 5000)
    >>> first = detector.observe(lopsided, [model], state)[0]
    >>> first.severity.name, first.pole.value, first.evidence["difference_k"]
    ('NOTICE', 'neg', 20.0)
    """

    notice_share: float = 0.25
    notice_offset_k: float = 6.0
    warning_share: float = 0.5
    warning_offset_k: float = 10.0
    hysteresis_k: float = 2.0
    hold_s: float = 120.0
    release_s: float = 1800.0
    least_rise_k: float = 8.0

    name = "pole_imbalance"
    version = "3"
    condition: str = Condition.POLE_IMBALANCE
    needs: frozenset[str] = frozenset({"temperature_pos_c", "temperature_neg_c", "current_a"})
    stages: tuple[Stage, ...] = (CONTACTS,)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is K over the allowed difference."""
        return tuple(
            Level(severity, 0.0, -self.hysteresis_k, self.hold_s, self.release_s)
            for severity in (Severity.NOTICE, Severity.WARNING)
        )

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return np.dtype([("hold", hold_dtype(self.levels)), ("load", LOAD_DTYPE)])

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        batch = believed(batch, suspects=True)
        per_a2 = (rises_k(ratings) / column(ratings, "rated_current_a") ** 2)[batch.connector]
        difference_k = batch.column("temperature_pos_c") - batch.column("temperature_neg_c")
        usable = ~np.isnan(difference_k + batch.column("current_a") + per_a2)
        batch, per_a2, difference_k = batch.rows(usable), per_a2[usable], difference_k[usable]
        difference_k = difference_k - np.where(_is_known(batch), known(batch, "pair_k"), 0.0)
        current_a = batch.column("current_a")
        load = follow(batch.connector, batch.time_ms, current_a, ratings, state["load"])
        expected_k = per_a2 * load.at_most_a2
        # Without load the poles are alike whatever is wrong: that says nothing.
        loaded = expected_k >= self.least_rise_k
        if not loaded.any():
            return []
        batch, difference_k, expected_k = (
            batch.rows(loaded),
            difference_k[loaded],
            expected_k[loaded],
        )
        per_a2 = per_a2[loaded]
        expected_k = expected_k * _warmer(batch, ratings)
        notice_k = self.notice_offset_k + self.notice_share * expected_k
        warning_k = self.warning_offset_k + self.warning_share * expected_k
        offset_k = np.nan_to_num(np.abs(known(batch, "pair_shift_k")))
        doubt_k = np.where(_is_offset(batch, self.notice_share, ratings), np.inf, offset_k)
        excess = [np.abs(difference_k) - limit - doubt_k for limit in (notice_k, warning_k)]
        said = judge(batch.connector, batch.time_ms, excess, self.levels, ratings, state["hold"])
        if not said:
            return []
        return as_findings(
            self,
            batch,
            said,
            pole=lambda index: Pole.POSITIVE if difference_k[index] >= 0 else Pole.NEGATIVE,
            evidence={
                "difference_k": np.abs(difference_k),
                "allowed_difference_k": notice_k,
                "expected_rise_k": expected_k,
                "temperature_pos_c": batch.column("temperature_pos_c"),
                "temperature_neg_c": batch.column("temperature_neg_c"),
                "current_a": batch.column("current_a"),
            },
        )


def _is_known(batch: Batch) -> Flags:
    """Where the stage knows the connector."""
    return np.asarray(known(batch, "witnesses") >= KNOWN_WITNESSES)


def _warmer(batch: Batch, ratings: Sequence[Ratings]) -> Floats:
    """How many times the model's typical rise the better pole rises by, where it is known; ≥ 1."""
    better_k = np.fmin(known(batch, "heating_pos_k"), known(batch, "heating_neg_k"))
    return np.where(
        _is_known(batch), np.fmax(better_k / rises_k(ratings)[batch.connector], 1.0), 1.0
    )


def _is_offset(batch: Batch, share: float, ratings: Sequence[Ratings]) -> np.ndarray:
    """Where the stage knows the connector and finds that load explains too little of it."""
    rise_k = rises_k(ratings)[batch.connector]
    doubt = np.where(_is_known(batch), -2.0, 2.0)
    explained_k = np.abs(known(batch, "apart_now_k")) + doubt * known(batch, "apart_now_sd_k")
    return explained_k < 0.6 * share * rise_k
