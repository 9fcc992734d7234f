"""What no connector is accused of: what a sensor, or the unit's own nature, explains as well."""

from dataclasses import replace

import numpy as np
import pytest

from ohmwatch.checks.detectors import EXAMPLE, START_MS
from ohmwatch.conditions import Pole
from ohmwatch.detector import Batch, Detector, Floats
from ohmwatch.detectors.contact_resistance_high import ContactResistanceHigh
from ohmwatch.detectors.contact_resistance_rising import ContactResistanceRising
from ohmwatch.detectors.cooling_reduced import CoolingReduced
from ohmwatch.detectors.pole_imbalance import PoleImbalance
from ohmwatch.detectors.temperature_rise_high import TemperatureRiseHigh
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.estimate.episodes import _drop_denies, hear
from ohmwatch.physics.estimate.follow import PREFIX
from ohmwatch.physics.estimate.record import (
    APART,
    CONTACT_DTYPE,
    DROP_NEG,
    DROP_POS,
    NEG,
    POS,
    parameters_of,
)
from ohmwatch.physics.estimate.sensors import _refute, note_rest
from ohmwatch.physics.known import with_known

HOUR_MS = 3_600_000
COUNT = 240
INTERVAL_S = 30
MODEL = replace(EXAMPLE, interval_s=float(INTERVAL_S), rated_mating_cycles=100)
QUIET = {
    **dict.fromkeys(("trust_pos", "trust_neg", "trust_air", "news"), 1.0),
    **dict.fromkeys(("apart_up", "apart_down", "common_up", "common_down", "cooling_up"), 0.0),
    **dict.fromkeys(("apart", "common", "cooling", "pair_k", "pair_shift_k", "shift_air_k"), 0.0),
    **dict.fromkeys(("drop_denies", "turn_doubt", "limit_share", "alone", "still_air_s"), 0.0),
    **dict.fromkeys(("most_share", "most_today", "most_last"), 1.0),
    "witnesses": 40.0, "apart_sd": 0.01, "slower_fit": 0.0, "apart_base": 0.05, "left_s": 1e6,
    "common_base": 0.0, "heating_pos_k": 32.0, "heating_neg_k": 32.0, "apart_now_k": 20.0,
    "apart_now_sd_k": 0.5, "heating_sd_k": 1.0, "common_since_ms": START_MS - 50.0 * HOUR_MS,
    "cooling_since_ms": START_MS - 50.0 * HOUR_MS, "apart_since_ms": START_MS - 50.0 * HOUR_MS,
}  # fmt: skip
"""What the stage tells of a unit that it knows well and sees no change of."""


def said(detector: Detector, values: dict[str, Floats | float], **told: float) -> list[Finding]:
    """What the detector says of two hours of such readings, of a unit the stage tells this of."""
    times = START_MS + np.arange(COUNT) * INTERVAL_S * 1000
    columns = {name: np.full(COUNT, value) for name, value in {**QUIET, **told}.items()}
    series = {name: np.broadcast_to(value, COUNT).astype(float) for name, value in values.items()}
    batch = Batch.of_one("inlet", times, **series)
    batch = with_known(batch, {PREFIX + name: column for name, column in columns.items()})
    return detector.observe(batch, [MODEL], np.zeros(1, dtype=detector.state_dtype))


def worst(findings: list[Finding]) -> Severity | None:
    return max((each.severity for each in findings if each.severity), default=None)


HOT = {"current_a": 180.0, "ambient_c": 20.0, "temperature_pos_c": 60.0, "temperature_neg_c": 59.0}
"""Forty kelvin where the model allows 26, and 5 for errors."""


LESS = {"temperature_pos_c": 54.0, "temperature_neg_c": 54.0}


def test_a_unit_that_was_always_warm_is_no_warning_one_that_became_so_is() -> None:
    assert worst(said(TemperatureRiseHigh(), HOT)) == Severity.NOTICE
    grown = {"apart_up": 12.0, "heating_pos_k": 70.0}
    assert worst(said(TemperatureRiseHigh(), HOT, **grown)) == Severity.WARNING
    # What the load of one drive explains badly is no rise over the limit.
    assert worst(said(TemperatureRiseHigh(), HOT, apart_up=12.0)) == Severity.NOTICE
    assert worst(said(TemperatureRiseHigh(), {**HOT, **LESS}, **grown)) == Severity.WARNING
    assert said(TemperatureRiseHigh(), {**HOT, **LESS}) == []


def test_heat_that_a_small_current_or_hanging_air_would_explain_is_no_warning_yet() -> None:
    gained = {"common_up": 20.0, "heating_pos_k": 70.0, "most_today": 0.7, "most_last": 0.7}
    assert worst(said(TemperatureRiseHigh(), HOT, **gained)) == Severity.NOTICE
    assert said(TemperatureRiseHigh(), HOT, **gained, most_share=0.7) == []
    hanging = {"cooling_up": 20.0, "heating_pos_k": 70.0, "still_air_s": 60.0 * 3600.0}
    assert worst(said(TemperatureRiseHigh(), HOT, **hanging)) == Severity.NOTICE


