"""Bytes on disk for a reading, after merge: as shipped, in other ways, and in a Postgres table.

Twelve quantities with noise from the simulator and all dimensions. What other settings would cost
is measured on the same readings, and on the minutes that are built of them, and where the bytes
lie is told by field, so that decision 0004 can be held to it. Readings are written in the order
in which they arrive, and each way's documents are counted: as many as were stored, and as the table
has rows.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import orjson
from django.conf import settings
from django.utils import timezone

from apps.telemetry import cluster
from apps.telemetry.documents import DIMENSIONS, READINGS, ROLLUP
from apps.telemetry.levels import MINUTE
from apps.telemetry.rollups import Builder, Pace
from apps.telemetry.slices import DAY_MS, to_ms
from apps.telemetry.store import TelemetryStore
from benchmarks import corpus, table
from benchmarks.harness import AccountOpen, Measure, close, finish

NEEDS_STORES = True
CONNECTORS = 40
STEP_MS = 10_000
TARGET_BYTES = 60
TARGET_TABLE = 4
PREFIX = f"{settings.ELASTICSEARCH_PREFIX}storage-"


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
COMPRESSED = Way("best_compression", {"index.codec": "best_compression"}, {})
WAYS = (
    AS_SHIPPED,
    Way("quantities as double", {}, {"type": "double", "index": False}),
    COMPRESSED,
    Way("stored source", {"index.mapping.source.mode": "stored"}, {}),
    Way("no time series but sorted", {**_PLAIN, "index.sort.field": _ORDER}, {}),
    Way("no time series and unsorted", _PLAIN, {}),
)
ROLLUP_WAYS = (
    AS_SHIPPED,
    Way("default codec", {"index.codec": "default"}, {}),
    Way("unsorted", {"index.sort.field": None}, {}),
)


ONE_SLOT, TOGETHER = "through one slot", f"{AT_ONCE} a message"
REST_S = 70.0
FETCHED, FETCHES = 500, 21
"""Readings of one answer, and how many answers: each of readings that lie nowhere together."""
_MESSAGES = FETCHED // 5
"""Of a device with six connectors, all but the last, which has four."""
PARTS = {
    "quantities": corpus.QUANTITIES,
    "_id": ("_id",),
    "sequence number": ("_seq_no",),
    "@timestamp": ("@timestamp",),
    "arrived_at": ("arrived_at",),
    "batch_id": ("batch_id",),
    "dimensions": ("tenant", "connector", *DIMENSIONS, "_tsid", "_ts_routing_hash"),
}
"""Fields by what they are for; the rest is told as such."""


@dataclass(frozen=True)
class Held:
    """What an index of one segment takes, in bytes, in all and by field; of so many documents."""

    documents: int
    bytes_in_all: int
    fields: Mapping[str, int]

    @property
    def each(self) -> float:
        """Bytes a document."""
        return self.bytes_in_all / self.documents

    def parts(self) -> dict[str, float]:
        """Bytes a document by what they are for."""
        found = {
            part: sum(self.fields.get(name, 0) for name in names) / self.documents
            for part, names in PARTS.items()
        }
        return {**found, "all else": self.each - sum(found.values())}


@dataclass(frozen=True)
class Readings:
    """The bench's readings: how they are sent, and over which stretch of time."""

    span_ms: tuple[int, int]
    together: int = 1
    slots: int = corpus.SLOTS

    def made(self) -> list[tuple[corpus.Connector, corpus.Stretch]]:
        """Of each connector, all of them."""
        start_ms, end_ms = self.span_ms
        days = corpus.Corpus(
            start_ms=start_ms,
            end_ms=end_ms,
            step_ms=STEP_MS,
            together=self.together,
            slots=self.slots,
        )
        fleet = [corpus.Connector(number) for number in range(CONNECTORS)]
        return [(connector, days.readings(connector)) for connector in fleet]


Made = list[tuple[corpus.Connector, corpus.Stretch]]


