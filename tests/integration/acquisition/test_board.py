"""The board's counts: what is said twice counts once, and who has lost the slot counts no more."""

from collections import Counter
from collections.abc import Iterator

import pytest
import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from apps.telemetry.answers import AccountLine
from apps.telemetry.board import unknown_fields
from ohmwatch.refusals import Reason
from tests.acquisition import redis_behind
from tests.faults import nemesis, proxy
from workers.acquisition.batches import Batch, Tally, first_number
from workers.acquisition.board import UNKNOWN_NAMES_LIMIT, Board, Counted
from workers.acquisition.sorting import Note, Sorted, UnknownFields

SLOT = 3
FIRST = first_number(SLOT, 1_800_000_000_000)
TALLY = Tally(stored=5, duplicate=2, quarantined=Counter({Reason.UNDECODABLE: 1}), late=3)
COUNTED = {
    b"received": b"8",
    b"stored": b"5",
    b"duplicate": b"2",
    b"late": b"3",
    b"quarantined:undecodable": b"1",
    b"events": b"2",
}


@pytest.fixture
def way() -> Iterator[proxy.Proxy]:
    with proxy.between(nemesis.ports()["redis"]) as between:
        yield between


@pytest.fixture
def board(way: proxy.Proxy) -> Iterator[Board]:
    """A board that tries once, so that a test sees each answer that was lost."""
    url = redis_behind(way.port, url=settings.REDIS_LOG_URL)
    with redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0)) as client:
        client.ping()  # a connection is there, so that what is swallowed is not its greeting
        yield Board(client)


HOUR_MS = 3_600_000


def batch(number: int, *, later_ms: int = 0) -> Batch:
    return Batch(number, 0, 1_800_000_000_000 + later_ms, [])


def fields(device: str, sample: bytes, *names: str) -> dict[str, UnknownFields]:
    return {"kunlun": UnknownFields(Counter(names), dict.fromkeys(names, device), sample, device)}


def work() -> Sorted:
    return Sorted(notes=[Note("kunlun", "tbox-1", "events")] * 2)


def counts(client: redis.Redis) -> dict[bytes, bytes]:
    return dict(client.hgetall("ow:counts:kunlun"))  # type: ignore[arg-type]


def test_a_batch_that_is_noted_again_after_a_lost_answer_counts_once(
    board: Board, way: proxy.Proxy, redis_log: redis.Redis
) -> None:
    way.swallows_answers = True
    with pytest.raises(redis.RedisError):
        board.note(batch(FIRST), work(), {"kunlun": TALLY})
    assert counts(redis_log) == COUNTED, "it was done, and nobody knows"
    way.mend()
    assert not board.note(batch(FIRST), work(), {"kunlun": TALLY})
    assert counts(redis_log) == COUNTED
    assert board.note(batch(FIRST + 1), work(), {"kunlun": TALLY})
    assert counts(redis_log)[b"stored"] == b"10"
    assert board.note(batch(FIRST + 2), Sorted(), {}), "there was nothing to count"


def test_what_is_settled_counts_by_the_difference(
    board: Board, way: proxy.Proxy, redis_log: redis.Redis
) -> None:
    board.take_over(SLOT, low=FIRST - 9, high=FIRST)
    line = AccountLine("kunlun", received=7, stored=4, quarantined={"wrong_shape": 3})
    way.swallows_answers = True
    with pytest.raises(redis.RedisError):
        board.settle(SLOT, high=FIRST, lines=[line])
    way.mend()
    board.settle(SLOT, high=FIRST, lines=[line])
    found = {b"received": b"7", b"stored": b"4", b"quarantined:wrong_shape": b"3"}
    assert counts(redis_log) == found
    more = AccountLine("kunlun", received=9, stored=6, quarantined={"wrong_shape": 3})
    board.settle(SLOT, high=FIRST, lines=[more])
    assert counts(redis_log) == {**found, b"received": b"9", b"stored": b"6"}


def test_who_was_stopped_and_has_lost_its_slot_counts_no_more(
    board: Board, redis_log: redis.Redis
) -> None:
    """What it enters all the same its heir finds in the ledger."""
    board.note(batch(FIRST), work(), {"kunlun": TALLY})
    assert board.counted(SLOT) == Counted(FIRST, 0, 0)
    board.take_over(SLOT, low=FIRST + 1, high=FIRST + 100)
    assert not board.note(batch(FIRST + 1), work(), {"kunlun": TALLY})
    board.settle(SLOT, high=FIRST + 1, lines=[AccountLine("kunlun", received=7, stored=7)])
    assert counts(redis_log) == COUNTED
    assert board.counted(SLOT) == Counted(FIRST + 99, FIRST + 1, FIRST + 100)
    board.note(batch(FIRST + 100), work(), {"kunlun": TALLY})
    assert counts(redis_log)[b"stored"] == b"10"


def test_slots_and_tenants_are_apart(board: Board, redis_log: redis.Redis) -> None:
    board.note(batch(FIRST), work(), {"kunlun": TALLY})
    board.note(batch(first_number(SLOT - 1, 0)), Sorted(), {"aurora": Tally(stored=1)})
    assert counts(redis_log) == COUNTED
    assert redis_log.hgetall("ow:counts:aurora") == {b"received": b"1", b"stored": b"1"}


def test_a_field_that_nobody_knows_is_told_with_who_sent_it_last(board: Board) -> None:
    board.note(
        batch(FIRST), Sorted(unknown_fields=fields("one", b"first", "gps", "gps", "rpm")), {}
    )
    board.note(
        batch(FIRST + 1, later_ms=1_000), Sorted(unknown_fields=fields("two", b"2nd", "gps")), {}
    )
    found = unknown_fields("kunlun")
    said = [(each.name, each.times, each.device) for each in found.fields]
    assert said == [("gps", 3, "two"), ("rpm", 1, "one")]
    assert found.sample is not None
    assert (found.sample.device, found.sample.shown) == ("one", "first"), "one an hour"
    board.note(
        batch(FIRST + 2, later_ms=HOUR_MS), Sorted(unknown_fields=fields("two", b"\xff", "gps")), {}
    )
    found = unknown_fields("kunlun")
    assert found.sample is not None
    assert found.sample.shown.startswith("000000  ff")
    assert unknown_fields("aurora").fields == []


def test_names_are_bounded_over_all_lives_of_a_worker(board: Board, redis_log: redis.Redis) -> None:
    for life, each in enumerate((board, Board(redis_log))):
        names = [f"made_up_{life}_{number}" for number in range(UNKNOWN_NAMES_LIMIT)]
        each.note(batch(FIRST + life), Sorted(unknown_fields=fields("one", b"", *names)), {})
    assert redis_log.hlen("ow:unknown-fields:kunlun") == UNKNOWN_NAMES_LIMIT
    assert redis_log.hlen("ow:unknown-fields:kunlun:last") == UNKNOWN_NAMES_LIMIT
