"""The default detectors in the suite, and four of them closely.

Their numbers, and what noise, gaps and late news do to them.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ohmwatch.checks.detectors import (
    CHECKS,
    EXAMPLE,
    START_MS,
    TURN_READINGS,
    CheckFailed,
    check_detector,
    observed,
    recording,
)
from ohmwatch.conditions import Pole
from ohmwatch.detector import Batch, Detector, Ratings, State
from ohmwatch.detectors.defaults import default_detectors
from ohmwatch.detectors.insulation_low import InsulationLow
from ohmwatch.detectors.overtemperature import Overtemperature
from ohmwatch.detectors.pole_imbalance import PoleImbalance
from ohmwatch.detectors.temperature_rise_high import TemperatureRiseHigh
from ohmwatch.findings import Finding, Severity

DETECTORS: list[Detector] = [
    Overtemperature(),
    TemperatureRiseHigh(),
    PoleImbalance(),
    InsulationLow(),
]
MODEL = replace(EXAMPLE, interval_s=1.0)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("detector", default_detectors(), ids=lambda detector: detector.name)
def test_detector_passes_the_suite(detector: Detector, check: Any) -> None:
    check(detector, EXAMPLE)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
def test_detector_speaks_of_the_faulty_and_not_of_the_healthy(detector: Detector) -> None:
    faulty = observed(detector, recording(), EXAMPLE)
    assert {finding.connector for finding in faulty} == {f"c{number}" for number in range(6)}
    assert faulty[-1].ended
    assert observed(detector, recording(healthy=True), EXAMPLE) == []


class Broken(Overtemperature):
    """A detector with one thing wrong; each must be caught by the suite."""


class WritesItsInput(Broken):
    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        batch.values["current_a"][:] = 0.0
        return []


class RemembersBesideTheState(Broken):
    calls: list[int] = []

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        self.calls.append(1)
        findings = super().observe(batch, ratings, state)
        return findings if len(self.calls) % 2 else []


class CountsGaps(Broken):
    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        if not len(batch):
            return []
        before = state["last_ms"][batch.connector[:1]] or batch.time_ms[:1]
        findings = super().observe(batch, ratings, state)
        first = batch.time_ms[batch.connector == batch.connector[0]]
        gap = (np.diff(first, prepend=before) > 3_600_000).any()
        return [*findings, _finding(batch)] if gap else findings


class ForgetsAtABatchsEnd(Broken):
    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        state[:] = np.zeros(1, state.dtype)
        return super().observe(batch, ratings, state)


class DatesAhead(Broken):
    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        found = super().observe(batch, ratings, state)
        return [replace(each, measured_ms=each.measured_ms + 1) for each in found]


class SpeaksWithoutValues(Broken):
    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        blind = np.isnan(batch.column("temperature_pos_c")).all()
        return [_finding(batch)] if len(batch) and blind else []


def _finding(batch: Batch) -> Finding:
    at = int(batch.time_ms[-1])
    return Finding(
        connector=batch.connectors[0],
        condition="overtemperature",
        severity=Severity.NOTICE,
        since_ms=at,
        measured_ms=at,
        arrived_ms=at,
        detector="overtemperature",
        detector_version="1",
    )


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (WritesItsInput(), "raises_nothing"),
        (RemembersBesideTheState(), "says_the_same_twice"),
        (CountsGaps(), "takes_a_gap_for_no_time"),
        (ForgetsAtABatchsEnd(), "says_the_same_in_pieces"),
        (DatesAhead(), "states_well_formed_findings"),
        (SpeaksWithoutValues(), "bears_missing_values"),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_the_suite_catches_a_broken_detector(broken: Detector, check: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        check_detector(broken)
    assert caught.value.check == check


class Ponders(Broken):
    """Slow over the largest batch only."""

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        if len(batch) == TURN_READINGS:
            time.sleep(0.3)
        return super().observe(batch, ratings, state)


def test_the_suite_catches_one_that_takes_too_long_by_the_limit_that_is_given() -> None:
    with pytest.raises(CheckFailed, match=r"31,200 readings took .* at most 0\.2 s") as caught:
        check_detector(Ponders(), turn_s=0.2)
    assert caught.value.check == "ends_its_turn_in_time"
    check_detector(Ponders(), turn_s=60.0)


# --- overtemperature --------------------------------------------------------------------------


def temperatures(celsius: Sequence[float] | np.ndarray, step_s: float = 1.0) -> Batch:
    times = [START_MS + int(1000 * step_s * number) for number in range(len(celsius))]
    return Batch.of_one("inlet", times, temperature_pos_c=celsius)


def severities(findings: Sequence[Finding]) -> list[Severity | None]:
    """What was stated, without the restatements of what goes on."""
    stated = [finding.severity for finding in findings]
    return [each for number, each in enumerate(stated) if number == 0 or stated[number - 1] != each]


def test_heating_contact_is_a_warning_then_critical_then_over() -> None:
    rising = np.concatenate([np.linspace(60, 95, 600), np.linspace(95, 40, 600)])
    findings = observed(Overtemperature(), temperatures(rising), MODEL)
    assert severities(findings) == [Severity.WARNING, Severity.CRITICAL, Severity.WARNING, None]


def test_warning_says_since_when_and_what_shows_it() -> None:
    series = temperatures([70.0] * 10 + [82.0] * 60)
    (finding,) = observed(Overtemperature(), series, MODEL)
    assert finding.since_ms == START_MS + 10_000
    assert finding.measured_ms == START_MS + 40_000
    assert finding.evidence["margin_k"] == 8.0
    assert finding.pole == Pole.POSITIVE


def test_a_single_hot_reading_says_nothing() -> None:
    series = [60.0] * 100 + [120.0] + [60.0] * 100
    assert observed(Overtemperature(), temperatures(series), MODEL) == []


@pytest.mark.parametrize("mean_c", [79.0, 80.0, 81.0, 89.0, 90.0])
def test_noise_around_a_limit_does_not_flap(mean_c: float) -> None:
    noisy = mean_c + np.random.default_rng(1).normal(0, 0.6, 7_200)
    findings = observed(Overtemperature(), temperatures(noisy), MODEL)
    assert len(severities(findings)) <= 2
    assert None not in severities(findings)


def test_without_hysteresis_the_same_noise_flaps() -> None:
    noisy = 80.0 + np.random.default_rng(1).normal(0, 0.6, 7_200)
    bare = Overtemperature(hysteresis_k=0.0, warning_hold_s=0.0, release_s=0.0)
    assert len(severities(observed(bare, temperatures(noisy), MODEL))) > 100


def test_a_gap_is_no_time_over_the_limit() -> None:
    first = temperatures([95.0, 95.0])
    assert observed(Overtemperature(), first, MODEL) == []
    times = [START_MS, START_MS + 1000, START_MS + 3_601_000, START_MS + 3_602_000]
    apart = Batch.of_one("inlet", times, temperature_pos_c=[95.0] * 4)
    assert observed(Overtemperature(), apart, MODEL) == []


def test_a_gap_ends_no_duration() -> None:
    times = [*range(0, 4000, 1000), *range(3_600_000, 3_604_000, 1000)]
    apart = Batch.of_one("c", [START_MS + each for each in times], temperature_pos_c=[95.0] * 8)
    findings = observed(Overtemperature(), apart, MODEL)
    assert severities(findings) == [Severity.CRITICAL]
    assert findings[0].measured_ms == START_MS + 3_602_000


def test_slow_device_with_a_stated_interval_has_no_gaps() -> None:
    series = temperatures([95.0] * 3, step_s=60.0)
    assert observed(Overtemperature(), series, replace(MODEL, interval_s=60.0)) != []
    assert observed(Overtemperature(), series, replace(MODEL, interval_s=5.0)) == []


def test_both_hot_poles_are_named() -> None:
    times = [START_MS + 1000 * number for number in range(10)]
    values = {"temperature_pos_c": [91.0] * 10, "temperature_neg_c": [92.0] * 10}
    (finding,) = observed(Overtemperature(), Batch.of_one("c", times, **values), MODEL)
    assert finding.pole == Pole.BOTH


@pytest.mark.parametrize(("neg_c", "pole"), [(78.0, Pole.BOTH), (70.0, Pole.POSITIVE)])
def test_one_pole_is_named_that_is_hotter_by_more_than_sensors_err(
    neg_c: float, pole: Pole
) -> None:
    times = [START_MS + 1000 * number for number in range(40)]
    values = {"temperature_pos_c": [83.0] * 40, "temperature_neg_c": [neg_c] * 40}
    (finding,) = observed(Overtemperature(), Batch.of_one("c", times, **values), MODEL)
    assert finding.pole == pole


def test_lasting_condition_is_stated_again_each_five_minutes() -> None:
    findings = observed(Overtemperature(), temperatures([95.0] * 3600), MODEL)
    assert len(findings) == 1 + 11
    assert {finding.since_ms for finding in findings} == {START_MS}


# --- temperature rise -------------------------------------------------------------------------


def contact(
    current_a: np.ndarray,
    *,
    rise_rated_k: float,
    ambient_c: np.ndarray | float = 20.0,
    constants_s: tuple[float, float] = (80.0, 780.0),
    share_fast: float = 0.4,
    noise_k: float = 0.3,
) -> Batch:
    """A contact with two thermal time constants, 250 A rated; both poles alike."""
    count = len(current_a)
    ambient = np.broadcast_to(np.asarray(ambient_c, dtype=np.float64), (count,))
    lagged, parts = np.empty(count), [0.0, 0.0]
    for at in range(count):
        steady_k = rise_rated_k * (current_a[at] / 250.0) ** 2
        shares = (share_fast, 1 - share_fast)
        for each in range(2):
            parts[each] += (shares[each] * steady_k - parts[each]) / constants_s[each]
        lagged[at] = sum(parts)
    chance = np.random.default_rng(2)
    times = [START_MS + 1000 * number for number in range(count)]
    return Batch.of_one(
        "inlet",
        times,
        current_a=current_a,
        ambient_c=ambient,
        temperature_pos_c=ambient + lagged + chance.normal(0, noise_k, count),
        temperature_neg_c=ambient + lagged + chance.normal(0, noise_k, count),
    )


def drive_cycle(count: int) -> np.ndarray:
    chance = np.random.default_rng(4)
    return np.repeat(chance.uniform(-150, 250, count // 30 + 1), 30)[:count]


def test_healthy_contact_in_a_drive_cycle_says_nothing() -> None:
    series = contact(drive_cycle(7_200), rise_rated_k=32.0)
    assert observed(TemperatureRiseHigh(), series, MODEL) == []
    assert observed(PoleImbalance(), series, MODEL) == []


@pytest.mark.parametrize("spread", [0.75, 1.0, 1.25])
def test_load_step_is_followed_with_the_contacts_lag(spread: float) -> None:
    steps = np.repeat([0.0, 250.0, 0.0, 250.0, 60.0], 1800)
    constants_s = (80.0 * spread, 780.0 * spread)
    series = contact(steps, rise_rated_k=36.0, constants_s=constants_s)
    assert observed(TemperatureRiseHigh(), series, MODEL) == []


def test_tired_contact_is_found_at_half_load_on_a_cold_day() -> None:
    series = contact(np.full(7_200, 125.0), rise_rated_k=90.0, ambient_c=-15.0)
    findings = observed(TemperatureRiseHigh(), series, MODEL)
    assert severities(findings) == [Severity.WARNING]
    assert observed(Overtemperature(), series, MODEL) == []


def test_rise_beyond_the_limit_at_rated_current_is_critical() -> None:
    series = contact(np.full(9_000, 250.0), rise_rated_k=70.0)
    assert Severity.CRITICAL in severities(observed(TemperatureRiseHigh(), series, MODEL))


def test_hot_ambient_derates_the_allowed_rise() -> None:
    model = replace(MODEL, temperature_rise_limit_k=float("nan"))
    series = contact(np.full(9_000, 120.0), rise_rated_k=120.0, ambient_c=40.0)
    assert observed(TemperatureRiseHigh(), series, model) != []
    mild = contact(np.full(9_000, 120.0), rise_rated_k=120.0, ambient_c=-20.0)
    assert observed(TemperatureRiseHigh(), mild, model) == []


def test_connector_that_starts_warm_is_not_called_faulty() -> None:
    warm = contact(np.concatenate([np.full(5_000, 250.0), np.zeros(3_000)]), rise_rated_k=36.0)
    after = warm.rows(warm.time_ms > START_MS + 5_000_000)
    assert observed(TemperatureRiseHigh(), after, MODEL) == []


def test_load_in_a_gap_is_not_held_against_the_contact() -> None:
    course = np.concatenate([np.zeros(3_000), np.full(4_000, 250.0), np.full(2_000, 20.0)])
    series = contact(course, rise_rated_k=36.0)
    seconds = (series.time_ms - START_MS) // 1000
    assert observed(TemperatureRiseHigh(), series, MODEL) == []
    unseen = (seconds < 2_900) | (seconds > 7_050)
    assert observed(TemperatureRiseHigh(), series.rows(unseen), MODEL) == []


def test_leaving_a_warm_garage_is_no_rise() -> None:
    ambient = np.concatenate([np.full(3_000, 22.0), np.full(3_000, -12.0)])
    idle = np.zeros(6_000)
    slow = ambient.copy()
    for at in range(1, len(slow)):
        slow[at] = slow[at - 1] + (ambient[at] - slow[at - 1]) / 700.0
    times = [START_MS + 1000 * number for number in range(6_000)]
    batch = Batch.of_one("c", times, current_a=idle, ambient_c=ambient, temperature_pos_c=slow)
    assert observed(TemperatureRiseHigh(), batch, MODEL) == []


# --- imbalance, insulation --------------------------------------------------------------------


def test_loose_pole_is_found_and_named() -> None:
    good = contact(drive_cycle(7_200), rise_rated_k=32.0)
    bad = contact(drive_cycle(7_200), rise_rated_k=110.0)
    values = {**good.values, "temperature_neg_c": bad.values["temperature_neg_c"]}
    findings = observed(PoleImbalance(), replace(good, values=values), MODEL)
    assert findings[0].pole == Pole.NEGATIVE
    assert max(each.severity for each in findings if each.severity) == Severity.WARNING


@pytest.mark.parametrize("offset_k", [0.0, 3.0, 5.0])
def test_sensors_that_differ_are_no_imbalance(offset_k: float) -> None:
    good = contact(drive_cycle(7_200), rise_rated_k=32.0)
    shifted = good.values["temperature_neg_c"] + offset_k
    values = {**good.values, "temperature_neg_c": shifted}
    assert observed(PoleImbalance(), replace(good, values=values), MODEL) == []


def insulation(kohm: Sequence[float] | np.ndarray) -> Batch:
    times = [START_MS + 1000 * number for number in range(len(kohm))]
    return Batch.of_one("c", times, insulation_kohm=kohm)


def test_insulation_falls_and_dries() -> None:
    course = np.concatenate([np.linspace(2_000, 300, 900), np.linspace(300, 3_000, 1_800)])
    findings = observed(InsulationLow(), insulation(course), MODEL)
    assert severities(findings) == [Severity.WARNING, Severity.CRITICAL, Severity.WARNING, None]


def test_noisy_insulation_at_its_minimum_does_not_flap() -> None:
    noisy = 500.0 * np.random.default_rng(3).normal(1, 0.04, 7_200)
    assert severities(observed(InsulationLow(), insulation(noisy), MODEL))[-1] is not None
    assert len(severities(observed(InsulationLow(), insulation(noisy), MODEL))) <= 2


def test_standard_stands_in_for_a_missing_minimum() -> None:
    model = Ratings(rated_voltage_v=800.0)  # 80 kΩ by 100 Ω/V
    assert observed(InsulationLow(), insulation([170.0] * 200), model) == []
    assert observed(InsulationLow(), insulation([79.0] * 200), model) != []
    assert observed(InsulationLow(), insulation([1.0] * 200), Ratings()) == []
