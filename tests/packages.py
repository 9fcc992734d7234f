"""A package with a detector, as pip lays one down, for tests of plug-ins."""

from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"
PLUGIN = """
import os, time
import numpy as np
from ohmwatch.findings import Finding, Severity

class Plugin:
    name, version, condition = "hot_hand", "1", "hot_hand_warm"
    needs = frozenset({"temperature_pos_c"})
    state_dtype = np.dtype([("seen", "<i8"), ("over", "?"), ("last", "<f8", (2,))])

    def observe(self, batch, ratings, state):
        {body}
"""
RIGHT = """
        findings = []
        for at, (who, value) in enumerate(zip(batch.connector, batch.column("temperature_pos_c"))):
            record = state[who]
            record["seen"] += 1
            if value != value or (value > 90) == record["over"]:
                continue
            record["over"] = value > 90
            when = int(batch.time_ms[at])
            findings.append(Finding(batch.connectors[who], self.condition,
                Severity.NOTICE if value > 90 else None, when, when, int(batch.arrived_ms[at]),
                self.name, self.version, evidence={"seen": float(record["seen"])}))
        return findings
"""

ADJUSTABLE = PLUGIN.replace("{body}", RIGHT.replace("90", "self.limit_c").strip()).replace(
    "class Plugin:",
    """from dataclasses import dataclass

@dataclass(frozen=True)
class Plugin:
    '''Says that a hand would find it hot.

    Parameters:
        limit_c: where it hurts.
    '''
    limit_c: float = 90.0
""",
)
"""The same with a parameter, which rules can set."""


def lay(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    body: str = RIGHT,
    *,
    module: str = PLUGIN,
    name: str = "hot",
) -> str:
    """Lays it into the folder, where this process and plug-ins' processes find it; its name."""
    (folder / "hot_plugin.py").write_text(module.replace("{body}", body.strip()))
    about = folder / "hot_plugin-1.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: hot-plugin\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[ohmwatch.detectors]\n{name} = hot_plugin:Plugin\n")
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{SOURCE}")
    monkeypatch.syspath_prepend(folder)
    return name
