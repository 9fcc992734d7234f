"""The whole product of a journey: a stack of its own, as `./ohmwatch up` starts it."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx

from deploy.stack import management, owner
from deploy.stack.layout import RUN, Home
from deploy.stack.ports import Ports, free_base
from deploy.stack.settings import files_folder, process_environment
from deploy.stack.stack import Shape, Stack
from deploy.stack.up import bring_down, bring_up

SHAPE = Shape(durable=False, heap="768m", slots=2, history_days=2.0)


@dataclass(frozen=True)
class Unit:
    """A connector of the demo fleet, as its device knows it."""

    tenant: str
    connector: str
    serial: str
    position: str
    vehicle: str
    organisation: str
    scenario: str | None


class Product:
    """Addresses and orders, as a person at the machine has them."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def url(self, tenant: str, path: str = "/") -> str:
        host = f"{tenant}.localhost" if tenant else "localhost"
        return f"http://{host}:{self.stack.ports.web}{path}"

    @property
    def password(self) -> str:
        return self.stack.credentials["demo_password"]

    def devices(self) -> list[dict[str, Any]]:
        """What seed_demo handed to the simulator: identities, passwords, channels."""
        file = files_folder(self.stack) / "demo" / "devices.json"
        return cast(list[dict[str, Any]], json.loads(file.read_text()))

    def units(self) -> list[Unit]:
        return [
            Unit(
                tenant=device["identity"].split(".")[0],
                connector=channel["connector"],
                serial=channel["serial"],
                position=channel["position"],
                vehicle=device["vehicle"]["id"],
                organisation=device["vehicle"]["organisation"],
                scenario=channel["scenario"],
            )
            for device in self.devices()
            for channel in device["channels"]
        ]

    def simulator(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`./ohmwatch demo …`: orders to the running fleet."""
        command = [str(management.PYTHON), "-m", "workers.simulator", *arguments]
        return self.stack.owner.run(
            command,
            env=process_environment(self.stack),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return management.manage(self.stack, *arguments, capture_output=True, text=True)

    def mails(self) -> list[dict[str, Any]]:
        return self._inbox("/api/mails")

    def sms(self) -> list[dict[str, Any]]:
        return self._inbox("/api/sms")

    def _inbox(self, path: str) -> list[dict[str, Any]]:
        answer = httpx.get(f"http://127.0.0.1:{self.stack.ports.inbox}{path}", trust_env=False)
        return cast(list[dict[str, Any]], answer.raise_for_status().json())


def start(name: str) -> Product:
    """Brings a product up under .run/test/NAME, with nothing left of an earlier run."""
    home = Home(RUN / "test" / name)
    stack = Stack(home, owner.current(), Ports.from_base(free_base()), shape=SHAPE)
    bring_down(stack)
    _forget(home.path)
    bring_up(stack)
    return Product(stack)


def stop(product: Product) -> None:
    bring_down(product.stack)


def _forget(folder: Path) -> None:
    subprocess.run(["rm", "-rf", str(folder)], check=True)
