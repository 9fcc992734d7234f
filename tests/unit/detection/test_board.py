"""What the board writes of each connector, how often, and what it does without a store."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from apps.telemetry.answers import STORED, ItemResult
from apps.telemetry.errors import StoreUnavailable
from ohmwatch.checks.detectors import EXAMPLE
from ohmwatch.detector import Batch, Ratings
from workers.detection.board import PAUSE_S, SHARE, WRITE_EVERY_S, Board

NAN = float("nan")
NOBODY: frozenset[str] = frozenset()


class Store:
    """Elasticsearch, as far as the board sees it; can be away."""

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []
        self.away = False

    def update_states(self, rows: Sequence[Mapping[str, Any]]) -> list[ItemResult]:
        if self.away:
            raise StoreUnavailable(reason="test")
        self.written += [dict(row) for row in rows]
        return [STORED] * len(rows)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def board(gone: Collection[str] = ()) -> tuple[Board, Store, Clock]:
    store, clock = Store(), Clock()
    return Board(store, is_gone=gone.__contains__, monotonic=clock), store, clock


def of_one(*times: int, **values: list[float]) -> Batch:
    return replace(Batch.of_one("kunlun/c-1", times, **values))


def test_newest_reading_and_its_margin_are_written() -> None:
    each, store, _ = board()
    batch = of_one(1000, 2000, temperature_pos_c=[50.0, 61.0], temperature_neg_c=[55.0, 58.0])
    each.note(batch, [EXAMPLE], judged_ms=2500)
    each.post()
    assert store.written == [
        {
            "tenant": "kunlun",
            "connector": "c-1",
            "last": {"temperature_pos_c": 61.0, "temperature_neg_c": 58.0},
            "measured_at": 2000,
            "arrived_at": 2000,
            "judged_at": 2500,
            "headroom_k": 29.0,
        }
    ]


def test_margin_at_rated_load_is_written_with_its_interval_where_it_is_known() -> None:
    each, store, _ = board()
    batch = of_one(1000, 2000, temperature_pos_c=[50.0, 61.0])
    known = {
        "estimate.heating_pos_k": np.array([30.0]),
        "estimate.heating_neg_k": np.array([28.0]),
        "estimate.heating_sd_k": np.array([2.0]),
    }
    each.note(batch, [EXAMPLE], judged_ms=2500, known=known)
    each.post()
    row = store.written[0]
    # 30 K at 20 °C are 30·1.078/(1 − 0.0039·30) = 36.6 K at 40 °C; the limit is 90 °C.
    assert row["margin_k"] == pytest.approx(13.4, abs=0.1)
    assert row["margin_from_k"] < row["margin_k"] < row["margin_to_k"]
    assert row["headroom_k"] == 29.0


def test_margin_at_rated_load_and_headroom_of_now_are_never_mixed() -> None:
    """A connector at rest is far below its limit, and may be close to it at rated load."""
    each, store, _ = board()
    unknown = {"estimate.heating_pos_k": np.array([NAN])}
    each.note(of_one(1000, temperature_pos_c=[21.0]), [EXAMPLE], judged_ms=1, known=unknown)
    each.post()
    (row,) = store.written
    assert (row["headroom_k"], row["margin_k"], row["margin_from_k"]) == (69.0, None, None)


def test_time_left_is_written_or_why_it_is_not_known_and_what_was_learnt_when() -> None:
    each, store, clock = board()
    told = {
        **{f"estimate.left_{name}s": np.array([NAN, 7200.0]) for name in ("", "from_", "to_")},
        "estimate.left_why": np.array([1.0, 0.0]),
        "estimate.learnt_ms": np.array([NAN, 900.0]),
        "estimate.mating_step_neg": np.array([NAN, np.log(0.4)]),
    }
    both = of_one(1000, 2000, current_a=[0.0, 1.0])
    for at in range(2):
        own = {name: column[[at]] for name, column in told.items()}
        each.note(both.rows(np.arange(2) == at), [EXAMPLE], judged_ms=1, known=own)
        each.post()
        clock.now_s += WRITE_EVERY_S
    first, second = store.written
    assert (first["left_s"], first["left_unknown"], first["learnt_at"]) == (
        None,
        "too_few_points",
        None,
    )
    assert (second["left_s"], second["left_unknown"], second["learnt_at"]) == (7200.0, None, 900)
    assert second["mating_step_neg"] == pytest.approx(-0.6)


def test_quantities_that_come_in_turns_are_merged() -> None:
    each, store, _ = board()
    batch = of_one(1000, 2000, current_a=[NAN, 12.0], voltage_v=[700.0, NAN])
    each.note(batch, [EXAMPLE], judged_ms=2500)
    each.post()
    assert store.written[0]["last"] == {"current_a": 12.0, "voltage_v": 700.0}
    assert "headroom_k" not in store.written[0]


def test_values_read_as_they_were_measured() -> None:
    """Judged are the bits that the store keeps, in single precision; people read 61.2."""
    each, store, _ = board()
    stored = float(np.float32(61.2))
    each.note(of_one(1000, temperature_pos_c=[stored], x_own=[stored]), [EXAMPLE], judged_ms=1)
    each.post()
    assert store.written[0]["last"] == {"temperature_pos_c": 61.2, "x_own": stored}


def test_model_without_a_limit_has_no_margin() -> None:
    each, store, _ = board()
    each.note(of_one(1000, temperature_pos_c=[50.0]), [Ratings()], judged_ms=1)
    each.post()
    assert "headroom_k" not in store.written[0]


def test_at_most_once_a_second_and_nothing_is_forgotten() -> None:
    each, store, clock = board()
    for step in range(10):
        each.note(of_one(1000 + step, current_a=[float(step)]), [EXAMPLE], judged_ms=1)
        each.post()
        clock.now_s += 0.05
    assert len(store.written) == 1
    clock.now_s += WRITE_EVERY_S
    each.post()
    assert [row["last"]["current_a"] for row in store.written] == [0.0, 9.0]


def test_store_that_is_away_is_left_alone_for_a_while() -> None:
    each, store, clock = board()
    store.away = True
    each.note(of_one(1000, current_a=[1.0]), [EXAMPLE], judged_ms=1)
    each.post()
    store.away = False
    each.post()
    assert store.written == []
    clock.now_s += PAUSE_S
    each.post()
    assert len(store.written) == 1


def test_what_could_not_be_written_is_merged_with_what_came_meanwhile() -> None:
    each, store, clock = board()
    store.away = True
    each.note(of_one(1000, current_a=[1.0], voltage_v=[700.0]), [EXAMPLE], judged_ms=1)
    each.post()
    store.away = False
    each.note(of_one(2000, current_a=[2.0]), [EXAMPLE], judged_ms=2)
    clock.now_s += PAUSE_S
    each.post()
    (row,) = store.written
    assert (row["last"], row["measured_at"]) == ({"current_a": 2.0, "voltage_v": 700.0}, 2000)


def test_an_older_reading_changes_nothing() -> None:
    each, store, _ = board()
    each.note(of_one(2000, current_a=[2.0]), [EXAMPLE], judged_ms=1)
    each.note(of_one(1000, current_a=[1.0]), [EXAMPLE], judged_ms=2)
    each.post()
    assert [row["last"] for row in store.written] == [{"current_a": 2.0}]


def test_writing_rests_so_that_it_takes_no_more_than_its_share() -> None:
    clock = Clock()

    class Slow(Store):
        def update_states(self, rows: Sequence[Mapping[str, Any]]) -> list[ItemResult]:
            clock.now_s += 0.4
            return super().update_states(rows)

    slow = Slow()
    each = Board(slow, is_gone=NOBODY.__contains__, monotonic=clock)
    each.note(of_one(1000, current_a=[1.0]), [EXAMPLE], judged_ms=1)
    each.post()
    each.note(of_one(2000, current_a=[2.0]), [EXAMPLE], judged_ms=2)
    clock.now_s += 0.4 / SHARE - 0.5
    each.post()
    assert len(slow.written) == 1
    clock.now_s += 0.2
    each.post()
    assert len(slow.written) == 2


def test_a_thread_of_its_own_writes_what_is_noted() -> None:
    store = Store()
    each = Board(store, is_gone=NOBODY.__contains__)
    each.begin()
    each.note(of_one(1000, current_a=[1.0]), [EXAMPLE], judged_ms=1)
    for _ in range(500):
        if store.written:
            break
        time.sleep(0.01)
    assert [row["connector"] for row in store.written] == ["c-1"]


def test_tenants_with_one_connector_id_stay_apart() -> None:
    each, store, _ = board()
    both = Batch(
        connectors=["kunlun/c-1", "aurora/c-1"],
        connector=np.array([0, 1], dtype=np.int32),
        time_ms=np.array([1000, 1000]),
        arrived_ms=np.array([1000, 1000]),
        values={"current_a": np.array([1.0, 2.0])},
    )
    each.note(both, [EXAMPLE, EXAMPLE], judged_ms=1)
    each.post()
    assert {(row["tenant"], row["last"]["current_a"]) for row in store.written} == {
        ("kunlun", 1.0),
        ("aurora", 2.0),
    }


def test_what_is_of_no_tenant_any_more_is_dropped() -> None:
    gone: set[str] = set()
    each, store, clock = board(gone)
    store.away = True
    each.note(of_one(1000, current_a=[1.0]), [EXAMPLE], judged_ms=1)
    each.post()
    gone.add("kunlun")  # erased while its state waited for the store
    store.away = False
    clock.now_s += PAUSE_S
    each.post()
    each.note(of_one(2000, current_a=[2.0]), [EXAMPLE], judged_ms=1)
    clock.now_s += PAUSE_S
    each.post()
    assert store.written == []
    assert not each.is_waiting


def test_what_the_store_refuses_is_told() -> None:
    class Strict(Store):
        def update_states(self, rows: Sequence[Mapping[str, Any]]) -> list[ItemResult]:
            return [ItemResult(400, "strict_dynamic_mapping_exception", "no [left_s]")] * len(rows)

    each = Board(Strict(), is_gone=NOBODY.__contains__)
    each.note(of_one(1000, current_a=[1.0]), [EXAMPLE], judged_ms=1)
    with capture_logs() as lines:
        each.post()
    assert lines == [
        {
            "event": "states_refused",
            "log_level": "error",
            "tenant": "kunlun",
            "connectors": 1,
            "connector": "c-1",
            "reason": "no [left_s]",
        }
    ]


def test_empty_batch_is_nothing() -> None:
    each, store, _ = board()
    each.note(of_one(), [EXAMPLE], judged_ms=1)
    each.post()
    assert store.written == []


def test_what_is_known_of_its_ageing_is_written_and_taken_back() -> None:
    each, store, clock = board()
    reading = of_one(3000, temperature_pos_c=[61.0], temperature_neg_c=[58.0])
    names = ("heating_pos_k", "heating_neg_k", "heating_sd_k", "apart", "common", "common_base")
    facts = dict(zip(names, (40.0, 31.0, 1.6, 0.25, 0.0, 0.0), strict=True))
    known = {f"estimate.{name}": np.array([fact]) for name, fact in facts.items()}
    known["estimate.anew_ms"] = np.array([1000.0])
    each.note(reading, [EXAMPLE], judged_ms=3500, known=known)
    each.post()
    (row,) = store.written
    assert (row["change"], row["change_sd"], row["base_since"]) == (0.25, 0.05, 1000)
    clock.now_s += WRITE_EVERY_S
    unknown = {name: np.array([NAN]) for name in known}
    each.note(replace(reading, time_ms=reading.time_ms + 1), [EXAMPLE], judged_ms=9, known=unknown)
    each.post()
    assert store.written[-1]["change"] is None
