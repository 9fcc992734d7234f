"""The architecture is a test: the contracts hold, and each one breaks when it should."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: For each contract: a module of ours and an import that must break it.
BREAKS = {
    "Layers of the apps": ("apps/catalog/broken.py", "import apps.alarms.models"),
    "Workers stand on the apps and not on each other": (
        "apps/fleet/broken.py",
        "import workers.detection",
    ),
    "The workers are independent": ("workers/upkeep/broken.py", "import workers.detection"),
    "Detectors, codecs, physics and the lifecycle are pure": (
        "src/ohmwatch/broken.py",
        "import django",
    ),
    "The simulator's physics is its own": (
        "workers/simulator/physics.py",
        "import ohmwatch.readings",
    ),
    "Detectors are independent of each other": (
        "src/ohmwatch/detectors/overtemperature.py",
        "import ohmwatch.detectors.insulation_low",
    ),
    "Channels are independent of each other": (
        "apps/notifications/channels/email/__init__.py",
        "import apps.notifications.channels.sms",
    ),
    "paho only where MQTT is spoken": ("apps/devices/broken.py", "import paho.mqtt.client"),
    "Elasticsearch only behind the repository": ("apps/portal/broken.py", "import elasticsearch"),
    "REST framework only in the API": ("apps/console/broken.py", "import rest_framework"),
    "Channels only where sockets are": ("apps/console/broken.py", "import channels"),
}


def _contracts() -> list[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [contract["name"] for contract in settings["tool"]["importlinter"]["contracts"]]


def _copy_of_the_tree(target: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", target)
    for folder in ("src", "config", "apps", "workers"):
        shutil.copytree(
            ROOT / folder, target / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    return target


def _lint(tree: Path) -> subprocess.CompletedProcess[str]:
    linter = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": f"{tree / 'src'}{os.pathsep}{tree}"}
    return subprocess.run(
        [linter, "--no-cache"],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_contract_holds(tmp_path: Path) -> None:
    result = _lint(_copy_of_the_tree(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_contract_has_its_way_to_break() -> None:
    assert sorted(_contracts()) == sorted(BREAKS)


@pytest.mark.parametrize("contract", BREAKS)
def test_a_contract_breaks_when_it_should(contract: str, tmp_path: Path) -> None:
    tree = _copy_of_the_tree(tmp_path)
    module, line = BREAKS[contract]
    with (tree / module).open("a") as file:
        file.write(f"\n{line}\n")
    result = _lint(tree)
    assert result.returncode != 0
    assert f"{contract} BROKEN" in result.stdout, result.stdout
