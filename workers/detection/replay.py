"""A partition whose log is gone: its readings once more, from Elasticsearch.

Redis was flushed, restarted or replaced, and with it went what acquisition had appended and
nobody had judged. All of it was stored first, so it is read again: for each connector what is
newer than its clock. The rule of the reorder window is about arrival and measurement only, and
both are stored, so the same readings are chosen as an undisturbed run would have chosen.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from apps.devices.directory import TenantEntry
from apps.partitions.log import partition_of
from apps.telemetry.answers import Reading
from apps.telemetry.store import TelemetryStore, TenantTelemetry
from ohmwatch.detector import Batch
from ohmwatch.watch import Watch
from workers.detection.gathering import name_of

AT_ONCE = 200_000
"""Readings kept in memory before they are judged, about 100 MB. Beyond it, how late a reading
was is known only against those it is judged with; a checkpoint is seconds old, so that needs
hours without detection."""

CONNECTORS_A_QUESTION = 500
CLOCK_STEP_MS = 600_000
"""Connectors whose clocks lie this near to one another are asked for in one question."""


def missed(
    store: TelemetryStore,
    tenants: Sequence[TenantEntry],
    watch: Watch,
    *,
    partition: int,
    partitions: int,
) -> Iterator[Batch]:
    """Every stored reading of the partition that is newer than its connector's clock."""
    rows: list[tuple[str, Reading]] = []
    for tenant in tenants:
        own = [
            each
            for each in tenant.connectors
            if partition_of(tenant.slug, each, partitions) == partition
        ]
        for since_ms, connectors in _questions(tenant.slug, own, watch):
            pages = TenantTelemetry(tenant.slug, store=store).replay(connectors, since_ms=since_ms)
            for page in pages:
                rows += [
                    (name_of(tenant.slug, reading.connector), reading)
                    for reading in page
                    if reading.measured_ms > watch.clock_ms(name_of(tenant.slug, reading.connector))
                ]
                if len(rows) >= AT_ONCE:
                    yield _as_batch(rows)
                    rows = []
    if rows:
        yield _as_batch(rows)


def _questions(
    tenant: str, connectors: Sequence[str], watch: Watch
) -> Iterator[tuple[int, list[str]]]:
    """From when to ask for which connectors: a silent one must not make all others be read."""
    alike: defaultdict[int, list[str]] = defaultdict(list)
    for each in connectors:
        alike[watch.clock_ms(name_of(tenant, each)) // CLOCK_STEP_MS].append(each)
    for step, those in sorted(alike.items()):
        for first in range(0, len(those), CONNECTORS_A_QUESTION):
            yield step * CLOCK_STEP_MS, those[first : first + CONNECTORS_A_QUESTION]


def _as_batch(rows: Sequence[tuple[str, Reading]]) -> Batch:
    names: dict[str, int] = {}
    homes = [names.setdefault(name, len(names)) for name, _ in rows]
    quantities = dict.fromkeys(name for _, reading in rows for name in reading.values)
    nan = float("nan")
    return Batch(
        connectors=list(names),
        connector=np.array(homes, dtype=np.int32),
        time_ms=np.array([reading.measured_ms for _, reading in rows], dtype=np.int64),
        arrived_ms=np.array([reading.arrived_ms for _, reading in rows], dtype=np.int64),
        values={
            name: np.array([reading.values.get(name, nan) for _, reading in rows], dtype=np.float64)
            for name in quantities
        },
    )
