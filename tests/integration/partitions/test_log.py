"""The partitions' logs in a real Redis: what goes in comes out, and a lost log is noticed."""

import numpy as np
import pytest
import redis

from apps.partitions.lease import LEASE_MS, Lease, lease_key
from apps.partitions.log import (
    START,
    Chunk,
    PartitionLog,
    Position,
    Rows,
    is_behind,
    log_key,
    partition_of,
)
from apps.partitions.visits import Seat, come, go, join
from apps.partitions.wakeups import PATIENCE_MS, REORDER_WINDOW_MS, wake_key
from ohmwatch.readings import Sheet

NAN = float("nan")


@pytest.fixture
def woken() -> list[int]:
    return []


@pytest.fixture
def log(redis_log: redis.Redis, woken: list[int]) -> PartitionLog:
    return PartitionLog(redis_log, 16, wake=lambda partitions, delay_ms: woken.extend(partitions))


def chunk(connector: str = "c-1", tenant: str = "kunlun", **values: list[float]) -> Chunk:
    columns = {name: np.array(column) for name, column in (values or {"current_a": [1.0]}).items()}
    count = len(next(iter(columns.values())))
    time_ms = np.arange(count, dtype=np.int64) + 1_795_420_800_000
    return Chunk(tenant, connector, 1_795_420_800_500, time_ms, columns)


@pytest.mark.parametrize(
    ("tenant", "connector", "of_16", "of_1024"),
    [
        ("kunlun", "01900000-0000-7000-8000-000000000028", 13, 269),
        ("aurora", "01900000-0000-7000-8000-000000000028", 14, 222),
        ("kunlun", "01900000-0000-7000-8000-000000000029", 11, 411),
        ("k", "c", 12, 348),
        ("kunlun", "Übung", 7, 215),
    ],
)
def test_partition_of_a_connector_never_changes(
    tenant: str, connector: str, of_16: int, of_1024: int
) -> None:
    assert partition_of(tenant, connector, 16) == of_16
    assert partition_of(tenant, connector, 1024) == of_1024


def test_connectors_spread_evenly() -> None:
    homes = [partition_of("kunlun", f"c-{number}", 16) for number in range(16_000)]
    counts = np.bincount(homes, minlength=16)
    assert counts.min() > 800
    assert counts.max() < 1200


def test_readings_come_out_as_they_went_in(log: PartitionLog) -> None:
    sent = chunk(current_a=[1.5, NAN, -3.25], interlock=[1.0, 0.0, 1.0], humidity_pct=[NAN] * 3)
    log.append([sent])
    (entry,) = log.read(partition_of("kunlun", "c-1", 16), START, count=10).entries
    assert entry.chunks is not None
    (got,) = entry.chunks
    assert (got.tenant, got.connector, got.arrived_ms) == ("kunlun", "c-1", sent.arrived_ms)
    assert got.time_ms.tolist() == sent.time_ms.tolist()
    assert np.array_equal(got.values["current_a"], sent.values["current_a"], equal_nan=True)
    assert set(got.values) == {"current_a", "interlock"}


def test_one_entry_a_partition_an_append(log: PartitionLog, redis_log: redis.Redis) -> None:
    many = [chunk(f"c-{number}") for number in range(200)]
    log.append(many)
    lengths = [redis_log.xlen(log_key(each)) for each in range(16)]
    assert lengths == [1] * 16


def test_rows_come_out_as_chunks_of_one_reading(log: PartitionLog) -> None:
    owners = [("kunlun", f"c-{number % 40}") for number in range(100)]
    matrix = np.array([np.arange(100.0), np.full(100, NAN), np.arange(100.0) % 7])
    matrix[2, ::3] = NAN
    times = np.arange(100, dtype=np.int64) + 1_795_420_800_000
    sheet = Sheet(("current_a", "humidity_pct", "ambient_c"), matrix)
    log.append([chunk("c-1")], [Rows(*map(list, zip(*owners, strict=True)), 5, times, sheet)])
    for partition in range(16):
        entries = log.read(partition, START, count=10).entries
        assert len(entries) <= 1
        got = [each for entry in entries for each in entry.chunks or () if each.arrived_ms == 5]
        mine = [n for n, owner in enumerate(owners) if partition_of(*owner, 16) == partition]
        assert [(each.tenant, each.connector) for each in got] == [owners[n] for n in mine]
        assert [each.time_ms.tolist() for each in got] == [[times[n]] for n in mine]
        for each, n in zip(got, mine, strict=True):
            said = {name: float(column[0]) for name, column in each.values.items()}
            known = {"current_a": float(n), "ambient_c": float(n % 7)}
            assert said == (known if n % 3 else {"current_a": float(n)})


