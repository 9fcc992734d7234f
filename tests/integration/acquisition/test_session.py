"""The traps of MQTT sessions, each with the worker on a real broker: see workers/acquisition."""

import json
import time
from types import SimpleNamespace

import pytest
import redis

from apps.telemetry import board
from tests import cast, mqtt
from tests.acquisition import (
    Slot,
    assert_closed,
    columns,
    device,
    elasticsearch_behind,
    elasticsearch_port,
    now_ms,
    open_session,
    reading,
    received,
    stored_times,
    topic,
    until,
)
from tests.faults import proxy
from workers.acquisition import service, session
from workers.acquisition.batches import Message
from workers.acquisition.connection import Broker, Connection, TakenOver
from workers.acquisition.intake import Intake, Limits

pytestmark = pytest.mark.usefixtures("kunlun", "empty_elasticsearch")

TBOX = topic("kunlun.tbox-1")


def test_the_worker_stops_reading_at_its_high_water_mark(broker: mqtt.Mosquitto) -> None:
    """Trap 0: after the first PUBACKs the broker sends all it has, whatever the receive maximum."""
    limits = Limits(high_water_messages=200, batch_messages=50)
    start = now_ms() - 3_600_000
    box = device(broker, "kunlun.tbox-1")
    with proxy.between(elasticsearch_port()) as way:
        address = elasticsearch_behind(way.port)
        with Slot(broker.worker_port, elasticsearch_url=address, limits=limits) as slot:
            box.deliver(TBOX, [reading(start + number) for number in range(1_000)])
            way.cut()
            box.deliver(TBOX, [reading(start + number) for number in range(1_000, 4_000)])
            until(lambda: not slot.crew.state()["reading"])
            time.sleep(1)  # time in which it could take more, and must not
            # Cut between the marks it waits for the low one; else it is at the high one.
            assert 200 * limits.low_water <= slot.crew.intake.held_messages <= 200
            assert not slot.crew.state()["reading"]
            way.mend()
            until(lambda: len(stored_times(cast.BENS_CONNECTOR)) == 4_000)
    assert_closed()


def test_the_mark_holds_for_bytes_as_well(broker: mqtt.Mosquitto) -> None:
    limits = Limits(high_water_bytes=200_000, batch_bytes=50_000)
    start = now_ms() - 3_600_000
    big = [columns(start + number * 500, 500, step_ms=1) for number in range(100)]
    with proxy.between(elasticsearch_port()) as way:
        address = elasticsearch_behind(way.port)
        with Slot(broker.worker_port, elasticsearch_url=address, limits=limits) as slot:
            way.cut()
            device(broker, "kunlun.tbox-1").deliver(TBOX, big)
            until(lambda: not slot.crew.intake.has_room())
            time.sleep(1)
            assert slot.crew.intake.held_bytes <= 200_000 + len(big[0]) + 1_000
            way.mend()
            until(lambda: received() >= 50_000)
    assert_closed()


def test_an_acknowledgement_of_an_ended_connection_confirms_nothing(
    broker: mqtt.Mosquitto,
) -> None:
    """Trap: paho's `ack` after a reconnect would confirm the message that has the number now."""
    open_session(broker)
    address = Broker("127.0.0.1", broker.worker_port, mqtt.SLOT_PASSWORD)
    got: list[Message] = []

    def connected() -> Connection:
        connection = Connection(address, mqtt.SLOTS[0], got.extend)
        connection.open()
        return connection

    first = connected()
    until(lambda: (first.read(), first.wants_write() and first.write(), first.is_ready)[-1])
    device(broker, "kunlun.tbox-1").deliver(TBOX, [b"old"])
    until(lambda: (first.read(), len(got) == 1)[-1])
    old = got[0]
    first.close()
    second = connected()
    until(lambda: (second.read(), second.wants_write() and second.write(), len(got) == 2)[-1])
    assert got[1].packet_id == old.packet_id, "the number now means the new delivery"
    assert old.origin is not None
    old.origin.acknowledge(old.packet_id)
    second.close()
    again = broker.slot(0).connect(clean_start=False, session_expiry_s=3600).receive()
    assert again is not None, "an old acknowledgement confirmed a new delivery"
    assert again.payload == b"old"


