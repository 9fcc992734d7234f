"""Which connector ages ahead of its like: groups, ages, and groups in which some are bad."""

from dataclasses import replace

import numpy as np

from ohmwatch.fleet import LEAST_FELLOWS, Standing, outliers


def fleet(count: int, *, batch: str = "b1", rate: float = 2e-4, seed: int = 1) -> list[Standing]:
    """Connectors of one batch that age alike, some months old."""
    chance = np.random.default_rng(seed)
    ages = chance.uniform(30, 300, count)
    changes = rate * ages + chance.normal(0, 0.01, count)
    return [
        Standing(f"{batch}-{number}", "m", batch, float(change), 0.01, float(age))
        for number, (change, age) in enumerate(zip(changes, ages, strict=True))
    ]


def test_even_fleet_has_no_outlier() -> None:
    assert outliers(fleet(200)) == []


def test_connector_that_ages_ahead_is_named_with_what_was_expected() -> None:
    many = fleet(40)
    many[7] = replace(many[7], change=0.35, age_days=100.0)
    (found,) = outliers(many)
    assert (found.connector, found.group, found.fellows) == ("b1-7", "batch", 39)
    assert abs(found.expected - 0.02) < 0.01
    assert found.deviations > 5.0


def test_old_connector_is_no_outlier_among_new_ones() -> None:
    young = [replace(each, change=2e-4 * 20, age_days=20.0) for each in fleet(30)]
    assert outliers([*young, Standing("old", "m", "b1", 0.1, 0.01, 500.0)]) == []
    assert [
        each.connector for each in outliers([*young, Standing("new", "m", "b1", 0.3, 0.01, 20.0)])
    ]


def test_bad_batch_stands_out_against_the_model_where_it_is_small() -> None:
    few = [replace(each, change=0.3) for each in fleet(4, batch="b2", seed=2)]
    found = outliers([*fleet(60), *few])
    assert {each.connector for each in found} == {each.connector for each in few}
    assert {each.group for each in found} == {"model"}


def test_too_few_to_compare_say_nothing() -> None:
    alone = fleet(LEAST_FELLOWS)
    alone[0] = replace(alone[0], change=0.9)
    assert outliers(alone) == []


def test_own_uncertainty_counts() -> None:
    many = fleet(40)
    unsure = replace(many[0], change=0.3, change_sd=0.2)
    assert outliers([unsure, *many[1:]]) == []


def test_nothing_is_made_of_what_is_unknown() -> None:
    many = fleet(40)
    unknown = replace(many[0], change=float("nan"))
    assert outliers([unknown, replace(many[1], age_days=0.0), *many[2:]]) == []
