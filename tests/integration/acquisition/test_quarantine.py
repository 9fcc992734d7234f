"""Every reason that applies to JSON, from the wire to the quarantine, with its bytes."""

import json
from datetime import UTC, datetime

import cbor2
import pytest
from django_tenants.utils import tenant_context

from apps.devices.models import Device
from apps.fleet.models import Connector
from apps.telemetry.answers import ItemResult
from apps.telemetry.documents import PLATFORM
from apps.telemetry.store import TelemetryStore
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.models import Tenant
from ohmwatch.readings import MESSAGE_BYTES_LIMIT
from ohmwatch.refusals import Reason
from tests import cast, mqtt
from tests.acquisition import (
    Slot,
    account,
    assert_closed,
    device,
    now_ms,
    reading,
    received,
    stored_times,
    topic,
    until,
)
from workers.acquisition import sampling, sorting

pytestmark = pytest.mark.usefixtures("empty_elasticsearch")

TBOX = topic("kunlun.tbox-1")


def sent_as_json(**document: object) -> bytes:
    return json.dumps(document).encode()


def quarantined() -> dict[str, int]:
    line = account("kunlun").get("kunlun")
    return dict(line.quarantined) if line else {}


def test_each_reason_of_the_codec_and_the_clock(broker: mqtt.Mosquitto, kunlun: Tenant) -> None:
    now = now_ms()
    old = now - 400 * 86_400_000
    expected = {
        Reason.UNDECODABLE: b"rubbish",
        Reason.WRONG_SHAPE: b"[]",
        Reason.TOO_LARGE: b" " * (MESSAGE_BYTES_LIMIT + 1),
        Reason.TOO_MANY_READINGS: sent_as_json(
            start=now, step_ms=1, columns={"current_a": [1] * 5_001}
        ),
        Reason.TIME_MISSING: sent_as_json(current_a=1),
        Reason.TIME_INVALID: sent_as_json(time="noon", current_a=1),
        Reason.TIME_IN_FUTURE: reading(now + 600_000),
        Reason.TIME_TOO_OLD: reading(old),
        Reason.WRONG_TYPE: reading(now, current_a="much"),
        Reason.OUT_OF_RANGE: reading(now, current_a=1e9),
        Reason.NO_QUANTITY: sent_as_json(time=now),
        Reason.UNKNOWN_CHANNEL: reading(now, channel=9),
    }
    with Slot(broker.worker_port):
        device(broker, "kunlun.tbox-1").deliver(TBOX, expected.values())
        until(lambda: received() == len(expected))
    assert quarantined() == dict.fromkeys(expected, 1)
    telemetry = TenantTelemetry("kunlun")
    for reason, payload in expected.items():
        (found,) = telemetry.quarantine(reason=str(reason)).messages
        message = telemetry.quarantine_message(found.id)
        assert message is not None
        assert message.payload == payload
        assert (message.topic, message.device) == (TBOX, "tbox-1")
    assert_closed()


@pytest.mark.django_db(transaction=True)
def test_cbor_by_the_devices_record_or_by_its_first_byte(
    broker: mqtt.Mosquitto, kunlun: Tenant
) -> None:
    now = now_ms()
    bodies = [cbor2.dumps({"time": now - n, "temperature_pos_c": 41.5}) for n in range(3)]
    with Slot(broker.worker_port):
        box = device(broker, "kunlun.tbox-1")
        box.deliver(TBOX, [*bodies, cbor2.dumps({"time": now, "x": 1}), b"\xbf\xff", b"\xff"])
        until(lambda: received() == 6)
    # tbox-1 is set to JSON, which these are not
    assert quarantined() == {Reason.UNDECODABLE: 6}
    with tenant_context(kunlun):
        Device.objects.filter(pk=cast.BENS_DEVICE).update(codec="")
    with Slot(broker.worker_port):
        device(broker, "kunlun.tbox-1").deliver(TBOX, [*bodies, b"\xbf\xff"])
        until(lambda: received() == 10)
    assert len(stored_times(cast.BENS_CONNECTOR)) == 3
    assert quarantined() == {Reason.UNDECODABLE: 7}
    assert_closed()


def test_rows_of_a_batch_are_put_together_by_reason(broker: mqtt.Mosquitto, kunlun: Tenant) -> None:
    now = now_ms()
    rows: list[object] = [{"time": now - n, "current_a": 1} for n in range(10)]
    rows[2] = rows[5] = {"time": now, "current_a": 1e9}
    rows[7] = 17
    with Slot(broker.worker_port):
        device(broker, "kunlun.tbox-1").deliver(TBOX, [sent_as_json(readings=rows)])
        until(lambda: received() == 10)
    assert len(stored_times(cast.BENS_CONNECTOR)) == 7
    (pair,) = TenantTelemetry("kunlun").quarantine(reason="out_of_range").messages
    assert (pair.count, pair.field, pair.detail) == (2, "current_a", "rows 2, 5")
    (single,) = TenantTelemetry("kunlun").quarantine(reason="wrong_shape").messages
    assert (single.count, single.row) == (1, 7)
    assert_closed()


@pytest.mark.django_db(transaction=True)
def test_who_must_not_report(broker: mqtt.Mosquitto, kunlun: Tenant) -> None:
    with tenant_context(kunlun):
        Device.objects.filter(pk=cast.CLARAS_DEVICE).update(state="disabled")
        Connector.objects.filter(pk=cast.BENS_SECOND_CONNECTOR).update(state="retired")
    now = now_ms()
    with Slot(broker.worker_port):
        device(broker, "kunlun.tbox-1").deliver(TBOX, [reading(now, channel=1)])
        device(broker, "kunlun.tbox-2").deliver(topic("kunlun.tbox-2"), [reading(now)])
        device(broker, "kunlun.stranger").deliver(topic("kunlun.stranger"), [reading(now)])
        device(broker, "nowhere.tbox-1").deliver(topic("nowhere.tbox-1"), [reading(now)])
        until(lambda: received() == 3 and received(PLATFORM) == 1)
    assert quarantined() == {
        Reason.CONNECTOR_RETIRED: 1,
        Reason.DEVICE_DISABLED: 1,
        Reason.UNKNOWN_DEVICE: 1,
    }
    assert account(PLATFORM)[PLATFORM].quarantined == {Reason.UNKNOWN_TENANT: 1}
    assert_closed()


