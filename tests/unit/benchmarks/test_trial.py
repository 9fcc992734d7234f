"""All contenders over one set say what each says alone; who fails, fails the trial."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import pytest

from benchmarks.warning.events import Alarm, Contender, stamped
from benchmarks.warning.judge import cases, judge
from benchmarks.warning.profiles import NOMINAL
from benchmarks.warning.scenarios import Scenario, generate
from benchmarks.warning.trial import OURS, compete, contenders
from ohmwatch.backtest.installed import Installed
from ohmwatch.detector import Batch
from ohmwatch.findings import Severity

TEN_DAYS = replace(
    NOMINAL, days=10.0, onset_from_days=2.0, onset_to_days=3.0, growth_days=(0.7, 1.5)
)


def small() -> Scenario:
    return generate(TEN_DAYS, 7, 30)


@pytest.fixture(scope="module")
def alone() -> dict[str, list[Alarm]]:
    found = {}
    for name, run in contenders().items():
        scenario = small()
        found[name] = [each.alarm for each in stamped(run, scenario.batches(), scenario.installed)]
    return found


def test_everybody_takes_part() -> None:
    names = list(contenders())
    others = ["fixed limit", "85 % of the rise", "linear prediction", "river", "ONNX model"]
    assert names[:-1] == others
    assert names[-1] == OURS


def test_together_they_say_what_they_say_alone(alone: dict[str, list[Alarm]]) -> None:
    trials = compete(small(), contenders())
    assert set(trials) == set(alone)
    for name, trial in trials.items():
        together = [said.alarm for case in trial.cases for said in case.said]
        assert sorted(map(repr, together)) == sorted(map(repr, alone[name]))
        assert trial.readings == trials[OURS].readings > 50_000


def test_each_contender_says_something_that_can_be_judged(alone: dict[str, list[Alarm]]) -> None:
    for said in alone.values():
        assert said
        assert {each.event for each in said} <= {"opened", "worsened", "eased", "cleared"}
        assert all(isinstance(each.severity, Severity) for each in said)


def test_the_fixed_limit_speaks_at_the_limit_and_hardly_before(
    alone: dict[str, list[Alarm]],
) -> None:
    scenario = small()
    said = list(stamped(contenders()["fixed limit"], scenario.batches(), scenario.installed))
    verdict = judge(cases(scenario.truth(), said))
    assert verdict.warned.all >= 3
    assert verdict.median_lead < 0.2
    assert verdict.false_alarms == 0


def test_who_fails_fails_the_trial() -> None:
    def broken(batches: Iterable[Batch], installed: Mapping[str, Installed]) -> Iterator[Alarm]:
        for number, _ in enumerate(batches):
            if number == 3:
                raise ZeroDivisionError("in the fourth batch")
        yield from ()

    def silent(batches: Iterable[Batch], installed: Mapping[str, Installed]) -> Iterator[Alarm]:
        for _ in batches:
            pass
        yield from ()

    taking_part: dict[str, Contender] = {"silent": silent, "broken": broken}
    with pytest.raises(ZeroDivisionError, match="fourth batch"):
        compete(small(), taking_part)


def test_a_single_unit_is_the_one_of_the_whole_set() -> None:
    whole, one = small(), generate(TEN_DAYS, 7, 1, first=17)
    assert one.connectors == whole.connectors[17:18]
    assert one.truth() == whole.truth()[17:18]
