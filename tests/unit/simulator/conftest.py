"""A small fleet as its credentials file would tell it."""

import json
from pathlib import Path
from typing import Any

import pytest

from workers.simulator.fleet import Fleet, read_fleet

MODEL: dict[str, Any] = {
    "code": "HV-250",
    "rated_current_a": 250.0,
    "rated_voltage_v": 1000.0,
    "temperature_limit_c": 90.0,
    "temperature_rise_rated_k": 40.0,
    "temperature_rise_limit_k": 50.0,
    "contact_resistance_new_uohm": 120.0,
    "contact_resistance_end_uohm": 250.0,
    "thermal_resistance_k_per_w": None,
    "thermal_time_constants_s": [80.0, 780.0],
    "insulation_minimum_kohm": 500.0,
    "derating": [[40, 250], [70, 180], [85, 120]],
    "rated_mating_cycles": 10_000,
    "reports": [],
    "interval_s": 1.5,
}


def channel(
    number: int, connector: str, position: str, scenario: str | None = None
) -> dict[str, Any]:
    return {
        "channel": number,
        "connector": connector,
        "serial": f"SN-{connector}",
        "position": position,
        "batch": "B1",
        "scenario": scenario,
        "model": MODEL,
    }


@pytest.fixture
def devices() -> list[dict[str, Any]]:
    """Two vehicles of Kunlun's; the first one's inlet is the demo's story."""
    return [
        {
            "identity": "kunlun.tbox-1",
            "password": "one",
            "vehicle": {"vin": "V1"},
            "channels": [
                channel(0, "inlet-1", "charging_inlet", "ageing"),
                channel(1, "traction-1", "traction"),
            ],
        },
        {
            "identity": "kunlun.tbox-2",
            "password": "two",
            "vehicle": {"vin": "V2"},
            "channels": [channel(0, "traction-2", "traction"), channel(1, "inv-2", "inverter")],
        },
    ]


@pytest.fixture
def fleet(tmp_path: Path, devices: list[dict[str, Any]]) -> Fleet:
    path = tmp_path / "devices.json"
    path.write_text(json.dumps(devices))
    return read_fleet(path)