def test_a_log_without_rows_has_no_entry(log: PartitionLog, redis_log: redis.Redis) -> None:
    nothing = Rows([], [], 5, np.zeros(0, dtype=np.int64), Sheet(("current_a",), np.zeros((1, 0))))
    log.append([], [nothing])
    assert redis_log.dbsize() == 0


def test_empty_append_touches_nothing(log: PartitionLog, redis_log: redis.Redis) -> None:
    log.append([])
    log.append([Chunk("kunlun", "c-1", 1, np.zeros(0, dtype=np.int64), {})])
    assert redis_log.dbsize() == 0


def test_trim_keeps_what_is_unread(log: PartitionLog) -> None:
    for _ in range(3):
        log.append([chunk()])
    partition = partition_of("kunlun", "c-1", 16)
    first, second, third = log.read(partition, START, count=10).entries
    log.trim(partition, second.id)
    assert [entry.id for entry in log.read(partition, START, count=10).entries] == [third.id]
    log.trim(partition, third.id)
    assert log.last_entry(partition) == third.id
    assert is_behind(first.id, third.id)


def test_unreadable_entry_is_named_not_raised(log: PartitionLog, redis_log: redis.Redis) -> None:
    redis_log.xadd(log_key(0), {"c": b"\xff"})
    redis_log.xadd(log_key(0), {"other": b"1"})
    assert [entry.chunks for entry in log.read(0, START, count=10).entries] == [None, None]


def test_one_wake_up_a_partition_until_it_is_due_and_a_while(
    log: PartitionLog, woken: list[int], redis_log: redis.Redis
) -> None:
    for _ in range(5):
        log.append([chunk()])
    home = partition_of("kunlun", "c-1", 16)
    assert woken == [home]
    assert 0 < redis_log.pttl(wake_key(home)) <= REORDER_WINDOW_MS + PATIENCE_MS
    redis_log.delete(wake_key(home))
    log.append([chunk()])
    assert woken == [home, home]


