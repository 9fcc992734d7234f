"""The benchmark: sets of the report's seeds, all contenders, the table, docs/warning.md.

The sets have seeds that nothing was tuned on. For each profile a mixed set says what is found,
and its healthy connectors together with a healthy set what is cried wolf about. The engine's
sources are hashed before the first reading and after the last.
"""

import json
import math
import sys
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.harness import RESULTS, Measure, circumstances, finish
from benchmarks.warning import figures, report, stories
from benchmarks.warning.events import Contender
from benchmarks.warning.frozen import fingerprint
from benchmarks.warning.judge import Case
from benchmarks.warning.scenarios import REPORT_SEEDS, TUNING_SEEDS, Scenario, generate
from benchmarks.warning.targets import ROWS, Row
from benchmarks.warning.trial import OURS, Trial, compete, contenders

SLOW: tuple[str, ...] = ()
"""Contenders that cost so much that they see a part of the healthy set only: none at present."""
DETAILS = "warning-figures.json"


@dataclass(frozen=True, slots=True)
class Size:
    """Connectors in each profile's mixed set; in its healthy one, for all and for the fast ones."""

    mixed: int
    healthy: int
    healthy_fast: int


FULL = Size(mixed=1000, healthy=200, healthy_fast=1000)
QUICK = Size(mixed=22, healthy=4, healthy_fast=16)
PROFILES = (("nominal", "healthy"), ("hard", "healthy-hard"))


def run(quick: bool) -> int:
    """Prints the table, keeps the JSON; writes docs/warning.md unless `quick`."""
    size = QUICK if quick else FULL
    frozen, began_s = fingerprint(), time.monotonic()
    # A quick look is for tuning: it must not show the report's seeds.
    seeds = TUNING_SEEDS if quick else REPORT_SEEDS
    found: dict[str, Any] = {"profiles": {}, "stories": []}
    ours: dict[str, tuple[Case, ...]] = {}
    for profile, healthy in PROFILES:
        cases, told = _profile(profile, healthy, seeds, size)
        ours[profile] = cases[OURS]
        told["possible"] = figures.possible(cases[OURS])
        told["contenders"] = {name: figures.of_contender(each) for name, each in cases.items()}
        found["profiles"][profile] = told
    if fingerprint() != frozen:
        print("The engine's sources changed during the run: the figures are of no engine.")
        return 1
    found["frozen"], found["seeds"], found["quick"] = frozen, list(seeds), quick
    found["took_s"], found["circumstances"] = time.monotonic() - began_s, circumstances()
    if not quick:
        found["stories"] = [
            stories.told(title, profile, seeds[0], case)
            for title, profile, case in stories.chosen(ours["nominal"], ours["hard"])
        ]
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / DETAILS).write_text(json.dumps(found, indent=1))
        report.write(found)
    print(report.table(found))
    finish("warning", measures(found), quick)
    return 0


def _profile(
    profile: str, healthy: str, seeds: tuple[int, ...], size: Size
) -> tuple[dict[str, tuple[Case, ...]], dict[str, Any]]:
    """Each contender's cases over the profile's sets, and what those sets were."""
    everybody = contenders()
    mixed = generate(profile, seeds[0], size.mixed)
    some = generate(healthy, seeds[1], size.healthy)
    rest = generate(healthy, seeds[1], size.healthy_fast, first=size.healthy)
    fast = {name: each for name, each in everybody.items() if name not in SLOW}
    trials = [
        _compete(mixed, everybody),
        _compete(some, everybody),
        _compete(rest, fast),
    ]
    cases = {
        name: tuple(case for trial in trials if name in trial for case in trial[name].cases)
        for name in everybody
    }
    about = {
        "connectors": size.mixed,
        "healthy": size.healthy + size.healthy_fast,
        "readings": sum(trial[OURS].readings for trial in trials),
        "years": (size.mixed + size.healthy + size.healthy_fast) * mixed.profile.days / 365.25,
        "cpu_s": {
            name: sum(trial[name].cpu_s for trial in trials if name in trial) for name in everybody
        },
    }
    return cases, about


def _compete(scenario: Scenario, taking_part: dict[str, Contender]) -> dict[str, Trial]:
    years = len(scenario.installed) * scenario.profile.days / 365.25
    whom = f"{len(scenario.installed)} connectors, {years:.0f} connector-years"
    print(f"{scenario.profile.name}: {whom} ...", file=sys.stderr, flush=True)
    return compete(scenario, taking_part)


def measures(found: dict[str, Any]) -> list[Measure]:
    """Ours against the targets, then what the others reached of the first."""
    told = []
    for profile, each in found["profiles"].items():
        table = each["contenders"][OURS]["table"]
        told += [_measure(profile, row, table[row.key]) for row in ROWS]
        told += [
            Measure(
                f"{profile}: {name}, warned before the limit", other["table"]["warned"], "share"
            )
            for name, other in each["contenders"].items()
            if name != OURS
        ]
    return told


def _measure(profile: str, row: Row, value: float) -> Measure:
    bounds = row.target(profile)
    target = None
    if bounds is not None:
        target = bounds[0] if not math.isinf(bounds[0]) else bounds[1]
    unit = "share" if row.unit == "%" else "a year"
    # JSON has no NaN: what could not be measured is -1, and met says false.
    value = -1.0 if math.isnan(value) else value
    met = row.is_met(profile, value) if value >= 0 else (None if bounds is None else False)
    return Measure(f"{profile}: {row.text}", value, unit, target=target, met=met)