def test_a_fault_in_a_callback_ends_the_process_visibly(
    broker: mqtt.Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap: paho logs nothing, its thread ends, and `is_connected` stays true for ever."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(service, "DRAIN_S", 0.1)
    with Slot(broker.worker_port) as slot:
        monkeypatch.setattr(Intake, "put", broken)
        device(broker, "kunlun.tbox-1").deliver(TBOX, [reading(now_ms())])
        until(lambda: slot.deaths == ["acquisition-session-0"])


def test_a_worker_whose_id_is_taken_ends(
    broker: mqtt.Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of one client id push each other out for ever; the broker closes without a reason."""
    monkeypatch.setattr(session, "RECONNECT_S", (0.05, 0.1))
    monkeypatch.setattr(service, "DRAIN_S", 0.1)
    with Slot(broker.worker_port) as slot:
        for connections in range(1, session.PUSHED_OUT + 1):
            until(lambda n=connections: slot.crew.sessions[0].connections == n)
            until(lambda: slot.crew.sessions[0].is_connected)
            broker.slot(0).connect(clean_start=False, session_expiry_s=3600)
        until(lambda: slot.deaths == ["another process uses this slot's client id"])


def test_a_broker_that_says_so_ends_it_at_once() -> None:
    connection = Connection(Broker("127.0.0.1", 1, ""), "ohmwatch-acq-0", lambda _: None)
    with pytest.raises(TakenOver):
        connection._on_disconnect(None, None, None, SimpleNamespace(value=0x8E), None)  # type: ignore[arg-type]


def test_a_poisonous_message_does_not_stall_those_behind_it(broker: mqtt.Mosquitto) -> None:
    start = now_ms() - 60_000
    with Slot(broker.worker_port):
        box = device(broker, "kunlun.tbox-1")
        box.deliver(TBOX, [b"\x00" * 1000, reading(start), b"[" * 50_000, reading(start + 1)])
        until(lambda: received() == 4)
        assert len(stored_times(cast.BENS_CONNECTOR)) == 2
    again = broker.slot(0).connect(clean_start=False, session_expiry_s=3600)
    assert list(again.receive_all()) == [], "all four were acknowledged"


def test_a_reading_is_stored_within_a_blink_at_low_load(
    broker: mqtt.Mosquitto, redis_log: redis.Redis
) -> None:
    with Slot(broker.worker_port), device(broker, "kunlun.tbox-1") as box:
        box.deliver(TBOX, [reading(now_ms() - 5_000)])
        until(lambda: redis_log.hget("ow:counts:kunlun", "stored") == b"1", within_s=2)


def test_what_devices_say_of_themselves_is_put_up(
    broker: mqtt.Mosquitto, redis_log: redis.Redis
) -> None:
    with Slot(broker.worker_port), device(broker, "kunlun.tbox-1") as box:
        status = json.dumps({"online": True, "firmware": "2.1.0"}).encode()
        box.deliver(topic("kunlun.tbox-1", "status"), [status, b"rubbish"])
        box.deliver(topic("kunlun.tbox-1", "events"), [b"{}"])
        box.deliver(TBOX, [reading(now_ms(), gps=1)])
        until(lambda: redis_log.hget("ow:counts:kunlun", "stored") == b"1")
        until(lambda: redis_log.hget("ow:counts:kunlun", "events") == b"1")
    noted = json.loads(redis_log.hget("ow:status:kunlun", "tbox-1") or b"{}")
    assert (noted["online"], noted["firmware"]) == (True, "2.1.0")
    assert redis_log.hget("ow:counts:kunlun", "status_unreadable") == b"1"
    assert redis_log.hexists("ow:seen:kunlun", "tbox-1")
    assert redis_log.hgetall("ow:unknown-fields:kunlun") == {b"gps": b"1"}
    unknown = board.unknown_fields("kunlun")
    assert [(each.name, each.times, each.device) for each in unknown.fields] == [
        ("gps", 1, "tbox-1")
    ]
    assert unknown.sample is not None
    assert '"gps": 1' in unknown.sample.shown
    assert unknown.sample.at_ms == unknown.fields[0].at_ms


def test_without_a_slot_a_worker_speaks_no_mqtt(broker: mqtt.Mosquitto) -> None:
    """And the step is the worker's, not the consumer's: that one restarts with Redis."""
    from config.celery import app

    assert "workers.acquisition.step:AcquisitionStep" in app.steps["worker"]
    assert not app.steps["consumer"] & app.steps["worker"]
