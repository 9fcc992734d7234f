"""The protocol of a detector: readings of many connectors in, findings out.

This file is the whole of what a plug-in must know. It stands outside `detectors/`, so that no
detector depends on another.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ohmwatch.findings import Finding

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
Indices = NDArray[np.int32]
Flags = NDArray[np.bool_]
State = NDArray[Any]

NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Ratings:
    """What the catalogue says about one connector's model. NaN or empty: it does not say.

    `derating` holds pairs of ambient temperature in °C and the current in A allowed there, in
    rising order of ambient.
    """

    model: str = ""
    position: str = ""
    rated_current_a: float = NAN
    rated_voltage_v: float = NAN
    temperature_limit_c: float = NAN
    derating: tuple[tuple[float, float], ...] = ()
    temperature_rise_rated_k: float = NAN
    temperature_rise_limit_k: float = NAN
    contact_resistance_new_uohm: float = NAN
    contact_resistance_end_uohm: float = NAN
    thermal_resistance_k_per_w: float = NAN
    thermal_time_constants_s: tuple[float, ...] = ()
    insulation_minimum_kohm: float = NAN
    rated_mating_cycles: float = NAN
    reports: tuple[str, ...] = ()
    interval_s: float = NAN


@dataclass(frozen=True, slots=True)
class Batch:
    """Readings of many connectors, sorted by connector and then by time.

    `connector[i]` is the position in `connectors` of the connector that reading i is of;
    `values` holds a column for each quantity (READINGS.md names and units), NaN for no value;
    a quantity that nobody reported has no column.
    """

    connectors: Sequence[str]
    connector: Indices
    time_ms: Times
    arrived_ms: Times
    values: Mapping[str, Floats]

    def __len__(self) -> int:
        return len(self.time_ms)

    @classmethod
    def of_one(
        cls, connector: str, time_ms: Sequence[int] | Times, **values: Sequence[float] | Floats
    ) -> "Batch":
        """The readings of one connector, in order of time, as if they came when measured."""
        times = np.asarray(time_ms, dtype=np.int64)
        return cls(
            connectors=[connector],
            connector=np.zeros(len(times), dtype=np.int32),
            time_ms=times,
            arrived_ms=times,
            values={name: np.asarray(each, dtype=np.float64) for name, each in values.items()},
        )

    def column(self, quantity: str) -> Floats:
        """The values of a quantity, float64[n]; all NaN where nobody reported it."""
        values = self.values.get(quantity)
        return values if values is not None else np.full(len(self), np.nan)

    def rows(self, chosen: Flags | NDArray[np.intp]) -> "Batch":
        """The readings where `chosen` (bool[n]) is true, or of these rising indices, in order."""
        if chosen.dtype == np.bool_ and chosen.all():
            return self
        return Batch(
            connectors=self.connectors,
            connector=self.connector[chosen],
            time_ms=self.time_ms[chosen],
            arrived_ms=self.arrived_ms[chosen],
            values=_rows(self.values, chosen),
        )

    def with_columns(self, columns: Mapping[str, Floats]) -> "Batch":
        """The batch with these columns among its values, float64[n] each, before its own."""
        return replace(self, values=Columns(self.values, more=columns))


class Columns(Mapping[str, Floats]):
    """Columns of which each is cut to the rows that are wanted when it is first asked for.

    A detector wants few of the many columns that stages add. What was cut holds on to the whole,
    so it is for a turn, not for keeping.
    """

    def __init__(
        self,
        whole: Mapping[str, Floats],
        chosen: Flags | NDArray[np.intp] | None = None,
        *,
        more: Mapping[str, Floats] | None = None,
    ) -> None:
        """The rows of `whole` that are `chosen`, as in `Batch.rows`; and `more`, of those rows."""
        self._whole, self._chosen, self._more = whole, chosen, more or {}
        self._cut: dict[str, Floats] = {}
        self._parts: dict[str, Batch] = {}

    def part(self, name: str, work: Callable[[], Batch]) -> Batch:
        """A part of the batch that several look at: made for the first, who names it, with what was
        cut for any of them."""
        if name not in self._parts:
            self._parts[name] = work()
        return self._parts[name]

    def stretch(self, rows: slice) -> dict[str, Floats]:
        """All of them, of these rows of their own, without cutting the others."""
        chosen: Any = self._chosen
        if chosen is None:
            here: Any = rows
        else:
            here = (np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen)[rows]
        more = {name: column[rows] for name, column in self._more.items()}
        return {name: column[here] for name, column in self._whole.items()} | more

    def rows(self, chosen: Flags | NDArray[np.intp]) -> "Columns":
        """The columns of these rows. They hold on to what this was made of, not to this: a part
        that is kept here would hold on to itself, and all columns would wait for the collector."""
        behind = Columns(self._whole, self._chosen, more=self._more)
        behind._cut = self._cut
        return Columns(behind, chosen)

    def __getitem__(self, name: str) -> Floats:
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def get(self, name: str, default: Any = None) -> Any:
        """As of any mapping, without an error on the way: many are asked for, and some are not."""
        found = self._more.get(name)
        if found is None:
            found = self._whole.get(name) if self._chosen is None else self._cut_of(name)
        return default if found is None else found

    def _cut_of(self, name: str) -> Floats | None:
        found = self._cut.get(name)
        if found is None and (whole := self._whole.get(name)) is not None:
            found = self._cut[name] = whole[self._chosen]
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._whole, *self._more]))

    def __len__(self) -> int:
        return len({*self._whole, *self._more})


def _rows(values: Mapping[str, Floats], chosen: Flags | NDArray[np.intp]) -> Mapping[str, Floats]:
    if isinstance(values, Columns):
        return values.rows(chosen)
    return {name: column[chosen] for name, column in values.items()}


@runtime_checkable
class Detector(Protocol):
    """Looks at readings in order of time and states findings.

    `state_dtype` is the fixed record that is kept for each connector between calls; a record of
    zeros is a connector that was never seen. `needs` names quantities that a reading must all
    carry to say something to this detector; without them it stays silent.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def condition(self) -> str: ...
    @property
    def needs(self) -> frozenset[str]: ...
    @property
    def state_dtype(self) -> np.dtype[Any]: ...

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        """States what the batch shows, and carries `state` (one record a connector) forward.

        The caller promises that the readings of a connector are strictly newer than those of
        all earlier calls, without repeats; it keeps the clock that sees to that
        (`ohmwatch.watch`). Only `state` may be written to. The same readings cut into other
        batches must give the same findings: no clock, no chance, no memory elsewhere.
        """
        ...


@dataclass(frozen=True, slots=True)
class Silence:
    """What a clock shows of connectors of which no reading came, at `now_ms` (ms since 1970).

    `heard_ms` (int64[n]) is when anything of the connector's device arrived last, 0 where that is
    not known; `online` (bool[n]) is true where the device's newest word of itself says so, false
    also where it said nothing. Since `listening_ms` what devices sent would have been heard:
    before, it could have been us.
    """

    connectors: Sequence[str]
    heard_ms: Times
    online: Flags
    listening_ms: int
    now_ms: int


@runtime_checkable
class Clocked(Protocol):
    """A detector that also states what no reading shows: that none comes."""

    def lapse(self, silence: Silence, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        """States what the silence shows, and carries `state` (one record a connector) forward.

        Asked now and then, however often: what was stated is not stated again. All else holds
        as for `Detector.observe`.
        """
        ...

    def lapsed_ms(self, state: State) -> Times:
        """The newest instant that `lapse` stated of each record, int64[n], also where it is over; 0
        where there was none. Of what lies before it, readings alone do not give the findings."""
        ...
