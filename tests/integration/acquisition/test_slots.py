"""Slots come and go, brokers may be several, and no reading is lost or counted twice by it."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
from django.utils import timezone

from apps.platform.acquisition import board
from tests import cast, mqtt
from tests.acquisition import (
    DEVICES,
    ROOT,
    Slot,
    account,
    assert_closed,
    device,
    now_ms,
    open_session,
    reading,
    received,
    stored_times,
    topic,
    until,
)

pytestmark = pytest.mark.usefixtures("kunlun", "empty_elasticsearch")

TBOX = topic("kunlun.tbox-1")


class Load:
    """A device that goes on publishing, one reading a millisecond of its own time."""

    def __init__(self, broker: mqtt.Mosquitto) -> None:
        self.start = self.next = now_ms() - 3_600_000
        self._broker = broker
        self._over = threading.Event()
        self._failure: BaseException | None = None

    @property
    def times(self) -> list[int]:
        return list(range(self.start, self.next))

    def _run(self) -> None:
        try:
            box = device(self._broker, "kunlun.tbox-1")
            while not self._over.is_set():
                box.deliver(TBOX, [reading(self.next + number) for number in range(100)])
                self.next += 100
                self._over.wait(0.05)
        except BaseException as failure:
            self._failure = failure

    @contextmanager
    def under_way(self) -> Iterator["Load"]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()
        assert self._failure is None


def drain(broker: mqtt.Mosquitto, slot: int) -> subprocess.CompletedProcess[str]:
    """As an operator gives the slot up."""
    return subprocess.run(
        [sys.executable, "-m", "workers.acquisition", "drain", str(slot)],
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT}/src:{ROOT}",
            "OHMWATCH_MQTT_URL": f"mqtt://127.0.0.1:{broker.worker_port}",
            "OHMWATCH_MQTT_PASSWORD": mqtt.SLOT_PASSWORD,
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
    )


def test_slots_join_and_are_given_up_under_load(broker: mqtt.Mosquitto) -> None:
    load = Load(broker)
    open_session(broker, slot=0)
    with load.under_way(), Slot(broker.worker_port, slot=0):
        with Slot(broker.worker_port, slot=1):
            until(lambda: received() > 500, what="both slots at work")
        # Slot 1 is away now, and the broker still deals messages to its session.
        away_at = load.next
        until(lambda: load.next > away_at + 500)
        with Slot(broker.worker_port, slot=2):
            drained = drain(broker, 1)
            assert drained.returncode == 0, drained.stderr
            after = load.next
            until(lambda: load.next > after + 300, what="load after the drain")
        drained = drain(broker, 2)
        assert drained.returncode == 0, drained.stderr
        found = board(now=timezone.now())
        assert [slot.number for slot in found.slots] == [0]
        assert found.retired == [1, 2], "silent on purpose"
    with Slot(broker.worker_port, slot=0):
        until(
            lambda: len(stored_times(cast.BENS_CONNECTOR)) >= len(load.times), what="all readings"
        )
    assert stored_times(cast.BENS_CONNECTOR) == load.times
    # What a slot had not answered for when it was stopped comes again, to be told as a duplicate.
    assert account()["kunlun"].stored == len(load.times)
    assert_closed()
    with broker.slot(1).connect(clean_start=False) as there:
        assert not there.session_present


def test_a_slot_that_works_is_not_drained(broker: mqtt.Mosquitto, redis_log: redis.Redis) -> None:
    with Slot(broker.worker_port, slot=1):
        until(lambda: redis_log.exists("ow:acquisition:1") == 1)
        refused = drain(broker, 1)
    assert refused.returncode == 1
    assert "still works" in refused.stderr


def test_a_slot_takes_from_several_brokers(broker: mqtt.Mosquitto) -> None:
    start = now_ms() - 3_600_000
    with mqtt.running(DEVICES) as other, Slot(broker.worker_port, other.worker_port) as slot:
        for number, each in enumerate((broker, other)):
            box = device(each, "kunlun.tbox-1")
            box.deliver(TBOX, [reading(start + 500 * number + n) for n in range(500)])
        until(lambda: received() == 1_000)
        other.kill()
        until(lambda: slot.crew.state()["away_brokers"] == [f"127.0.0.1:{other.worker_port}"])
        assert not slot.crew.state()["connected"]
        device(broker, "kunlun.tbox-1").deliver(TBOX, [reading(start + 1_000)])
        until(lambda: received() == 1_001, what="the reading that came by the other broker")
    with broker.slot(0).connect(clean_start=False) as there:
        assert there.receive(wait_s=0.5) is None  # all of it was acknowledged
    assert stored_times(cast.BENS_CONNECTOR) == [start + n for n in range(1_001)]
    assert_closed()
