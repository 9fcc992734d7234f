"""A contact is warmer than the current that flows explains."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ohmwatch.conditions import Condition, Pole
from ohmwatch.contacts import CONTACTS
from ohmwatch.detector import Batch, Flags, Floats, Ratings, State
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.heat import allowed_rise_per_a2, column, time_constants_s
from ohmwatch.physics.hold import Level, as_findings, hold_dtype, hotter_pole, judge
from ohmwatch.physics.known import KNOWN_WITNESSES, believed, heats_anew, is_rescaled, known
from ohmwatch.physics.load import DEFAULT_TIME_CONSTANTS_S, LOAD_DTYPE, follow
from ohmwatch.physics.sequence import Runs, elapsed_ms, first_order
from ohmwatch.stage import Stage

PAIR_K = 6.0
PAIR_SHARE = 0.36
"""By which two healthy poles may seem to differ, in K (see pole_imbalance) and of their rise (see
contact_resistance_high)."""

OWN_SHARE = 0.15
"""Of its rise, by which a healthy unit may be over its limit by its own nature: model and limit
are half the typical rise apart, resistance and cooling spread by a sixth each."""

SURE = 1.28
"""Standard deviations: one time of ten the unit is cooler than so much less than it seems."""

SAME_CURRENT = 0.92
"""As in cooling_reduced."""


@dataclass(frozen=True)
class TemperatureRiseHigh:
    """The rise of the hotter pole over ambient against the derated limit for its current.

    Fault: contact resistance grown past what the model allows, or cooling lost; seen at part
    load and on a cold day, where no temperature limit is near.

    Physics: the steady rise over ambient is proportional to I² (IEC 60512-5-2, the base of each
    derating curve). Allowed is the stricter of the model's rise limit scaled from rated current
    and the rise that reaches the temperature limit at the edge of the derating curve at this
    ambient. I² is taken through first-order lags of the model's shortest and longest thermal
    time constant, and the larger result counts: a healthy contact is between them, on the way up
    and on the way down. Ambient is lagged as well and the warmer one counts, for a contact
    leaves a warm garage slowly. Load that nobody saw (before the first reading, in gaps) is
    taken as rated current until the contact has forgotten it.

    Inputs: `current_a` (A), `ambient_c` (°C), `temperature_pos_c`, `temperature_neg_c` (°C, one
    is enough). Ratings: `rated_current_a` (A) with `temperature_rise_limit_k` (K) or
    `temperature_limit_c` (°C) and `derating`; `thermal_time_constants_s` (s), else 80 and 800.

    Parameters:
        allowance_k: K added to the limit: two sensors' errors and an ambient measured beside.
        hysteresis_k: K that the limit must be undercut by before it counts as left.
        hold_s, release_s: how long a change must last. 60 s is under the shortest time
            constant of a power contact, so that nothing is lost, and over a tunnel's mouth.
        least_rise_k: K that the load must allow before a reading says anything.

    Severities: warning over the limit for the current flowing; critical if the rise is over
    what is allowed even at rated current. Of a unit that the contacts stage knows, it is
    a notice until that has seen its rise grow over the limit, by more than one drive's mismatch of
    load and rise, and no current that is shown too small explains it.

    One pole is named where it is warmer than two healthy ones ever differ, both where both came
    to be over the limit; what was always so accuses neither.

    A sensor that may lie is left out, and so is a current whose scale has changed: each has a
    finding of its own (sensor_implausible).

    Can't see: a fault without current; a rise below its limit that grows (a matter of trend);
    which of resistance and cooling is to blame.

    Cost: 0.06 µs a reading in batches; state: 90 bytes a connector.

    >>> model = Ratings(
    ...     rated_current_a=200.0, temperature_rise_limit_k=50.0, thermal_time_constants_s=(60.0,))
    >>> detector = TemperatureRiseHigh()
    >>> state = np.zeros(1, detector.state_dtype)
    >>> times = [1_795_420_800_000 + 1000 * second for second in range(1200)]
    >>> half_load = Batch.of_one("inlet", times, current_a=[100.0] * 1200,
    ...     ambient_c=[10.0] * 1200, temperature_neg_c=[40.0] * 1200)
    >>> first = detector.observe(half_load, [model], state)[0]
    >>> first.severity.name, first.pole.value, first.evidence["rise_k"]
    ('WARNING', 'neg', 30.0)
    """

    allowance_k: float = 5.0
    hysteresis_k: float = 3.0
    hold_s: float = 60.0
    release_s: float = 600.0
    least_rise_k: float = 4.0

    name = "temperature_rise_high"
    version = "4"
    condition: str = Condition.TEMPERATURE_RISE_HIGH
    needs: frozenset[str] = frozenset({"current_a", "ambient_c"})
    stages: tuple[Stage, ...] = (CONTACTS,)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is K over the allowed rise."""
        return tuple(
            Level(severity, 0.0, -self.hysteresis_k, self.hold_s, self.release_s)
            for severity in (Severity.WARNING, Severity.CRITICAL)
        )

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return np.dtype(
            [("hold", hold_dtype(self.levels)), ("load", LOAD_DTYPE), ("ambient_c", "<f8")]
        )

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        batch = _usable(believed(batch, suspects=True), ratings)
        if not len(batch):
            return []
        ambient_c = _lagged_ambient_c(batch, ratings, state)
        load = follow(
            batch.connector, batch.time_ms, batch.column("current_a"), ratings, state["load"]
        )
        per_a2 = allowed_rise_per_a2(ratings, batch.connector, ambient_c)
        by_load_k = per_a2 * load.at_most_a2
        # Without current nothing is claimed: what is warm then is warmed by something else.
        loaded = by_load_k >= self.least_rise_k
        batch, ambient_c, per_a2 = batch.rows(loaded), ambient_c[loaded], per_a2[loaded]
        allowed_k = by_load_k[loaded] + self.allowance_k
        rise_pos_k = batch.column("temperature_pos_c") - ambient_c
        rise_neg_k = batch.column("temperature_neg_c") - ambient_c
        rise_k = np.fmax(rise_pos_k, rise_neg_k)
        rated_a2 = column(ratings, "rated_current_a")[batch.connector] ** 2
        excess = [rise_k - allowed_k, rise_k - np.maximum(allowed_k, per_a2 * rated_a2)]
        excess = _doubted(batch, excess, rise_k, -self.hysteresis_k)
        said = judge(batch.connector, batch.time_ms, excess, self.levels, ratings, state["hold"])
        if not said:
            return []
        differ = _differ(batch, rise_pos_k, rise_neg_k)
        findings = as_findings(
            self,
            batch,
            said,
            pole=_pole(batch, rise_pos_k, rise_neg_k, allowed_k - self.hysteresis_k, differ),
            evidence={
                "rise_k": rise_k,
                "allowed_rise_k": allowed_k,
                "rise_pos_k": rise_pos_k,
                "rise_neg_k": rise_neg_k,
                "ambient_c": ambient_c,
                "current_a": batch.column("current_a"),
                "load_current_a": np.sqrt(load.at_most_a2[loaded]),
            },
        )
        at = np.array([each.index for each in said], dtype=np.int64)
        sure = _is_sure(batch.rows(at), (per_a2 * rated_a2)[at])
        return [
            each if certain or each.severity is None else replace(each, severity=Severity.NOTICE)
            for each, certain in zip(findings, sure.tolist(), strict=True)
        ]


