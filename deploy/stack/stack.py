"""One stack: its folders, ports, user, secrets and shape."""

from dataclasses import dataclass

from deploy.stack import owner
from deploy.stack.credentials import Credentials
from deploy.stack.layout import RUN, Choices, Home
from deploy.stack.owner import Owner
from deploy.stack.ports import Ports

SLOTS_LIMIT = 16
"""Acquisition workers that the broker and supervisord know of, whether they run or not."""


@dataclass(frozen=True)
class Shape:
    """What differs between a demo, the stores of a test run and a journey's whole product.

    durable: False lets Postgres skip fsync, for data that nobody keeps.
    heap: of Elasticsearch, as Java writes it.
    slots: acquisition workers.
    product: False runs the stores alone.
    history_days: what the simulator writes before it plays live.
    """

    durable: bool = True
    heap: str = "1g"
    slots: int = 2
    product: bool = True
    history_days: float = 30.0


@dataclass(frozen=True)
class Stack:
    home: Home
    owner: Owner
    ports: Ports
    host: str = "127.0.0.1"
    shape: Shape = Shape()

    @property
    def credentials(self) -> Credentials:
        return Credentials(self.home)

    @property
    def near(self) -> str:
        """Where this machine itself reaches what listens on `host`."""
        return "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104


def demo_stack() -> Stack:
    """The stack of `./ohmwatch up`, as it was chosen last."""
    home = Home(RUN)
    choices = Choices.remembered(home)
    ports, shape = Ports.from_base(choices.port_base), Shape(slots=choices.slots)
    return Stack(home, owner.current(), ports, choices.host, shape)
