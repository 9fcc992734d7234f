"""Which level answers, what of the question it answers, and what its bins say."""

import doctest
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.telemetry import bins, levels, spans
from apps.telemetry.bins import BINS, Bins, percentiles
from apps.telemetry.condensing import Bucket, merged
from apps.telemetry.levels import (
    DAY,
    HOUR,
    HOUR_MS,
    MINUTE,
    RAW,
    Held,
    Kept,
    chain,
    level_for,
    still_held,
)
from apps.telemetry.marks import NEVER_MS, Mark, seam_ms
from apps.telemetry.rollups import Run, chunks, runs_of
from apps.telemetry.slices import Retention
from apps.telemetry.spans import Span
from ohmwatch.readings import QUANTITIES

DAY_MS = 24 * HOUR_MS
EVERYTHING = Held({"30d": Kept({"raw": 0, "1m": 0, "1h": 0, "1d": 0}, 0)})
OLD = {
    "30d": Kept({"raw": 60 * DAY_MS, "1m": 50 * DAY_MS, "1h": 10 * DAY_MS, "1d": 0}, DAY_MS),
    "1y": Kept({"raw": 0, "1m": 0, "1h": 0, "1d": 0}, DAY_MS),
}
"""Two classes that have let go of different times."""


def test_the_examples_in_the_sources_run() -> None:
    for module in (spans, bins):
        assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("range_ms", "points", "level"),
    [
        (HOUR_MS, 60, RAW),
        (6 * HOUR_MS, 10, RAW),
        (DAY_MS, 288, MINUTE),
        (30 * DAY_MS, 720, HOUR),
        (30 * DAY_MS, 500, HOUR),
        (30 * DAY_MS, 2000, MINUTE),
        (365 * DAY_MS, 365, DAY),
        (7 * HOUR_MS, 2000, RAW),
    ],
)
def test_range_and_points_choose_the_level(range_ms: int, points: int, level: levels.Level) -> None:
    assert level_for(0, range_ms, range_ms // points, EVERYTHING) is level


def test_what_has_expired_is_answered_by_what_is_still_kept() -> None:
    kept = Held({"30d": OLD["30d"]})

    assert level_for(55 * DAY_MS, 55 * DAY_MS + HOUR_MS, 1000, kept) is MINUTE
    assert level_for(20 * DAY_MS, 20 * DAY_MS + HOUR_MS, 1000, kept) is HOUR
    assert level_for(5 * DAY_MS, 70 * DAY_MS, HOUR_MS, kept) is DAY
    assert level_for(-9 * DAY_MS, 70 * DAY_MS, HOUR_MS, kept) is DAY
    # Fleets are not asked of minutes, as these keep no distributions.
    span = (55 * DAY_MS, 55 * DAY_MS + 2 * HOUR_MS)
    assert still_held(RAW, span, kept, binned=True) is HOUR


def test_an_index_that_begins_before_all_that_is_known_makes_nothing_coarser() -> None:
    """All began on day 60: the slices of days and hours merely begin long before."""
    young = Held({"30d": Kept({"raw": 59 * DAY_MS, "1h": 10 * DAY_MS, "1d": 0}, 60 * DAY_MS)})

    assert level_for(50 * DAY_MS, 50 * DAY_MS + HOUR_MS, 1000, young) is RAW
    assert level_for(-9 * DAY_MS, 70 * DAY_MS, HOUR_MS, young) is HOUR
    assert level_for(0, 70 * DAY_MS, HOUR_MS, Held({})) is HOUR


def test_a_tenant_is_told_of_by_its_own_class() -> None:
    """Another tenant's year of readings is no help; nor is its own, after it was moved there."""
    hour = (30 * DAY_MS, 30 * DAY_MS + HOUR_MS)

    assert level_for(*hour, 1000, Held(OLD, Retention("30d"))) is HOUR
    assert level_for(*hour, 1000, Held(OLD, Retention("1y"))) is RAW
    assert level_for(*hour, 1000, Held(OLD)) is RAW  # nobody knows where to look
    up = Held(OLD, Retention("1y", (("30d", 40 * DAY_MS),)))
    assert level_for(*hour, 1000, up) is HOUR
    assert level_for(40 * DAY_MS, 40 * DAY_MS + HOUR_MS, 1000, up) is RAW
    assert level_for(39 * DAY_MS, 41 * DAY_MS, 1000, up) is HOUR
    down = Held(OLD, Retention("30d", (("1y", 20 * DAY_MS),)))
    assert level_for(19 * DAY_MS, 19 * DAY_MS + HOUR_MS, 1000, down) is RAW
    assert level_for(*hour, 1000, down) is HOUR
    assert level_for(70 * DAY_MS, 70 * DAY_MS + HOUR_MS, 1000, down) is RAW


def test_at_an_edge_the_finest_that_is_left_there_tells() -> None:
    held = Held(OLD, Retention("30d", (("1y", 20 * DAY_MS),)))
    found = [
        held.finest(chain(DAY), days * DAY_MS).name for days in (-1, 0, 19, 20, 49, 50, 59, 60)
    ]

    assert found == ["raw", "raw", "raw", "1h", "1h", "1m", "1m", "raw"]


a_span = st.tuples(st.integers(0, 300), st.integers(0, 300))
some_spans = st.lists(a_span, max_size=6).map(spans.joined)


def instants(found: list[Span]) -> set[int]:
    return {moment for start, end in found for moment in range(start, end)}


@given(some_spans, some_spans, st.integers(1, 40))
def test_spans_are_sets_of_instants(one: list[Span], other: list[Span], width_ms: int) -> None:
    assert instants(spans.without(one, other)) == instants(one) - instants(other)
    inner, outer = spans.inward(one, width_ms), spans.outward(one, width_ms)
    assert instants(inner) <= instants(one) <= instants(outer)
    assert all(edge % width_ms == 0 for span in (*inner, *outer) for edge in span)


@given(st.lists(st.floats(-29, 137), min_size=1, max_size=200), st.sampled_from([1, 50, 95, 99]))
def test_a_percentile_is_wrong_by_less_than_a_bin(values: list[float], percent: int) -> None:
    kept = BINS["temperature_pos_c"]
    counts = np.bincount([kept.number_of(value) for value in values], minlength=kept.count)

    (found,) = percentiles(counts, kept, [percent], minimum=min(values), maximum=max(values))

    true = np.percentile(values, percent, method="inverted_cdf")
    assert abs(found - true) <= kept.step + 1e-9


def test_nothing_counted_has_no_percentile_and_the_outer_bins_are_open() -> None:
    kept = Bins(0, 10, 3)

    assert np.isnan(percentiles([0, 0, 0], kept, [50], minimum=0, maximum=0)).all()
    assert [kept.number_of(value) for value in (-400, 0, 9.99, 10, 29, 4000)] == [0, 0, 0, 1, 2, 2]
    assert percentiles([0, 0, 4], kept, [100], minimum=25, maximum=400) == [400]


def test_every_quantity_with_bins_is_one_that_devices_report() -> None:
    assert BINS.keys() <= QUANTITIES.keys()
    assert all(each.count <= 60 and each.step > 0 for each in BINS.values())


# --- marks ------------------------------------------------------------------------------------


def a_mark(open_from_ms: int, end_ms: int = 100) -> Mark:
    return Mark("1h", "readings-30d-20261123", 1, 0, end_ms, open_from_ms, (7, 9))


def test_the_seam_lies_where_the_first_index_is_still_open() -> None:
    assert seam_ms([]) == NEVER_MS
    assert seam_ms([a_mark(100), a_mark(60, 200), a_mark(150, 200)]) == 60
    assert seam_ms([a_mark(100)]) == NEVER_MS


def test_a_mark_survives_its_document_and_its_version_rises() -> None:
    mark = a_mark(60)

    assert Mark.from_source(mark.to_source()) == mark
    assert Mark.from_source({**mark.to_source(), "seqs": 7}).seqs == (7,)
    assert Mark("1h", "x", 1, 0, 1, 0, (-1, -1)).version == 1
    assert mark.version < Mark("1h", "x", 1, 0, 1, 0, (8, 9)).version
    later = Mark("1h", "x", 1_795_000_001_000, 0, 1, 0, (-1, -1))
    assert (
        Mark("1h", "x", 1_795_000_000_000, 0, 1, 0, (1 << 32, 9)).version < later.version < 1 << 63
    )


# --- what is built together -------------------------------------------------------------------


def buckets(*starts: tuple[str, int], documents: int = 1) -> Iterator[tuple[Bucket, int]]:
    return iter(
        [(Bucket("kunlun", connector, hour * HOUR_MS), documents) for connector, hour in starts]
    )


def test_neighbouring_buckets_are_one_run_and_far_ones_two() -> None:
    touched = buckets(("a", 1), ("a", 2), ("a", 4), ("a", 40), ("b", 41))

    assert list(runs_of(touched, HOUR)) == [
        Run("kunlun", "a", HOUR_MS, 5 * HOUR_MS, 3),
        Run("kunlun", "a", 40 * HOUR_MS, 41 * HOUR_MS, 1),
        Run("kunlun", "b", 41 * HOUR_MS, 42 * HOUR_MS, 1),
    ]
    assert list(runs_of(buckets(), HOUR)) == []


def test_a_chunk_is_no_larger_than_one_search_should_be() -> None:
    long = [("a", hour) for hour in range(700)]
    many = [(f"c-{number:04}", 3) for number in range(700)]

    sizes = [
        [(run.end_ms - run.start_ms) // HOUR_MS for run in each]
        for each in chunks(buckets(*long, *many), HOUR)
    ]

    assert sum(map(sum, sizes)) == 1400
    assert max(map(sum, sizes)) <= HOUR.chunk
    dense = list(chunks(buckets(*many, documents=25_000), HOUR))
    assert {len(each) for each in dense} == {2}


def test_days_are_the_sum_of_their_hours() -> None:
    hours = [
        {"@timestamp": str(hour * HOUR_MS), "tenant": "kunlun", "connector": "a", "count": 10,
         "newest": str(hour * HOUR_MS + 5), "model": f"M{hour}",
         "current_a": {"min": hour, "max": hour + 5.0, "mean": hour, "count": 10, "last": hour,
                       "b3": 4, "b4": 6}}
        for hour in (1, 2, 25)
    ]  # fmt: skip
    hours[1]["ambient_c"] = {"min": 1.0, "max": 1.0, "mean": 1.0, "count": 1}

    first, second = merged(DAY, hours)

    assert (first["@timestamp"], first["count"], first["newest"]) == (0, 20, 2 * HOUR_MS + 5)
    assert first["model"] == "M2"
    assert first["current_a"] == {
        "min": 1, "max": 7.0, "mean": 1.5, "count": 20, "last": 2, "b3": 8, "b4": 12
    }  # fmt: skip
    assert "last" not in first["ambient_c"]  # the newest reading of the day has none
    assert second["@timestamp"] == DAY_MS
