"""Insulation: falls against a unit's own beginning, dips that the weather explains, and limits."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from ohmwatch.checks.detectors import EXAMPLE, observed
from ohmwatch.detector import Batch, Ratings
from ohmwatch.detectors.insulation_falling import InsulationFalling
from ohmwatch.detectors.insulation_low import InsulationLow
from ohmwatch.findings import Finding, Severity

START_MS = 1_795_420_800_000
DAY_MS = 86_400_000
MODEL = replace(EXAMPLE, interval_s=120.0)
DAYS = np.arange(0, 25, 1 / 720)  # a reading each two minutes
WETTING = 0.35
"""Log kΩ for 10 % of humidity: the worst of the plastics."""


def air(seed: int, *, wet_starts: bool = True) -> np.ndarray:
    """Humidity in a housing: slow weather, and mornings on which everything is wet."""
    chance = np.random.default_rng(seed)
    weather = np.zeros(51)
    for half_day in range(1, 51):  # reverts within a day; its standard deviation is 7 %
        weather[half_day] = 0.6 * weather[half_day - 1] + chance.normal(0, 5.6)
    humidity_pct = 52.0 + np.interp(DAYS, np.arange(51) / 2, weather)
    for day in range(25):
        if wet_starts and chance.random() < 0.12:
            since = np.maximum(DAYS - (day + 0.25), 0) * 24
            humidity_pct += (97 - humidity_pct) * np.where(since > 0, np.exp(-since / 2.5), 0)
    return np.clip(humidity_pct, 8, 98)


def insulation_of(humidity_pct: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed + 1000).normal(0, 0.05, len(DAYS))
    return 15_000.0 * np.exp(-WETTING * np.maximum(humidity_pct - 45, 0) / 10 + noise)


def unit(kohm: np.ndarray, humidity_pct: np.ndarray | None) -> Batch:
    times = START_MS + (DAYS * DAY_MS).astype(np.int64)
    values = {} if humidity_pct is None else {"humidity_pct": humidity_pct}
    return Batch.of_one("c", times, insulation_kohm=kohm, **values)


def rises(findings: Sequence[Finding]) -> list[Severity | None]:
    """The severities in order, each once."""
    said = [finding.severity for finding in findings]
    return [each for number, each in enumerate(said) if number == 0 or said[number - 1] != each]


def test_weather_is_no_warning() -> None:
    """Over seven connector-years of the worst plastic: none; unmeasured, one in a hundred."""
    warned = {True: 0, False: 0}
    for seed in range(100):
        humidity_pct = air(seed)
        kohm = insulation_of(humidity_pct, seed)
        for measured in (True, False):
            batch = unit(kohm, humidity_pct if measured else None)
            said = rises(observed(InsulationFalling(), batch, MODEL))
            warned[measured] += Severity.WARNING in said
        assert observed(InsulationLow(), batch, MODEL) == []
    assert warned[True] == 0
    assert warned[False] <= 1


@pytest.mark.parametrize("tau_days", [1.5, 4.0])
@pytest.mark.parametrize("measured", [True, False], ids=["humidity", "no humidity"])
def test_leak_is_told_while_it_is_far_from_the_minimum(measured: bool, tau_days: float) -> None:
    humidity_pct = air(4)
    grown = np.maximum(DAYS - 8, 0) / tau_days
    kohm = insulation_of(humidity_pct, 4) * np.exp(-grown)
    batch = unit(kohm, humidity_pct if measured else None)
    findings = observed(InsulationFalling(), batch, MODEL)
    warned = next(each for each in findings if each.severity == Severity.WARNING)
    days = (warned.measured_ms - START_MS) / DAY_MS - 8
    assert days < tau_days * (0.85 if measured else 1.8)
    assert warned.evidence["insulation_kohm"] > 4 * 500
    assert warned.time_left_s is not None
    left = (warned.evidence["time_left_from_s"], warned.evidence["time_left_to_s"])
    assert left[0] < warned.time_left_s < left[1]
    true_s = (tau_days * np.log(15_000 / 500) - days) * 86_400
    assert left[0] / 2 < true_s < left[1] * 2


def first_statement_holds(kohm: np.ndarray, humidity_pct: np.ndarray) -> bool | None:
    """Whether the minimum came within the first interval that was told; None: none in time."""
    below = DAYS[kohm < 500.0]
    findings = observed(InsulationFalling(), unit(kohm, humidity_pct), MODEL)
    said = [each for each in findings if "time_left_from_s" in each.evidence]
    if not len(below) or not said or said[0].measured_ms >= START_MS + below[0] * DAY_MS:
        return None
    left_s = (START_MS + below[0] * DAY_MS - said[0].measured_ms) / 1000
    low, high = said[0].evidence["time_left_from_s"], said[0].evidence["time_left_to_s"]
    return float(low) <= left_s <= float(high)


@pytest.mark.parametrize("leak", ["dry", "wet"])
def test_interval_of_the_time_left_fits_a_dry_leak_and_a_wet_one(leak: str) -> None:
    held = []
    for seed in range(20):
        humidity_pct = air(seed)
        wetted = WETTING * np.maximum(humidity_pct - 45, 0) / 10
        grown = np.maximum(DAYS - 6, 0) / 4.0
        fallen = grown if leak == "dry" else grown * wetted
        kohm = insulation_of(humidity_pct, seed) * np.exp(-fallen)
        held.append(first_statement_holds(kohm, humidity_pct))
    judged = [each for each in held if each is not None]
    assert len(judged) >= 12
    assert 0.65 <= np.mean(judged) <= 0.97


def test_repaired_insulation_ends_the_alarm() -> None:
    fallen = np.exp(-np.clip(DAYS - 8, 0, 4) / 2.0)
    kohm = insulation_of(air(4), 4) * np.where(DAYS < 16, fallen, 1.0)
    findings = observed(InsulationFalling(), unit(kohm, air(4)), MODEL)
    said = rises(findings)
    assert said[-1] is None
    assert "time_left_from_s" not in findings[-1].evidence
    assert Severity.WARNING in said


def test_slow_ageing_is_a_notice() -> None:
    kohm = insulation_of(air(4), 4) * np.exp(-np.clip(DAYS - 4, 0, 100) / 26)
    findings = observed(InsulationFalling(), unit(kohm, air(4)), MODEL)
    assert Severity.WARNING not in rises(findings)


def test_fall_is_the_same_in_pieces_and_through_checkpoints() -> None:
    humidity_pct = air(9)
    kohm = insulation_of(humidity_pct, 9) * np.exp(-np.maximum(DAYS - 8, 0) / 2)
    batch = unit(kohm, humidity_pct)
    pieces = [
        (start <= DAYS) & (end > DAYS)
        for start, end in zip([0, 1.7, 9.2, 9.3], [1.7, 9.2, 9.3, 99], strict=True)
    ]
    at_once = observed(InsulationFalling(), batch, MODEL)
    assert at_once
    again = observed(InsulationFalling(), batch, MODEL, pieces=pieces, checkpoint=True)
    assert again == at_once


def test_a_single_wild_reading_says_nothing() -> None:
    kohm = insulation_of(air(4, wet_starts=False), 4)
    kohm[9_000] = 1.0
    batch = unit(kohm, air(4, wet_starts=False))
    assert observed(InsulationFalling(), batch, MODEL) == []
    assert observed(InsulationLow(), batch, MODEL) == []


def test_nothing_is_said_of_zero_kohm_by_the_trend() -> None:
    batch = unit(np.zeros(len(DAYS)), None)
    assert observed(InsulationFalling(), batch, MODEL) == []
    assert rises(observed(InsulationLow(), batch, MODEL)) == [Severity.CRITICAL]


# --- insulation_low ---------------------------------------------------------------------------


def minutes(kohm: Sequence[float], humidity_pct: float | None = None, *, start: int = 0) -> Batch:
    times = [START_MS + (start + each) * 60_000 for each in range(len(kohm))]
    values = {} if humidity_pct is None else {"humidity_pct": [humidity_pct] * len(kohm)}
    return Batch.of_one("c", times, insulation_kohm=kohm, **values)


ONE = Ratings(insulation_minimum_kohm=500.0, interval_s=60.0)


def test_margin_spent_in_dry_air_is_a_warning_at_once() -> None:
    assert rises(observed(InsulationLow(), minutes([800.0] * 10, 50.0), ONE)) == [Severity.WARNING]


def test_margin_spent_in_wet_air_is_a_warning_only_where_it_stays() -> None:
    assert observed(InsulationLow(), minutes([800.0] * 150, 92.0), ONE) == []
    said = rises(observed(InsulationLow(), minutes([800.0] * 200, 92.0), ONE))
    assert said == [Severity.WARNING]


def test_below_the_minimum_no_weather_is_an_excuse() -> None:
    assert rises(observed(InsulationLow(), minutes([400.0] * 9, 97.0), ONE)) == [Severity.CRITICAL]


def test_unmeasured_wet_start_after_a_night_is_waited_out() -> None:
    evening, morning = minutes([9_000.0] * 5), minutes([800.0] * 100, start=700)
    night = Batch.of_one(
        "c",
        np.concatenate([evening.time_ms, morning.time_ms]),
        insulation_kohm=[9_000.0] * 5 + [800.0] * 100,
    )
    assert observed(InsulationLow(), night, ONE) == []
    later = minutes([800.0] * 10, start=830)
    day = Batch.of_one(
        "c",
        np.concatenate([night.time_ms, later.time_ms]),
        insulation_kohm=[9_000.0] * 5 + [800.0] * 110,
    )
    assert rises(observed(InsulationLow(), day, ONE)) == [Severity.WARNING]


def test_wet_air_does_not_end_a_warning() -> None:
    dry, wet = minutes([800.0] * 10, 50.0), minutes([850.0] * 60, 95.0, start=10)
    batch = Batch.of_one(
        "c",
        np.concatenate([dry.time_ms, wet.time_ms]),
        insulation_kohm=[800.0] * 10 + [850.0] * 60,
        humidity_pct=[50.0] * 10 + [95.0] * 60,
    )
    assert rises(observed(InsulationLow(), batch, ONE)) == [Severity.WARNING]
