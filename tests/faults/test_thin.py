"""One device sends what becomes hundreds of times as large: a worker's memory stays bounded.

Readings of a few bytes each, by thousands in a message, wait for the worker when it starts; its
memory is looked at where it was highest. `./ohmwatch test tests/faults/test_thin.py -m fault -s`
sends a million readings; CI some ten thousand.
"""

import json
from collections.abc import Callable, Iterator
from itertools import count

import cbor2
import pytest
from django_tenants.utils import tenant_context

from apps.devices.models import Device
from apps.tenants.models import Tenant
from ohmwatch.readings import OWN_QUANTITIES_LIMIT, READINGS_LIMIT
from tests import cast, mqtt
from tests.acquisition import (
    Worker,
    account,
    assert_closed,
    device,
    now_ms,
    open_session,
    received,
    topic,
    until,
)

pytestmark = pytest.mark.usefixtures("empty_elasticsearch")
MEMORY_LIMIT_MB = 250
LONG = [f"x_{number:_>32}" for number in range(OWN_QUANTITIES_LIMIT)]


def compact(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def by_columns(start_ms: int, *names: str) -> dict[str, object]:
    columns = {name: [1] * READINGS_LIMIT for name in names}
    return {"start": start_ms, "step_ms": 1, "columns": columns}


SHAPES: dict[str, Callable[[int], bytes]] = {
    "columns": lambda at: compact(by_columns(at, "interlock")),
    "spaced columns": lambda at: compact(by_columns(at, "mated")).replace(b'":{', b'" : {'),
    "columns in CBOR": lambda at: cbor2.dumps(by_columns(at, LONG[0])),
    "wide columns": lambda at: compact(by_columns(at, *LONG)),
    "no rows": lambda at: compact({"time": at, "readings": [1] * READINGS_LIMIT}),
    "empty rows": lambda at: compact(
        {"time": at, **dict.fromkeys(LONG, 0.1), "readings": [{}] * READINGS_LIMIT}
    ),
    "unknown names": lambda at: compact(
        {"time": at, "current_a": 1, **{f"name{number:05}": 1 for number in range(15_000)}}
    ),
}
_READINGS = {"unknown names": 1}


def payloads(shape: str, times: Iterator[int], messages: int) -> list[bytes]:
    return [SHAPES[shape](next(times)) for _ in range(messages)]


@pytest.mark.django_db(transaction=True)
def test_some_messages_of_each_shape(broker: mqtt.Mosquitto, kunlun: Tenant) -> None:
    flood(broker, kunlun, list(SHAPES), messages=2)


@pytest.mark.fault
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.django_db(transaction=True)
def test_many_of_a_shape(broker: mqtt.Mosquitto, kunlun: Tenant, shape: str) -> None:
    flood(broker, kunlun, [shape], messages=40)


def flood(broker: mqtt.Mosquitto, kunlun: Tenant, shapes: list[str], *, messages: int) -> None:
    with tenant_context(kunlun):
        Device.objects.filter(pk=cast.BENS_DEVICE).update(codec="")
    open_session(broker)
    times = count(now_ms() - 5 * 86_400_000, READINGS_LIMIT)
    box = device(broker, "kunlun.tbox-1")
    for shape in shapes:
        box.deliver(topic("kunlun.tbox-1"), payloads(shape, times, messages), window=20)
    wanted = messages * sum(_READINGS.get(shape, READINGS_LIMIT) for shape in shapes)
    with Worker(broker.worker_port).start() as worker:
        until(lambda: received() == wanted, within_s=600, what=f"{wanted} readings received")
        print(f"{', '.join(shapes)}: {worker.memory_mb():.0f} MiB at most")
        assert worker.memory_mb() < MEMORY_LIMIT_MB
        assert worker.stop() == 0
    refused = sum(account("kunlun")["kunlun"].quarantined.values())
    assert refused == messages * READINGS_LIMIT * ("no rows" in shapes)
    assert_closed()
