"""Bytes in at the broker, readings out in the store: the whole worker, as it is deployed."""

import json

from apps.telemetry.slices import from_ms
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.models import Tenant
from tests import cast, mqtt
from tests.acquisition import (
    Slot,
    account,
    assert_closed,
    columns,
    device,
    now_ms,
    reading,
    received,
    stored_times,
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


def test_single_readings_go_as_a_table_and_the_special_ones_their_own_way(
    broker: mqtt.Mosquitto, kunlun: Tenant, empty_elasticsearch: str
) -> None:
    """Many messages of one form, and among them what is refused for each of its reasons."""
    start = now_ms() - 60_000
    good = [reading(start + number, current_a=number, channel=number % 2) for number in range(60)]
    special = {
        10: reading(start + 1000, current_a=1, channel=33),  # watches nothing
        20: reading(start - 60 * 24 * 3_600_000, current_a=1, channel=0),
        30: reading(start + 3_600_000, current_a=1, channel=0),
        40: reading(start + 1001, current_a=5000, channel=0),
        50: reading(start, current_a=99, channel=0),  # again
        55: reading(start - 7_200_000, current_a=1, channel=0),  # late, and taken
    }
    messages = list(good)
    for place, payload in sorted(special.items()):
        messages.insert(place, payload)
    with Slot(broker.worker_port), device(broker, "kunlun.tbox-1") as box:
        box.deliver(topic("kunlun.tbox-1"), messages, window=len(messages))
        until(lambda: received() == len(messages))
    line = account()["kunlun"]
    assert {str(reason): n for reason, n in line.quarantined.items()} == {
        "unknown_channel": 1,
        "time_too_old": 1,
        "time_in_future": 1,
        "out_of_range": 1,
    }
    assert (line.stored, line.duplicate) == (61, 1)
    assert_closed()
    expected = [start - 7_200_000, *range(start, start + 60, 2)]
    assert stored_times(cast.BENS_CONNECTOR) == expected
    assert stored_times(cast.BENS_SECOND_CONNECTOR) == list(range(start + 1, start + 60, 2))
