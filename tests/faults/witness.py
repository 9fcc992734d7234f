"""A detector that states nothing and remembers each reading it was shown, in order, in its record.

Records are committed with a checkpoint or not at all: what is in a checkpoint's counts as judged,
once for each time that it stands there.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from apps.partitions.models import Checkpoint
from ohmwatch.detector import Batch, Ratings, State
from ohmwatch.findings import Finding
from ohmwatch.watch import Watch
from tests.faults.checker import Key
from workers.detection.gathering import key_of
from workers.detection.panel import DETECTORS

ROOM = 20_000
"""Readings of one connector; it fails beyond."""


class Witness:
    """See the module. State: 8 bytes a reading, and all of its room."""

    name = "witness"
    version = "1"
    condition = "witness"
    needs: frozenset[str] = frozenset()
    state_dtype: np.dtype[Any] = np.dtype([("seen", "<i8"), ("time_ms", "<i8", (ROOM,))])

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        for at in np.unique(batch.connector).tolist():
            times = batch.time_ms[batch.connector == at]
            seen = int(state["seen"][at])
            state["time_ms"][at, seen : seen + len(times)] = times
            state["seen"][at] += len(times)
        return []


WITNESS = Witness()
WITH_WITNESS = (*DETECTORS, WITNESS)


def witnessed() -> list[Key]:
    """Of all connectors, the readings that count as judged, in the order of judgement."""
    found: list[Key] = []
    for row in Checkpoint.objects.all():
        watch = Watch.load(bytes(row.state), WITH_WITNESS)
        for name, record in zip(watch.connectors, watch._states[WITNESS.name], strict=True):
            times = record["time_ms"][: record["seen"]].tolist()
            found += [(*key_of(name), time_ms) for time_ms in times]
    return found