def test_one_reading_without_air_does_not_silence_the_rise() -> None:
    ambient_c = np.full(COUNT, 20.0)
    ambient_c[2] = np.nan
    assert worst(said(TemperatureRiseHigh(), {**HOT, "ambient_c": ambient_c}, apart_up=12.0))


@pytest.mark.parametrize(
    ("neg_c", "pole"), [(59.0, Pole.BOTH), (46.0, Pole.NONE), (25.0, Pole.POSITIVE)]
)
def test_a_rise_names_one_pole_only_where_two_healthy_ones_never_differ_so(
    neg_c: float, pole: Pole
) -> None:
    findings = said(TemperatureRiseHigh(), {**HOT, "temperature_neg_c": neg_c}, apart_up=12.0)
    assert findings[0].pole == pole


UNEQUAL = {"current_a": 240.0, "temperature_pos_c": 75.0, "temperature_neg_c": 59.0}


def test_poles_differ_by_more_where_both_are_warmer_and_by_their_sensors_own() -> None:
    assert worst(said(PoleImbalance(), UNEQUAL)) == Severity.NOTICE
    assert said(PoleImbalance(), UNEQUAL, heating_pos_k=70.0, heating_neg_k=55.0) == []
    assert said(PoleImbalance(), UNEQUAL, pair_k=4.0) == []
    # Of a unit it hardly knows the stage has no say about what its sensors are used to.
    assert said(PoleImbalance(), UNEQUAL, pair_k=4.0, witnesses=2.0) != []


@pytest.mark.parametrize(
    ("base", "witnesses", "severity"),
    [(0.5, 1.0, None), (0.5, 2.0, Severity.WARNING), (0.8, 1.0, Severity.WARNING)],
)
def test_of_a_plainly_bad_contact_one_half_hour_is_enough(
    base: float, witnesses: float, severity: Severity | None
) -> None:
    told = {"apart_base": base, "witnesses": witnesses, "common_base": 0.0}
    resistances = dict.fromkeys(("resistance_pos_base_uohm", "resistance_neg_base_uohm"), np.nan)
    assert worst(said(ContactResistanceHigh(), HOT, **told, **resistances)) == severity


SLOWER = {"cooling_up": 30.0, "cooling": 0.9}
LOADED = {"current_a": 180.0, "ambient_c": 20.0}


def test_cooling_is_not_judged_by_air_that_stands_still_since_it_seems_reduced() -> None:
    assert worst(said(CoolingReduced(), LOADED, **SLOWER)) == Severity.WARNING
    assert said(CoolingReduced(), LOADED, **SLOWER, still_air_s=60.0 * 3600.0) == []


def test_of_one_pole_alone_heat_from_the_first_minute_on_is_a_contact_s() -> None:
    alone = {**SLOWER, "apart_sd": np.nan, "slower_fit": -0.1, "common_up": 20.0, "alone": 1.0}
    contact = said(ContactResistanceRising(), LOADED, **alone, common=0.5)
    assert said(CoolingReduced(), LOADED, **alone, common=0.5) == []
    # No reading here shows the pole's temperature: the pole is known from those before.
    assert {(each.severity, each.pole) for each in contact} == {(Severity.WARNING, Pole.POSITIVE)}
    assert worst(said(CoolingReduced(), LOADED, **alone, common=0.12)) == Severity.WARNING


def test_growth_of_a_pole_that_its_measured_resistance_denies_is_a_notice() -> None:
    grown = {"apart": 0.3, "apart_up": 30.0}
    assert worst(said(ContactResistanceRising(), LOADED, **grown)) == Severity.WARNING
    denied = said(ContactResistanceRising(), LOADED, **grown, drop_denies=1.0)
    assert worst(denied) == Severity.NOTICE


def test_a_difference_turned_round_is_a_notice_until_it_is_seen_to_be_more() -> None:
    turned = {"apart": 0.2, "apart_up": 30.0, "apart_base": -0.1}
    assert worst(said(ContactResistanceRising(), LOADED, **turned)) == Severity.NOTICE
    more = said(ContactResistanceRising(), LOADED, **turned, turn_doubt=6.0)
    assert worst(more) == Severity.WARNING


