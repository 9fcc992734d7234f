"""How many shards a slice gets: so many that none outgrows what a shard should hold."""

import pytest

from apps.telemetry import sizing
from apps.telemetry.sizing import (
    SHARD_BYTES,
    SHARD_DOCUMENTS,
    SHARDS_LIMIT,
    Extent,
    shards_of_next,
)

LUCENE_LIMIT = 2_147_483_519
WEEK_S = 7 * 86_400
READINGS = "readings-30d"


def readings(
    per_s: float, elapsed: float, *, shards: int = 1, family: str = READINGS, days: int = 7
) -> Extent:
    """A slice into which so many readings come a second."""
    documents = int(per_s * days * 86_400 * elapsed / shards)
    return Extent(f"{family}-20261123", family, shards, documents, documents * 55, elapsed, days)


def test_four_thousand_connectors_a_second_stay_far_from_lucenes_limit() -> None:
    week = readings(4_000, 6 / 7)

    shards = shards_of_next(READINGS, 7, [week])

    assert 4_000 * WEEK_S > LUCENE_LIMIT  # one shard would refuse the rest
    assert 4_000 * WEEK_S / shards <= SHARD_DOCUMENTS
    assert 4_000 * WEEK_S * 55 / shards <= SHARD_BYTES


def test_bytes_count_where_documents_are_large() -> None:
    minutes = Extent("rollup-1m-30d-20261102", "rollup-1m-30d", 1, 10**8, 3 * SHARD_BYTES, 1.0, 28)

    assert shards_of_next("rollup-1m-30d", 28, [minutes]) == 4  # three, and what they grow by


def test_a_slice_is_made_for_what_the_running_one_comes_to() -> None:
    """A fleet that came on Monday has its shards next week, not in two."""
    before, running = readings(10, 1.0), readings(4_000, 6 / 7)

    assert shards_of_next(READINGS, 7, [before]) == 1
    assert shards_of_next(READINGS, 7, [before, running]) == shards_of_next(
        READINGS, 7, [readings(4_000, 1.0)]
    )


def test_what_has_not_begun_says_nothing() -> None:
    assert shards_of_next(READINGS, 7, [readings(10**6, 0.0)]) == 1
    assert shards_of_next(READINGS, 7, []) == 1


def test_the_first_slice_of_a_class_is_made_for_the_largest_of_the_others() -> None:
    others = [readings(100, 1.0), readings(8_000, 1.0, family="readings-90d")]
    minutes = Extent("rollup-1m-90d-20261102", "rollup-1m-90d", 1, 10**10, 1, 1.0, 28)

    assert shards_of_next("readings-1y", 28, [*others, minutes]) == shards_of_next(
        "readings-1y", 28, [readings(8_000, 1.0, family="readings-1y", days=28)]
    )
    assert shards_of_next(READINGS, 7, [*others, minutes]) == 1  # it knows its own


def test_the_first_slice_of_all_is_made_for_what_is_told() -> None:
    shards = shards_of_next(READINGS, 7, [], 4_000)

    assert 4_000 * WEEK_S / shards <= SHARD_DOCUMENTS
    assert shards_of_next(READINGS, 7, [readings(10, 1.0)], 4_000) == 1  # one knows by now


def test_shards_have_a_limit() -> None:
    assert shards_of_next(READINGS, 7, [readings(10**7, 1.0)]) == SHARDS_LIMIT
    assert readings(10**7, 0.5, shards=SHARDS_LIMIT).shards_to_write_anew is None


@pytest.mark.parametrize("per_s", [2_000, 4_000, 16_000])
def test_a_running_slice_is_written_anew_in_good_time(per_s: float) -> None:
    """Hour by hour: it happens long before the limit, and what it becomes lasts."""
    hours = [readings(per_s, hour / 168) for hour in range(169)]
    first = next(each for each in hours if each.shards_to_write_anew)

    assert first.documents < LUCENE_LIMIT / 5
    shards = first.shards_to_write_anew
    assert shards is not None
    after = [readings(per_s, hour / 168, shards=shards) for hour in range(169)]
    assert not [each for each in after if each.shards_to_write_anew]
    assert max(each.used for each in after) <= 1


def test_a_slice_that_will_fit_is_left_alone() -> None:
    assert not [h for h in range(169) if readings(1_000, h / 168).shards_to_write_anew]


def test_a_burst_near_the_end_is_written_anew_only_where_it_is_urgent() -> None:
    def full(used: float) -> Extent:
        return Extent("x-20261123", "x", 2, int(used * SHARD_DOCUMENTS), 0, 0.95, 7)

    assert full(1.2).shards_to_write_anew is None
    assert full(1.6).shards_to_write_anew == 5


def test_what_has_no_end_is_written_anew_once_it_is_full() -> None:
    def events(used: float) -> Extent:
        return Extent("events-1", "events", 1, 1, int(used * SHARD_BYTES))

    assert events(0.9).shards_to_write_anew is None
    assert events(1.1).shards_to_write_anew == 2


def test_the_fullest_shard_counts_with_what_is_deleted_and_no_copy_does() -> None:
    def shard(count: int, deleted: int, size: int, *, primary: bool) -> dict[str, object]:
        return {
            "routing": {"primary": primary},
            "docs": {"count": count, "deleted": deleted},
            "store": {"size_in_bytes": size},
        }

    found = {
        "0": [shard(5, 5, 70, primary=True), shard(50, 0, 700, primary=False)],
        "1": [shard(9, 0, 90, primary=True)],
    }

    assert sizing.fullest(found) == (10, 90)
    assert sizing.fullest({}) == (0, 0)
