"""Faults in seconds, for CI; the hours of them run by `./ohmwatch test -m fault tests/faults`."""

import random
import signal
import time

import pytest

from apps.tenants.models import Tenant
from tests import mqtt
from tests.acquisition import (
    Worker,
    elasticsearch_behind,
    elasticsearch_port,
    open_session,
    redis_behind,
)
from tests.faults import nemesis, proxy
from tests.faults.load import under_load

STEPS = (
    *("after_receive:9", "before_bulk:2", "after_bulk:2"),
    *("after_log:2", "after_ledger:2", "before_puback:2"),
)


@pytest.mark.usefixtures("empty_elasticsearch")
def test_under_load_killed_stopped_and_cut_off(
    broker: mqtt.Mosquitto, kunlun: Tenant, aurora: Tenant
) -> None:
    open_session(broker)
    with (
        proxy.between(elasticsearch_port()) as way,
        proxy.between(nemesis.ports()["redis"]) as to_redis,
        Worker(
            broker.worker_port,
            OHMWATCH_ELASTICSEARCH_URL=elasticsearch_behind(way.port),
            OHMWATCH_REDIS_URL=redis_behind(to_redis.port),
        ) as worker,
        under_load(broker) as load,
    ):
        chance = random.Random(load.seed)
        worker.start(ready=False, OHMWATCH_FAULT=chance.choice(STEPS))
        assert worker.wait() == -9, worker.tail()
        worker.start()
        way.cut()
        time.sleep(1)
        way.mend()
        assert worker.process is not None
        worker.process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        worker.process.send_signal(signal.SIGCONT)
        time.sleep(chance.uniform(0, 1))
        worker.kill()
        worker.start()
        way.freeze()
        time.sleep(1)
        way.mend()
        to_redis.swallows_answers = True
        time.sleep(1)
        to_redis.mend()
        load.stop()
        load.check(memory_mb=worker.memory_mb(), within_s=60)
        assert worker.stop() == 0
