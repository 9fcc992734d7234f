"""Current, voltage and mating cycles over what the connector is rated for."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ohmwatch.checks.detectors import EXAMPLE, observed
from ohmwatch.detector import Batch, Ratings
from ohmwatch.detectors.mating_cycles_exceeded import MatingCyclesExceeded
from ohmwatch.detectors.overcurrent import Overcurrent
from ohmwatch.detectors.overvoltage import Overvoltage
from ohmwatch.findings import Finding, Severity

START_MS = 1_795_420_800_000
MODEL = replace(EXAMPLE, interval_s=1.0)
NOTICE, WARNING, CRITICAL = Severity.NOTICE, Severity.WARNING, Severity.CRITICAL


def seconds(**values: Sequence[float] | np.ndarray) -> Batch:
    """A reading a second."""
    count = len(next(iter(values.values())))
    return Batch.of_one("c", START_MS + 1000 * np.arange(count), **values)


def rises(findings: Sequence[Finding]) -> list[Severity | None]:
    said = [finding.severity for finding in findings]
    return [each for number, each in enumerate(said) if number == 0 or said[number - 1] != each]


def test_rated_current_is_borne_for_ever() -> None:
    noisy = 250.0 * np.random.default_rng(1).normal(1, 0.03, 7_200)
    assert observed(Overcurrent(), seconds(current_a=noisy), MODEL) == []


def test_short_overload_is_borne_and_a_long_one_told() -> None:
    burst = [450.0] * 20 + [100.0] * 600
    assert observed(Overcurrent(), seconds(current_a=burst), MODEL) == []
    lasting = seconds(current_a=[340.0] * 3_600)
    assert rises(observed(Overcurrent(), lasting, MODEL)) == [WARNING, CRITICAL]


def test_charging_current_counts_as_much_as_driving() -> None:
    assert WARNING in rises(observed(Overcurrent(), seconds(current_a=[-300.0] * 3_600), MODEL))


def test_hot_air_allows_less() -> None:
    steady = np.full(3_600, 200.0)
    cool, hot = np.full(3_600, 20.0), np.full(3_600, 70.0)
    assert observed(Overcurrent(), seconds(current_a=steady, ambient_c=cool), MODEL) == []
    findings = observed(Overcurrent(), seconds(current_a=steady, ambient_c=hot), MODEL)
    assert rises(findings) == [WARNING, CRITICAL]
    assert findings[0].evidence["derated_current_a"] == pytest.approx(137.333)


def test_what_nobody_saw_is_no_overload() -> None:
    batch = seconds(current_a=[300.0] * 40)
    apart = replace(batch, time_ms=START_MS + 600_000 * np.arange(40))
    assert observed(Overcurrent(), apart, MODEL) == []


def test_overload_ends() -> None:
    course = [340.0] * 3_600 + [50.0] * 3_600
    assert rises(observed(Overcurrent(), seconds(current_a=course), MODEL))[-1] is None


@pytest.mark.parametrize(
    ("voltage_v", "said"), [(815.0, []), (825.0, [WARNING]), (885.0, [CRITICAL])]
)
def test_voltage_over_the_rating(voltage_v: float, said: list[Severity]) -> None:
    batch = seconds(voltage_v=[voltage_v] * 60)
    assert rises(observed(Overvoltage(), batch, MODEL)) == said


def test_a_switching_peak_is_no_overvoltage() -> None:
    course = np.full(600, 790.0)
    course[100:105] = 900.0
    assert observed(Overvoltage(), seconds(voltage_v=course), MODEL) == []


def test_cycles_are_planned_for_and_then_used_up() -> None:
    course = np.concatenate([np.arange(8_990, 9_010), np.arange(9_990, 10_010)]).astype(float)
    findings = observed(MatingCyclesExceeded(), seconds(mating_cycles=course), MODEL)
    assert rises(findings) == [NOTICE, WARNING]
    assert findings[-1].evidence["mating_cycles"] >= 10_000


@settings(max_examples=50, deadline=None)
@given(wild=st.lists(st.tuples(st.integers(0, 199), st.floats(0, 1e6)), max_size=8))
def test_wild_counts_say_nothing(wild: list[tuple[int, float]]) -> None:
    """As long as no two in a row agree on the same wild number."""
    course = np.full(200, 120.0)
    course[::2] += 1
    for at, count in wild:
        course[at] = count
    agree = np.abs(np.diff(course)) <= 100
    believed = course[1:][agree]
    if (believed >= 9_000).any():
        return
    assert observed(MatingCyclesExceeded(), seconds(mating_cycles=course), MODEL) == []


def test_one_wrong_count_does_not_end_an_alarm() -> None:
    course = [10_500.0] * 10 + [0.0] + [10_500.0] * 10
    findings = observed(MatingCyclesExceeded(), seconds(mating_cycles=course), MODEL)
    assert rises(findings) == [WARNING]


def test_new_connector_ends_it() -> None:
    course = [10_500.0] * 10 + [0.0, 1.0, 1.0]
    findings = observed(MatingCyclesExceeded(), seconds(mating_cycles=course), MODEL)
    assert rises(findings) == [WARNING, None]


def test_models_that_state_no_rating_are_left_alone() -> None:
    batch = seconds(current_a=[900.0] * 900, voltage_v=[1400.0] * 900, mating_cycles=[9e5] * 900)
    for detector in (Overcurrent(), Overvoltage(), MatingCyclesExceeded()):
        assert observed(detector, batch, Ratings()) == []
