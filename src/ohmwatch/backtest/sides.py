"""Two ways to judge the same readings in one pass: a rule that is tried, and what is in force.

A judge of a rule is put before `run` as a detector of its own. Its side is in its name and in
the connector that its findings name, so that neither the states nor the alarms of two sides ever
meet, while on a side causes silence their consequences as they do in production.
"""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

import numpy as np

from ohmwatch.detector import Batch, Ratings, State
from ohmwatch.findings import Finding
from ohmwatch.lifecycle import CAUSES, is_one_story
from ohmwatch.rules import Judge


class Side(StrEnum):
    """Which of the two."""

    TRIED = "tried"
    IN_FORCE = "in_force"


class Sided:
    """Rules' judges as detectors of one side, or of both where both have the same one.

    It states what the rule would have stated, once for each of its sides.
    """

    def __init__(self, judge: Judge, *sides: Side) -> None:
        self._judge = judge
        self._sides = sides
        self.name = "+".join([*sides, judge.detector.name])
        self.condition = judge.detector.condition
        # What a detector stands on is computed once for all, under its own name.
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
            replace(self._judge.state(each), connector=f"{side}/{each.connector}")
            for each in found
            for side in self._sides
        ]


def split(connector: str) -> tuple[Side, str]:
    """The side and the connector of what a `Sided` stated."""
    side, _slash, plain = connector.partition("/")
    return Side(side), plain


def related_to(condition: str) -> frozenset[str]:
    """The conditions that can decide whether people are told of this one, itself among them.

    Of the same story, of a story with one of those, and so on: who silences may be silenced.

    >>> sorted(related_to("insulation_low"))
    ['insulation_falling', 'insulation_low']
    """
    known = {*CAUSES, *(each for causes in CAUSES.values() for each in causes)}
    found, more = {condition}, {condition}
    while more:
        more = {each for each in known - found if any(is_one_story(each, one) for one in more)}
        found |= more
    return frozenset(map(str, found))
