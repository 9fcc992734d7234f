"""The insulation falls against the connector's own beginning, and weather does not explain it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ohmwatch.conditions import Condition, Pole
from ohmwatch.detector import Batch, Floats, Ratings, State
from ohmwatch.findings import TIME_LEFT_UNKNOWN, Finding, Severity
from ohmwatch.physics.hold import Level, as_findings, hold_dtype, judge
from ohmwatch.physics.insulation import (
    COURSE_DTYPE,
    Course,
    follow_insulation,
    insulation_minimum_kohm,
)

_HALVED = math.log(2.0)
_DAY_S = 86_400.0
_SOONEST_S = 1800.0
_INTERVAL = ("time_left_s", "time_left_from_s", "time_left_to_s")


@dataclass(frozen=True, slots=True)
class Ends:
    """Of an interval: what two forecasts are multiplied by, and the days that are added."""

    soon: float
    soon_days: float
    late: float
    late_days: float

    def of(self, soon_s: Floats, late_s: Floats) -> tuple[Floats, Floats]:
        """The interval's ends in s, float64[n]; the first is over nothing."""
        from_s = self.soon * soon_s + self.soon_days * _DAY_S
        return np.maximum(from_s, _SOONEST_S), self.late * late_s + self.late_days * _DAY_S


@dataclass(frozen=True)
class InsulationFalling:
    """The trend of the insulation resistance, in log kΩ, with humidity taken out.

    Fault: a seal that lets water in, a track that carbonises, a cable that chafes: seen while the
    insulation is still ten times what it must be, days to months before `insulation_low`.

    Physics: see `ohmwatch.physics.insulation`. From the unit's first days its usual value and
    what humidity does to it are learnt; what stays below that for hours is a fall. It is carried
    to the minimum on a straight line in the logarithm, which is how a leak that doubles goes on.

    Inputs: `insulation_kohm` (kΩ). Of use: `humidity_pct`; without it a fall must last longer and
    be deeper. Ratings: `insulation_minimum_kohm`, else `rated_voltage_v` (100 Ω/V).

    Parameters:
        notice_drop: log kΩ below the baseline that is worth a look: to half.
        warning_drop: log kΩ at which a fall whose end is near counts: to 64 %, five times what
            is left of noise and humidity.
        unmeasured_factor: times both where humidity is not measured: a week that is 30 % damper
            takes 65 % of the worst plastic's insulation away, and nothing tells it from a leak.
        horizon_days: within which the minimum must be reached to be a warning: until the next
            service that can be planned.
        hysteresis: of a level, by which it must be undercut.
        leaning: from which share of a fall in condensing air that dampness makes a seal is
            taken to let water in, and from which share on for sure.
        dry, wet, unmeasured: of the 80 % interval of the time left, what its ends are multiplied
            by, and the days that are added: see `_interval`. They are chosen for calibration on
            the tuning seeds.

    Can't see: a fall within the first two days; one that began before the first reading (see
    insulation_low, ageing_outlier); which part of the system leaks.

    Cost: 0.02 µs a reading in batches; state: 93 bytes a connector.

    >>> detector = InsulationFalling()
    >>> state = np.zeros(1, detector.state_dtype)
    >>> hours = np.arange(0, 15 * 24, 0.25)
    >>> times = 1_795_420_800_000 + (hours * 3_600_000).astype(np.int64)
    >>> kohm = 20_000.0 * np.exp(-np.maximum(hours / 24 - 7, 0) / 3)  # to 1/e in three days
    >>> leak = Batch.of_one("inlet", times, insulation_kohm=kohm, humidity_pct=hours * 0 + 50.0)
    >>> model = Ratings(insulation_minimum_kohm=500.0, interval_s=900.0)
    >>> first = detector.observe(leak, [model], state)[0]
    >>> first.severity.name, round((first.measured_ms - times[0]) / 86_400_000)
    ('WARNING', 9)
    >>> round(first.time_left_s / 86_400)  # the minimum is crossed on day 18, wet days before
    8
    """

    notice_drop: float = _HALVED
    warning_drop: float = 0.45
    unmeasured_factor: float = 2.3
    horizon_days: float = 45.0
    hysteresis: float = 0.3
    leaning: tuple[float, float] = (0.45, 0.75)
    dry: Ends = Ends(1.1, 0.0, 1.0, 0.0)
    wet: Ends = Ends(0.5, 0.25, 1.1, 11.0)
    unmeasured: Ends = Ends(0.4, 0.2, 1.2, 3.0)

    name = "insulation_falling"
    version = "2"
    condition: str = Condition.INSULATION_FALLING
    needs: frozenset[str] = frozenset({"insulation_kohm"})

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is the drop over the level's, as a share of it; the filter is the hold time."""
        return (
            Level(Severity.NOTICE, 0.0, -self.hysteresis, 0.0, 0.0),
            Level(Severity.WARNING, 0.0, -self.hysteresis, 0.0, 0.0),
        )

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return np.dtype([("hold", hold_dtype(self.levels)), ("course", COURSE_DTYPE)])

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        minimum_kohm = insulation_minimum_kohm(ratings)[batch.connector]
        usable = (batch.column("insulation_kohm") > 0) & ~np.isnan(minimum_kohm)
        batch, minimum_kohm = batch.rows(usable), minimum_kohm[usable]
        if not len(batch):
            return []
        course = follow_insulation(batch, state["course"])
        known = ~np.isnan(course.drop)
        batch, minimum_kohm = batch.rows(known), minimum_kohm[known]
        course = course.rows(known)
        left_s = _left_s(course.usual, course.fall_a_second, minimum_kohm)
        excess = self._excess(course, left_s, measured=state["course"]["humid"][batch.connector])
        said = judge(batch.connector, batch.time_ms, excess, self.levels, ratings, state["hold"])
        if not said:
            return []
        evidence = {
            "insulation_kohm": batch.column("insulation_kohm"),
            "insulation_expected_kohm": np.exp(course.expected),
            "insulation_usual_air_kohm": np.exp(course.usual),
            "insulation_minimum_kohm": minimum_kohm,
            "humidity_pct": batch.column("humidity_pct"),
            **self._interval(course, minimum_kohm),
        }
        none = lambda index: Pole.NONE  # noqa: E731 - insulation has no pole
        findings = as_findings(self, batch, said, pole=none, evidence=evidence)
        return [_with_time_left(finding) for finding in findings]

    def _excess(self, course: Course, left_s: Floats, *, measured: np.ndarray) -> list[Floats]:
        factor = np.where(measured, 1.0, self.unmeasured_factor)
        near = 1.0 - left_s / (self.horizon_days * _DAY_S)
        notice = course.drop / (factor * self.notice_drop) - 1.0
        warning = np.minimum(course.drop / (factor * self.warning_drop) - 1.0, near)
        return [notice, np.maximum(warning, -1.0)]

    def _interval(self, course: Course, minimum_kohm: Floats) -> dict[str, Floats]:
        """The 80 % interval of the time left, and its middle.

        A dry fall (a track, a chafed cable) reaches the minimum between the crossing in
        condensing air, at the next wet start, and that in usual air. A seal that lets water in
        makes the fall grow with dampness: the minimum is reached at the first wet start after
        the crossing in air as damp as that, and wet starts are up to a week and a half apart.
        Where humidity is not measured it may be either.
        """
        usual_s = _left_s(course.usual, course.fall_a_second, minimum_kohm)
        usual_s = np.where(np.isfinite(usual_s), usual_s, np.nan)
        wet_s = np.fmin(_left_s(course.wet, course.fall_a_second, minimum_kohm), usual_s)
        soaked_s = _left_s(course.soaked, course.soaked_fall_a_second, minimum_kohm)
        from_s, to_s = self.dry.of(wet_s, usual_s)
        wet_from_s, wet_to_s = self.wet.of(soaked_s, soaked_s)
        least, most = self.leaning
        leans = np.clip((course.leaning - least) / (most - least), 0.0, 1.0)
        from_s = from_s ** (1.0 - leans) * wet_from_s**leans
        to_s = to_s ** (1.0 - leans) * wet_to_s**leans
        either_from_s, either_to_s = self.unmeasured.of(wet_s, usual_s)
        from_s = np.where(np.isnan(leans), either_from_s, from_s)
        to_s = np.maximum(np.where(np.isnan(leans), either_to_s, to_s), 1.5 * from_s)
        from_s, to_s = (np.where(np.isnan(usual_s), np.nan, end) for end in (from_s, to_s))
        return {
            "time_left_s": np.sqrt(from_s * to_s),
            "time_left_from_s": from_s,
            "time_left_to_s": to_s,
        }


def _left_s(log_kohm: Floats, fall_a_second: Floats, minimum_kohm: Floats) -> Floats:
    """Until a fall from there, as it went so far, reaches the minimum; infinite without a fall."""
    room = np.maximum(log_kohm - np.log(minimum_kohm), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(fall_a_second > 0, room / fall_a_second, np.inf)


def _with_time_left(finding: Finding) -> Finding:
    """The middle of the interval, told as the finding's own; what has ended goes nowhere."""
    left_s = finding.evidence.get("time_left_s")
    hidden = _INTERVAL if finding.ended else ("time_left_s",)
    shown = {name: value for name, value in finding.evidence.items() if name not in hidden}
    if finding.ended:
        return replace(finding, evidence=shown)
    if not isinstance(left_s, float):
        return replace(finding, evidence={**shown, TIME_LEFT_UNKNOWN: "not_growing"})
    return replace(finding, evidence=shown, time_left_s=left_s)
