"""Promise 2: a reading's identity is (tenant, connector, time); a repeat is a duplicate.

At least once on the wire, exactly once in the index. Equal keys of two tenants stay two.
"""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.telemetry.slices import from_ms, to_ms
from apps.telemetry.store import TelemetryStore
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.models import Tenant
from apps.tenants.operations import change_retention
from tests import cast, mqtt
from tests.acquisition import (
    Slot,
    Worker,
    account,
    assert_closed,
    columns,
    device,
    now_ms,
    open_session,
    reading,
    received,
    stored_times,
    topic,
    until,
)

pytestmark = pytest.mark.usefixtures("kunlun", "empty_elasticsearch")


def test_sent_three_times_through_two_slots_stored_once(
    broker: mqtt.Mosquitto, aurora: Tenant
) -> None:
    start = now_ms() - 3_600_000
    batches = [columns(start + number * 50_000, 50) for number in range(20)]
    with Slot(broker.worker_port, slot=0), Slot(broker.worker_port, slot=1):
        for _ in range(3):
            device(broker, "kunlun.tbox-1").deliver(topic("kunlun.tbox-1"), batches)
        device(broker, "aurora.tbox-1").deliver(topic("aurora.tbox-1"), batches)
        until(lambda: received("kunlun") == 3_000 and received("aurora") == 1_000)
    lines = account()
    assert (lines["kunlun"].stored, lines["kunlun"].duplicate) == (1_000, 2_000)
    assert (lines["aurora"].stored, lines["aurora"].duplicate) == (1_000, 0)
    times = stored_times(cast.BENS_CONNECTOR)
    assert times == list(range(start, start + 1_000_000, 1_000))
    assert_closed()


def test_the_first_of_two_values_stands(broker: mqtt.Mosquitto) -> None:
    time_ms = now_ms() - 60_000
    with Slot(broker.worker_port), device(broker, "kunlun.tbox-1") as box:
        box.deliver(topic("kunlun.tbox-1"), [reading(time_ms, current_a=1)])
        until(lambda: received() == 1)
        box.deliver(topic("kunlun.tbox-1"), [reading(time_ms, current_a=2)])
        until(lambda: received() == 2)
    found = TenantTelemetry("kunlun").readings(
        cast.BENS_CONNECTOR, start=from_ms(time_ms), end=from_ms(time_ms + 1)
    )
    assert [one.values["current_a"] for one in found.readings] == [1.0]
    assert account()["kunlun"].duplicate == 1
    assert_closed()


def test_what_a_killed_worker_had_stored_comes_again_as_a_duplicate(
    broker: mqtt.Mosquitto,
) -> None:
    open_session(broker)
    start = now_ms() - 3_600_000
    device(broker, "kunlun.tbox-1").deliver(topic("kunlun.tbox-1"), [columns(start, 100)])
    with Worker(broker.worker_port) as worker:
        worker.start(ready=False, OHMWATCH_FAULT="before_puback")
        assert worker.wait() == -9, worker.tail()
    with Slot(broker.worker_port):
        until(lambda: received() == 200, what="once before the kill, once after")
    line = account()["kunlun"]
    assert (line.stored, line.duplicate) == (100, 100)
    assert len(stored_times(cast.BENS_CONNECTOR)) == 100
    assert_closed()


@pytest.mark.django_db(transaction=True)
def test_a_repeat_is_one_also_where_the_tenant_has_moved_to_another_class(
    broker: mqtt.Mosquitto, kunlun: Tenant
) -> None:
    """What was measured before the move is in the old class, whenever it comes."""
    store, days_ago = TelemetryStore(), timezone.now() - timedelta(days=2)
    store.ensure_slices(timezone.now(), classes=["90d"])
    before = to_ms(days_ago) - 86_400_000
    with Slot(broker.worker_port), device(broker, "kunlun.tbox-1") as box:
        box.deliver(topic("kunlun.tbox-1"), [columns(before, 100)])
        until(lambda: received() == 100)

    since = to_ms(change_retention(tenant=kunlun, retention_class="90d", now=days_ago))

    across = columns(since - 50_000, 100)
    singles = [reading(since - 50_000), reading(since + 49_000), reading(now_ms())]
    with Slot(broker.worker_port), device(broker, "kunlun.tbox-1") as box:
        box.deliver(topic("kunlun.tbox-1"), [columns(before, 100), across])
        until(lambda: received() == 300)
        box.deliver(topic("kunlun.tbox-1"), singles)
        until(lambda: received() == 303)
    line = account()["kunlun"]
    assert (line.stored, line.duplicate) == (201, 102)
    assert stored_times(cast.BENS_CONNECTOR)[:-1] == [
        *range(before, before + 100_000, 1_000),
        *range(since - 50_000, since + 50_000, 1_000),
    ]
    assert (_held_by(store, "30d"), _held_by(store, "90d")) == (150, 51)
    assert_closed()


def _held_by(store: TelemetryStore, kept_for: str) -> int:
    pattern = f"{store.prefix}readings-{kept_for}-*"
    return int(store.client.count(index=pattern)["count"])
