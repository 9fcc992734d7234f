"""What the broker does with a slot's session, pinned with a raw client on the shipped settings.

The worker is built on these facts. Where one of them changes with a new broker, this file says so
before a customer does.
"""

from collections.abc import Iterator

import pytest

from tests import cast, mqtt

DEVICE = "kunlun.tbox-1"
TOPIC = f"ow/v1/{DEVICE}/readings"
GROUP = "$share/ohmwatch/ow/v1/+/readings"


@pytest.fixture
def mosquitto() -> Iterator[mqtt.Mosquitto]:
    with mqtt.running({DEVICE: cast.DEVICE_PASSWORD}) as running:
        yield running


def device(broker: mqtt.Mosquitto) -> mqtt.MqttClient:
    return mqtt.MqttClient(broker.port, DEVICE, cast.DEVICE_PASSWORD).connect()


def slot(broker: mqtt.Mosquitto, number: int = 0, **options: int) -> mqtt.MqttClient:
    client = broker.slot(number)
    client.connect(clean_start=False, session_expiry_s=3600, **options)
    if not client.session_present:
        client.subscribe(GROUP)
    return client


def payloads(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def test_a_session_without_connection_loses_nothing_beyond_a_thousand(
    mosquitto: mqtt.Mosquitto,
) -> None:
    """By default, Mosquitto acknowledges all of these and keeps a thousand."""
    slot(mosquitto).abort()
    assert device(mosquitto).deliver(TOPIC, payloads(5_000)) == 5_000
    back = slot(mosquitto)
    assert back.session_present
    got = []
    for message in back.receive_all():
        back.acknowledge(message.packet_id)
        got.append(message.payload)
    assert got == payloads(5_000)


def test_the_receive_maximum_does_not_hold_the_broker(mosquitto: mqtt.Mosquitto) -> None:
    """Mosquitto 2.0.11 keeps to it until the first PUBACK only (its issue 2301): which is why the
    worker stops reading instead of counting on it. If this fails, the broker has learnt it."""
    slot(mosquitto).abort()
    device(mosquitto).deliver(TOPIC, payloads(2_000))
    back = slot(mosquitto, receive_maximum=50)
    first = list(back.receive_all())
    assert len(first) == 50
    for message in first:
        back.acknowledge(message.packet_id)
    assert len(list(back.receive_all())) > 50


def test_the_share_of_a_dead_slot_waits_for_it(mosquitto: mqtt.Mosquitto) -> None:
    living, dead = slot(mosquitto, 0), slot(mosquitto, 1)
    dead.abort()
    device(mosquitto).deliver(TOPIC, payloads(40))
    assert len(list(living.receive_all())) == 20
    assert len(list(slot(mosquitto, 1).receive_all())) == 20


def test_nobody_subscribed_is_told_to_the_device(mosquitto: mqtt.Mosquitto) -> None:
    """0x10 is a success code for a message that was thrown away."""
    with pytest.raises(mqtt.MqttError, match="0x10"):
        device(mosquitto).deliver(TOPIC, payloads(1))


def test_a_second_client_of_the_same_id_pushes_the_first_out_without_a_word(
    mosquitto: mqtt.Mosquitto,
) -> None:
    """MQTT 5 has a reason for it, 0x8E; Mosquitto 2.0.11 just closes."""
    first = slot(mosquitto)
    slot(mosquitto)
    with pytest.raises(mqtt.MqttError, match="closed"):
        first.receive()


def test_what_was_not_acknowledged_comes_again(mosquitto: mqtt.Mosquitto) -> None:
    first = slot(mosquitto)
    device(mosquitto).deliver(TOPIC, payloads(3))
    assert len(list(first.receive_all())) == 3
    first.abort()
    again = list(slot(mosquitto).receive_all())
    assert [message.payload for message in again] == payloads(3)
    assert all(message.duplicate for message in again)


def test_waiting_messages_survive_a_restart_of_the_broker(mosquitto: mqtt.Mosquitto) -> None:
    slot(mosquitto).abort()
    device(mosquitto).deliver(TOPIC, payloads(500))
    mosquitto.stop()
    mosquitto.start()
    assert len(list(slot(mosquitto).receive_all())) == 500