def doubt(base: float, changes: list[float]) -> float:
    """What a unit whose poles differ by `base` shows against sensors that changed places."""
    kept = np.zeros(1, dtype=CONTACT_DTYPE)
    channel = kept[0]["channels"][APART]
    channel["scatter"], channel["newest"] = 1.0, np.nan
    chance = np.random.default_rng(2)
    values = (
        base
        + np.concatenate([np.zeros(60), changes])
        + 0.02 * chance.normal(size=60 + len(changes))
    )
    for at, value in enumerate(values):
        hear(kept[0], APART, value, 0.02**2, 0.09, True, START_MS + (at + 1) * HOUR_MS // 2)
    assert max(channel["up"], channel["down"]) > 7.0
    return float(max(kept[0]["over_turn"], kept[0]["under_turn"]))


def test_only_sensors_that_changed_places_turn_a_difference_round_and_leave_it_there() -> None:
    assert doubt(-0.12, [0.1] + [0.24] * 100) < 5.0
    assert doubt(-0.12, [0.1, 0.3, 0.5, 0.7]) > 5.0
    assert doubt(-0.30, [0.1, 0.15, 0.2, 0.2, 0.2]) > 5.0


@pytest.mark.parametrize(
    ("drop_log", "age_h", "denies"), [(0.0, 0, True), (0.2, 0, False), (0.0, 9, False)]
)
def test_drops_deny_only_what_they_were_measured_with(
    drop_log: float, age_h: int, denies: bool
) -> None:
    kept = np.zeros(1, dtype=CONTACT_DTYPE)
    channels = kept[0]["channels"]
    channels["count"], channels["newest_ms"] = 20.0, START_MS
    channels[APART]["up"], channels[APART]["up_ms"] = 20.0, START_MS - 20 * HOUR_MS
    channels[APART]["level"] = channels[APART]["newest"] = 0.4
    channels[DROP_POS]["level"] = channels[DROP_POS]["newest"] = drop_log
    channels[DROP_NEG]["newest_ms"] -= age_h * HOUR_MS
    assert _drop_denies(kept[0]) is denies


@pytest.mark.parametrize(("neg_c", "left_k"), [(24.0, 0.0), (36.0, 12.0)])
def test_without_air_the_poles_take_a_leap_back_at_rest_or_leave_it(
    neg_c: float, left_k: float
) -> None:
    kept = np.zeros(1, dtype=CONTACT_DTYPE)
    for rest in range(30):
        note_rest(kept[0], START_MS + rest * HOUR_MS, 25.0, 24.5, False)
    kept[0]["sensors"]["jump_k"][[POS, NEG]] = 0.0, 12.0
    note_rest(kept[0], START_MS + 31 * HOUR_MS, 24.5, neg_c, False)
    assert kept[0]["sensors"]["jump_k"][NEG] == left_k


@pytest.mark.parametrize(
    ("shown_c", "load", "left_k"), [(24.0, 0.05, 0.0), (24.0, 0.5, 40.0), (62.0, 0.05, 40.0)]
)
def test_a_leap_is_taken_back_where_little_load_leaves_the_pole_cool(
    shown_c: float, load: float, left_k: float
) -> None:
    kept, model = np.zeros(1, dtype=CONTACT_DTYPE), parameters_of([MODEL])
    kept["felt_c"], kept["ambient_ms"], kept["fast"], kept["slow"] = 20.0, START_MS, load, load
    kept["common"]["heat_k"], kept["sensors"]["jump_k"][0, POS] = 40.0, 40.0
    _refute(kept[0], model[0], POS, shown_c)
    assert kept[0]["sensors"]["jump_k"][POS] == left_k


SINGLE = {"apart_sd": np.nan, "slower_fit": 0.5, "alone": 1.0, "common_up": 20.0}
TODAY = {"common_since_ms": float(START_MS), "drop_since_ms": float(START_MS)}


@pytest.mark.parametrize(
    ("common", "told", "severity"),
    [
        (0.9, TODAY, None),
        (1.5, TODAY, Severity.WARNING),
        (0.9, {"most_today": 0.7, "most_last": 0.7}, None),
        (1.25, {"most_today": 0.7, "most_last": 0.7}, Severity.WARNING),
    ],
)
def test_of_one_pole_growth_counts_that_no_smaller_current_explains(
    common: float, told: dict[str, float], severity: Severity | None
) -> None:
    findings = said(ContactResistanceRising(), LOADED, **{**SINGLE, "common": common, **told})
    assert worst(findings) == severity


@pytest.mark.parametrize(
    ("drop", "severity"), [(0.3, None), (0.8, Severity.WARNING)], ids=["less", "more"]
)
def test_the_drop_of_one_pole_counts_where_no_smaller_current_explains_it(
    drop: float, severity: Severity | None
) -> None:
    told = {"drop_pos": drop, "drop_pos_up": 20.0, "drop_neg_up": 0.0, "left_s": 10 * 86_400.0}
    single = {**SINGLE, **TODAY, "common_up": 0.0, "common": 0.0, **told}
    assert worst(said(ContactResistanceRising(), LOADED, **single)) == severity


@pytest.mark.parametrize(
    ("left_days", "denied", "severity"),
    [(3.0, 0.0, Severity.WARNING), (10.0, 0.0, Severity.NOTICE), (3.0, 1.0, Severity.NOTICE)],
)
def test_less_evidence_is_enough_where_the_limit_is_near(
    left_days: float, denied: float, severity: Severity
) -> None:
    told = {"apart": 0.2, "apart_up": 9.0, "left_s": left_days * 86_400.0, "drop_denies": denied}
    assert worst(said(ContactResistanceRising(), LOADED, **told)) == severity
