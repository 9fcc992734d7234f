"""How often something happened of late: a count that forgets exponentially."""

import math

import numpy as np

from ohmwatch.compiled import compiled
from ohmwatch.detector import Batch, Floats, State, Times

RECURRENCE_DTYPE = np.dtype([("count", "<f8")])
"""State of a connector's count. Zero: nothing has happened."""


def recent(batch: Batch, weight: Floats, memory_s: float, state: State, last_ms: Times) -> Floats:
    """The events not yet forgotten at each reading, float64[n]; carries `state` forward.

    `weight[i]` is what happened at reading i counts, 0 for nothing. An event of t seconds ago
    counts its weight times e^(−t/memory_s); in a gap time goes on, for it makes things no fresher.
    `last_ms` is when each connector's count was last asked for, 0 for never; the caller keeps it.
    """
    count = np.array(state["count"])
    counts = np.empty(len(batch))
    _count(
        batch.connector.copy(),
        batch.time_ms.copy(),
        np.array(weight, dtype=np.float64),
        memory_s * 1000.0,
        count,
        np.array(last_ms),
        counts,
    )
    state["count"] = count
    return counts


@compiled
def _count(connector, time_ms, weight, memory_ms, count, last_ms, counts):  # type: ignore[no-untyped-def]
    """All readings in order."""
    for at in range(len(time_ms)):
        owner = connector[at]
        if last_ms[owner] > 0:
            count[owner] *= math.exp(-(time_ms[at] - last_ms[owner]) / memory_ms)
        count[owner] += weight[at]
        last_ms[owner] = time_ms[at]
        counts[at] = count[owner]
