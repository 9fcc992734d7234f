"""Three connectors told in full: one warned of as usual, one sensor that lied, one we missed."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.warning.contenders.thresholds import believed
from benchmarks.warning.faults import Kind
from benchmarks.warning.judge import HOUR_MS, Case
from benchmarks.warning.scenarios import START_MS, Scenario, generate
from benchmarks.warning.units import BUS, TAXI
from ohmwatch.findings import Severity

DAY_MS = 24 * HOUR_MS
STRETCH_MS = 3 * HOUR_MS
EVENTS_TOLD = 25


def chosen(nominal: Sequence[Case], hard: Sequence[Case]) -> list[tuple[str, str, Case]]:
    """Which three: a title, the profile, the case. Chosen by rule, not by taste."""
    found = [
        ("Warned of as most are: the median lead", "nominal", _usual(nominal)),
        ("A sensor that lied", "hard", _liar(hard)),
        ("The worst miss", "hard", _missed(hard)),
    ]
    return [(title, profile, case) for title, profile, case in found if case is not None]


def _usual(judged: Sequence[Case]) -> Case | None:
    """The fretting contact whose share of the possible lead is the median one."""
    limited = [
        case
        for case in judged
        if case.truth.kind == Kind.FRETTING and case.truth.is_visible_before_limit
    ]
    limited.sort(key=lambda case: (case.lead_share(), case.truth.connector))
    return limited[len(limited) // 2] if limited else None


def _liar(judged: Sequence[Case]) -> Case | None:
    """The drifting sensor of which most was said."""
    drifting = [case for case in judged if case.truth.kind == Kind.DRIFTING and case.said]
    return max(drifting, key=lambda case: (len(case.said), case.truth.connector), default=None)


def _missed(judged: Sequence[Case]) -> Case | None:
    """Of the faults with the least share of their possible lead the one with the most to gain."""
    limited = [case for case in judged if case.truth.is_visible_before_limit]
    least = min((case.lead_share() for case in limited), default=0.0)
    worst = [case for case in limited if case.lead_share() == least]
    return max(worst, key=_room_h, default=None)


def _room_h(case: Case) -> float:
    truth = case.truth
    assert truth.reached_ms is not None
    assert truth.visible_ms is not None
    return (truth.reached_ms - truth.visible_ms) / HOUR_MS


def told(title: str, profile: str, seed: int, case: Case) -> dict[str, Any]:
    """The case as plain data: what is true, what was said, and what its device measured."""
    number = int(case.truth.connector.rpartition("-")[2])
    scenario = generate(profile, seed, 1, first=number)
    return {
        "title": title,
        "profile": profile,
        "truth": {**asdict(case.truth), "kind": case.truth.kind.name.lower()},
        "shape": case.truth.shape.name.lower(),
        "about": _about(scenario),
        "limit_c": scenario.ratings[0].temperature_limit_c,
        "insulation_minimum_kohm": scenario.ratings[0].insulation_minimum_kohm,
        "said": [_said(each) for each in case.said[:EVENTS_TOLD]],
        "left_out": max(0, len(case.said) - EVENTS_TOLD),
        "lead_share": case.lead_share() if case.truth.is_visible_before_limit else None,
        "warned_day": _day(case.warned_ms(Severity.WARNING)),
        **_measured(scenario, case),
    }


def _about(scenario: Scenario) -> dict[str, Any]:
    unit, ratings = scenario.units[0], scenario.ratings[0]
    return {
        "connector": scenario.connectors[0],
        "model": ratings.model,
        "vehicle": {TAXI: "taxi", BUS: "bus"}.get(int(unit["use"]), "car"),
        "interval_s": float(unit["interval_s"]),
        "heartbeat_s": float(unit["heartbeat_s"]),
        "noise_k": round(float(unit["noise_k"]), 2),
        "step_k": float(unit["step_k"]),
        "changes_only": bool(unit["changes_only"]),
        "climate_c": round(float(unit["climate_c"]), 1),
        "missing": [
            name
            for name in ("temperature_neg_c", "ambient_c", "drop_pos_mv", "insulation_kohm")
            if name not in ratings.reports
        ],
    }


def _said(said: Any) -> dict[str, Any]:
    alarm = said.alarm
    return {
        "day": _day(said.said_ms),
        "event": alarm.event,
        "severity": alarm.severity.name.lower() if alarm.severity else "",
        "condition": alarm.condition,
        "pole": alarm.pole,
        "limit_from_day": _day(alarm.limit_from_ms),
        "limit_to_day": _day(alarm.limit_to_ms),
    }


def _measured(scenario: Scenario, case: Case) -> dict[str, Any]:
    """The hottest reading of each pole, or the least insulation, in stretches of three hours."""
    courses: dict[str, dict[int, float]] = {"pos": {}, "neg": {}, "insulation": {}}
    loaded = 0
    for batch in scenario.batches(hours=24):
        stretch = (batch.arrived_ms - START_MS) // STRETCH_MS
        for name, quantity in (("pos", "temperature_pos_c"), ("neg", "temperature_neg_c")):
            _gather(courses[name], stretch, believed(batch.column(quantity)))
        _gather(courses["insulation"], stretch, -batch.column("insulation_kohm"))
        loaded += _loaded(batch, case, scenario.ratings[0].rated_current_a)
    return {
        "loaded_readings": loaded,
        "courses": {
            name: [
                (at * STRETCH_MS / DAY_MS, -value if name == "insulation" else value)
                for at, value in sorted(course.items())
            ]
            for name, course in courses.items()
        },
    }


def _gather(course: dict[int, float], stretch: np.ndarray, values: np.ndarray) -> None:
    known = ~np.isnan(values)
    for at in np.unique(stretch[known]).tolist():
        most = float(values[known & (stretch == at)].max())
        course[at] = max(course.get(at, -np.inf), most)


def _loaded(batch: Any, case: Case, rated_a: float) -> int:
    """Readings under a third of rated current or more between visible and limit."""
    truth = case.truth
    if truth.visible_ms is None or truth.reached_ms is None:
        return 0
    between = (batch.arrived_ms >= truth.visible_ms) & (batch.arrived_ms < truth.reached_ms)
    return int((between & (np.abs(batch.column("current_a")) >= rated_a / 3)).sum())


def _day(time_ms: int | None) -> float | None:
    return None if time_ms is None else round((time_ms - START_MS) / DAY_MS, 3)
