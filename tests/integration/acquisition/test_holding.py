"""The store says "not now" in its several ways: the worker holds, says so, and loses nothing."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.telemetry import cluster
from apps.telemetry.slices import from_ms
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.models import Tenant
from apps.tenants.operations import change_retention
from tests import cast, mqtt
from tests.acquisition import (
    Slot,
    assert_closed,
    device,
    now_ms,
    reading,
    received,
    stored_times,
    topic,
    until,
)

pytestmark = pytest.mark.usefixtures("kunlun", "empty_elasticsearch")

TBOX = topic("kunlun.tbox-1")


def test_an_index_that_takes_nothing_for_want_of_disk_is_waited_for(
    broker: mqtt.Mosquitto,
) -> None:
    """At the flood-stage watermark Elasticsearch lets indices be deleted only."""
    start = now_ms() - 60_000
    with Slot(broker.worker_port) as slot, device(broker, "kunlun.tbox-1") as box:
        index = slot.telemetry.reading_index("30d", start)
        _block(slot, index, True)
        box.deliver(TBOX, [reading(start + n) for n in range(300)])
        until(lambda: "elasticsearch" in slot.crew.state()["holding"])
        assert slot.crew.state()["waiting_messages"] == 300
        _block(slot, index, False)
        until(lambda: received() == 300)
        until(lambda: slot.crew.state()["holding"] == {})
    assert stored_times(cast.BENS_CONNECTOR) == [start + n for n in range(300)]
    assert_closed()


def _block(slot: Slot, index: str, blocked: bool) -> None:
    slot.telemetry.client.indices.put_settings(
        index=index, settings={"index.blocks.read_only_allow_delete": blocked or None}
    )


@pytest.mark.django_db(transaction=True)
def test_a_slice_of_another_class_that_is_gone_is_made_again(
    broker: mqtt.Mosquitto, kunlun: Tenant
) -> None:
    """Whether upkeep is alive or not: nobody else's readings wait for it."""
    change_retention(tenant=kunlun, retention_class="90d", now=timezone.now() - timedelta(days=2))
    start = now_ms() - 60_000
    with Slot(broker.worker_port) as slot, device(broker, "kunlun.tbox-1") as box:
        slot.telemetry.ensure_slices(timezone.now(), classes=["90d"])
        slices = [name for name in slot.telemetry.indices() if "readings-90d-" in name]
        cluster.delete(slot.telemetry.client, slices)
        box.deliver(TBOX, [reading(start + n) for n in range(40)])
        until(lambda: slot.telemetry.reading_index("90d", start) in slot.telemetry.indices())
        slot.telemetry.client.cluster.health(wait_for_status="yellow")
        until(lambda: received() == 40)
    assert stored_times(cast.BENS_CONNECTOR) == [start + n for n in range(40)]
    assert_closed()


def test_messages_of_many_forms_stay_in_their_order(broker: mqtt.Mosquitto) -> None:
    """Forms are stored together; of two readings of one instant the first still stands."""
    start = now_ms() - 60_000
    with Slot(broker.worker_port) as slot, device(broker, "kunlun.tbox-1") as box:
        first = [reading(start), reading(start + 1, current_a=2), reading(start + 2)]
        box.deliver(TBOX, [*first, reading(start + 1), reading(start + 2, current_a=9)])
        until(lambda: received() == 5)
        slot.telemetry.refresh()
        page = TenantTelemetry("kunlun").readings(
            cast.BENS_CONNECTOR, start=from_ms(start), end=from_ms(start + 3)
        )
    assert [one.values.get("current_a") for one in page.readings] == [None, 2.0, None]
    assert_closed()
