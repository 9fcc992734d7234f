"""Readings as devices write them: one object, rows, or columns of one channel."""

from collections.abc import Sequence

import numpy as np
import orjson

from workers.simulator.fleet import Device, Fleet, Unit
from workers.simulator.plant import Sample

DECIMALS = {
    "current_a": 1,
    "voltage_v": 1,
    "temperature_pos_c": 1,
    "temperature_neg_c": 1,
    "ambient_c": 1,
    "drop_pos_mv": 2,
    "drop_neg_mv": 2,
    "insulation_kohm": 0,
    "interlock": 0,
    "humidity_pct": 0,
    "vibration_g": 2,
    "mated": 0,
    "mating_cycles": 0,
}
"""What the sensors' converters resolve."""


def quantised(name: str, number: float) -> float | int | None:
    """The value in the device's resolution; None where nothing was measured."""
    if np.isnan(number):
        return None
    decimals = DECIMALS[name]
    return round(float(number), decimals) if decimals else round(float(number))


def live_message(
    fleet: Fleet, device: Device, samples: Sequence[tuple[int, Sample]], *, mute: set[int]
) -> bytes | None:
    """One message with the device's connectors at these instants; None with nothing to say."""
    rows = [
        row
        for time_ms, sample in samples
        for place in device.units
        if place not in mute and (row := _row(fleet.units[place], place, time_ms, sample))
    ]
    if not rows:
        return None
    return orjson.dumps(rows[0] if len(rows) == 1 else {"readings": rows})


def _row(unit: Unit, place: int, time_ms: int, sample: Sample) -> dict[str, object] | None:
    values = {name: quantised(name, sample[name][place]) for name in unit.reports if name in sample}
    measured = {name: value for name, value in values.items() if value is not None}
    return {"time": time_ms, "channel": unit.channel, **measured} if measured else None


def column_message(
    unit: Unit, place: int, samples: Sequence[Sample], *, start_ms: int, step_ms: int
) -> bytes:
    """A stretch of one connector's readings by columns, evenly spaced."""
    columns = {
        name: [quantised(name, sample[name][place]) for sample in samples]
        for name in unit.reports
        if name in samples[0]
    }
    return orjson.dumps(
        {"channel": unit.channel, "start": start_ms, "step_ms": step_ms, "columns": columns}
    )