def test_wake_up_that_fails_does_not_fail_the_append(
    redis_log: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.partitions import wakeups

    def broken(*args: object, **kwargs: object) -> None:
        raise wakeups.OperationalError("no broker")

    monkeypatch.setattr(wakeups.current_app, "send_task", broken)
    PartitionLog(redis_log, 16).append([chunk()])
    assert redis_log.xlen(log_key(partition_of("kunlun", "c-1", 16))) == 1


def test_flush_is_another_life_of_the_logs(log: PartitionLog, redis_log: redis.Redis) -> None:
    before = log.generation()
    assert log.generation() == before
    redis_log.flushdb()
    assert log.generation() != before


def test_position_is_read_as_it_was_written() -> None:
    place = Position("abc.def", "17-3")
    assert Position.parse(str(place)) == place
    assert Position.parse("") == Position("", START)


def test_entry_ids_are_compared_as_numbers() -> None:
    assert is_behind("9-0", "10-0")
    assert is_behind("10-9", "10-10")
    assert not is_behind("10-0", "10-0")


# --- visits ---------------------------------------------------------------------------------


def test_visitor_finds_how_things_stand(log: PartitionLog, redis_log: redis.Redis) -> None:
    home = partition_of("kunlun", "c-1", 16)
    lease = Lease(redis_log, home, "ours")
    found = come(lease)
    assert found.is_taken
    assert (found.holder, found.generation, found.last_entry) == (b"", log.generation(), None)
    lease.sign(4)
    log.append([chunk()])
    rival = come(Lease(redis_log, home, "theirs"))
    assert not rival.is_taken
    assert (rival.holder, rival.last_entry) == (lease.mark(4), log.last_entry(home))


def test_who_leaves_something_unjudged_sends_one_wake_up(
    log: PartitionLog, redis_log: redis.Redis
) -> None:
    home = partition_of("kunlun", "c-1", 16)
    lease = Lease(redis_log, home, "ours")
    log.append([chunk()])
    come(lease)
    assert not go(lease, judged=START, wake_in_ms=100)  # what was appended has woken already
    redis_log.pexpire(wake_key(home), PATIENCE_MS)  # and that one is due
    come(lease)
    assert go(lease, judged=START, wake_in_ms=100)
    come(lease)
    assert not go(lease, judged=START, wake_in_ms=100)


def test_after_a_visit_that_left_nothing_the_next_entry_wakes(
    log: PartitionLog, woken: list[int], redis_log: redis.Redis
) -> None:
    home = partition_of("kunlun", "c-1", 16)
    lease = Lease(redis_log, home, "ours")
    log.append([chunk()])
    come(lease)
    assert not go(lease, judged=str(log.last_entry(home)), wake_in_ms=100)
    assert come(lease).is_taken  # it was given back
    log.append([chunk()])
    assert woken == [home, home]


def test_who_comes_takes_along_what_it_held_last_and_has_more_to_judge(
    log: PartitionLog, redis_log: redis.Redis
) -> None:
    homes = [partition_of("kunlun", f"c-{number}", 16) for number in range(1, 6)]
    assert len(set(homes)) == 5
    more, judged, gone_over, busy, empty = (Lease(redis_log, home, "ours") for home in homes)
    log.append([chunk(f"c-{number}") for number in range(1, 5)])
    for each in (more, judged, gone_over, busy, empty):
        each.sign(4)
    Lease(redis_log, gone_over.partition, "theirs").sign(5)
    Lease(redis_log, busy.partition, "theirs").take()
    end = str(log.last_entry(judged.partition))
    seats = [
        Seat(each, 4, end if each is judged else START)
        for each in (more, judged, gone_over, busy, empty)
    ]
    assert join(seats, "another life") == [False] * 5
    assert join(seats, log.generation()) == [True, False, False, False, False]
    assert 0 < redis_log.pttl(lease_key(more.partition)) <= LEASE_MS
    assert join(seats, log.generation()) == [False] * 5  # it is taken now
    assert not any(
        redis_log.exists(lease_key(each.partition)) for each in (judged, gone_over, empty)
    )
    assert join([], log.generation()) == []


def test_several_logs_are_read_and_trimmed_at_one_go(log: PartitionLog) -> None:
    homes = [partition_of("kunlun", f"c-{number}", 16) for number in (1, 2)]
    log.append([chunk("c-1"), chunk("c-2")])
    log.append([chunk("c-1")])
    first, second = log.read_several([(home, START) for home in homes], count=10)
    assert [len(first.entries), len(second.entries)] == [2, 1]
    assert log.read(homes[0], START, count=10).entries[1].id == first.entries[1].id
    log.trim_several({homes[0]: first.entries[0].id, homes[1]: second.entries[0].id})
    left = log.read_several([(home, START) for home in homes], count=10)
    assert [[each.id for each in page.entries] for page in left] == [[first.entries[1].id], []]


# --- leases -----------------------------------------------------------------------------------


def test_one_holder_at_a_time(redis_log: redis.Redis) -> None:
    ours, theirs = Lease(redis_log, 3, "ours"), Lease(redis_log, 3, "theirs")
    assert ours.take()
    assert not theirs.take()
    assert not ours.take()
    assert ours.renew()
    assert 0 < redis_log.pttl(lease_key(3)) <= LEASE_MS
    ours.release()
    assert theirs.take()


def test_lost_lease_is_neither_renewed_nor_given_back(redis_log: redis.Redis) -> None:
    ours, theirs = Lease(redis_log, 3, "ours"), Lease(redis_log, 3, "theirs")
    ours.take()
    redis_log.delete(lease_key(3))
    assert theirs.take()
    assert not ours.renew()
    ours.release()
    assert not Lease(redis_log, 3, "third").take()


def test_memory_is_good_until_another_signs(redis_log: redis.Redis) -> None:
    ours, theirs = Lease(redis_log, 3, "ours"), Lease(redis_log, 3, "theirs")
    assert not ours.was_ours(4)
    ours.sign(4)
    assert ours.was_ours(4)
    assert not ours.was_ours(5)
    theirs.sign(5)
    assert not ours.was_ours(4)
