"""Two sides over one recording: neither state nor alarms of theirs ever meet."""

from dataclasses import dataclass

import numpy as np
import pytest

from ohmwatch.backtest.installed import Installed
from ohmwatch.backtest.run import run
from ohmwatch.backtest.sides import Side, Sided, split
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
    detectors = [Sided(side, judge) for side, judge in judges]
    events = run([warming()], INSTALLED, detectors)
    return [
        (*split(event.condition), event.severity.name.lower(), event.time_ms) for event in events
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
    assert Sided(Side.TRIED, Judge("o", Staged())).stages == ("contacts",)
    alone = Judge("mating_cycles_exceeded", MatingCyclesExceeded())
    assert Sided(Side.TRIED, alone).stages == ()


def test_a_side_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="overtemperature"):
        split("overtemperature/x")
