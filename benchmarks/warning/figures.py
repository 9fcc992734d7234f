"""From cases to the plain numbers that the report draws (a JSON object)."""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from benchmarks.warning.faults import CONNECTOR_FAULTS, SENSOR_FAULTS, Kind
from benchmarks.warning.judge import HOUR_MS, Case, Verdict, judge
from benchmarks.warning.targets import ROWS
from ohmwatch.findings import Severity

LEAD_HOURS = tuple(float(hours) for hours in np.geomspace(0.1, 1000.0, 41))
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_EIGHTY = NormalDist().inv_cdf(0.9)


def of_contender(judged: Sequence[Case]) -> dict[str, Any]:
    """Everything that the report says of one contender in one profile."""
    verdict = judge(judged)
    return {
        "table": {row.key: row.figure(verdict) for row in ROWS},
        "counts": _counts(verdict),
        "kinds": {kind.name.lower(): of_kind(judged, kind) for kind in CONNECTOR_FAULTS},
        "lead": _share_curve(verdict.warned_before_h),
        "severities": [_operating_point(judged, verdict, severity) for severity in Severity],
        "roc": [_patient_point(judged, verdict.healthy_years, hours) for hours in PATIENCE_H],
        "lies": {kind.name.lower(): of_lie(judged, kind) for kind in SENSOR_FAULTS},
        "reliability": _reliability(verdict.intervals),
        "false_alarms": _conditions(judged, Kind.HEALTHY),
    }


PATIENCE_H = (168.0, 72.0, 24.0, 6.0, 1.0, 0.0)
"""Hours for which a warning must have stood before it would be told: the way along the curve that
every engine has."""


def _patient_point(
    judged: Sequence[Case], years: float, hours: float
) -> tuple[float, float, float]:
    """Hours, false alarms a year, share warned before, if a warning had to stand so long."""
    false = warned = limited = 0
    for case in judged:
        told_ms = _told_after(case, hours)
        if case.truth.kind == Kind.HEALTHY:
            false += len(told_ms)
        elif case.truth.is_visible_before_limit:
            limited += 1
            first_ms = min(told_ms, default=None)
            warned += _is_before(case, first_ms)
    return hours, false / years if years else float("nan"), warned / limited if limited else 0.0


def _told_after(case: Case, hours: float) -> list[int]:
    """When warnings that stood for so long would have been told; of the faulty, since the onset."""
    begins_ms = case.truth.onset_ms or 0
    return [
        int(begin + hours * HOUR_MS)
        for begin, end in case.stood(Severity.WARNING)
        if begin >= begins_ms and end - begin >= hours * HOUR_MS
    ]


def of_lie(judged: Sequence[Case], kind: Kind) -> dict[str, float]:
    """What was said of connectors with one kind of lying sensor."""
    verdict = judge([case for case in judged if case.truth.kind == kind])
    return {
        "all": verdict.sensors_accused.all,
        "found": verdict.sensors_found.hits,
        "accused": verdict.sensors_accused.hits,
    }


def at_most_yearly(count: int, years: float) -> float:
    """The highest rate that `count` events in so many years leave possible (95 %, Poisson)."""
    low, high = 0.0, 5.0 * count + 10.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        term, total = math.exp(-middle), 0.0
        for each in range(count + 1):
            total += term
            term *= middle / (each + 1)
        low, high = (middle, high) if total > 0.05 else (low, middle)
    return high / years if years else float("nan")


def _counts(verdict: Verdict) -> dict[str, float]:
    """What the shares are of."""
    return {
        "limited": verdict.warned.all,
        "unlimited": verdict.found_without_limit.all,
        "found": verdict.cause_right.all,
        "sensors": verdict.sensors_accused.all,
        "intervals": verdict.intervals_held.all,
        "healthy_years": verdict.healthy_years,
        "false_alarms": verdict.false_alarms,
    }


def of_kind(judged: Sequence[Case], kind: Kind) -> dict[str, float]:
    """The figures of one fault kind. NaN where it has none of a sort."""
    mine = [case for case in judged if case.truth.kind == kind]
    verdict = judge(mine)
    return {
        "all": len(mine),
        "found": sum(case.first(Severity.NOTICE) is not None for case in mine),
        "limited": verdict.warned.all,
        "warned": verdict.warned.value,
        "median_lead": verdict.median_lead,
        "tenth_lead": verdict.tenth_lead,
        "median_lead_h": _quantile(verdict.warned_before_h, 0.5),
        "tenth_lead_h": _quantile(verdict.warned_before_h, 0.1),
        "unlimited": verdict.found_without_limit.all,
        "found_without_limit": verdict.found_without_limit.value,
        "cause": verdict.cause_right.value,
        "pole": verdict.pole_wrong.value,
        "intervals": verdict.intervals_held.value,
    }


def possible(judged: Sequence[Case]) -> list[float]:
    """The lead curve that the information limit allows."""
    leads_h = [
        (case.truth.reached_ms - case.truth.visible_ms) / HOUR_MS
        for case in judged
        if case.truth.is_visible_before_limit
        and case.truth.reached_ms is not None
        and case.truth.visible_ms is not None
    ]
    return _share_curve(leads_h)


def _share_curve(leads_h: Sequence[float]) -> list[float]:
    """For each of LEAD_HOURS, the share that was warned of at least so long before."""
    leads = np.array(leads_h)
    return [float((leads >= hours).mean()) if len(leads) else 0.0 for hours in LEAD_HOURS]


def _operating_point(
    judged: Sequence[Case], verdict: Verdict, severity: Severity
) -> tuple[str, float, float]:
    """Severity, false alarms a connector-year, and share warned before, if only it counted."""
    false = {
        Severity.NOTICE: verdict.notices,
        Severity.WARNING: verdict.false_alarms,
        Severity.CRITICAL: verdict.false_criticals,
    }[severity]
    limited = [case for case in judged if case.truth.is_visible_before_limit]
    before = [_is_before(case, case.warned_ms(severity)) for case in limited]
    share = float(np.mean(before)) if before else float("nan")
    return severity.name.lower(), verdict.a_year(false), share


def _is_before(case: Case, said_ms: int | None) -> bool:
    limit_ms = case.truth.reached_ms
    return said_ms is not None and limit_ms is not None and said_ms < limit_ms


def _reliability(positions: Sequence[float]) -> list[tuple[float, float]]:
    """Stated against observed coverage, if time left were log-normal between the 80 % ends."""
    if not positions:
        return []
    off = np.abs(np.array(positions))
    half: Callable[[float], float] = lambda level: NormalDist().inv_cdf(0.5 + level / 2)  # noqa: E731
    return [(level, float((off <= half(level) / _EIGHTY).mean())) for level in LEVELS]


def _conditions(judged: Sequence[Case], kind: Kind) -> dict[str, int]:
    """How many connectors of a kind were warned about, by condition."""
    told: dict[str, int] = {}
    for case in judged:
        if case.truth.kind != kind:
            continue
        warned = {
            said.alarm.condition
            for said in case.said
            if said.alarm.event in ("opened", "worsened")
            and said.alarm.severity is not None
            and said.alarm.severity >= Severity.WARNING
        }
        for condition in warned:
            told[condition] = told.get(condition, 0) + 1
    return told


def _quantile(values: Sequence[float], share: float) -> float:
    return float(np.quantile(values, share)) if values else float("nan")
