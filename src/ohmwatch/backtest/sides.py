"""Two ways to judge the same readings in one pass: a rule that is tried, and what is in force.

A judge of a rule is put before `run` as a detector of its own. Its side is in its name and in
the condition that it states, so that neither the states nor the alarms of two sides ever meet.
"""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

import numpy as np

from ohmwatch.detector import Batch, Ratings, State
from ohmwatch.findings import Finding
from ohmwatch.rules import Judge


class Side(StrEnum):
    """Which of the two."""

    TRIED = "tried"
    IN_FORCE = "in_force"


class Sided:
    """A rule's judge as a detector of one side; it states what the rule would have stated."""

    def __init__(self, side: Side, judge: Judge) -> None:
        self._judge = judge
        self._prefix = f"{side}/"
        self.name = self._prefix + judge.detector.name
        self.condition = self._prefix + judge.detector.condition
        # What a detector stands on is computed once for both sides, under its own name.
        self.stages = getattr(judge.detector, "stages", ())

    @property
    def version(self) -> str:
        return self._judge.detector.version

    @property
    def needs(self) -> frozenset[str]:
        return self._judge.detector.needs

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return self._judge.detector.state_dtype

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        found = self._judge.detector.observe(batch, ratings, state)
        return [
            replace(
                self._judge.state(each),
                detector=self.name,
                condition=self._prefix + each.condition,
            )
            for each in found
        ]


def split(condition: str) -> tuple[Side, str]:
    """The side and the condition of what a `Sided` stated."""
    side, _slash, plain = condition.partition("/")
    return Side(side), plain
