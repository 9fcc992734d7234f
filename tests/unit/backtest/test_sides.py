"""Two sides over one recording: neither state nor alarms of theirs ever meet."""

from dataclasses import dataclass

import numpy as np
import pytest

from ohmwatch.backtest.installed import Installed
from ohmwatch.backtest.run import run
from ohmwatch.backtest.sides import Side, Sided, related_to, split
from ohmwatch.checks.detectors import EXAMPLE
from ohmwatch.detector import Batch
from ohmwatch.detectors.mating_cycles_exceeded import MatingCyclesExceeded
from ohmwatch.detectors.overtemperature import Overtemperature
from ohmwatch.rules import Judge

INSTALLED = {"inlet": Installed("inlet", "HV-250", "", "", EXAMPLE)}


def warming() -> Batch:
    """Ten minutes, from 60 °C to 130 °C, a reading a second."""
    times = np.arange(600) * 1000 + 1_795_420_800_000
    return Batch.of_one("inlet", times, temperature_pos_c=np.linspace(60, 130, 600))


def alarms(*judges: tuple[Side, Judge]) -> list[tuple[Side, str, str, int]]:
    detectors = [Sided(judge, side) for side, judge in judges]
    events = run([warming()], INSTALLED, detectors)
    return [
        (split(event.connector)[0], event.condition, event.severity.name.lower(), event.time_ms)
        for event in events
    ]


DEFAULT = Judge("overtemperature", Overtemperature())
EARLIER = Judge("overtemperature", Overtemperature(margin_k=40.0), "rule", 3)


def test_each_side_states_its_own() -> None:
    both = alarms((Side.TRIED, EARLIER), (Side.IN_FORCE, DEFAULT))
    tried = [each for each in both if each[0] is Side.TRIED]
    held = [each for each in both if each[0] is Side.IN_FORCE]
    assert tried == alarms((Side.TRIED, EARLIER))
    assert held == alarms((Side.IN_FORCE, DEFAULT))
    assert {each[1] for each in both} == {"overtemperature"}
    assert tried[0][3] < held[0][3]


def test_it_states_what_the_rule_means() -> None:
    mild = Judge("o", Overtemperature(), "rule", 3, {"warning": "notice", "critical": "warning"})
    said = [each[2] for each in alarms((Side.TRIED, mild))]
    plain = [each[2] for each in alarms((Side.TRIED, DEFAULT))]
    assert plain == ["warning", "critical"]
    assert said == ["notice", "warning"]


@dataclass(frozen=True)
class Staged(Overtemperature):
    """Stands on something that is computed once."""

    stages: tuple[str, ...] = ("contacts",)


def test_what_a_detector_stands_on_goes_along() -> None:
    assert Sided(Judge("o", Staged()), Side.TRIED).stages == ("contacts",)
    alone = Judge("mating_cycles_exceeded", MatingCyclesExceeded())
    assert Sided(alone, Side.TRIED).stages == ()


def test_a_side_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="inlet"):
        split("inlet/x")


@dataclass(frozen=True)
class Burning(Overtemperature):
    """States a loose contact where the other states that it is hot: its cause."""

    name: str = "contact_loose"
    condition: str = "contact_loose"


def told_of(*judges: Sided) -> set[tuple[Side, str]]:
    """Which condition people would have heard of, on which side."""
    events = run([warming()], INSTALLED, judges, with_notes=True)
    return {(split(each.connector)[0], each.condition) for each in events if each.tell}


def test_a_cause_silences_its_consequence_on_its_own_side_only() -> None:
    cause = Judge("contact_loose", Burning(margin_k=40.0))
    tried, held = Sided(EARLIER, Side.TRIED), Sided(DEFAULT, Side.IN_FORCE)
    assert told_of(tried, held) == {(side, "overtemperature") for side in Side}
    both = told_of(tried, held, Sided(cause, *Side))
    assert both == {(side, "contact_loose") for side in Side}
    one = told_of(tried, held, Sided(cause, Side.TRIED))
    assert one == {(Side.TRIED, "contact_loose"), (Side.IN_FORCE, "overtemperature")}


def test_who_decides_whether_anybody_is_told() -> None:
    assert related_to("overvoltage") == {"overvoltage"}
    assert related_to("of_a_plug_in") == {"of_a_plug_in"}
    heating = related_to("overtemperature")
    assert heating == related_to("pole_imbalance") >= {"contact_loose", "cooling_reduced"}
    assert "insulation_low" not in heating
