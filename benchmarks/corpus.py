"""Readings for the benches of storage and questions: ninety days of a fleet, from the simulator.

A few connectors are simulated with all their physics, and each gets cousins: the same days with
sensor noise of their own, in the sensors' resolution. So millions of readings take a minute to
make, and no two are alike.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from workers.simulator.fleet import Fleet, Ratings, Unit
from workers.simulator.payloads import DECIMALS
from workers.simulator.plant import Plant

TENANT = "bench"
QUANTITIES = (
    *("current_a", "voltage_v", "temperature_pos_c", "temperature_neg_c", "ambient_c"),
    *("drop_pos_mv", "drop_neg_mv", "insulation_kohm", "interlock", "humidity_pct"),
    *("vibration_g", "mating_cycles"),
)
PATTERNS = 8
NOISE = {"current_a": 0.4, "voltage_v": 0.4, "temperature_pos_c": 0.15, "temperature_neg_c": 0.15,
         "ambient_c": 0.1, "drop_pos_mv": 0.05, "drop_neg_mv": 0.05, "insulation_kohm": 50.0,
         "humidity_pct": 0.5, "vibration_g": 0.05}  # fmt: skip
"""Of a cousin's sensors, one deviation, in the quantity's unit."""
_RATINGS = Ratings(250, 800, 38, 180, (80, 780), 500)
_SPACE = uuid.UUID("01900000-0000-7000-8000-000000000000")

Columns = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Connector:
    """One of the fleet, with all its dimensions."""

    number: int

    @property
    def id(self) -> str:
        return str(uuid.uuid5(_SPACE, f"connector {self.number}"))

    @property
    def dimensions(self) -> dict[str, str]:
        """Ids as in the product: 6 connectors a vehicle, 20 vehicles an organisation, 5 models."""
        vehicle = self.number // 6
        return {
            "model": str(uuid.uuid5(_SPACE, f"model {self.number % 5}")),
            "batch": f"2026-{self.number % 12 + 1:02d}",
            "organisation": str(uuid.uuid5(_SPACE, f"organisation {vehicle // 20}")),
            "vehicle": str(uuid.uuid5(_SPACE, f"vehicle {vehicle}")),
            "position": ("traction", "inverter", "charging_inlet")[self.number % 3],
            "device": f"tbox-{vehicle:06d}",
        }


class Corpus:
    """Days of readings, step_ms apart, up to end_ms; the same for the same arguments."""

    def __init__(self, *, start_ms: int, end_ms: int, step_ms: int) -> None:
        self.times_ms = np.arange(start_ms, end_ms, step_ms, dtype=np.int64)
        self._patterns = _simulated(self.times_ms)

    def columns(self, connector: Connector) -> Columns:
        """The connector's quantities, float64, one for each of times_ms."""
        random = np.random.default_rng(connector.number)
        pattern = connector.number % PATTERNS
        found = {}
        for name in QUANTITIES:
            values = self._patterns[name][:, pattern]
            if name in NOISE:
                values = values + random.normal(0, NOISE[name], len(values))
            found[name] = np.round(values, DECIMALS[name])
        return found


def _simulated(times_ms: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    units = tuple(
        Unit(
            connector=str(number),
            serial=str(number),
            tenant=TENANT,
            channel=0,
            vehicle=number,
            position=("traction", "inverter", "charging_inlet")[number % 3],
            ratings=_RATINGS,
            reports=QUANTITIES,
            scenario=None,
        )
        for number in range(PATTERNS)
    )
    plant = Plant(Fleet((), units), seed=7)
    found = {name: np.empty((len(times_ms), PATTERNS)) for name in QUANTITIES}
    for row, time_ms in enumerate(times_ms.tolist()):
        sample = plant.advance(time_ms)
        for name in QUANTITIES:
            found[name][row] = sample[name]
    return found


def bulk_lines(
    index: str, connector: Connector, times_ms: NDArray[np.int64], columns: Columns
) -> bytes:
    """`_bulk` lines of a connector's readings: constant text, filled with each row's numbers."""
    fields = {"tenant": TENANT, "connector": connector.id, **connector.dimensions}
    constant = orjson.dumps({**fields, "batch_id": connector.number}).decode()[:-1]
    numbers = "".join(f',"{name}":%s' for name in columns)
    action = orjson.dumps({"create": {"_index": index}}).decode()
    pair = f'{action}\n{constant},"@timestamp":%s,"arrived_at":%s{numbers}}}\n'
    return "".join(pair % row for row in _rows(times_ms, columns)).encode()


def copy_lines(connector: Connector, times_ms: NDArray[np.int64], columns: Columns) -> bytes:
    """The same as Postgres' COPY reads it: a line a reading, with tabs between its values."""
    fixed = [TENANT, connector.id, *connector.dimensions.values(), str(connector.number)]
    line = "\t".join([*fixed, *["%s"] * (2 + len(columns))]) + "\n"
    return "".join(line % row for row in _rows(times_ms, columns)).encode()


def _rows(times_ms: NDArray[np.int64], columns: Columns) -> Iterator[tuple[str, ...]]:
    """Time of measurement, time of arrival, values, as they are written."""
    tokens = [_texts(times_ms), _texts(times_ms + 300), *map(_texts, columns.values())]
    return zip(*tokens, strict=True)


def _texts(column: NDArray[np.int64] | NDArray[np.float64]) -> list[str]:
    text = orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)
    return text[1:-1].decode().split(",")
