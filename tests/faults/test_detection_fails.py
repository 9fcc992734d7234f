"""Detection is killed and stopped beside acquisition, and Redis under both: the long version.

`./ohmwatch test tests/faults/test_detection_fails.py -m fault`. A short one is in
test_shared_stores.py.
"""

import random
import signal
import time

import pytest

from apps.partitions.lease import LEASE_MS
from tests import mqtt
from tests.acquisition import Worker, open_session
from tests.faults import judging, nemesis
from tests.faults.load import under_load

pytestmark = [
    pytest.mark.fault,
    pytest.mark.timeout(900),
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("empty_elasticsearch", "kunlun", "aurora"),
]
STOPPED_S = LEASE_MS / 1000 + 5


def test_killed_at_each_of_its_steps_and_redis_in_between(broker: mqtt.Mosquitto) -> None:
    open_session(broker)
    with (
        Worker(broker.worker_port) as worker,
        judging.Judge() as judge,
        judging.sweeping(),
        under_load(broker, course=judging.course(), rate=3) as load,
    ):
        load.counters_last = False
        worker.start()
        chance = random.Random(load.seed)
        for step in judging.STEPS:
            judge.start(fault=step)
            assert judge.wait() == -9, judge.tail()
            judge.start()
            time.sleep(chance.uniform(5, 10))
            nemesis.kill_store("redis")
            nemesis.wait_for_store("redis")
            time.sleep(chance.uniform(0, 10))
            judge.kill()
        judge.start()
        load.stop()
        load.check(memory_mb=worker.memory_mb())
        judging.check(load, judge, within_s=120)
        assert worker.stop() == 0


def test_stopped_for_longer_than_its_lease_it_writes_nothing_when_it_wakes(
    broker: mqtt.Mosquitto,
) -> None:
    open_session(broker)
    with (
        Worker(broker.worker_port) as worker,
        judging.Judge("zombie") as zombie,
        judging.Judge("heir") as heir,
        judging.sweeping(),
        under_load(broker, course=judging.course(), rate=3) as load,
    ):
        worker.start()
        zombie.start()
        heir.start()
        time.sleep(15)
        for stopped in (zombie, heir) * 2:
            stopped.signal(signal.SIGSTOP)
            time.sleep(STOPPED_S)
            stopped.signal(signal.SIGCONT)
            time.sleep(2)
        load.stop()
        load.check(memory_mb=worker.memory_mb())
        judging.check(load, heir, within_s=120)
        assert worker.stop() == 0
