"""A detector that raises, hangs or goes on failing is left out; the others go on."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from ohmwatch.checks.detectors import EXAMPLE
from ohmwatch.detector import Batch, Ratings, State
from ohmwatch.detectors.overtemperature import Overtemperature
from ohmwatch.findings import Finding
from ohmwatch.watch import Watch, warm_up
from workers.detection.panel import (
    FAILURES_IN_A_ROW,
    REST_S,
    DetectorResting,
    DetectorTimedOut,
    Panel,
)


@dataclass(frozen=True)
class Hangs(Overtemperature):
    name = "hangs"

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        while True:
            time.sleep(0.01)


@dataclass(frozen=True)
class Raises(Overtemperature):
    name = "raises"

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        raise ZeroDivisionError


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def hot(start_ms: int) -> Batch:
    times = list(range(start_ms, start_ms + 20_000, 1000))
    return Batch.of_one("inlet", times, temperature_pos_c=[95.0] * 20)


def test_hanging_detector_is_ended_and_the_others_speak() -> None:
    panel = Panel([Hangs(), Overtemperature()], limit_s=0.1)
    warm_up([Overtemperature()])  # its compiled code is loaded once, which may take the limit
    watch = Watch(panel.detectors)
    began = time.monotonic()
    judgement = watch.observe(hot(1_000_000), [EXAMPLE], guard=panel.guard)
    assert time.monotonic() - began < 2
    assert isinstance(judgement.failed["hangs"], DetectorTimedOut)
    assert [finding.detector for finding in judgement.findings] == ["overtemperature"]


def test_hanging_detector_costs_its_limit_once_a_minute() -> None:
    clock = Clock()
    panel = Panel([Hangs()], limit_s=0.05, monotonic=clock)
    watch = Watch(panel.detectors)
    failures = [
        type(watch.observe(hot(at), [EXAMPLE], guard=panel.guard).failed["hangs"])
        for at in (1_000_000, 2_000_000)
    ]
    clock.now_s += REST_S
    failures.append(
        type(watch.observe(hot(3_000_000), [EXAMPLE], guard=panel.guard).failed["hangs"])
    )
    assert failures == [DetectorTimedOut, DetectorResting, DetectorTimedOut]


def test_detector_rests_after_failures_in_a_row() -> None:
    clock = Clock()
    panel = Panel([Raises()], monotonic=clock)
    watch = Watch(panel.detectors)
    failures = [
        type(watch.observe(hot(at * 1_000_000), [EXAMPLE], guard=panel.guard).failed["raises"])
        for at in range(1, FAILURES_IN_A_ROW + 2)
    ]
    assert failures == [ZeroDivisionError] * FAILURES_IN_A_ROW + [DetectorResting]


def test_success_forgives() -> None:
    panel = Panel([Overtemperature()])
    detector = panel.detectors[0]
    for _ in range(FAILURES_IN_A_ROW * 2):
        with pytest.raises(ValueError), panel.guard(detector):
            raise ValueError
        with panel.guard(detector):
            pass
