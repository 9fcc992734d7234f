"""Faults in seconds, for CI; the hours of them run by `./ohmwatch test -m fault tests/faults`.

Stores of all tests are left alone here: what kills those is in test_shared_stores.py.
"""

import random
import signal
import time

import pytest

from tests import mqtt
from tests.acquisition import (
    Slot,
    Worker,
    elasticsearch_behind,
    elasticsearch_port,
    open_session,
    redis_behind,
    until,
)
from tests.faults import nemesis, proxy
from tests.faults.load import Load, under_load

pytestmark = pytest.mark.usefixtures("empty_elasticsearch", "kunlun", "aurora")
STEPS = (
    *("after_receive:9", "before_bulk:2", "after_bulk:2"),
    *("after_log:2", "after_ledger:2", "before_puback:2"),
)
BULK_LIMIT_S = 1.5
"""For which a worker waits here, that no test has to wait out the minute."""


def test_under_load_killed_stopped_and_cut_off(broker: mqtt.Mosquitto) -> None:
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
        time.sleep(chance.uniform(0, 1))
        nemesis.kill_unanswered(worker, way)
        worker.start()
        way.cut()
        time.sleep(1)
        way.mend()
        worker.signal(signal.SIGSTOP)
        time.sleep(1)
        worker.signal(signal.SIGCONT)
        way.freeze()
        time.sleep(1)
        way.mend()
        to_redis.swallows_answers = True
        time.sleep(1)
        to_redis.mend()
        load.stop()
        load.check(memory_mb=worker.memory_mb(), within_s=60)
        assert worker.stop() == 0


def test_the_store_answers_after_the_worker_has_given_up(broker: mqtt.Mosquitto) -> None:
    """Carried out all the same, again and again, and counted once."""
    open_session(broker)
    with (
        nemesis.Liar(late_s=2 * BULK_LIMIT_S) as liar,
        hasty(broker, liar.port) as slot,
        under_load(broker) as load,
    ):
        time.sleep(1)
        liar.mode = "late"
        until(lambda: liar.lied >= 6, what="bulk requests that nobody waited for")
        liar.mode = ""
        load.stop()
        load.check(within_s=60)
        assert not slot.deaths


def test_the_network_goes_silent_for_longer_than_the_worker_waits(broker: mqtt.Mosquitto) -> None:
    """Neither reset nor answer; what was sent meanwhile arrives when it is mended, all of it."""
    open_session(broker)
    with (
        proxy.between(elasticsearch_port()) as way,
        hasty(broker, way.port) as slot,
        under_load(broker) as load,
    ):
        time.sleep(1)
        way.freeze()
        time.sleep(3 * BULK_LIMIT_S)
        assert load.unheld() > 0, "nothing goes in meanwhile"
        way.mend()
        load.stop()
        load.check(within_s=60)
        assert not slot.deaths


def hasty(broker: mqtt.Mosquitto, port: int) -> Slot:
    """A worker that reaches Elasticsearch there, and does not wait long for a bulk request."""
    url = elasticsearch_behind(port)
    return Slot(broker.worker_port, elasticsearch_url=url, bulk_limit_s=BULK_LIMIT_S)


def test_a_zombie_with_an_heir_changes_nothing(broker: mqtt.Mosquitto) -> None:
    """Stopped with a request on its way; another takes its slot and stores the same; then the
    request arrives, and the zombie wakes up and goes on."""
    open_session(broker)
    with (
        proxy.between(elasticsearch_port()) as way,
        Worker(
            broker.worker_port, OHMWATCH_ELASTICSEARCH_URL=elasticsearch_behind(way.port)
        ) as zombie,
        Worker(broker.worker_port) as heir,
        under_load(broker) as load,
    ):
        zombie.start()
        time.sleep(1)
        way.freeze()
        until(lambda: bool(zombie.state().get("waiting_messages")), what="a batch in its hands")
        zombie.signal(signal.SIGSTOP)
        heir.start()
        time.sleep(2)
        load.stop()
        load.check(memory_mb=heir.memory_mb(), within_s=60)
        before = sorted(load.outcome().readings)
        way.mend()
        zombie.signal(signal.SIGCONT)
        time.sleep(4)
        load.check(memory_mb=heir.memory_mb(), within_s=60)
        assert sorted(load.outcome().readings) == before
        zombie.kill()


def test_two_workers_started_and_ended_at_random(broker: mqtt.Mosquitto) -> None:
    for slot in (0, 1):
        open_session(broker, slot)
    with (
        Worker(broker.worker_port) as one,
        Worker(broker.worker_port, slot=1) as other,
        under_load(broker, rate=20) as load,
    ):
        nemesis.end_at_random([one, other], random.Random(load.seed), for_s=5, pause_s=1)
        load.stop()
        load.check(memory_mb=max(one.memory_mb(), other.memory_mb()), within_s=60)
        assert [one.stop(), other.stop()] == [0, 0]


def test_the_broker_is_killed_and_comes_back_with_what_it_had_written(
    broker: mqtt.Mosquitto,
) -> None:
    """What waits for a slot that is away, and is on its disk, it gives to the next life's worker;
    what it had accepted and not yet written is lost, as we say."""
    open_session(broker)
    with Worker(broker.worker_port) as worker, under_load(broker) as load:
        worker.start()
        time.sleep(1)
        worker.kill()
        time.sleep(1)
        written = load.so_far()
        broker.save()
        assert load.unheld() > 0, "nothing waits in it"
        time.sleep(0.5)
        broker.kill()
        broker.start()
        worker.start()
        load.stop()
        until(lambda: is_quiet(load), within_s=60, what="all that the broker still has")
        load.forgive_unheld(but=written)
        load.check(memory_mb=worker.memory_mb(), within_s=60)
        assert worker.stop() == 0


def is_quiet(load: Load) -> bool:
    """Whether nothing more comes in."""
    before = load.unheld()
    time.sleep(2)
    return load.unheld() == before
