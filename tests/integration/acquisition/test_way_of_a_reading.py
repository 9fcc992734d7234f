"""Bytes in at the broker, readings out in the store: the whole worker, as it is deployed."""

import json

from apps.telemetry.slices import from_ms
from apps.telemetry.store import TenantTelemetry
from apps.tenants.models import Tenant
from tests import cast, mqtt
from tests.acquisition import (
    Slot,
    assert_closed,
    columns,
    device,
    now_ms,
    reading,
    received,
    topic,
    until,
)


def test_three_shapes_become_readings(
    broker: mqtt.Mosquitto, kunlun: Tenant, empty_elasticsearch: str
) -> None:
    start = now_ms() - 60_000
    one = reading(start, current_a=180.5)
    rows = [{"time": start + 1, "current_a": 7}, {"time": start + 2, "current_a": 8}]
    batch = json.dumps({"ambient_c": 20.5, "readings": rows}).encode()
    with Slot(broker.worker_port), device(broker, "kunlun.tbox-1") as box:
        box.deliver(topic("kunlun.tbox-1"), [one, batch, columns(start + 10, 50, channel=1)])
        until(lambda: received() == 53)
    ours = TenantTelemetry("kunlun")
    first = ours.readings(cast.BENS_CONNECTOR, start=from_ms(start), end=from_ms(start + 10))
    assert [one.values for one in first.readings] == [
        {"current_a": 180.5, "temperature_pos_c": 41.5},
        {"current_a": 7.0, "ambient_c": 20.5},
        {"current_a": 8.0, "ambient_c": 20.5},
    ]
    assert first.readings[0].dimensions["device"] == "tbox-1"
    assert first.readings[0].dimensions["model"] == "HV-250"
    second = ours.readings(
        cast.BENS_SECOND_CONNECTOR, start=from_ms(start), end=from_ms(start + 60_000)
    )
    assert len(second.readings) == 50
    assert_closed()
