"""When a batch closes: soon at low load, later while every hand is busy. The clock is a number."""

import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from tests.eventually import eventually
from workers.acquisition.batches import ARRIVAL_STEP_MS, Batch, Message, first_number
from workers.acquisition.connection import Broker
from workers.acquisition.intake import Intake, Limits
from workers.acquisition.session import Session

PROMISED_MS = 200
T = 1_795_420_800_000


class Line:
    """An intake with a hand that waits for batches, and the session's turns at it."""

    def __init__(self) -> None:
        self.intake = Intake(slot=0, above=0, limits=Limits())
        self.batches: list[Batch] = []
        self._hand = threading.Thread(target=self._carry)
        self._hand.start()

    def _carry(self) -> None:
        while (batch := self.intake.take()) is not None:
            self.batches.append(batch)

    def waits_ms(self, arrivals_ms: Sequence[int]) -> list[int]:
        """How long each message waited for its batch to close, if the session wakes when it is
        told to, or when something comes."""
        arrivals, now_ms = list(arrivals_ms), 0
        while arrivals or self.intake.held_messages > self._closed():
            eventually(self._hand_is_free, "the hand is free")
            if arrivals and arrivals[0] <= now_ms:
                sent = Message("", b"%d" % arrivals.pop(0))
                self.intake.put([sent], now_ms=T + now_ms, tick=now_ms / 1000)
            left_s = self.intake.close_when_due(now_ms=T + now_ms, tick=now_ms / 1000)
            wakes = [now_ms + max(round(left_s * 1000), 1)] if left_s is not None else []
            now_ms = min(wakes + arrivals[:1], default=now_ms)
        eventually(self._hand_is_free, "the hand is free")
        return [
            batch.number - T - int(message.payload)  # of slot 0 it is the moment of closing
            for batch in self.batches
            for message in batch.messages
        ]

    def _closed(self) -> int:
        return sum(len(batch.messages) for batch in self.batches)

    def _hand_is_free(self) -> bool:
        return self.intake._idle == 1 and self.intake.waiting_batches == 0

    def end(self) -> None:
        self.intake.end(now_ms=T)
        self._hand.join()


def test_a_number_is_of_the_very_moment_and_arrival_of_the_step_before_it() -> None:
    intake = Intake(slot=3, above=0, limits=Limits())
    for now_ms in (T + 1, T + 49, T + 50, T + 120):
        intake.put([Message("", b"{}")], now_ms=now_ms, tick=0.0)
        intake.end(now_ms=now_ms)
        batch = intake.take()
        assert batch is not None
        assert batch.number == first_number(3, now_ms)
        assert 0 <= now_ms - batch.arrived_ms < ARRIVAL_STEP_MS
        assert batch.arrived_ms % ARRIVAL_STEP_MS == 0


@pytest.fixture
def line() -> Iterator[Line]:
    opened = Line()
    yield opened
    opened.end()


@pytest.mark.parametrize(
    "arrivals_ms",
    [
        [0],
        [0, 99, 100, 101, 5_000],
        range(0, 3_000, 20),
        range(0, 10_000, 500),
        [0, *range(90, 400, 7)],
    ],
    ids=["one", "around the wait", "50 a second", "2 a second", "bunched"],
)
def test_at_low_load_nothing_waits_longer_than_promised(
    line: Line, arrivals_ms: Sequence[int]
) -> None:
    waits = line.waits_ms(arrivals_ms)
    assert len(waits) == len(arrivals_ms)
    assert max(waits) <= PROMISED_MS


def test_the_session_does_not_sleep_past_it() -> None:
    intake = Intake(slot=0, above=0, limits=Limits())
    session = Session(broker=Broker("127.0.0.1", 1, ""), client_id="ohmwatch-acq-0", intake=intake)
    assert session._timeout_s() == 1.0
    intake.put([Message("", b"")], now_ms=T, tick=time.monotonic())
    assert session._timeout_s() <= PROMISED_MS / 1000


def test_while_no_hand_is_free_a_batch_may_grow_for_a_second() -> None:
    intake = Intake(slot=0, above=0, limits=Limits())
    intake.put([Message("", b"")], now_ms=T, tick=0.0)
    assert intake.close_when_due(now_ms=T + 999, tick=0.999) is not None
    assert intake.close_when_due(now_ms=T + 1_000, tick=1.0) is None
    assert intake.waiting_batches == 1


def columns(readings: int) -> bytes:
    values = ",".join(["182.4"] * readings)
    named = ",".join(f'"quantity_{n:02d}":[{values}]' for n in range(12))
    return b'{"channel":1,"start":1795420800000,"step_ms":1000,"columns":{%b}}' % named.encode()


def rows(readings: int, quantities: int = 12) -> bytes:
    named = ",".join(f'"quantity_{n:02d}":182.4' for n in range(quantities))
    row = b'{"time":1795420800000,%b}' % named.encode()
    return b'{"channel":1,"readings":[%b]}' % b",".join([row] * readings)


@pytest.mark.parametrize(
    ("payload", "readings"),
    [(columns(50), 50), (rows(10), 10), (rows(10, quantities=1), 10), (rows(200), 200)],
    ids=["columns", "rows", "thin rows", "long rows"],
)
def test_a_batch_is_about_as_many_readings_whichever_way_they_come(
    payload: bytes, readings: int
) -> None:
    intake = Intake(slot=0, above=0, limits=Limits())
    number = 0
    while not intake.waiting_batches:
        intake.put([Message("", payload)], now_ms=T, tick=0.0)
        number += 1
    assert 2_500 <= number * readings <= 4_500


def test_what_is_no_json_counts_with_all_of_its_bytes() -> None:
    intake = Intake(slot=0, above=0, limits=Limits())
    intake.put([Message("", b"\xa1" + b"x" * Limits().batch_bytes)], now_ms=T, tick=0.0)
    assert intake.waiting_batches == 1