def _is_met(batch: Batch) -> Flags:
    """Where the stage does not know the unit yet."""
    return np.asarray(known(batch, "witnesses") < KNOWN_WITNESSES)


def _is_sure(batch: Batch, limit_k: Floats) -> Flags:
    """Where more than this reading says so: what the stage knows of the unit's rise at rated
    current is over its limit, and came to be. True of a unit that it doesn't know yet.
    """
    heating_k = np.fmax(known(batch, "heating_pos_k"), known(batch, "heating_neg_k"))
    least_k = heating_k - SURE * known(batch, "heating_sd_k")
    return _is_met(batch) | (heats_anew(batch, SAME_CURRENT) & ~(least_k < limit_k))


def _doubted(batch: Batch, excess: list[Floats], rise_k: Floats, off_k: float) -> list[Floats]:
    """The excesses, less by OWN_SHARE where the stage sees no change; none where the current is
    known to be shown wrongly, for it explains no rise.
    """
    warm = np.flatnonzero(excess[0] >= off_k)
    if not len(warm):
        return excess
    near = batch.rows(warm)
    own_k = np.where(heats_anew(near, SAME_CURRENT), 0.0, OWN_SHARE * rise_k[warm])
    lies = warm[is_rescaled(near)]
    for each in excess:
        each[warm] -= own_k
        each[lies] = -np.inf
    return excess


def _differ(batch: Batch, pos_k: Floats, neg_k: Floats) -> Flags:
    """Where one pole is warmer by more than two sensors err and two healthy contacts differ."""
    allowed_k = PAIR_K + PAIR_SHARE * np.fmin(pos_k, neg_k)
    differ = np.abs(pos_k - neg_k - np.nan_to_num(known(batch, "pair_k"))) > allowed_k
    # Of a pole that is not shown nothing is known: it may be as warm.
    return np.asarray(differ | (np.isnan(pos_k - neg_k) & np.isnan(known(batch, "alone"))))


def _pole(
    batch: Batch, pos_k: Floats, neg_k: Floats, least_k: Floats, differ: Flags
) -> Callable[[int], Pole]:
    """Which pole is meant: the warmer where they `differ`, both where both came to be over
    `least_k`; else it can't be said which.
    """
    hotter = hotter_pole(pos_k, neg_k, np.inf)
    both = np.asarray((np.fmin(pos_k, neg_k) >= least_k) & ~np.isnan(pos_k - neg_k))

    def pole(index: int) -> Pole:
        if differ[index]:
            return hotter(index)
        anew = both[index] and heats_anew(batch.rows(np.array([index])), SAME_CURRENT)[0]
        return Pole.BOTH if anew else Pole.NONE

    return pole


def _usable(batch: Batch, ratings: Sequence[Ratings]) -> Batch:
    """The readings that carry current, ambient and a pole, of models that state a limit."""
    hottest = np.fmax(batch.column("temperature_pos_c"), batch.column("temperature_neg_c"))
    limit = allowed_rise_per_a2(ratings, batch.connector, batch.column("ambient_c"))
    # The limit may be known without the air: the rise is not, nor what is felt of it from then on.
    known = hottest + limit + batch.column("current_a") + batch.column("ambient_c")
    return batch.rows(~np.isnan(known))


def _lagged_ambient_c(batch: Batch, ratings: Sequence[Ratings], state: State) -> Floats:
    """The warmer of the ambient and what the contact still feels of it; carries it forward."""
    runs = Runs.of(batch.connector)
    ambient_c = batch.column("ambient_c")
    elapsed = elapsed_ms(runs, batch.time_ms, state["load"]["last_ms"], batch.connector)
    _, slow_s = time_constants_s(ratings, default=DEFAULT_TIME_CONSTANTS_S)
    lag = -np.expm1(-elapsed / (slow_s[batch.connector] * 1000.0))
    gain = np.where(elapsed < 0, 1.0, lag)
    felt_c = first_order(runs, state["ambient_c"], gain, ambient_c)
    state["ambient_c"][runs.owner] = felt_c[runs.ends]
    return np.maximum(ambient_c, felt_c)
