"""The faults' checker passes what is right and catches each mutant."""

from itertools import pairwise

import pytest

from apps.telemetry.answers import AccountLine
from tests.faults.checker import (
    History,
    Outcome,
    detection_violations,
    value_of,
    violations,
)
from tests.unit.faults import detection
from tests.unit.faults.model import CONNECTORS, FORGETFUL, MUTANTS, play

SEEDS = range(60)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_right_passes_whenever_it_is_killed(seed: int) -> None:
    assert violations(*play(seed)) == []


@pytest.mark.parametrize("mutant", MUTANTS)
def test_each_mutant_is_caught(mutant: str) -> None:
    caught = [seed for seed in SEEDS if violations(*play(seed, mutant))]
    assert caught, mutant
    assert violations(*play(caught[0], mutant)) == violations(*play(caught[0], mutant))


@pytest.mark.parametrize("seed", SEEDS)
def test_detection_that_is_right_passes_whenever_it_is_killed(seed: int) -> None:
    assert detection_violations(detection.play(seed)) == []


@pytest.mark.parametrize("mutant", detection.MUTANTS)
def test_each_mutant_of_detection_is_caught(mutant: str) -> None:
    caught = [seed for seed in SEEDS if detection_violations(detection.play(seed, mutant))]
    assert caught, mutant


def test_a_read_that_forgets_whose_it_is_is_told_as_such() -> None:
    told = [line for seed in SEEDS for line in violations(*play(seed, FORGETFUL))]
    assert any("seen through another tenant's door: ('aurora', 'a'," in line for line in told)


def test_a_reading_at_another_tenants_door_is_a_leak_though_key_and_number_are_right() -> None:
    """Both tenants have the connector and sent something at that instant."""
    ours, theirs = ("kunlun", "a", 7), ("aurora", "a", 7)
    history = History(1, sent={ours, theirs})
    right = [(*ours, value_of(ours)), (*theirs, value_of(theirs))]
    lines = [AccountLine(each, stored=1, received=1, held_readings=1) for each, *_ in right]
    assert violations(history, Outcome(right, [], lines)) == []
    swapped = [(*ours, value_of(theirs)), (*theirs, value_of(theirs))]
    told = violations(history, Outcome(swapped, [], lines))
    assert "seed 1: seen through another tenant's door: ('aurora', 'a', 7)" in told


def test_rubbish_at_another_tenants_door_is_a_leak() -> None:
    ours, theirs = ("kunlun", "ours"), ("aurora", "theirs")
    sent = {("kunlun", "a", 7), ("aurora", "a", 7)}
    history = History(1, sent=sent, rubbish={ours, theirs})
    assert violations(history, Outcome([], [ours, theirs], [])) == []
    told = violations(history, Outcome([], [ours, theirs, ("kunlun", "theirs")], []))
    assert "seed 1: seen through another tenant's door: ('aurora', 'theirs')" in told


def test_what_is_wrong_is_told_with_the_seed() -> None:
    key = ("kunlun", "a", 7)
    history = History(41, sent={key}, acknowledged={key})
    (told,) = violations(history, Outcome([], [], []))
    assert told == "seed 41: acknowledged and lost: ('kunlun', 'a', 7)"


def test_counters_that_are_not_the_ledgers_are_told() -> None:
    (told,) = violations(History(3), Outcome([], [], [], miscounted=["kunlun: 2 counted"]))
    assert told == "seed 3: counters of kunlun: 2 counted"


def test_what_nobody_answered_may_be_there_or_not() -> None:
    key = ("kunlun", "a", 7)
    assert violations(History(1, sent={key}), Outcome([], [], [])) == []


def test_neighbours_have_values_of_their_own() -> None:
    for tenant, connector in CONNECTORS:
        values = [value_of((tenant, connector, time)) for time in range(1000, 1100)]
        assert all(a != b for a, b in pairwise(values))
    assert len({value_of((*who, 1000)) for who in CONNECTORS}) == len(CONNECTORS)