def test_a_codec_that_raises_costs_its_message_only(
    broker: mqtt.Mosquitto, kunlun: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = sorting._CODECS["json"]

    def moody(payload: bytes) -> object:
        if b"moody" in payload:
            raise ZeroDivisionError("of the codec's own")
        return good(payload)

    monkeypatch.setitem(sorting._CODECS, "json", moody)
    with Slot(broker.worker_port):
        box = device(broker, "kunlun.tbox-1")
        box.deliver(TBOX, [reading(now_ms(), moody=1), reading(now_ms() - 5)])
        until(lambda: received() == 2)
    assert quarantined() == {Reason.CODEC_FAILED: 1}
    assert len(stored_times(cast.BENS_CONNECTOR)) == 1
    assert_closed()


def test_what_the_store_refuses_goes_to_the_quarantine_with_its_answer(
    broker: mqtt.Mosquitto, kunlun: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A measured time whose slice is closed to it: the document is refused, not the batch."""
    wide = (0, now_ms() + 10**12)
    monkeypatch.setattr(TelemetryStore, "open_range_ms", lambda self, now: wide)
    current = TelemetryStore().reading_index("30d", now_ms())
    monkeypatch.setattr(TelemetryStore, "reading_index", lambda self, kept, time_ms: current)
    ancient = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000)
    with Slot(broker.worker_port):
        device(broker, "kunlun.tbox-1").deliver(TBOX, [reading(ancient), reading(now_ms() - 5)])
        until(lambda: received() == 2)
    assert quarantined() == {Reason.STORE_REFUSED: 1}
    (found,) = TenantTelemetry("kunlun").quarantine(reason="store_refused").messages
    assert "timestamp" in found.detail
    assert_closed()


def test_two_connectors_of_a_message_that_the_store_refuses_are_both_accounted_for(
    broker: mqtt.Mosquitto, kunlun: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = (0, now_ms() + 10**12)
    monkeypatch.setattr(TelemetryStore, "open_range_ms", lambda self, now: wide)
    current = TelemetryStore().reading_index("30d", now_ms())
    monkeypatch.setattr(TelemetryStore, "reading_index", lambda self, kept, time_ms: current)
    ancient = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000)
    rows = [{"time": ancient + n, "channel": n % 2, "current_a": 1} for n in range(6)]
    with Slot(broker.worker_port):
        device(broker, "kunlun.tbox-1").deliver(TBOX, [sent_as_json(readings=rows)])
        until(lambda: received() == 6)
    assert quarantined() == {Reason.STORE_REFUSED: 6}
    (found,) = TenantTelemetry("kunlun").quarantine(reason="store_refused").messages
    assert (found.count, found.rows) == (6, (0, 1, 2, 3, 4, 5))
    assert_closed()


def test_a_flood_of_rubbish_is_counted_exactly_and_kept_in_samples(
    broker: mqtt.Mosquitto, kunlun: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "_of_this_process", sampling.Allowances())
    now = now_ms()
    with Slot(broker.worker_port):
        box, other = device(broker, "kunlun.tbox-1"), device(broker, "kunlun.tbox-2")
        box.deliver(TBOX, [b"rubbish"] * 1_000)
        other.deliver(topic("kunlun.tbox-2"), [b"rubbish too"])
        box.deliver(TBOX, [reading(now)])
        until(lambda: received() == 1_002)
    assert quarantined() == {Reason.UNDECODABLE: 1_001}
    page = TenantTelemetry("kunlun").quarantine(device="tbox-1", size=1_000)
    whole = [one for one in page.messages if not one.dropped_bytes]
    assert len(whole) == sampling.BURST
    assert sum(one.messages for one in page.messages) == 1_000
    (spared,) = TenantTelemetry("kunlun").quarantine(device="tbox-2").messages
    assert spared.payload_bytes == len(b"rubbish too")
    assert_closed()


def test_busy_answers_are_tried_again_and_counted_once(
    broker: mqtt.Mosquitto, kunlun: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refusals = TelemetryStore.bulk, [3]

    def busy(self: TelemetryStore, lines: bytes, **more: float) -> list[ItemResult]:
        """Every second document is refused with 429, three times."""
        if b'"@timestamp"' not in lines or not refusals[0]:
            return real(self, lines, **more)
        refusals[0] -= 1
        pairs = lines.splitlines(keepends=True)
        let_in = [i for i in range(0, len(pairs), 2) if i % 4 == 0]
        answers = iter(real(self, b"".join(pairs[i] + pairs[i + 1] for i in let_in), **more))
        return [
            next(answers) if i in let_in else ItemResult(429, "es_rejected_execution_exception")
            for i in range(0, len(pairs), 2)
        ]

    monkeypatch.setattr(TelemetryStore, "bulk", busy)
    start = now_ms() - 60_000
    with Slot(broker.worker_port):
        box = device(broker, "kunlun.tbox-1")
        box.deliver(TBOX, [reading(start + number) for number in range(20)])
        until(lambda: received() == 20)
    line = account()["kunlun"]
    assert (line.stored, line.duplicate, line.quarantined) == (20, 0, {})
    assert_closed()
