"""Workers are killed, stopped for minutes, started and ended at random: the long versions."""

import random
import signal
import time

import pytest

from tests import mqtt
from tests.acquisition import Worker, elasticsearch_behind, elasticsearch_port, open_session
from tests.faults import nemesis, proxy
from tests.faults.load import under_load

pytestmark = [
    pytest.mark.fault,
    pytest.mark.timeout(1200),
    pytest.mark.usefixtures("empty_elasticsearch", "kunlun", "aurora"),
]
STEPS = (
    "after_receive:50",
    "after_decode:3",
    "before_bulk:3",
    "after_bulk:3",
    "after_log:3",
    "after_ledger:3",
    "before_puback:3",
    "half_pubacks:3",
)
KILLS = 5
STOPPED_S = 120
RANDOM_S = 600


def test_killed_at_each_of_its_steps_under_load(broker: mqtt.Mosquitto) -> None:
    open_session(broker)
    with Worker(broker.worker_port) as worker, under_load(broker, rate=10) as load:
        for step in STEPS:
            worker.start(ready=False, OHMWATCH_FAULT=step)
            assert worker.wait(within_s=60) == -9, worker.tail()
        worker.start()
        load.stop()
        load.check(memory_mb=worker.memory_mb())
        assert worker.stop() == 0


def test_killed_between_a_bulk_request_and_its_answer(broker: mqtt.Mosquitto) -> None:
    """The store carries out what nobody heard of: the next life has to find it there."""
    open_session(broker)
    with (
        proxy.between(elasticsearch_port()) as way,
        Worker(
            broker.worker_port, OHMWATCH_ELASTICSEARCH_URL=elasticsearch_behind(way.port)
        ) as worker,
        under_load(broker, rate=10) as load,
    ):
        for _ in range(KILLS):
            worker.start()
            time.sleep(2)
            nemesis.kill_unanswered(worker, way)
        worker.start()
        load.stop()
        load.check(memory_mb=worker.memory_mb())
        assert worker.stop() == 0


def test_a_worker_stopped_for_two_minutes_changes_nothing_as_a_zombie(
    broker: mqtt.Mosquitto,
) -> None:
    """It is stopped in the middle of its work; another takes its slot; then it wakes up."""
    open_session(broker)
    with (
        Worker(broker.worker_port) as zombie,
        Worker(broker.worker_port) as heir,
        under_load(broker, rate=10) as load,
    ):
        zombie.start()
        time.sleep(5)
        assert zombie.process is not None
        zombie.process.send_signal(signal.SIGSTOP)
        heir.start()
        time.sleep(STOPPED_S)
        load.stop()
        load.check(memory_mb=heir.memory_mb())
        zombie.process.send_signal(signal.SIGCONT)
        time.sleep(30)
        load.check(memory_mb=heir.memory_mb())
        zombie.kill()


def test_two_workers_started_and_ended_at_random(broker: mqtt.Mosquitto) -> None:
    for slot in (0, 1):
        open_session(broker, slot)
    with under_load(broker, rate=10) as load:
        workers = [Worker(broker.worker_port, slot=slot) for slot in (0, 1)]
        chance = random.Random(load.seed)
        nemesis.end_at_random(workers, chance, for_s=RANDOM_S, pause_s=8)
        load.stop()
        load.check(memory_mb=max(worker.memory_mb() for worker in workers))
        assert [worker.stop() for worker in workers] == [0, 0]
