"""Stored readings as batches for detectors."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from apps.telemetry.slices import to_ms
from apps.telemetry.tenant import TenantTelemetry
from ohmwatch.detector import Batch


def batches(
    telemetry: TenantTelemetry, connectors: Sequence[str], *, start: datetime, end: datetime
) -> Iterator[Batch]:
    """Every reading of these connectors, start ≤ measured < end, in order of measurement.

    Raises TelemetryError where the store is away.
    """
    return telemetry.replay(connectors, since_ms=to_ms(start), until_ms=to_ms(end))
