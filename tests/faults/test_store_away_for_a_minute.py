"""Elasticsearch is away for a minute in the middle of a backlog, under load: the long version."""

import threading
import time

import pytest

from apps.tenants.models import Tenant
from tests import cast, mqtt
from tests.acquisition import (
    Worker,
    assert_closed,
    columns,
    device,
    elasticsearch_behind,
    elasticsearch_port,
    now_ms,
    stored_times,
    topic,
    until,
)
from tests.faults import proxy

AWAY_S = 60
MEMORY_LIMIT_MB = 250


@pytest.mark.fault
@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["cut", "freeze"])
def test_nothing_lost_and_memory_bounded(
    broker: mqtt.Mosquitto, kunlun: Tenant, empty_elasticsearch: str, how: str
) -> None:
    start, sent, over = now_ms() - 5 * 86_400_000, [0], threading.Event()

    def load() -> None:
        box = device(broker, "kunlun.tbox-1")
        while not over.is_set():
            first = start + sent[0] * 1_000
            box.deliver(
                topic("kunlun.tbox-1"), [columns(first + n * 50_000, 50) for n in range(10)]
            )
            sent[0] += 500
            time.sleep(0.1)

    with proxy.between(elasticsearch_port()) as way:
        address = elasticsearch_behind(way.port)
        with Worker(broker.worker_port, OHMWATCH_ELASTICSEARCH_URL=address).start() as worker:
            sender = threading.Thread(target=load)
            sender.start()
            time.sleep(5)
            getattr(way, how)()
            time.sleep(AWAY_S)
            assert worker.memory_mb() < MEMORY_LIMIT_MB
            way.mend()
            over.set()
            sender.join()
            until(lambda: len(stored_times(cast.BENS_CONNECTOR)) == sent[0], within_s=120)
            assert worker.stop() == 0
    assert_closed()
