"""A Postgres that hangs, rather than refuses: connections are taken and nothing is answered."""

import socket
from collections.abc import Iterator

import pytest
import redis
from django.conf import settings
from django.db import ConnectionHandler, OperationalError

from tests import cast, mqtt
from tests.acquisition import (
    Worker,
    assert_closed,
    device,
    now_ms,
    postgres_behind,
    reading,
    stored_times,
    topic,
    until,
)
from tests.faults import nemesis, proxy

TBOX = topic("kunlun.tbox-1")
REPORTS_MS = 5_000
"""For so long a worker that hangs would have said nothing; one that lives does each second."""


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections (the kernel does) and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.timeout(60)
@pytest.mark.django_db
@pytest.mark.parametrize("pooled", [False, True], ids=["alone", "pooled"])
def test_a_connection_that_nobody_answers_is_given_up(silent_port: int, pooled: bool) -> None:
    """Without its limit this would wait for ever."""
    server = settings.DATABASES["default"]
    pool = {"pool": {"min_size": 1, "max_size": 2, "timeout": 10}} if pooled else {}
    asked = {**server, "HOST": "127.0.0.1", "PORT": silent_port}
    asked["OPTIONS"] = {**server["OPTIONS"], **pool}
    connection = ConnectionHandler({"default": asked})["default"]
    with pytest.raises(OperationalError):
        connection.ensure_connection()
    if pooled:
        connection.close_pool()


@pytest.mark.usefixtures("kunlun", "empty_elasticsearch")
@pytest.mark.django_db(transaction=True)
def test_acquisition_goes_on_and_says_that_it_lives(
    broker: mqtt.Mosquitto, redis_log: redis.Redis
) -> None:
    start = now_ms() - 3_600_000
    with proxy.between(nemesis.ports()["postgres"]) as way:
        hanging = postgres_behind(way.port)
        with Worker(broker.worker_port, OHMWATCH_POSTGRES_URL=hanging) as worker:
            worker.start()
            way.freeze()
            redis_log.hincrby("ow:directory", "kunlun", 1)  # asks for Postgres within half a second
            asked_ms = now_ms()
            with device(broker, "kunlun.tbox-1") as box:
                box.deliver(TBOX, [reading(start + number) for number in range(50)])
                until(lambda: len(stored_times(cast.BENS_CONNECTOR)) == 50)
                until(
                    lambda: worker.state().get("at_ms", 0) > asked_ms + REPORTS_MS,  # type: ignore[operator]
                    what="a report of a worker whose directory waits",
                )
                box.deliver(TBOX, [reading(start + number) for number in range(50, 100)])
                until(lambda: len(stored_times(cast.BENS_CONNECTOR)) == 100)
            way.mend()
            assert worker.stop() == 0
    assert_closed()
