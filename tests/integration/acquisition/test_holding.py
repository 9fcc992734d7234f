"""The store says "not now" in its several ways: the worker holds, says so, and loses nothing."""

import pytest

from apps.telemetry.slices import from_ms
from apps.telemetry.store import TenantTelemetry
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