def main(quick: bool) -> int:
    """Half a million readings; a thirtieth of them for a quick look."""
    end_ms = to_ms(timezone.now()) // DAY_MS * DAY_MS
    span_ms = (end_ms - int((0.05 if quick else 1.45) * DAY_MS), end_ms)
    made = Readings(span_ms).made()
    store = TelemetryStore(prefix=PREFIX)
    stored = {way.name: _written(store, way.name, way, made, span_ms) for way in WAYS}
    for name, readings in (
        (ONE_SLOT, Readings(span_ms, slots=1)),
        (TOGETHER, Readings(span_ms, together=AT_ONCE)),
    ):
        stored[name] = _written(store, name, AS_SHIPPED, readings.made(), span_ms)
    if not quick:
        _rest(store, [_index(name) for name in stored])
    held = {name: _merged(store, _index(name), count) for name, count in stored.items()}
    fetched_ms = _fetched_ms(store, made, (AS_SHIPPED, COMPRESSED))
    cluster.delete(store.client, [_index(name) for name in stored])
    in_table, with_index, rows = _bytes_of_table(made)
    minutes = _bytes_of_rollups(store, made)
    closed = close(
        "readings",
        made=sum(len(readings) for _, readings in made),
        **{name: each.documents for name, each in held.items()},
        rows=rows,
    )
    ours = held[AS_SHIPPED.name]
    measures = [
        Measure.at_most("bytes a reading, as shipped", ours.each, "B", TARGET_BYTES),
        *_against(ours.each, {f"… of it {part}": of for part, of in ours.parts().items()}),
        *_against(
            ours.each,
            {
                f"bytes a reading, {name}": each.each
                for name, each in held.items()
                if name != AS_SHIPPED.name
            },
        ),
        Measure.at_least(
            "Postgres, table with its index", with_index, "B", TARGET_TABLE, ours.each
        ),
        Measure("Postgres, table alone", in_table, "B", ours.each, in_table / ours.each),
        Measure(
            f"{FETCHED} scattered readings, best_compression against ours",
            *(fetched_ms[1], "ms", fetched_ms[0], fetched_ms[1] / fetched_ms[0]),
        ),
        *_against(
            minutes[AS_SHIPPED.name].each,
            {f"bytes a minute of a connector, {n}": each.each for n, each in minutes.items()},
        ),
    ]
    counts = {name: each.documents for name, each in minutes.items()}
    finish("storage", measures, quick, closed=[closed, close("minutes", **counts)])
    return 0


def _against(ours: float, found: Mapping[str, float]) -> list[Measure]:
    return [Measure(name, each, "B", ours, each / ours) for name, each in found.items()]


def _index(name: str) -> str:
    return f"{PREFIX}{name.replace(' ', '-')}"


def _written(
    store: TelemetryStore, name: str, way: Way, made: Made, span_ms: tuple[int, int]
) -> int:
    """The readings into an index of that way; how many are stored."""
    index = _index(name)
    cluster.delete(store.client, [index])
    bounds = {
        "index.time_series.start_time": span_ms[0],
        "index.time_series.end_time": span_ms[1],
    }
    mappings = {**READINGS.mappings, "properties": {**READINGS.mappings["properties"]}}
    if way.quantities:
        mappings["properties"] |= dict.fromkeys(corpus.QUANTITIES, way.quantities)
    in_this_way = way.of({**READINGS.settings, **bounds})
    store.client.indices.create(index=index, settings=in_this_way, mappings=mappings)
    return sum(_stored(store, lines) for lines in _as_they_come(index, made))


def _rest(store: TelemetryStore, indices: Sequence[str]) -> None:
    """Until a merge may leave out what a copy that lags behind would be sent: the store looks twice
    a minute whether there is one. Upkeep merges a slice a day after it has ended."""
    store.client.options(request_timeout=600).indices.flush(index=list(indices), force=True)
    time.sleep(REST_S)


def _stored(store: TelemetryStore, lines: bytes) -> int:
    return sum(result.is_stored for result in store.bulk(lines))


