"""The demo fleet as its credentials file tells it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPORTED = (
    "current_a",
    "voltage_v",
    "temperature_pos_c",
    "temperature_neg_c",
    "ambient_c",
    "insulation_kohm",
    "interlock",
)
"""What a device reports where its connector's model says nothing."""


@dataclass(frozen=True)
class Ratings:
    """What the simulator needs of a connector model; a missing rating gets a usual value."""

    rated_current_a: float
    rated_voltage_v: float
    temperature_rise_rated_k: float
    contact_resistance_new_uohm: float
    thermal_time_constants_s: tuple[float, float]
    insulation_minimum_kohm: float

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> "Ratings":
        current_a = float(model["rated_current_a"])
        constants = [float(each) for each in model.get("thermal_time_constants_s") or [80.0]]
        return cls(
            rated_current_a=current_a,
            rated_voltage_v=float(model["rated_voltage_v"]),
            temperature_rise_rated_k=float(model.get("temperature_rise_rated_k") or 40.0),
            contact_resistance_new_uohm=float(
                model.get("contact_resistance_new_uohm") or 25_000 / current_a
            ),
            thermal_time_constants_s=(min(constants), max(constants)),
            insulation_minimum_kohm=float(model.get("insulation_minimum_kohm") or 500.0),
        )


@dataclass(frozen=True)
class Unit:
    """One connector: where it sits, what it is rated for, what its device says of it."""

    connector: str
    serial: str
    tenant: str
    channel: int
    vehicle: int
    position: str
    ratings: Ratings
    reports: tuple[str, ...]
    scenario: str | None


@dataclass(frozen=True)
class Device:
    """One MQTT identity; `units` are its connectors' indices in the fleet's list."""

    identity: str
    password: str
    units: tuple[int, ...]


@dataclass(frozen=True)
class Fleet:
    """All devices, and all connectors in one order that every array of the simulator follows."""

    devices: tuple[Device, ...]
    units: tuple[Unit, ...]

    @property
    def vehicles(self) -> int:
        return 1 + max((unit.vehicle for unit in self.units), default=-1)

    def named(self, name: str) -> list[int]:
        """Units by connector id, serial number, `tenant/serial` or scenario (`demo`)."""
        return [
            index
            for index, unit in enumerate(self.units)
            if name in (unit.connector, unit.serial, f"{unit.tenant}/{unit.serial}")
            or (name == "demo" and unit.scenario is not None)
        ]


def read_fleet(path: Path) -> Fleet:
    """The fleet in the file that seeding the demo wrote; raises OSError or ValueError."""
    devices: list[Device] = []
    units: list[Unit] = []
    vehicles: dict[str, int] = {}
    for entry in json.loads(path.read_text()):
        vehicle = vehicles.setdefault(_vehicle_key(entry), len(vehicles))
        first = len(units)
        units += [_unit(channel, entry["identity"], vehicle) for channel in entry["channels"]]
        devices.append(
            Device(entry["identity"], entry["password"], tuple(range(first, len(units))))
        )
    return Fleet(tuple(devices), tuple(units))


def _vehicle_key(entry: Mapping[str, Any]) -> str:
    tenant = entry["identity"].split(".")[0]
    return f"{tenant}/{(entry.get('vehicle') or {}).get('vin', entry['identity'])}"


def _unit(channel: Mapping[str, Any], identity: str, vehicle: int) -> Unit:
    position = str(channel.get("position") or "traction")
    extra = ("mated", "mating_cycles") if position == "charging_inlet" else ()
    return Unit(
        connector=str(channel["connector"]),
        serial=str(channel["serial"]),
        tenant=identity.split(".")[0],
        channel=int(channel["channel"]),
        vehicle=vehicle,
        position=position,
        ratings=Ratings.of(channel["model"]),
        reports=tuple(channel["model"].get("reports") or REPORTED + extra),
        scenario=channel.get("scenario"),
    )
