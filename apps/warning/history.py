"""Stored readings as batches for detectors."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np

from apps.telemetry.answers import Reading
from apps.telemetry.slices import to_ms
from apps.telemetry.store import TenantTelemetry
from ohmwatch.detector import Batch


def batches(
    telemetry: TenantTelemetry, connectors: Sequence[str], *, start: datetime, end: datetime
) -> Iterator[Batch]:
    """Every reading of these connectors, start ≤ measured < end, in order of measurement.

    Raises TelemetryError where the store is away.
    """
    pages = telemetry.replay(connectors, since_ms=to_ms(start), until_ms=to_ms(end))
    for page in pages:
        yield as_batch(page)


def as_batch(readings: Sequence[Reading]) -> Batch:
    """The readings as columns, in the order in which they are given."""
    names: dict[str, int] = {}
    homes = [names.setdefault(each.connector, len(names)) for each in readings]
    quantities = dict.fromkeys(name for each in readings for name in each.values)
    nan = float("nan")
    return Batch(
        connectors=list(names),
        connector=np.array(homes, dtype=np.int32),
        time_ms=np.array([each.measured_ms for each in readings], dtype=np.int64),
        arrived_ms=np.array([each.arrived_ms for each in readings], dtype=np.int64),
        values={
            name: np.array([each.values.get(name, nan) for each in readings], dtype=np.float64)
            for name in quantities
        },
    )
