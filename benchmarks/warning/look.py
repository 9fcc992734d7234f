"""A look at one contender on a tuning set, for whoever tunes: the table, the kinds, the misses.

    python -m benchmarks.warning.look --profile hard --seed 2 --connectors 150 [--contender NAME]
        [--with NAME]     # a warning of either counts

The report's seeds are refused: who has seen them can't freeze anything any more.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

from benchmarks.warning.events import Said
from benchmarks.warning.faults import CONNECTOR_FAULTS, SENSOR_FAULTS, Kind
from benchmarks.warning.figures import of_kind
from benchmarks.warning.judge import HOUR_MS, RISES, Case, judge
from benchmarks.warning.profiles import PROFILES
from benchmarks.warning.scenarios import REPORT_SEEDS, SPENT_SEEDS, generate
from benchmarks.warning.targets import ROWS, asked, written
from benchmarks.warning.trial import OURS, compete, contenders
from ohmwatch.findings import Severity

POOR_LEAD = 0.5


def lines(judged: Sequence[Case], profile: str) -> Iterable[str]:
    """What there is to say about one contender's cases."""
    verdict = judge(judged)
    for row in ROWS:
        yield f"{written(row, row.figure(verdict)):>9}  {asked(row, profile):>12}  {row.text}"
    yield f"{verdict.healthy_years:.1f} healthy connector-years, {verdict.warned.all} with a limit"
    for kind in CONNECTOR_FAULTS:
        told = of_kind(judged, kind)
        yield f"  {kind.name.lower():24}" + "  ".join(
            f"{name} {value:.3g}" for name, value in told.items()
        )
    yield f"healthy accused of: {_conditions(judged, (Kind.HEALTHY,))}"
    yield f"lying sensors, called: {_conditions(judged, SENSOR_FAULTS)}"
    yield f"causes named: {_named(judged)}"
    for case in judged:
        if case.truth.is_visible_before_limit and case.lead_share() < POOR_LEAD:
            yield f"  poor: {_told(case)}"


def together(*several: Sequence[Case]) -> list[Case]:
    """The same connectors as if one engine had said what each of several said of them."""
    return [
        Case(same[0].truth, tuple(sorted(chain(*(case.said for case in same)), key=_said_ms)))
        for same in zip(*several, strict=True)
    ]


def _said_ms(said: Said) -> int:
    return said.said_ms


def _conditions(judged: Sequence[Case], kinds: Sequence[Kind]) -> dict[str, int]:
    """How many connectors of these kinds were warned about, by kind and condition."""
    told: Counter[str] = Counter()
    for case in judged:
        if case.truth.kind in kinds:
            told.update(
                {
                    f"{case.truth.kind.name.lower()}: {said.alarm.condition}"
                    for said in case.said
                    if said.alarm.event in RISES
                    and said.alarm.severity is not None
                    and said.alarm.severity >= Severity.WARNING
                }
            )
    return dict(told.most_common())


def _named(judged: Sequence[Case]) -> dict[str, int]:
    told: Counter[str] = Counter()
    for case in judged:
        if case.truth.kind in CONNECTOR_FAULTS and case.first(Severity.NOTICE):
            named = case.named()
            condition = "none" if named is None else str(named.alarm.condition)
            told[f"{case.truth.kind.name.lower()}: {condition}"] += 1
    return dict(told.most_common())


def _told(case: Case) -> str:
    truth = case.truth
    assert truth.reached_ms is not None
    assert truth.visible_ms is not None
    hours = (truth.reached_ms - truth.visible_ms) / HOUR_MS
    return (
        f"{truth.connector} {truth.kind.name.lower()} {truth.shape.name.lower()}, seen by "
        f"{truth.visible_by} {hours:.0f} h before the limit, lead {case.lead_share():.2f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profile", choices=sorted(PROFILES), default="nominal")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--connectors", type=int, default=150)
    parser.add_argument("--contender", choices=list(contenders()), default=OURS)
    parser.add_argument("--with", dest="other", choices=list(contenders()))
    asked_for = parser.parse_args()
    if asked_for.seed in (*REPORT_SEEDS, *SPENT_SEEDS):
        print(f"Seed {asked_for.seed} is one of the report's: tune on another.", file=sys.stderr)
        return 2
    scenario = generate(asked_for.profile, asked_for.seed, asked_for.connectors)
    names = [each for each in (asked_for.contender, asked_for.other) if each]
    trials = compete(scenario, {name: contenders()[name] for name in names})
    for name, trial in trials.items():
        print(f"{name}: {trial.readings / max(trial.cpu_s, 1e-9):,.0f} readings/s of CPU")
    profile = asked_for.profile.removeprefix("healthy-").replace("healthy", "nominal")
    print("\n".join(lines(together(*(trials[name].cases for name in names)), profile)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
