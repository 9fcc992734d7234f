"""Bytes on disk for a reading, after merge: as shipped, in other ways, and in a Postgres table.

Twelve quantities with noise from the simulator and all dimensions. What other settings would cost
is measured on the same readings, so that decision 0004 can be held to it.
"""

from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from apps.telemetry import cluster
from apps.telemetry.documents import READINGS
from apps.telemetry.slices import DAY_MS, to_ms
from apps.telemetry.store import TelemetryStore
from benchmarks import corpus, table
from benchmarks.harness import Measure, finish

NEEDS_STORES = True
CONNECTORS = 40
STEP_MS = 10_000
TARGET_BYTES = 60
TARGET_TABLE = 4
PREFIX = "storage-"


@dataclass(frozen=True)
class Way:
    """One way of keeping readings."""

    name: str
    settings: dict[str, Any]
    quantities: dict[str, Any]


AS_SHIPPED = Way("as shipped", {}, {})
WAYS = (
    AS_SHIPPED,
    Way("quantities as double", {}, {"type": "double", "index": False}),
    Way("best_compression", {"index.codec": "best_compression"}, {}),
    Way("stored source", {"index.mapping.source.mode": "stored"}, {}),
)


def main(quick: bool) -> int:
    """Half a million readings; a tenth of them for a quick look."""
    end_ms = to_ms(timezone.now()) // DAY_MS * DAY_MS
    days = 0.14 if quick else 1.45
    start_ms = end_ms - int(days * DAY_MS)
    readings = corpus.Corpus(start_ms=start_ms, end_ms=end_ms, step_ms=STEP_MS)
    store = TelemetryStore(prefix=PREFIX)
    held = {way.name: _bytes_of(store, way, readings, (start_ms, end_ms)) for way in WAYS}
    ours = held[AS_SHIPPED.name]
    in_table, with_index = _bytes_of_table(readings)
    measures = [Measure.at_most("bytes a reading, as shipped", ours, "B", TARGET_BYTES)]
    measures += [
        Measure(f"bytes a reading, {name}", each, "B", ours, each / ours)
        for name, each in held.items()
        if name != AS_SHIPPED.name
    ]
    measures.append(
        Measure.at_least("Postgres, table with its index", with_index, "B", TARGET_TABLE, ours)
    )
    measures.append(Measure("Postgres, table alone", in_table, "B", ours, in_table / ours))
    finish("storage", measures, quick)
    return 0


def _bytes_of(
    store: TelemetryStore, way: Way, readings: corpus.Corpus, span: tuple[int, int]
) -> float:
    index = f"{PREFIX}{way.name.replace(' ', '-')}"
    cluster.delete(store.client, [index])
    bounds = {
        "index.time_series.start_time": span[0],
        "index.time_series.end_time": span[1],
    }
    mappings = {**READINGS.mappings, "properties": {**READINGS.mappings["properties"]}}
    if way.quantities:
        mappings["properties"] |= dict.fromkeys(corpus.QUANTITIES, way.quantities)
    store.client.indices.create(
        index=index,
        settings={**READINGS.settings, "index.number_of_replicas": 0, **bounds, **way.settings},
        mappings=mappings,
    )
    for number in range(CONNECTORS):
        connector = corpus.Connector(number)
        lines = corpus.bulk_lines(index, connector, readings.times_ms, readings.columns(connector))
        assert all(result.is_stored for result in store.bulk(lines))
    count = CONNECTORS * len(readings.times_ms)
    found = _merged_bytes(store, index, count)
    cluster.delete(store.client, [index])
    return found / count


def _merged_bytes(store: TelemetryStore, index: str, count: int) -> int:
    """Of one segment that holds every document."""
    patient = store.client.options(request_timeout=600)
    patient.indices.forcemerge(index=index, max_num_segments=1)
    patient.indices.flush(index=index, force=True, wait_if_ongoing=True)
    patient.indices.refresh(index=index)
    assert patient.count(index=index)["count"] == count
    # The store's statistics are up to ten seconds old; this looks at the files.
    found = patient.indices.disk_usage(index=index, run_expensive_tasks=True)[index]
    return int(found["store_size_in_bytes"])


def _bytes_of_table(readings: corpus.Corpus) -> tuple[float, float]:
    with table.connected() as connection:
        table.make(connection)
        for number in range(CONNECTORS):
            connector = corpus.Connector(number)
            table.load(connection, connector, readings.times_ms, readings.columns(connector))
        table.finish(connection)
        alone, total = table.bytes_held(connection)
        connection.execute("DROP TABLE bench_readings")
    count = CONNECTORS * len(readings.times_ms)
    return alone / count, total / count
