"""The stores that all tests share are killed, for CI: so these run alone, after all others."""

import random
import time

import pytest

from tests import mqtt
from tests.acquisition import Worker, open_session, until
from tests.faults import judging, nemesis
from tests.faults.load import under_load
from tests.faults.witness import witnessed


@pytest.mark.usefixtures("empty_elasticsearch", "kunlun", "aurora")
@pytest.mark.parametrize("name", ["postgres", "elasticsearch"])
def test_a_store_is_killed_under_load(broker: mqtt.Mosquitto, name: str) -> None:
    open_session(broker)
    with Worker(broker.worker_port) as worker, under_load(broker, rate=2) as load:
        worker.start()
        time.sleep(1)
        nemesis.kill_store(name)
        nemesis.wait_for_store(name)
        time.sleep(1)
        load.stop()
        load.check(memory_mb=worker.memory_mb(), within_s=60)
        assert worker.stop() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("empty_elasticsearch", "kunlun", "aurora")
def test_redis_and_detection_are_killed_under_load(broker: mqtt.Mosquitto) -> None:
    """Acquisition's account is closed, and each reading judged once, in order, with its alarms."""
    open_session(broker)
    with (
        Worker(broker.worker_port) as worker,
        judging.Judge() as judge,
        judging.sweeping(),
        under_load(broker, course=judging.course(), rate=3) as load,
    ):
        load.counters_last = False
        judge.start(fault=random.Random(load.seed).choice(judging.STEPS))
        worker.start()
        assert judge.wait() == -9, judge.tail()
        before = len(witnessed())
        judge.start()
        until(lambda: len(witnessed()) > before, what="its successor has taken over")
        nemesis.kill_store("redis")
        nemesis.wait_for_store("redis")
        time.sleep(1)
        load.stop()
        load.check(memory_mb=worker.memory_mb(), within_s=60)
        judging.check(load, judge, within_s=60)
        assert worker.stop() == 0