def _as_they_come(index: str, made: Made) -> Iterator[bytes]:
    """In order of arrival: what is sorted afterwards was not so before."""
    for first in range(0, len(made[0][1]), AT_ONCE):
        these = slice(first, first + AT_ONCE)
        coming: list[tuple[int, int, str]] = []
        for connector, readings in made:
            part = readings.part(these)
            texts = corpus.bulk_texts(index, connector, part)
            coming += [
                (arrived_ms, connector.number, text)
                for arrived_ms, text in zip(part.arrived_ms.tolist(), texts, strict=True)
            ]
        coming.sort(key=lambda each: each[:2])
        yield "".join(text for _, _, text in coming).encode()


def _fetched_ms(store: TelemetryStore, made: Made, ways: Sequence[Way]) -> list[float]:
    """To fetch scattered readings, in turns; each time others, of devices and instants by chance.
    The median without the first third: warm."""
    random = np.random.default_rng(5)
    took: list[list[float]] = [[] for _ in ways]
    for _ in range(FETCHES):
        wanted = {
            int(readings.batch[random.integers(len(readings))])
            for _, readings in (made[n] for n in random.integers(0, len(made), _MESSAGES))
        }
        query = {"terms": {"batch_id": sorted(wanted)}}
        body = {"size": FETCHED, "track_total_hits": False, "query": query}
        for way, times_ms in zip(ways, took, strict=True):
            began = time.perf_counter()
            answer = cluster.search(store.client, _index(way.name), body, limit_s=30)
            times_ms.append((time.perf_counter() - began) * 1000)
            if len(answer["hits"]["hits"]) != FETCHED:
                raise AccountOpen(f"{len(answer['hits']['hits'])} of {FETCHED} readings fetched")
    return [median(times_ms[FETCHES // 3 :]) for times_ms in took]


def _bytes_of_rollups(store: TelemetryStore, made: Made) -> dict[str, Held]:
    """Of the minutes that the product builds of the same readings, by way."""
    store.prepare(timezone.now())
    places = {way.name: f"{PREFIX}minutes-{way.name.replace(' ', '-')}" for way in ROLLUP_WAYS}
    kind = ROLLUP[MINUTE.name]
    _write_to_slices(store, made)
    Builder(store, pace=Pace(share=1.0)).advance(timezone.now(), levels=[MINUTE])
    for way in ROLLUP_WAYS:
        cluster.delete(store.client, [places[way.name]])
        store.client.indices.create(
            index=places[way.name], settings=way.of(kind.settings), mappings=kind.mappings
        )
    stored = dict.fromkeys(places, 0)
    for page in _pages(store, f"{PREFIX}{kind.name}-*"):
        for name, index in places.items():
            stored[name] += _stored(store, _lines(index, page))
    return {name: _merged(store, at, stored[name]) for name, at in places.items()}


def _write_to_slices(store: TelemetryStore, made: Made) -> None:
    for connector, readings in made:
        indices = np.array(
            [store.reading_index("30d", time_ms) for time_ms in readings.measured_ms.tolist()]
        )
        for index in dict.fromkeys(indices.tolist()):
            part = readings.part(np.flatnonzero(indices == index))
            stored = _stored(store, corpus.bulk_lines(index, connector, part))
            close("to be rolled up", made=len(part), stored=stored)


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


def _merged(store: TelemetryStore, index: str, stored: int) -> Held:
    """One segment that holds every document."""
    patient = store.client.options(request_timeout=600)
    patient.indices.forcemerge(index=index, max_num_segments=1)
    patient.indices.flush(index=index, force=True, wait_if_ongoing=True)
    patient.indices.refresh(index=index)
    count = int(patient.count(index=index)["count"])
    close(index, stored=stored, documents=count)
    # The store's statistics are up to ten seconds old; this looks at the files.
    found = patient.indices.disk_usage(index=index, run_expensive_tasks=True)[index]
    fields = {name: int(each["total_in_bytes"]) for name, each in found["fields"].items()}
    return Held(count, int(found["store_size_in_bytes"]), fields)


def _bytes_of_table(made: Made) -> tuple[float, float, int]:
    """Of a row, without its indices and with them; rows."""
    with table.connected() as connection:
        table.make(connection)
        for connector, readings in made:
            table.load(connection, connector, readings)
        table.finish(connection)
        rows = table.count(connection)
        alone, total = table.bytes_held(connection)
    return alone / rows, total / rows, rows
