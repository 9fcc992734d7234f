"""Recordings on disk for back-tests: connectors of one model, some readings late, some twice."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ohmwatch.backtest.installed import Installed
from ohmwatch.checks.detectors import EXAMPLE, recording
from ohmwatch.detector import Batch

COLUMNS: dict[str, str] = {
    "connector": "c0",
    "model": "example-250",
    "batch": "b7",
    "vehicle": "",
    "position": "charging_inlet",
    "rated_current_a": "250",
    "rated_voltage_v": "800",
    "temperature_limit_c": "90",
    "derating": "40:250 70:120 85:50",
    "temperature_rise_rated_k": "32",
    "temperature_rise_limit_k": "50",
    "contact_resistance_new_uohm": "180",
    "contact_resistance_end_uohm": "500",
    "thermal_resistance_k_per_w": "2.8",
    "thermal_time_constants_s": "80 780",
    "insulation_minimum_kohm": "500",
    "rated_mating_cycles": "10000",
    "interval_s": "5",
}


def installed(*names: str) -> dict[str, Installed]:
    """Connectors of the example's model."""
    return {name: Installed(name, "example-250", "b7", "", EXAMPLE) for name in names}


def as_it_arrives(seed: int = 5) -> Batch:
    """The checks' recording: three of a hundred readings late, one of a hundred twice."""
    batch = recording()
    chance = np.random.default_rng(seed)
    values = {
        name: np.where(chance.random(len(batch)) < 0.02, np.nan, np.round(column, 3))
        for name, column in batch.values.items()
    }
    delay_ms = chance.integers(80, 250, len(batch))
    delay_ms += (chance.random(len(batch)) < 0.03) * chance.integers(0, 3_600_000, len(batch))
    again = np.flatnonzero(chance.random(len(batch)) < 0.01)
    rows = np.concatenate([np.arange(len(batch)), again])
    arrived_ms = (batch.time_ms + delay_ms)[rows]
    arrived_ms[len(batch) :] += 40
    return in_this_order(batch, rows, arrived_ms, values)


def in_this_order(
    batch: Batch, rows: np.ndarray, arrived_ms: np.ndarray, values: Mapping[str, np.ndarray]
) -> Batch:
    """The rows of a batch, sorted by when they arrived."""
    order = np.argsort(arrived_ms, kind="stable")
    rows = rows[order]
    return Batch(
        connectors=batch.connectors,
        connector=batch.connector[rows],
        time_ms=batch.time_ms[rows],
        arrived_ms=arrived_ms[order],
        values={name: column[rows] for name, column in values.items()},
    )


def table_of(batch: Batch, *, arrived: bool = True) -> dict[str, list[Any]]:
    """A batch as columns for a file; None is an empty cell."""
    table: dict[str, list[Any]] = {
        "connector": [batch.connectors[home] for home in batch.connector.tolist()],
        "time": batch.time_ms.tolist(),
    }
    if arrived:
        table["arrived"] = batch.arrived_ms.tolist()
    for name, column in batch.values.items():
        table[name] = [None if each != each else each for each in column.tolist()]
    return table


def write_csv(path: Path, table: Mapping[str, list[Any]]) -> Path:
    """The columns as a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
    return path


def write_connectors(path: Path, *rows: Mapping[str, str]) -> Path:
    """connectors.csv with these lines."""
    return write_csv(path, {name: [row[name] for row in rows] for name in rows[0]})
