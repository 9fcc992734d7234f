"""A Mosquitto with device accounts, and the demo fleet's credentials file."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from apps.devices.passwords import hash_password
from tests.unit.simulator.conftest import devices as devices
from workers.simulator.session import Broker


@dataclass
class RunningBroker:
    """Where it listens; devices log in as themselves, `worker` may read everything."""

    port: int

    @property
    def address(self) -> Broker:
        return Broker("127.0.0.1", self.port)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, *, seconds: float = 10.0) -> None:
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"nothing listens on {port}")


@pytest.fixture
def broker(tmp_path: Path, devices: list[dict[str, Any]]) -> Iterator[RunningBroker]:
    """The rules of the real one: an account a device, and nobody outside their own topics."""
    accounts = {each["identity"]: each["password"] for each in devices} | {"worker": "reads"}
    passwords, rules = tmp_path / "passwords", tmp_path / "rules"
    passwords.write_text(
        "".join(f"{name}:{hash_password(password)}\n" for name, password in accounts.items())
    )
    rules.write_text("pattern readwrite ow/v1/%u/#\nuser worker\ntopic read ow/v1/#\n")
    port = free_port()
    settings = tmp_path / "mosquitto.conf"
    settings.write_text(
        f"user root\nlistener {port} 127.0.0.1\nallow_anonymous false\npersistence false\n"
        f"password_file {passwords}\nacl_file {rules}\nmax_queued_messages 0\n"
    )
    process = subprocess.Popen(["mosquitto", "-c", settings], stderr=subprocess.DEVNULL)
    wait_for_port(port)
    yield RunningBroker(port)
    process.terminate()
    process.wait(10)


@pytest.fixture
def folder(tmp_path: Path, devices: list[dict[str, Any]]) -> Path:
    """$OHMWATCH_DATA_DIR/demo with the credentials in it."""
    demo = tmp_path / "demo"
    demo.mkdir()
    (demo / "devices.json").write_text(json.dumps(devices))
    return demo
