"""A partition whose log is gone: its readings once more, from Elasticsearch.

Redis was flushed, restarted or replaced, and with it went what acquisition had appended and
nobody had judged. All of it was stored first, so it is read again: for each connector what is
newer than its clock. The rule of the reorder window is about arrival and measurement only, and
both are stored, so the same readings are chosen as an undisturbed run would have chosen.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from apps.devices.directory import TenantEntry
from apps.partitions.log import partition_of
from apps.telemetry.store import TelemetryStore
from apps.telemetry.stretches import joined
from apps.telemetry.tenant import TenantTelemetry
from ohmwatch.detector import Batch
from ohmwatch.watch import Watch
from workers.detection.gathering import key_of, name_of

AT_ONCE = 200_000
"""Readings kept in memory before they are judged, about 30 MB. Beyond it, how late a reading
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
    held: list[Batch] = []
    for tenant in tenants:
        own = [
            each
            for each in tenant.connectors
            if partition_of(tenant.slug, each, partitions) == partition
        ]
        telemetry = TenantTelemetry(tenant.slug, store=store)
        for since_ms, connectors in _questions(tenant.slug, own, watch):
            for batch in telemetry.replay(connectors, since_ms=since_ms):
                held.append(_unjudged(batch, tenant.slug, watch))
                if sum(map(len, held)) >= AT_ONCE:
                    yield joined(held)
                    held = []
    if any(map(len, held)):
        yield joined(held)


def between(store: TelemetryStore, watch: Watch, until_ms: Mapping[str, int]) -> Iterator[Batch]:
    """Every stored reading of these connectors (names) that is newer than its connector's clock in
    the watch, and not newer than the instant given; in order of measurement."""
    tenants: defaultdict[str, list[str]] = defaultdict(list)
    for name, end_ms in until_ms.items():
        tenant, connector = key_of(name)
        if watch.clock_ms(name) < end_ms:
            tenants[tenant].append(connector)
    for tenant, own in tenants.items():
        telemetry = TenantTelemetry(tenant, store=store)
        for since_ms, connectors in _questions(tenant, own, watch):
            last_ms = max(until_ms[name_of(tenant, each)] for each in connectors)
            for batch in telemetry.replay(connectors, since_ms=since_ms, until_ms=last_ms + 1):
                newer = _unjudged(batch, tenant, watch)
                ends_ms = np.array([until_ms[each] for each in newer.connectors], dtype=np.int64)
                yield newer.rows(newer.time_ms <= ends_ms[newer.connector])


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


def _unjudged(batch: Batch, tenant: str, watch: Watch) -> Batch:
    """What is newer than its connector's clock, the connectors named as the watch knows them."""
    names = [name_of(tenant, each) for each in batch.connectors]
    clocks_ms = np.array([watch.clock_ms(name) for name in names], dtype=np.int64)
    newer = batch.time_ms > clocks_ms[batch.connector]
    return replace(batch, connectors=names).rows(newer)
