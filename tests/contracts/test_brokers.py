"""Both brokers are told to hold what waits for a slot, and to let nobody in or out of line.

The checklists are those of the promise "nothing acknowledged is lost" and of device identity;
each line here is a default that would lose messages or open a door.
"""

import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue

import pytest
from paho.mqtt.client import CallbackAPIVersion, Client, MQTTMessage
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from deploy.stack import mosquitto
from deploy.stack.layout import Home
from deploy.stack.owner import current, prepare_home
from deploy.stack.ports import Ports, free_base
from deploy.stack.stack import Shape, Stack

ROOT = Path(__file__).resolve().parents[2]
EMQX = (ROOT / "deploy" / "emqx" / "emqx.conf").read_text()
RULES = (ROOT / "deploy" / "emqx" / "acl.conf").read_text()
PASSWORD = "a-password-of-the-test"
# More than the 1 000 messages that Mosquitto keeps for a session as shipped.
MANY = 1_500


@pytest.mark.parametrize(
    "line",
    [
        "per_listener_settings false",
        "allow_anonymous false",
        "max_queued_messages 0",
        "max_queued_bytes 1073741824",
        "persistent_client_expiration 7d",
        "persistence true",
        "autosave_on_changes true",
        "autosave_interval 1000",
        "use_username_as_clientid true",
    ],
)
def test_mosquitto_is_told(line: str) -> None:
    assert line in mosquitto.CONF.splitlines()


@pytest.mark.parametrize(
    "setting",
    [
        r"force_shutdown \{\s+enable = false",
        r"max_mqueue_len = 2000000",
        r"max_inflight = 1000",
        r"session_expiry_interval = 7d",
        r"max_packet_size = 1MB",
        r"shared_subscription_strategy = hash_clientid",
        r"use_username_as_clientid = true",
        r"no_match = deny",
        r"deny_action = disconnect",
        r"backend = http",
        r'url = "http://web:8000/broker/authenticate"',
        r'versions = \["tlsv1.3", "tlsv1.2"\]',
        r"max_conn_rate = ",
        r"messages_rate = ",
        r"flapping_detect \{\s+enable = true",
        r"discovery_strategy = static",
    ],
)
def test_emqx_is_told(setting: str) -> None:
    assert re.search(setting, EMQX)


def test_emqx_holds_no_secret() -> None:
    assert not re.search(r"(?i)cookie\s*=|default_password\s*=|Bearer", EMQX)


def test_emqx_denies_what_no_rule_names() -> None:
    rules = [line for line in RULES.splitlines() if line and not line.startswith("%%")]
    assert rules[-1] == "{deny, all}."
    assert "{allow, all}." not in rules


@pytest.fixture
def broker() -> Iterator[Stack]:
    """The shipped configuration on a real Mosquitto, with two devices and a slot."""
    assert shutil.which("mosquitto", path="/usr/sbin:/usr/bin"), "Mosquitto isn't installed"
    with tempfile.TemporaryDirectory() as folder:
        # pytest's own folders are closed to the user under whom root's services run.
        Path(folder).chmod(0o711)
        home, ports = Home(Path(folder)), Ports.from_base(free_base())
        stack = Stack(home, current(), ports, shape=Shape(slots=1))
        prepare_home(home, stack.owner)
        mosquitto.prepare(stack)
        _write_passwords(stack)
        process = stack.owner.start(mosquitto.command(stack), stdout=subprocess.DEVNULL)
        _wait_for(stack.ports.mqtt_workers)
        yield stack
        process.terminate()
        process.wait(10)


def test_mosquitto_holds_what_waits_for_a_slot_that_is_away(broker: Stack) -> None:
    slot, _ = _client(broker.ports.mqtt_workers, "ohmwatch-acq-0")
    _subscribe(slot, "$share/ohmwatch/ow/v1/+/readings")
    _leave(slot)
    device, _ = _client(broker.ports.mqtt_devices, "kunlun.tbox-1")
    sent = [device.publish("ow/v1/kunlun.tbox-1/readings", str(n), qos=1) for n in range(MANY)]
    for message in sent:
        message.wait_for_publish(20)
    _leave(device)
    slot, received = _client(broker.ports.mqtt_workers, "ohmwatch-acq-0")
    bodies = [received.get(timeout=20).payload.decode() for _ in range(MANY)]
    _leave(slot)
    assert bodies == [str(number) for number in range(MANY)]


def test_mosquitto_keeps_a_device_under_its_own_identity(broker: Stack) -> None:
    stranger, overheard = _client(broker.ports.mqtt_devices, "kunlun.tbox-2")
    _subscribe(stranger, "ow/v1/#")
    slot, received = _client(broker.ports.mqtt_workers, "ohmwatch-acq-0")
    _subscribe(slot, "$share/ohmwatch/ow/v1/+/readings")
    stranger.publish("ow/v1/kunlun.tbox-1/readings", "forged", qos=1).wait_for_publish(10)
    device, _ = _client(broker.ports.mqtt_devices, "kunlun.tbox-1")
    device.publish("ow/v1/kunlun.tbox-1/readings", "genuine", qos=1).wait_for_publish(10)
    assert received.get(timeout=10).payload == b"genuine"
    with pytest.raises(Empty):
        overheard.get(timeout=1)
    for client in (stranger, slot, device):
        _leave(client)


def _write_passwords(stack: Stack) -> None:
    file = mosquitto.folder(stack) / "passwords"
    for user in ("ohmwatch-acq-0", "kunlun.tbox-1", "kunlun.tbox-2"):
        create = [] if file.exists() else ["-c"]
        subprocess.run(["mosquitto_passwd", "-b", *create, str(file), user, PASSWORD], check=True)
    stack.owner.owns(file)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, "Mosquitto doesn't listen"
            time.sleep(0.05)
        else:
            return


def _client(port: int, user: str) -> tuple[Client, "Queue[MQTTMessage]"]:
    """Connected, with a session that outlives the connection, and what it receives."""
    received: Queue[MQTTMessage] = Queue()
    connected: Queue[bool] = Queue()
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.username_pw_set(user, PASSWORD)
    client.on_message = lambda *arguments: received.put(arguments[2])
    client.on_connect = lambda *arguments: connected.put(True)
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    client.connect("127.0.0.1", port, clean_start=False, properties=properties)
    client.loop_start()
    connected.get(timeout=10)
    return client, received


def _subscribe(client: Client, topic: str) -> None:
    done: Queue[bool] = Queue()
    client.on_subscribe = lambda *arguments: done.put(True)
    client.subscribe(topic, qos=1)
    done.get(timeout=10)


def _leave(client: Client) -> None:
    client.disconnect()
    client.loop_stop()
