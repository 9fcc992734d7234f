"""Readings for the benches of storage and questions: ninety days of a fleet, from the simulator.

A few connectors are simulated with all their physics, and each gets cousins: the same days with
sensor noise of their own, in the sensors' resolution. So millions of readings take a minute to
make, and no two are alike.

Times are a device's as the simulator's are: it reports all its connectors at once, at a phase of
its own, some milliseconds after each is due. Arrival and batch are acquisition's: a message comes
to one slot or the other, and its batch closes a moment after it was opened.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from workers.acquisition.batches import ARRIVAL_STEP_MS, SLOT_SHIFT
from workers.acquisition.intake import Limits
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

SLOTS, FIRST_SLOT = 2, 1_000
"""Acquisition workers, as a stack has them: a broker deals messages out to them in turns. Their
numbers are of no worker's that may run beside, or it would take these batches for its own."""
LATENESS_MS, TRAVEL_MS = 3.0, 40.0
"""Means: by how much a device reports after it is due, and how long a message is on its way."""
LATEST_MS = 200

Whole = NDArray[np.int64]
Columns = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Connector:
    """One of the fleet, with all its dimensions."""

    number: int

    @property
    def id(self) -> str:
        return str(uuid.uuid5(_SPACE, f"connector {self.number}"))

    @property
    def vehicle(self) -> int:
        """Six share one, and its device."""
        return self.number // 6

    @property
    def dimensions(self) -> dict[str, str]:
        """Ids as in the product: 6 connectors a vehicle, 20 vehicles an organisation, 5 models."""
        return {
            "model": str(uuid.uuid5(_SPACE, f"model {self.number % 5}")),
            "batch": f"2026-{self.number % 12 + 1:02d}",
            "organisation": str(uuid.uuid5(_SPACE, f"organisation {self.vehicle // 20}")),
            "vehicle": str(uuid.uuid5(_SPACE, f"vehicle {self.vehicle}")),
            "position": ("traction", "inverter", "charging_inlet")[self.number % 3],
            "device": f"tbox-{self.vehicle:06d}",
        }


@dataclass(frozen=True)
class Stretch:
    """Readings of one connector in order of time: when measured, when arrived, in which batch."""

    measured_ms: Whole
    arrived_ms: Whole
    batch: Whole
    columns: Columns

    def __len__(self) -> int:
        return len(self.measured_ms)

    def part(self, these: slice | Whole) -> "Stretch":
        """Some of them."""
        columns = {name: column[these] for name, column in self.columns.items()}
        return Stretch(self.measured_ms[these], self.arrived_ms[these], self.batch[these], columns)


class Corpus:
    """Days of readings, one in each whole step_ms, before end_ms; the same for the same arguments.

    `together`: how many a device keeps until it sends them, exactly step_ms apart; `slots`: through
    how many workers they come; `alike`: so many stretches of the time see the same but for noise,
    for a quick look, because physics are simulated minute by minute.
    """

    def __init__(
        self,
        *,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        together: int = 1,
        slots: int = SLOTS,
        alike: int = 1,
    ) -> None:
        count = (end_ms - start_ms) // step_ms
        self._grid_ms = start_ms + step_ms * np.arange(count, dtype=np.int64)
        self._step_ms, self._together, self._slots = step_ms, together, slots
        patterns = _simulated(self._grid_ms[: -(-count // alike)])
        self._patterns = {
            name: np.tile(values, (alike, 1))[:count] for name, values in patterns.items()
        }

    def __len__(self) -> int:
        """Readings of a connector."""
        return len(self._grid_ms)

    def readings(self, connector: Connector) -> Stretch:
        """All of a connector's."""
        random = np.random.default_rng([1, connector.vehicle])
        phase_ms = random.integers(0, max(1, self._step_ms - LATEST_MS))
        message = np.arange(len(self)) // self._together
        late_ms = np.minimum(random.exponential(LATENESS_MS, message[-1] + 1), LATEST_MS - 1)
        measured_ms = self._grid_ms + phase_ms + late_ms.astype(np.int64)[message]
        last = np.r_[message[1:] != message[:-1], True]
        travel_ms = random.exponential(TRAVEL_MS, message[-1] + 1).astype(np.int64)
        slot = random.integers(0, self._slots, message[-1] + 1)
        closed_ms = _closed_ms(measured_ms[last] + travel_ms)[message]
        batch = ((FIRST_SLOT + slot[message]) << SLOT_SHIFT) | closed_ms
        arrived_ms = closed_ms - closed_ms % ARRIVAL_STEP_MS
        return Stretch(measured_ms, arrived_ms, batch, self._columns(connector))

    def _columns(self, connector: Connector) -> Columns:
        """The connector's quantities."""
        random = np.random.default_rng(connector.number)
        pattern = connector.number % PATTERNS
        found = {}
        for name in QUANTITIES:
            values = self._patterns[name][:, pattern]
            if name in NOISE:
                values = values + random.normal(0, NOISE[name], len(values))
            found[name] = np.round(values, DECIMALS[name])
        return found


def _closed_ms(came_ms: Whole) -> Whole:
    """When a batch closes that took a message in then: in a slot with messages all the time, one
    opens when the one before has closed, and stays open for as long as acquisition leaves it, and
    as the processor takes to come back to it."""
    open_ms = int(1000 * Limits().wait_s) + 2
    number = came_ms // open_ms + 1
    return number * open_ms + (number * 2_654_435_761 >> 16) % 4


def _simulated(times_ms: Whole) -> dict[str, NDArray[np.float64]]:
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


def bulk_lines(index: str, connector: Connector, readings: Stretch) -> bytes:
    """`_bulk` lines of a connector's readings."""
    return "".join(bulk_texts(index, connector, readings)).encode()


def bulk_texts(index: str, connector: Connector, readings: Stretch) -> list[str]:
    """The same, reading by reading: constant text, filled with each row's numbers."""
    fields = {"tenant": TENANT, "connector": connector.id, **connector.dimensions}
    constant = orjson.dumps(fields).decode()[:-1]
    numbers = "".join(f',"{name}":%s' for name in readings.columns)
    action = orjson.dumps({"create": {"_index": index}}).decode()
    times = ',"@timestamp":%s,"arrived_at":%s,"batch_id":%s'
    pair = f"{action}\n{constant}{times}{numbers}}}\n"
    return [pair % row for row in _rows(readings)]


def copy_lines(connector: Connector, readings: Stretch) -> bytes:
    """The same as Postgres' COPY reads it: a line a reading, with tabs between its values."""
    fixed = [TENANT, connector.id, *connector.dimensions.values()]
    line = "\t".join([*fixed, *["%s"] * (3 + len(readings.columns))]) + "\n"
    return "".join(line % row for row in _rows(readings)).encode()


def _rows(readings: Stretch) -> Iterator[tuple[str, ...]]:
    """Time of measurement, time of arrival, batch, values, as they are written."""
    numbers: Sequence[Whole | NDArray[np.float64]] = [
        *(readings.measured_ms, readings.arrived_ms, readings.batch),
        *readings.columns.values(),
    ]
    return zip(*map(_texts, numbers), strict=True)


def _texts(column: Whole | NDArray[np.float64]) -> list[str]:
    text = orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)
    return text[1:-1].decode().split(",")
