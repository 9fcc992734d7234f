"""Stores are killed and misbehave under load: the long versions, one after the other.

`./ohmwatch test tests/faults -m fault`. Each ends healed, by itself, with its account closed.
"""

import time
from collections.abc import Iterator

import pytest

from apps.tenants.models import Tenant
from tests import mqtt
from tests.acquisition import (
    Worker,
    elasticsearch_behind,
    elasticsearch_port,
    open_session,
    until,
)
from tests.faults import nemesis, proxy
from tests.faults.load import Load, under_load

pytestmark = [
    pytest.mark.fault,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("empty_elasticsearch", "kunlun", "aurora"),
]
KILLS = 3
BROKER_LOSES = 1_000
"""Messages that Mosquitto may have accepted and not yet written when it is killed."""


@pytest.fixture
def load(broker: mqtt.Mosquitto) -> Iterator[Load]:
    open_session(broker)
    with under_load(broker, rate=10) as load:
        yield load


@pytest.mark.parametrize("name", ["elasticsearch", "redis", "postgres"])
def test_a_store_is_killed_again_and_again(
    broker: mqtt.Mosquitto, load: Load, name: str, kunlun: Tenant
) -> None:
    load.counters_last = name != "redis"
    with Worker(broker.worker_port).start() as worker:
        for _ in range(KILLS):
            time.sleep(3)
            nemesis.kill_store(name)
            nemesis.wait_for_store(name)
        time.sleep(3)
        load.stop()
        load.check(memory_mb=worker.memory_mb())
        assert worker.stop() == 0


def test_the_broker_is_killed_and_comes_back_with_what_it_had_written(
    broker: mqtt.Mosquitto, load: Load
) -> None:
    """What was acknowledged and its disk had not yet is lost, as we say; nothing else is."""
    with Worker(broker.worker_port).start() as worker:
        for _ in range(KILLS):
            time.sleep(4)
            broker.kill()
            broker.start()
        time.sleep(3)
        load.stop()
        until(lambda: load.unheld() <= KILLS * BROKER_LOSES * 20, within_s=120)
        print(f"lost with the broker: {load.unheld()} readings")
        load.forgive_unheld()
        load.check(memory_mb=worker.memory_mb())
        assert worker.stop() == 0


def test_indices_read_only_as_by_the_flood_stage(broker: mqtt.Mosquitto, load: Load) -> None:
    with Worker(broker.worker_port).start() as worker:
        time.sleep(3)
        with nemesis.indices_blocked():
            time.sleep(30)
            assert load.unheld() > 0, "nothing went in meanwhile"
            assert worker.memory_mb() < 250
        load.stop()
        load.check(memory_mb=worker.memory_mb())
        assert worker.stop() == 0


@pytest.mark.parametrize("mode", ["busy", "half", "garbage"])
def test_the_store_answers_badly(broker: mqtt.Mosquitto, load: Load, mode: str) -> None:
    with nemesis.Liar() as liar:
        address = elasticsearch_behind(liar.port)
        with Worker(broker.worker_port, OHMWATCH_ELASTICSEARCH_URL=address).start() as worker:
            time.sleep(3)
            liar.mode = mode
            time.sleep(20)
            assert liar.lied, "no bulk request was lied to"
            liar.mode = ""
            load.stop()
            load.check(memory_mb=worker.memory_mb())
            assert worker.stop() == 0


@pytest.mark.parametrize("late_s", [45.0, 65.0])
def test_the_store_answers_after_a_minute(
    broker: mqtt.Mosquitto, load: Load, late_s: float
) -> None:
    """Below and above the client's limit of 60 s: carried out either way, and counted once."""
    with nemesis.Liar(late_s) as liar:
        address = elasticsearch_behind(liar.port)
        with Worker(broker.worker_port, OHMWATCH_ELASTICSEARCH_URL=address).start() as worker:
            time.sleep(3)
            liar.mode = "late"
            time.sleep(10)
            liar.mode = ""
            load.stop()
            load.check(memory_mb=worker.memory_mb(), within_s=240)
            assert worker.stop() == 0


def test_the_network_goes_silent(broker: mqtt.Mosquitto, load: Load) -> None:
    """Neither reset nor answer, for longer than the client waits."""
    with proxy.between(elasticsearch_port()) as way:
        address = elasticsearch_behind(way.port)
        with Worker(broker.worker_port, OHMWATCH_ELASTICSEARCH_URL=address).start() as worker:
            time.sleep(3)
            way.freeze()
            time.sleep(75)
            way.mend()
            load.stop()
            load.check(memory_mb=worker.memory_mb(), within_s=240)
            assert worker.stop() == 0
