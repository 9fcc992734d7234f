"""Bytes on disk for a reading, after merge: as shipped, in other ways, and in a Postgres table.

Twelve quantities with noise from the simulator and all dimensions. What other settings would cost
is measured on the same readings, and on the minutes that are built of them, so that decision 0004
can be held to it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from django.utils import timezone

from apps.telemetry import cluster
from apps.telemetry.documents import KINDS, READINGS, ROLLUP
from apps.telemetry.levels import MINUTE
from apps.telemetry.rollups import Builder, Pace
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
    """One way of keeping readings or rollups: other settings (None: not set), other quantities."""

    name: str
    settings: dict[str, Any]
    quantities: dict[str, Any]

    def of(self, kind: dict[str, Any]) -> dict[str, Any]:
        """The kind's settings in this way."""
        held = {**kind, "index.number_of_replicas": 0, **self.settings}
        return {name: value for name, value in held.items() if value is not None}


_PLAIN = {
    "index.mode": None,
    "index.routing_path": None,
    "index.time_series.start_time": None,
    "index.time_series.end_time": None,
    "index.mapping.source.mode": "synthetic",
}
"""An index in time-series mode is sorted by itself, and can't be otherwise."""
_ORDER = ["tenant", "connector", "@timestamp"]
PAGE = 2_000
AT_ONCE = 50
AS_SHIPPED = Way("as shipped", {}, {})
WAYS = (
    AS_SHIPPED,
    Way("quantities as double", {}, {"type": "double", "index": False}),
    Way("best_compression", {"index.codec": "best_compression"}, {}),
    Way("stored source", {"index.mapping.source.mode": "stored"}, {}),
    Way("no time series but sorted", {**_PLAIN, "index.sort.field": _ORDER}, {}),
    Way("no time series and unsorted", _PLAIN, {}),
)
ROLLUP_WAYS = (
    AS_SHIPPED,
    Way("default codec", {"index.codec": "default"}, {}),
    Way("unsorted", {"index.sort.field": None}, {}),
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
    minutes = _bytes_of_rollups(store, readings)
    ours = minutes[AS_SHIPPED.name]
    measures += [
        Measure(f"bytes a minute of a connector, {name}", each, "B", ours, each / ours)
        for name, each in minutes.items()
    ]
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
    settings = way.of({**READINGS.settings, **bounds})
    store.client.indices.create(index=index, settings=settings, mappings=mappings)
    for lines in _as_they_come(index, readings):
        assert all(result.is_stored for result in store.bulk(lines))
    count = CONNECTORS * len(readings.times_ms)
    found = _merged_bytes(store, index, count)
    cluster.delete(store.client, [index])
    return found / count


def _as_they_come(index: str, readings: corpus.Corpus) -> Iterator[bytes]:
    """Batches of 50 readings of each connector: what is sorted afterwards was not so before."""
    fleet = [corpus.Connector(number) for number in range(CONNECTORS)]
    columns = [readings.columns(connector) for connector in fleet]
    for first in range(0, len(readings.times_ms), AT_ONCE):
        these = slice(first, first + AT_ONCE)
        yield b"".join(
            corpus.bulk_lines(
                index,
                connector,
                readings.times_ms[these],
                {name: column[these] for name, column in own.items()},
            )
            for connector, own in zip(fleet, columns, strict=True)
        )


def _bytes_of_rollups(store: TelemetryStore, readings: corpus.Corpus) -> dict[str, float]:
    """Of the minutes that the product builds of the same readings, by way."""
    store.prepare(timezone.now())
    places = {way.name: f"{PREFIX}minutes-{way.name.replace(' ', '-')}" for way in ROLLUP_WAYS}
    kind = ROLLUP[MINUTE.name]
    try:
        _write_to_slices(store, readings)
        Builder(store, pace=Pace(share=1.0)).advance(timezone.now(), levels=[MINUTE])
        for way in ROLLUP_WAYS:
            cluster.delete(store.client, [places[way.name]])
            store.client.indices.create(
                index=places[way.name], settings=way.of(kind.settings), mappings=kind.mappings
            )
        count = 0
        for page in _pages(store, f"{PREFIX}{kind.name}-*"):
            count += len(page)
            for index in places.values():
                assert all(result.is_stored for result in store.bulk(_lines(index, page)))
        return {name: _merged_bytes(store, at, count) / count for name, at in places.items()}
    finally:
        cluster.delete(store.client, [*store.indices(), *places.values()])
        for each in KINDS:
            store.client.indices.delete_index_template(name=f"{PREFIX}{each.name}")


def _write_to_slices(store: TelemetryStore, readings: corpus.Corpus) -> None:
    times_ms = readings.times_ms
    indices = [store.reading_index("30d", time_ms) for time_ms in times_ms.tolist()]
    for number in range(CONNECTORS):
        connector = corpus.Connector(number)
        columns = readings.columns(connector)
        for index in dict.fromkeys(indices):
            these = [at for at, each in enumerate(indices) if each == index]
            cut = slice(these[0], these[-1] + 1)
            part = {name: column[cut] for name, column in columns.items()}
            lines = corpus.bulk_lines(index, connector, times_ms[cut], part)
            assert all(result.is_stored for result in store.bulk(lines))


def _pages(store: TelemetryStore, pattern: str) -> Iterator[Sequence[dict[str, Any]]]:
    """By time, then connector: the order in which a running product builds them, nearly."""
    after: dict[str, Any] = {}
    store.client.indices.refresh(index=pattern)
    while True:
        body = {"size": PAGE, "sort": [{"@timestamp": "asc"}, {"connector": "asc"}], **after}
        hits = cluster.search(store.client, pattern, body, limit_s=30)["hits"]["hits"]
        if not hits:
            return
        yield hits
        after = {"search_after": hits[-1]["sort"]}


def _lines(index: str, page: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(
        orjson.dumps({"index": {"_index": index, "_id": hit["_id"]}})
        + b"\n"
        + orjson.dumps(hit["_source"])
        + b"\n"
        for hit in page
    )


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
