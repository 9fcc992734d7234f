"""Which connector ages ahead of its like: groups, ages, and groups in which some are bad."""

from dataclasses import replace

import numpy as np

from ohmwatch.checks.detectors import check_detector
from ohmwatch.findings import Severity
from ohmwatch.fleet import LEAST_FELLOWS, MANY, AgeingOutlier, Standing, outliers


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


# --- the detector ---------------------------------------------------------------------------------

NOW_MS = 1_795_420_800_000


def seen(many: list[Standing], measured_ms: int = NOW_MS) -> list[Standing]:
    return [replace(each, measured_ms=measured_ms, arrived_ms=measured_ms + 90) for each in many]


def test_finding_says_how_far_ahead_of_whom() -> None:
    many = seen(fleet(40))
    many[7] = replace(many[7], change=0.35, age_days=100.0)
    (found,) = AgeingOutlier().compare(many, stated=())
    assert (found.severity, found.measured_ms) == (Severity.NOTICE, NOW_MS)
    assert (found.evidence["batch_fellows"], found.evidence["place"]) == (39, 1)
    assert found.evidence["growth_pct"] == 35.0
    assert found.evidence["known_for_s"] == 100 * 86_400
    assert AgeingOutlier().compare(many, stated={"b1-7"}) == [found]


def test_it_is_over_some_way_below_where_it_began() -> None:
    detector, many = AgeingOutlier(), seen(fleet(40))
    by_growth = {}
    for growth in (0.35, 0.17, 0.05):
        many[7] = replace(many[7], change=growth, age_days=100.0)
        by_growth[growth] = [
            [each.severity for each in detector.compare(many, stated=stated)]
            for stated in ((), ("b1-7",))
        ]
    notice = [Severity.NOTICE]
    assert by_growth == {0.35: [notice, notice], 0.17: [[], notice], 0.05: [[], [None]]}


def test_of_whom_nothing_is_known_now_nothing_ends() -> None:
    detector = AgeingOutlier()
    assert detector.compare(seen(fleet(40)), stated={"somebody else"}) == []
    assert detector.compare(seen(fleet(LEAST_FELLOWS)), stated={"b1-7"}) == []


def test_units_known_for_hours_are_not_compared() -> None:
    many = seen(fleet(40))
    many[7] = replace(many[7], change=0.9, age_days=0.5)
    assert AgeingOutlier().compare(many, stated=()) == []


def test_large_group_is_judged_as_a_small_one_is() -> None:
    many = fleet(MANY + 50)
    many[7] = replace(many[7], change=0.35, age_days=100.0)
    (found,) = outliers(many)
    (alone,) = outliers(many[: MANY - 50])
    assert found.connector == alone.connector
    assert abs(found.deviations - alone.deviations) < 1.0


def test_without_a_batch_the_model_is_the_group() -> None:
    many = [replace(each, batch="") for each in seen(fleet(40))]
    many[7] = replace(many[7], change=0.35, age_days=100.0)
    (found,) = AgeingOutlier().compare(many, stated=())
    assert found.evidence["model_fellows"] == 39


def test_readings_alone_show_it_nothing() -> None:
    check_detector(AgeingOutlier())
