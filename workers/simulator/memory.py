"""What the simulator must still know after a restart: a small JSON file."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workers.simulator.faults import Fault


@dataclass
class Memory:
    """How far the history got, which faults are on, and when the scenario began to run live.

    All instants are ms since 1970 UTC. `history_rounds` counts rounds (see history.py) that the
    broker has confirmed for every device.
    """

    path: Path
    history_begin_ms: int = 0
    history_end_ms: int = 0
    history_rounds: int = 0
    live_since_ms: int = 0
    scenario_repaired: bool = False
    faults: list[Fault] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> "Memory":
        if not path.exists():
            return cls(path)
        known: dict[str, Any] = json.loads(path.read_text())
        known["faults"] = [Fault.of(each) for each in known["faults"]]
        return cls(path=path, **known)

    def save(self) -> None:
        """Write all at once, so that a kill in the middle leaves the old file."""
        known = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "path"}
        known["faults"] = [fault.as_dict() for fault in self.faults]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        written = self.path.with_suffix(".new")
        written.write_text(json.dumps(known))
        os.replace(written, self.path)  # noqa: PTH105 - the atomic one
