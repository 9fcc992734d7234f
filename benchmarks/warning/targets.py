"""The rows of the table: what is asked for in each, and how it is read from a verdict."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.warning.judge import Verdict

Figure = Callable[[Verdict], float]


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `targets` are the bounds (lowest, highest) for nominal and hard; None: no target.

    `hand_made` is what a good hand-made detector reached on a set of this kind, `today` a fixed
    threshold at the limit, both as the issue gives them (nominal, hard).
    """

    key: str
    text: str
    figure: Figure
    unit: str
    nominal: tuple[float, float] | None = None
    hard: tuple[float, float] | None = None
    hand_made: str = ""
    today: str = ""

    def target(self, profile: str) -> tuple[float, float] | None:
        return self.nominal if profile == "nominal" else self.hard

    def is_met(self, profile: str, value: float) -> bool | None:
        """None where nothing is asked; what could not be measured is not met."""
        bounds = self.target(profile)
        if bounds is None:
            return None
        return not math.isnan(value) and bounds[0] <= value <= bounds[1]


def at_least(share: float) -> tuple[float, float]:
    return share, math.inf


def at_most(share: float) -> tuple[float, float]:
    return -math.inf, share


ROWS: tuple[Row, ...] = (
    Row(
        "warned", "faults that reach a limit, warned of before it, of those visible before it",
        lambda verdict: verdict.warned.value, "%", at_least(0.98), at_least(0.96),
        "95 %, 90 %", "6 %, 3 %",
    ),
    Row(
        "warned_an_hour", "… at least one hour before, of those visible by then",
        lambda verdict: verdict.warned_an_hour.value, "%", at_least(0.99), at_least(0.96),
        "97 %, 92 %", "1 %, 2 %",
    ),
    Row(
        "median_lead", "median lead, of the lead that the information limit allows",
        lambda verdict: verdict.median_lead, "%", at_least(0.95), at_least(0.88),
        "85 %, 79 %", "0",
    ),
    Row(
        "tenth_lead", "10th-percentile lead, of the same",
        lambda verdict: verdict.tenth_lead, "%",
    ),
    Row(
        "found", "faults that reach no limit within the run, found",
        lambda verdict: verdict.found_without_limit.value, "%", at_least(0.85), at_least(0.75),
        "about half", "0",
    ),
    Row(
        "found_warned", "… by a warning, not by a notice only",
        lambda verdict: verdict.warned_without_limit.value, "%",
    ),
    Row(
        "cause", "cause named rightly, of the found",
        lambda verdict: verdict.cause_right.value, "%", at_least(0.98), at_least(0.95),
        "100 %, 93 %", "–",
    ),
    Row(
        "pole", "pole named wrongly",
        lambda verdict: verdict.pole_wrong.value, "%", at_most(0.005), at_most(0.01),
        "0", "–",
    ),
    Row(
        "false_alarms", "false alarms a connector-year on the healthy, warning and above",
        lambda verdict: verdict.a_year(verdict.false_alarms), "", at_most(0.03), at_most(0.20),
        "0.04, 0.65", "0, 0.01",
    ),
    Row(
        "false_criticals", "… critical",
        lambda verdict: verdict.a_year(verdict.false_criticals), "", at_most(0.005), at_most(0.03),
        "0, 0.21", "0, 0.01",
    ),
    Row(
        "notices", "… notice and above",
        lambda verdict: verdict.a_year(verdict.notices), "",
    ),
    Row(
        "sensors_accused", "sensor faults called connector faults",
        lambda verdict: verdict.sensors_accused.value, "%", at_most(0.02), at_most(0.05),
        "2 %, 14 %", "0",
    ),
    Row(
        "sensors_found", "sensor faults found",
        lambda verdict: verdict.sensors_found.value, "%",
    ),
    Row(
        "intervals", "80 % intervals of time to limit that held",
        lambda verdict: verdict.intervals_held.value, "%", (0.75, 0.85), (0.70, 0.88),
        "not given", "–",
    ),
)  # fmt: skip


def written(row: Row, value: float) -> str:
    """The figure for people; – where there is none."""
    if math.isnan(value):
        return "–"
    if row.unit == "%":
        return f"{100 * value:.1f} %" if 0 < value < 1 else f"{100 * value:.0f} %"
    return f"{value:.3f}" if 0 < value < 1 else f"{value:.3g}"


def asked(row: Row, profile: str) -> str:
    """The target for people."""
    bounds = row.target(profile)
    if bounds is None:
        return ""
    low, high = bounds
    if math.isinf(high):
        return f"≥ {100 * low:g} %"
    if math.isinf(low):
        return f"≤ {100 * high:g} %" if row.unit == "%" else f"≤ {high:g}"
    return f"{100 * low:g} to {100 * high:g} %"
