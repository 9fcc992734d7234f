"""What people type never becomes a field, an index or an aggregation."""

import pytest

from apps.telemetry import questions
from apps.telemetry.answers import AccountLine, Bucket, ItemResult, LedgerEntry, Series, total_of
from apps.telemetry.errors import AskedTooMuch, WrongQuestion
from apps.telemetry.questions import EventFilter, StateFilter
from apps.telemetry.store import checked_key, checked_tenant, document_id

HOSTILE = [
    "*",
    "a,b",
    "<readings-{now/d}>",
    "kunlun:1",
    "../state-1",
    "a b",
    "",
    "kunlun*",
    "ä",
    "k\n",
]


@pytest.mark.parametrize("key", HOSTILE)
def test_no_id_can_name_more_than_one_thing(key: str) -> None:
    with pytest.raises(WrongQuestion):
        checked_key(key)
    with pytest.raises(WrongQuestion):
        checked_tenant(key)
    with pytest.raises(WrongQuestion):
        document_id("kunlun", key)


def test_a_document_id_begins_with_its_tenant() -> None:
    assert document_id("kunlun", "c-1") == "kunlun:c-1"
    assert document_id("_platform", "c-1") == "_platform:c-1"


def test_text_is_searched_as_text() -> None:
    clause = questions.text_clause("  *?\\ ")

    values = {each["wildcard"]["serial"]["value"] for each in clause["bool"]["should"][:1]}
    assert values == {"*\\*\\?\\\\*"}
    assert questions.text_clause("   ") == {}


def test_an_empty_filter_asks_for_nothing_and_an_empty_choice_for_none() -> None:
    assert StateFilter().clauses() == []
    assert EventFilter().clauses() == []
    assert StateFilter(vehicle=[]).clauses() == [{"terms": {"vehicle": []}}]


def test_facets_and_sorts_come_from_tables() -> None:
    with pytest.raises(WrongQuestion):
        questions.facets(["tenant"], questions.STATE_FACETS)
    with pytest.raises(WrongQuestion):
        questions.order("_id")
    assert (
        questions.facets(["model"], questions.STATE_FACETS)["model"]["terms"]["min_doc_count"] == 1
    )


def test_pages_have_an_end() -> None:
    assert questions.numbered_page(3, 50)["from"] == 100
    with pytest.raises(AskedTooMuch):
        questions.numbered_page(201, 50)
    with pytest.raises(WrongQuestion):
        questions.numbered_page(0, 50)
    with pytest.raises(AskedTooMuch):
        questions.page_size(0)


@pytest.mark.parametrize("points", [1, 7, 500, 2000])
def test_a_range_has_at_most_the_points_asked_for(points: int) -> None:
    width_ms = questions.interval_ms(1_000_003, 8_654_321, points)

    assert -(-(8_654_321 - 1_000_003) // width_ms) <= points


def test_gaps_are_told_only_where_there_are_some() -> None:
    buckets = [Bucket(start, 1, {}) for start in (0, 1000, 2000, 60_000)]
    series = Series("c", 0, 100_000, 1000, buckets)

    assert [each is None for each in series.with_gaps(5000)] == [False] * 3 + [True, False]
    assert list(series.with_gaps(58_000)) == buckets


@pytest.mark.parametrize(
    ("result", "again"),
    [
        (ItemResult(201), False),
        (ItemResult(409, "version_conflict_engine_exception"), False),
        (ItemResult(400, "document_parsing_exception"), False),
        (ItemResult(429, "es_rejected_execution_exception"), True),
        (ItemResult(503, "unavailable_shards_exception"), True),
        (ItemResult(404, "index_not_found_exception"), True),
        (ItemResult(403, "cluster_block_exception"), True),
        (ItemResult(403, "security_exception"), False),
        (ItemResult(404, "document_missing_exception"), False),
    ],
)
def test_only_what_may_pass_later_is_tried_again(result: ItemResult, again: bool) -> None:
    assert result.is_worth_retrying is again


def test_a_ledger_entry_adds_up_by_itself() -> None:
    entry = LedgerEntry("kunlun", 7, 0, stored=5, duplicate=2, quarantined={"wrong_type": 3})

    assert entry.received == 10


def test_an_account_that_cancels_out_among_tenants_is_still_open() -> None:
    more = AccountLine("a", received=5, stored=5, held_readings=6)
    less = AccountLine("b", received=5, stored=5, held_readings=4)

    assert (more.apart, less.apart) == (1, 1)
    assert not more.is_closed
    assert total_of([more, less]).held_readings == 10


def test_a_swapped_reason_opens_the_account() -> None:
    line = AccountLine(
        "a", received=1, quarantined={"wrong_type": 1}, held_quarantined={"out_of_range": 1}
    )

    assert line.apart == 2
