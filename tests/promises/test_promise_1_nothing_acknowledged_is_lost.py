"""Promise 1: what the broker acknowledged to a device is in the store in the end.

Whatever dies in between: the worker at each of its steps, the connection, the store. Every message
here was answered with PUBACK 0x00; `deliver` raises on any other answer, 0x10 among them.
"""

import itertools

import pytest

from tests import cast, mqtt
from tests.acquisition import (
    Slot,
    Worker,
    assert_closed,
    columns,
    device,
    elasticsearch_behind,
    elasticsearch_port,
    now_ms,
    open_session,
    reading,
    stored_times,
    topic,
    until,
)
from tests.faults import proxy

pytestmark = pytest.mark.usefixtures("kunlun", "empty_elasticsearch")

STEPS = (
    "after_receive:20",
    "after_decode",
    "before_bulk",
    "after_bulk",
    "after_log",
    "after_ledger",
    "before_puback",
    "half_pubacks",
)


class Sender:
    """Ben's box sends numbered readings and remembers what was acknowledged."""

    def __init__(self, broker: mqtt.Mosquitto) -> None:
        self._box = device(broker, "kunlun.tbox-1")
        self._instants = itertools.count(now_ms() - 3_600_000)
        self.acknowledged: list[int] = []

    def send(self, messages: int) -> None:
        instants = list(itertools.islice(self._instants, messages))
        accepted = self._box.deliver(
            topic("kunlun.tbox-1"), [reading(instant) for instant in instants]
        )
        assert accepted == messages
        self.acknowledged += instants

    def all_stored(self) -> bool:
        return stored_times(cast.BENS_CONNECTOR) == self.acknowledged


@pytest.fixture
def sender(broker: mqtt.Mosquitto) -> Sender:
    """A sender, once a slot has its session at the broker."""
    open_session(broker)
    return Sender(broker)


def test_killed_at_each_of_its_steps(broker: mqtt.Mosquitto, sender: Sender) -> None:
    with Worker(broker.worker_port) as worker:
        for step in STEPS:
            sender.send(50)
            worker.start(ready=False, OHMWATCH_FAULT=step)
            assert worker.wait() == -9, worker.tail()
        worker.start()
        until(sender.all_stored, what="all readings in the store")
        assert worker.stop() == 0
    assert_closed()


def test_the_store_is_away_in_the_middle_of_a_backlog(
    broker: mqtt.Mosquitto, sender: Sender
) -> None:
    outage(broker, sender, messages=1_000)


def outage(broker: mqtt.Mosquitto, sender: Sender, *, messages: int) -> None:
    """The store goes while messages come in; then the worker is killed, so that whatever it had
    acknowledged without storing would be gone; then all comes back."""
    with proxy.between(elasticsearch_port()) as way:
        address = elasticsearch_behind(way.port)
        with Worker(broker.worker_port, OHMWATCH_ELASTICSEARCH_URL=address) as worker:
            worker.start()
            sender.send(messages)
            until(lambda: len(stored_times(cast.BENS_CONNECTOR)) > 0)
            way.cut()
            sender.send(messages)
            until(lambda: int(str(worker.state()["waiting_messages"])) >= messages)
            before = stored_times(cast.BENS_CONNECTOR)
            worker.kill()
            assert stored_times(cast.BENS_CONNECTOR) == before
            way.mend()
            worker.start()
            until(sender.all_stored, what="all readings in the store")
            assert worker.stop() == 0
    assert_closed()


def test_the_connection_is_cut_again_and_again(broker: mqtt.Mosquitto, sender: Sender) -> None:
    with proxy.between(broker.worker_port) as way, Slot(way.port) as slot:
        for connections in (1, 2, 3):
            until(lambda n=connections: slot.crew.sessions[0].connections == n)
            until(lambda: slot.crew.sessions[0].is_connected)
            sender.send(300)
            way.cut_connections()
        until(sender.all_stored, what="all readings in the store")
    assert_closed()


def test_a_stopping_worker_finishes_what_it_holds(broker: mqtt.Mosquitto, sender: Sender) -> None:
    with Worker(broker.worker_port).start() as worker:
        sender.send(500)
        assert worker.stop() == 0
        rest = broker.slot(0).connect(clean_start=False, session_expiry_s=3600)
        waiting = sum(1 for _ in rest.receive_all())
        assert len(stored_times(cast.BENS_CONNECTOR)) + waiting == 500
        rest.abort()
    assert_closed()


def test_a_dead_slot_comes_back_under_its_id_and_gets_its_share(broker: mqtt.Mosquitto) -> None:
    """A shared subscription deals to sessions, also to those of the dead."""
    open_session(broker, 1)
    start = now_ms() - 3_600_000
    with Slot(broker.worker_port, slot=0):
        payloads = [columns(start + number * 10_000, 5) for number in range(40)]
        device(broker, "kunlun.tbox-1").deliver(topic("kunlun.tbox-1"), payloads)
        until(lambda: len(stored_times(cast.BENS_CONNECTOR)) >= 100)
        assert len(stored_times(cast.BENS_CONNECTOR)) == 100, "the dead slot got its share"
        with Slot(broker.worker_port, slot=1):
            until(lambda: len(stored_times(cast.BENS_CONNECTOR)) == 200)
    assert_closed()
