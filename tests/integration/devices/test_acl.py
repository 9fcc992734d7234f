"""Who may say and hear what, on a real Mosquitto with the rules as they are shipped.

Mosquitto grants any subscription and judges each message instead, so hearing is tested by what
arrives, not by what the broker answers.
"""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import mqtt

ME, SIBLING, STRANGER = "kunlun.tbox-1", "kunlun.tbox-2", "aurora.tbox-1"
DEVICES = {ME: "secret-1", SIBLING: "secret-2", STRANGER: "secret-3"}
TESTER = "tester"
ALLOWED = {0x00, 0x10}
"""Accepted, or accepted with nobody to hear it."""

SAID = [
    *(f"ow/v1/{who}/{what}" for who in DEVICES for what in ("readings", "commands", "config")),
    "ow/v1/readings",
    "elsewhere",
]


@pytest.fixture(scope="module")
def shipped() -> Iterator[mqtt.Mosquitto]:
    """The shipped rules, and a tester who may say everything so that there is all to hear."""
    broker = mqtt.Mosquitto(DEVICES | {TESTER: "tester"})
    rules = Path(broker._folder) / "acl"
    rules.write_text(f"user {TESTER}\ntopic readwrite #\n\n{rules.read_text()}")
    broker.start()
    yield broker
    broker.forget()


def device(broker: mqtt.Mosquitto, identity: str) -> mqtt.MqttClient:
    return mqtt.MqttClient(broker.port, identity, DEVICES[identity]).connect()


def reason_of(client: mqtt.MqttClient, topic: str) -> int:
    client.publish(topic, b"{}")
    answer = client.expect(mqtt.PUBACK)
    return answer.body[2] if len(answer.body) > 2 else 0


@pytest.mark.parametrize(
    ("topic", "may"),
    [
        (f"ow/v1/{ME}/readings", True),
        (f"ow/v1/{ME}/status", True),
        (f"ow/v1/{ME}/events", True),
        (f"ow/v1/{ME}/replies", True),
        (f"ow/v1/{ME}/config", False),
        (f"ow/v1/{ME}/commands", False),
        (f"ow/v1/{ME}/readings/deeper", False),
        (f"ow/v1/{ME}", False),
        (f"ow/v1/{SIBLING}/readings", False),
        (f"ow/v1/{SIBLING}/status", False),
        (f"ow/v1/{SIBLING}/commands", False),
        (f"ow/v1/{STRANGER}/readings", False),
        (f"ow/v1/{STRANGER}/commands", False),
        ("ow/v1/readings", False),
        ("ow/v1/kunlun/readings", False),
        ("ow/v1/KUNLUN.tbox-1/readings", False),
        (f"ow/v2/{ME}/readings", False),
        ("$SYS/broker/uptime", False),
        ("anything", False),
    ],
)
def test_a_device_speaks_under_its_own_name_only(
    shipped: mqtt.Mosquitto, topic: str, may: bool
) -> None:
    with device(shipped, ME) as client:
        assert (reason_of(client, topic) in ALLOWED) is may


@pytest.mark.parametrize(
    ("topic_filter", "heard"),
    [
        (f"ow/v1/{ME}/commands", {f"ow/v1/{ME}/commands"}),
        (f"ow/v1/{ME}/config", {f"ow/v1/{ME}/config"}),
        (f"ow/v1/{ME}/#", {f"ow/v1/{ME}/commands", f"ow/v1/{ME}/config"}),
        (f"ow/v1/{ME}/readings", set()),
        (f"ow/v1/{SIBLING}/#", set()),
        (f"ow/v1/{STRANGER}/#", set()),
        ("ow/v1/+/commands", {f"ow/v1/{ME}/commands"}),
        ("+/+/+/+", {f"ow/v1/{ME}/commands", f"ow/v1/{ME}/config"}),
        ("#", {f"ow/v1/{ME}/commands", f"ow/v1/{ME}/config"}),
        ("$share/ohmwatch/ow/v1/+/readings", set()),
        ("$share/mine/ow/v1/#", {f"ow/v1/{ME}/commands", f"ow/v1/{ME}/config"}),
        ("$SYS/#", set()),
    ],
)
def test_a_device_hears_what_is_meant_for_it_and_nothing_else(
    shipped: mqtt.Mosquitto, topic_filter: str, heard: set[str]
) -> None:
    with device(shipped, ME) as client:
        client.subscribe(topic_filter)
        say_everything(shipped)
        assert {message.topic for message in client.receive_all(quiet_s=0.2)} == heard


