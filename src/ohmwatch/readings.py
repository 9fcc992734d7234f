"""What a reading is: the quantities of one connector at one instant, and readings as columns.

The table below is the contract with devices (docs/devices/readings.md is tested against it).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

MESSAGE_BYTES_LIMIT = 256 * 1024
"""The limit of a codec's time, too: what a message costs grows with its size and no faster."""
READINGS_LIMIT = 5_000
"""Readings in one message."""
CHANNELS = 64
OWN_QUANTITIES_LIMIT = 16
"""Quantities of the customer's own (`x_…`) for one connector."""
FUTURE_LIMIT_MS = 5 * 60 * 1000
"""How far a device's clock may be ahead of ours."""

_OWN_NAME = re.compile(r"x_[a-z0-9_]{1,32}")
_FINITE = float(np.finfo(np.float64).max)


class Kind(StrEnum):
    """How a quantity is written: any finite number, a whole number, or a state (0, 1, a bool)."""

    NUMBER = "number"
    INTEGER = "integer"
    STATE = "state"


@dataclass(frozen=True)
class Quantity:
    """One measured quantity: its name with the unit in it, and the range that is believed."""

    name: str
    unit: str
    low: float
    high: float
    kind: Kind = Kind.NUMBER


QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        Quantity("current_a", "A", -2000, 2000),
        Quantity("voltage_v", "V", 0, 1500),
        Quantity("temperature_pos_c", "°C", -60, 400),
        Quantity("temperature_neg_c", "°C", -60, 400),
        Quantity("ambient_c", "°C", -60, 150),
        Quantity("drop_pos_mv", "mV", -2000, 2000),
        Quantity("drop_neg_mv", "mV", -2000, 2000),
        Quantity("insulation_kohm", "kΩ", 0, 1_000_000),
        Quantity("interlock", "", 0, 1, Kind.STATE),
        Quantity("humidity_pct", "%", 0, 100),
        Quantity("vibration_g", "g", 0, 100),
        Quantity("mated", "", 0, 1, Kind.STATE),
        Quantity("mating_cycles", "", 0, 1_000_000, Kind.INTEGER),
    )
}


def quantity_of(name: str) -> Quantity | None:
    """The quantity a field stands for: a known one, a customer's own `x_…`, or none."""
    known = QUANTITIES.get(name)
    if known is None and _OWN_NAME.fullmatch(name):
        return Quantity(name, "", -_FINITE, _FINITE)
    return known


def as_stored(names: Sequence[str], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values (a row for each of the names) as the store keeps them: known quantities in single
    precision, a customer's own as they are. What is judged live and what is read again are the same
    to the bit.

    >>> as_stored(["x_count", "current_a"], np.array([[61.2], [61.2]])).ravel().tolist()
    [61.2, 61.20000076293945]
    """
    with np.errstate(over="ignore"):  # of what is their own, and stays as it is
        rounded = matrix.astype(np.float32).astype(np.float64)
    own = [row for row, name in enumerate(names) if name not in QUANTITIES]
    if own:
        rounded[own] = matrix[own]
    return rounded


class Sheet(Mapping[str, NDArray[np.float64]]):
    """Columns by name that are the rows of one matrix: `names[i]` has the values `matrix[i]`.

    `matrix`: float64[quantities, readings]. Slicing it costs one step for all columns, and sheets
    of the same names are joined by joining their matrices.
    """

    __slots__ = ("matrix", "names")

    def __init__(self, names: tuple[str, ...], matrix: NDArray[np.float64]) -> None:
        self.names = names
        self.matrix = matrix

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        try:
            return self.matrix[self.names.index(name)]
        except ValueError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Sheet({dict(self)!r})"

    @classmethod
    def of(cls, columns: Mapping[str, NDArray[np.float64]]) -> "Sheet":
        """The same columns as a sheet; raises ValueError where their lengths differ."""
        if isinstance(columns, Sheet):
            return columns
        names = tuple(columns)
        matrix = np.array([columns[name] for name in names], dtype=np.float64)
        return cls(names, matrix if names else np.empty((0, 0)))


@dataclass
class Columns:
    """Readings of one device side by side; row i of each array is one reading.

    `time_ms`: int64[n], ms since 1970 UTC, as measured. `channel`: int16[n].
    `values`: a float64[n] for each quantity that occurs; NaN is "no value at that instant",
    a state is 0.0 or 1.0.
    """

    time_ms: NDArray[np.int64]
    channel: NDArray[np.int16]
    values: Mapping[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.time_ms)
