"""The stores that all tests share are killed, for CI: so these run alone, after all others."""

import time

import pytest

from tests import mqtt
from tests.acquisition import Worker, open_session
from tests.faults import nemesis
from tests.faults.load import under_load


@pytest.mark.usefixtures("empty_elasticsearch", "kunlun", "aurora")
@pytest.mark.parametrize("name", ["postgres", "elasticsearch"])
def test_a_store_is_killed_under_load(broker: mqtt.Mosquitto, name: str) -> None:
    open_session(broker)
    with Worker(broker.worker_port) as worker, under_load(broker) as load:
        worker.start()
        time.sleep(1)
        nemesis.kill_store(name)
        nemesis.wait_for_store(name)
        time.sleep(1)
        load.stop()
        load.check(memory_mb=worker.memory_mb(), within_s=60)
        assert worker.stop() == 0
