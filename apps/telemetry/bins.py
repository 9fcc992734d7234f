"""Distributions as counts in fixed bins: they add up over connectors, hours and models.

The default Elasticsearch node has no `histogram` field, and a percentile of percentiles means
nothing. Bins of one width for each quantity can be summed by any aggregation, and a percentile
read from them is wrong by less than a bin. The first and the last bin are open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Bins:
    """`count` bins of `step`, the first beginning at `low`; unit as the quantity's."""

    low: float
    step: float
    count: int

    @property
    def high(self) -> float:
        return self.low + self.step * self.count

    def between(self, low: float, high: float) -> range:
        """The bins that hold values from low to high."""
        return range(self.number_of(low), self.number_of(high) + 1)

    @property
    def edges(self) -> list[float]:
        """count + 1 edges; the outer ones are where the open bins are drawn to end."""
        return [self.low + self.step * n for n in range(self.count + 1)]

    @property
    def fields(self) -> list[str]:
        """The bins' names within a rollup's quantity."""
        return [f"b{n}" for n in range(self.count)]

    def number_of(self, value: float) -> int:
        """The bin that a value falls into."""
        return min(max(int((value - self.low) // self.step), 0), self.count - 1)


BINS: Mapping[str, Bins] = {
    "temperature_pos_c": Bins(-30, 3, 56),
    "temperature_neg_c": Bins(-30, 3, 56),
    "ambient_c": Bins(-40, 2.5, 50),
    "current_a": Bins(-500, 25, 60),
    "voltage_v": Bins(0, 20, 50),
    "drop_pos_mv": Bins(-100, 8, 50),
    "drop_neg_mv": Bins(-100, 8, 50),
    "insulation_kohm": Bins(0, 200, 50),
    "humidity_pct": Bins(0, 2.5, 40),
    "vibration_g": Bins(0, 0.2, 50),
}
"""States, counters and quantities of the customer's own have none: their range says nothing."""


def percentiles(
    counts: Sequence[float] | NDArray[np.float64],
    bins: Bins,
    percents: Sequence[float],
    *,
    minimum: float,
    maximum: float,
) -> list[float]:
    """The values below which so many per cent of the counted lie; NaN where nothing was counted.

    Within a bin readings are taken to be spread evenly, and none lies beyond minimum and maximum,
    so the error is less than a bin's width.

    >>> percentiles([0, 10, 10, 0], Bins(0, 5, 4), [75], minimum=5.5, maximum=14.0)
    [12.0]
    """
    counted = np.asarray(counts, dtype=np.float64)
    below = counted.cumsum()
    if not below[-1]:
        return [float("nan")] * len(percents)
    wanted = np.asarray(percents) * below[-1] / 100  # in this order: 50 of 14 is 7, not a bit more
    number = np.minimum(below.searchsorted(wanted), bins.count - 1)
    held = counted[number]
    left = below[number] - wanted  # of its bin's readings, those above the wanted one
    share = np.divide(held - left, held, out=np.zeros(len(wanted)), where=held > 0)
    low = bins.low + bins.step * number
    low, high = np.maximum(low, minimum), np.minimum(low + bins.step, maximum)
    low[number == 0] = min(minimum, bins.low)
    high[number == bins.count - 1] = max(maximum, bins.high)
    return np.clip(low + share * (high - low), minimum, maximum).tolist()
