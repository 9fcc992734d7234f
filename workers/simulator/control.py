"""Orders to a running simulator, as files: a process puts one in, the simulator answers beside it.

Files rather than a socket, so that an order from another user (root beside the daemon's own) needs
no more than the folder's rights, and one that nobody reads can be seen and removed.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

PATIENCE_S = 10.0


@dataclass(frozen=True)
class Order:
    """Start a fault at a connector, or repair it."""

    kind: str
    connector: str
    repair: bool = False
    pole: str = "pos"
    over_s: float = 120.0


@dataclass(frozen=True)
class Answer:
    """What became of an order, in a sentence."""

    done: bool
    text: str


class SimulatorSilent(Exception):
    """No running simulator answered in time."""


def give(folder: Path, order: Order, *, patience_s: float = PATIENCE_S) -> Answer:
    """Hand an order to the simulator and wait for its answer; raises SimulatorSilent."""
    folder.mkdir(parents=True, exist_ok=True)
    name = uuid4().hex
    asked, answered = folder / f"{name}.order", folder / f"{name}.answer"
    _write(asked, asdict(order))
    deadline_s = time.monotonic() + patience_s
    while time.monotonic() < deadline_s:
        if answered.exists():
            answer = Answer(**json.loads(answered.read_text()))
            answered.unlink(missing_ok=True)
            return answer
        time.sleep(0.05)
    asked.unlink(missing_ok=True)
    raise SimulatorSilent("the simulator does not answer; is the demo running?")


def obey(folder: Path, carry_out: Callable[[Order], Answer]) -> None:
    """Carry out all orders that lie in the folder, the oldest first."""
    for asked in sorted(folder.glob("*.order"), key=lambda path: path.stat().st_mtime_ns):
        try:
            answer = carry_out(Order(**json.loads(asked.read_text())))
        except (ValueError, TypeError) as error:
            answer = Answer(done=False, text=f"not an order: {error}")
        asked.unlink(missing_ok=True)
        _write(asked.with_suffix(".answer"), asdict(answer))


def _write(path: Path, content: dict[str, object]) -> None:
    written = path.with_suffix(".new")
    written.write_text(json.dumps(content))
    written.chmod(0o644)
    os.replace(written, path)  # noqa: PTH105 - the atomic one
