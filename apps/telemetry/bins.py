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


def percentile(
    counts: Sequence[float] | NDArray[np.float64],
    bins: Bins,
    percent: float,
    *,
    minimum: float,
    maximum: float,
) -> float:
    """The value below which `percent` of the counted lie; NaN where nothing was counted.

    Within a bin readings are taken to be spread evenly, and none lies beyond minimum and maximum,
    so the error is less than a bin's width.

    >>> percentile([0, 10, 10, 0], Bins(0, 5, 4), 75, minimum=5.5, maximum=14.0)
    12.0
    """
    counted = np.asarray(counts, dtype=np.float64)
    total = counted.sum()
    if not total:
        return float("nan")
    edges = np.clip(np.asarray(bins.edges), minimum, maximum)
    edges[0], edges[-1] = min(edges[0], minimum), max(edges[-1], maximum)
    below = np.concatenate([[0.0], np.cumsum(counted)])
    wanted = total * percent / 100
    number = int(np.clip(np.searchsorted(below, wanted, side="left") - 1, 0, bins.count - 1))
    share = (wanted - below[number]) / counted[number] if counted[number] else 0.0
    return float(edges[number] + share * (edges[number + 1] - edges[number]))
