"""Rules: whom they select, which one is in force, what a detector lets be set."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ohmwatch.checks.detectors import EXAMPLE
from ohmwatch.detector import Batch
from ohmwatch.detectors.defaults import default_detectors
from ohmwatch.detectors.insulation_low import InsulationLow
from ohmwatch.detectors.overtemperature import Overtemperature
from ohmwatch.detectors.pole_imbalance import PoleImbalance
from ohmwatch.detectors.temperature_rise_high import TemperatureRiseHigh
from ohmwatch.findings import Finding, Severity
from ohmwatch.parameters import (
    ParametersRefused,
    faults_in,
    parameters_of,
    variant_of,
    with_parameters,
)
from ohmwatch.rules import Mode, Plan, Rule, Rulebook, share_of
from ohmwatch.watch import Post, Watch

DETECTORS = (Overtemperature(), TemperatureRiseHigh(), PoleImbalance(), InsulationLow())
INLET = {"model": "HV-250", "batch": "2026-03", "position": "charging_inlet"}
TRACTION = {"model": "HV-250", "batch": "2026-04", "position": "traction"}


def rule(name: str = "r1", **more: Any) -> Rule:
    return Rule(**{"id": name, "version": 1, "detector": "overtemperature", **more})


def of_overtemperature(plan: Plan) -> list[tuple[str, str]]:
    return [
        (judge.key, judge.rule) for judge in plan.judges if judge.detector.name == "overtemperature"
    ]


# --- parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize("detector", default_detectors(), ids=lambda each: each.name)
def test_every_parameter_has_unit_bounds_and_reason(detector: Any) -> None:
    found = parameters_of(detector)
    assert found
    for each in found:
        assert each.reason, each.name
        assert each.minimum <= float(each.default) <= each.maximum
        assert each.unit or not each.name.endswith(("_s", "_k"))


def test_reasons_are_the_docstrings() -> None:
    found = {each.name: each for each in parameters_of(Overtemperature())}
    assert list(found) == [
        "margin_k",
        "hysteresis_k",
        "warning_hold_s",
        "critical_hold_s",
        "release_s",
    ]
    assert found["warning_hold_s"].reason == found["critical_hold_s"].reason
    assert found["margin_k"].reason.endswith("class accuracy of an NTC twice over.")
    assert (found["margin_k"].unit, found["margin_k"].default) == ("K", 10.0)


@dataclass(frozen=True)
class Odd(Overtemperature):
    """Has one parameter of each kind; its record is as long as one of them says."""

    name = "odd"
    several: int = 3
    strict: bool = False
    words: str = "not to be set"

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return np.dtype([("last", "<f8", (self.several,))])


def test_kinds_are_kept_apart() -> None:
    assert with_parameters(Odd(), {"several": 4.0, "strict": True}).several == 4
    for wrong in ({"several": 4.5}, {"strict": 1}, {"margin_k": True}, {"margin_k": "5"}):
        assert [fault.code for fault in faults_in(Odd(), wrong)] == ["wrong_type"]
    assert [fault.code for fault in faults_in(Odd(), {"words": "x"})] == ["unknown"]


def test_every_fault_is_named_at_once() -> None:
    asked = {"margin_k": float("nan"), "colour": 1, "release_s": -1, "hysteresis_k": 2}
    with pytest.raises(ParametersRefused, match="colour: the detector has no such") as refused:
        with_parameters(Overtemperature(), asked)
    assert [(each.parameter, each.code) for each in refused.value.faults] == [
        ("margin_k", "out_of_range"),
        ("colour", "unknown"),
        ("release_s", "out_of_range"),
    ]


def test_a_variant_is_named_by_what_was_set() -> None:
    assert variant_of(Overtemperature()) == "overtemperature"
    warmer = with_parameters(Overtemperature(), {"margin_k": 20, "release_s": 60})
    assert variant_of(warmer) == "overtemperature(margin_k=20)"
    assert with_parameters(DETECTORS[0], {}) is DETECTORS[0]


# --- which rule -----------------------------------------------------------------------------------


def test_without_a_rule_all_share_one_plan_of_defaults() -> None:
    book = Rulebook([], DETECTORS)
    assert book.plan_for("a", INLET) is book.plan_for("b", TRACTION) is book.default
    assert [judge.detector for judge in book.default.judges] == list(DETECTORS)


def test_a_selection_fits_by_every_dimension_it_names() -> None:
    chosen = rule(
        selection={"model": frozenset({"HV-250"}), "position": frozenset({"charging_inlet"})}
    )
    book = Rulebook([chosen], DETECTORS)
    assert of_overtemperature(book.plan_for("a", INLET)) == [("overtemperature", "r1")]
    assert of_overtemperature(book.plan_for("a", TRACTION)) == [("overtemperature", "")]
    assert of_overtemperature(book.plan_for("a", {})) == [("overtemperature", "")]


def test_the_narrower_rule_judges_and_of_equals_the_younger() -> None:
    rules = [
        rule("r1"),
        rule("r2", selection={"model": frozenset({"HV-250"})}),
        rule("r3", selection={"batch": frozenset({"2026-03"})}),
    ]
    book = Rulebook(rules, DETECTORS)
    assert of_overtemperature(book.plan_for("a", INLET)) == [("overtemperature", "r3")]
    assert of_overtemperature(book.plan_for("a", TRACTION)) == [("overtemperature", "r2")]
    assert of_overtemperature(book.plan_for("a", {})) == [("overtemperature", "r1")]


def test_off_takes_the_detector_away_and_disabled_does_nothing() -> None:
    off = Rulebook([rule(mode=Mode.OFF)], DETECTORS)
    assert of_overtemperature(off.plan_for("a", INLET)) == []
    assert len(off.plan_for("a", INLET).judges) == 3
    disabled = Rulebook([rule(mode=Mode.DISABLED)], DETECTORS)
    assert disabled.plan_for("a", INLET) is disabled.default


def test_a_shadow_judges_beside_the_rule_in_force() -> None:
    rules = [rule("r1"), rule("r2", mode=Mode.SHADOW)]
    book = Rulebook(rules, DETECTORS, owner="kunlun")
    assert of_overtemperature(book.plan_for("a", INLET)) == [
        ("overtemperature", "r1"),
        ("overtemperature@kunlun/r2", "r2"),
    ]


def test_a_share_is_about_that_share_and_only_grows() -> None:
    connectors = [f"c{number}" for number in range(4000)]
    tenth, fifth = (
        {each for each in connectors if rule(share_pct=share).selects(each, {})}
        for share in (10.0, 20.0)
    )
    assert tenth < fifth
    assert len(tenth) / 4000 == pytest.approx(0.1, abs=0.02)
    assert share_of("r1", "c1") != share_of("r2", "c1")  # another rule, another tenth
    assert not rule(share_pct=0).selects("c1", {})


def test_what_can_not_be_used_is_named_and_the_defaults_judge() -> None:
    rules = [
        rule("r1", parameters={"margin_k": 9999}),
        rule("r2", detector="of a plug-in that is gone"),
        rule("r3", detector="odd", parameters={"several": 7}),
    ]
    book = Rulebook(rules, [*DETECTORS, Odd()])
    assert set(book.unusable) == {"r1", "r2", "r3"}
    assert book.plan_for("a", INLET) is book.default


def test_a_judge_names_its_rule_and_gives_the_severity_that_is_meant() -> None:
    found = Finding("a", "overtemperature", Severity.WARNING, 1, 1, 1, "overtemperature", "1")
    meant = {"warning": "notice", "critical": "none"}
    plan = Rulebook([rule(severities=meant)], DETECTORS).plan_for("a", INLET)
    judge = next(each for each in plan.judges if each.rule)
    stated = judge.state(found)
    assert (stated.severity, stated.rule, stated.rule_version) == (Severity.NOTICE, "r1", 1)
    silent = judge.state(Finding("a", "o", Severity.CRITICAL, 1, 1, 1, "overtemperature", "1"))
    assert silent.ended


# --- at work --------------------------------------------------------------------------------------


def hot(start_ms: int, temperature_c: float, *, names: tuple[str, ...] = ("a", "b")) -> Batch:
    """Readings of 90 s, one a second: longer than any hold or release here."""
    each = np.arange(start_ms, start_ms + 90_000, 1000)
    return Batch(
        connectors=list(names),
        connector=np.repeat(np.arange(len(names), dtype=np.int32), len(each)),
        time_ms=np.tile(each, len(names)),
        arrived_ms=np.tile(each, len(names)),
        values={"temperature_pos_c": np.full(len(each) * len(names), temperature_c)},
    )


DEFAULT = Overtemperature()
EARLIER = with_parameters(DEFAULT, {"margin_k": 40})
A, B = np.array([True, False]), np.array([False, True])


def test_variants_judge_their_own_connectors() -> None:
    watch = Watch([DEFAULT])
    posts = [Post("overtemperature", DEFAULT, A), Post("overtemperature", EARLIER, B)]
    said = watch.observe(hot(1_000_000, 60.0), [EXAMPLE, EXAMPLE], posts=posts).findings
    assert {each.connector for each in said} == {"b"}


def test_a_change_of_rule_carries_the_state_on() -> None:
    """An alarm that the earlier limit raised is over by the later one, not open for ever."""
    watch = Watch([DEFAULT])
    earlier = [Post("overtemperature", EARLIER)]
    said = watch.observe(hot(1_000_000, 60.0), [EXAMPLE, EXAMPLE], posts=earlier).findings
    assert [each.severity for each in said] == [Severity.WARNING] * 2
    over = watch.observe(hot(1_090_000, 60.0), [EXAMPLE, EXAMPLE]).findings
    assert [each.ended for each in over] == [True, True]


def test_a_shadow_tells_beside_and_survives_a_checkpoint() -> None:
    posts = [Post("overtemperature", DEFAULT), Post("overtemperature@r", EARLIER, A)]
    watch = Watch([DEFAULT])
    ratings = [EXAMPLE, EXAMPLE]
    first = watch.observe(hot(1_000_000, 60.0), ratings, posts=posts)
    assert first.findings == []
    assert [each.connector for each in first.beside["overtemperature@r"]] == ["a"]
    again = Watch.load(watch.dump(), [DEFAULT])
    cold = again.observe(hot(1_090_000, 20.0), ratings, posts=posts)
    assert [each.ended for each in cold.beside["overtemperature@r"]] == [True]
    again.forget(lambda key: False)
    assert set(again._states) == {"contacts", "overtemperature", "overtemperature@r"}
    again.forget(lambda key: True)
    assert set(again._states) == {"contacts", "overtemperature"}


def test_a_shadow_begins_where_the_detector_stands() -> None:
    watch = Watch([DEFAULT])
    watch.observe(hot(1_000_000, 95.0), [EXAMPLE, EXAMPLE])
    posts = [Post("overtemperature", DEFAULT), Post("overtemperature@r", DEFAULT)]
    both = watch.observe(hot(1_090_000, 20.0), [EXAMPLE, EXAMPLE], posts=posts)
    assert both.beside["overtemperature@r"] == both.findings
    assert [each.ended for each in both.findings] == [True, True]


def test_a_late_connector_finds_room_in_a_shadow() -> None:
    posts = [Post("overtemperature", DEFAULT), Post("overtemperature@r", EARLIER)]
    watch = Watch([DEFAULT])
    watch.observe(hot(1_000_000, 60.0), [EXAMPLE, EXAMPLE], posts=posts)
    later = hot(1_000_000, 60.0, names=("c",))
    said = watch.observe(later, [EXAMPLE], posts=posts)
    assert [each.connector for each in said.beside["overtemperature@r"]] == ["c"]