def say_everything(broker: mqtt.Mosquitto) -> None:
    with mqtt.MqttClient(broker.port, TESTER, "tester").connect() as tester:
        for topic in SAID:
            assert reason_of(tester, topic) in ALLOWED


def test_a_slot_hears_every_device(shipped: mqtt.Mosquitto) -> None:
    with shipped.slot(0).connect() as slot:
        slot.subscribe("$share/ohmwatch/ow/v1/+/readings")
        say_everything(shipped)
        heard = {message.topic for message in slot.receive_all(quiet_s=0.2)}
        assert heard == {f"ow/v1/{who}/readings" for who in DEVICES}


@pytest.mark.parametrize("topic", [f"ow/v1/{ME}/readings", f"ow/v1/{ME}/commands", "anything"])
def test_a_slot_may_say_nothing(shipped: mqtt.Mosquitto, topic: str) -> None:
    with shipped.slot(0).connect() as slot:
        assert reason_of(slot, topic) not in ALLOWED


@pytest.mark.parametrize(
    ("name", "password"),
    [
        (ME, "wrong"),
        (ME, ""),
        (ME, DEVICES[SIBLING]),
        ("kunlun.nobody", "secret-1"),
        ("", ""),
        ("ohmwatch-acq-0", "wrong"),
        ("ohmwatch-acq-99", mqtt.SLOT_PASSWORD),
    ],
)
def test_who_is_not_genuine_does_not_get_in(
    shipped: mqtt.Mosquitto, name: str, password: str
) -> None:
    for port in (shipped.port, shipped.worker_port):
        with pytest.raises(mqtt.MqttError):
            mqtt.MqttClient(port, name, password).connect()


def test_nobody_takes_over_a_session_by_its_client_id(shipped: mqtt.Mosquitto) -> None:
    with device(shipped, ME) as victim:
        victim.subscribe(f"ow/v1/{ME}/commands")
        thief = mqtt.MqttClient(shipped.port, SIBLING, DEVICES[SIBLING])
        connect_under(thief, client_id=ME)
        say_everything(shipped)
        assert victim.receive(wait_s=2) is not None
        thief.disconnect()


def test_a_will_goes_through_the_same_rules(shipped: mqtt.Mosquitto) -> None:
    with mqtt.MqttClient(shipped.port, TESTER, "tester").connect() as listener:
        listener.subscribe("ow/v1/+/status")
        for topic in (f"ow/v1/{STRANGER}/status", f"ow/v1/{ME}/status"):
            client = mqtt.MqttClient(shipped.port, ME, DEVICES[ME])
            connect_under(client, client_id=ME, will=topic)
            client.abort()
        heard = {message.topic for message in listener.receive_all(quiet_s=0.5)}
    assert heard <= {f"ow/v1/{ME}/status"}


def connect_under(client: mqtt.MqttClient, *, client_id: str, will: str = "") -> None:
    """A CONNECT whose client id is not the user name, or with a last will. Any answer is fine."""
    client._socket = socket.create_connection((client.host, client.port), timeout=5)
    flags = 0xC2 | (0x04 if will else 0)
    body = mqtt._text("MQTT") + bytes([5, flags]) + struct.pack("!HB", 300, 0)
    body += mqtt._text(client_id)
    if will:
        body += b"\x00" + mqtt._text(will) + mqtt._text(b"{}")
    body += mqtt._text(client.name) + mqtt._text(client.password)
    client.send(0x10, body)
    client.read(wait_s=5)
