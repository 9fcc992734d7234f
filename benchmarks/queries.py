"""Questions at one, three and ten million readings: ours, raw readings only, and Postgres.

Warm, median of up to thirty; Elasticsearch's cache of whole answers is off, or every question but
the first would be answered by it. Rollups are built by the product's own builder, hours and days;
no question here needs minutes. Slices that have ended are merged as upkeep merges them, those of
readings and of rollups alike. Each size is counted before it is asked, in both stores, in what was
answered "stored" and in the rollups: what is not there answers fast.

The worst 50 of 10 000 are asked of the state index. Raw readings know no margin; what they can tell
is who is hottest now: each connector's newest temperature within the last hour, the worst 50 by it,
and how many there are of each model and batch. Those readings have an index of their own, which is
the best that can happen to such a question, and leaves the others' readings as they are.

Postgres has what its planner could wish for: the unique index by connector and time, and for the
questions about a fleet an index that holds all that they read; beside it the same with BRIN over
time alone, which costs a thousandth of the room.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from statistics import median
from typing import Any

import numpy as np
import psycopg
from django.conf import settings
from django.utils import timezone

from apps.telemetry import cluster
from apps.telemetry.documents import READINGS, ROLLUP
from apps.telemetry.levels import DAY, HOUR, HOUR_MS
from apps.telemetry.rollups import Builder, Pace
from apps.telemetry.slices import DAY_MS, from_ms, slice_of, to_ms
from apps.telemetry.store import TelemetryStore
from apps.telemetry.tenant import TenantTelemetry
from benchmarks import corpus, table
from benchmarks.harness import Measure, close, finish
from benchmarks.warning.drawing import COLOURS, Axis, Chart, Line, svg
from tests.acquisition import ROOT

NEEDS_STORES = True
DAYS = 90
STEP_MS = 155_000
QUICK_ALIKE = 30
GROWTH = (20, 60, 200)
"""Connectors: one, three and ten million readings."""
A_MILLION = 20
QUICK = (2,)
STATES = 10_000
PREFIX = f"{settings.ELASTICSEARCH_PREFIX}queries-"
CROWD = f"{settings.ELASTICSEARCH_PREFIX}queried-crowd"
"""Readings of the last hour of as many connectors as there are states."""
KEPT_FOR = "90d"
HEAT = "temperature_pos_c"
TARGET_MS = 100
TARGET_FASTER = 10
ROUNDS, SPENT_S, QUICK_SPENT_S = 40, 12.0, 1.5
_TOGETHER = 200
"""Connectors of the crowd in a request."""
GROWTH_PLOT = ROOT / "docs" / "questions.svg"
RAW = "raw readings only"
BUSY = corpus.Connector(1_000_000)
"""A connector that says something every second of the last hour."""


@dataclass(frozen=True)
class Question:
    """One question, put to each. `fleet`: it is about all connectors."""

    name: str
    ours: Callable[[], Any]
    raw: Callable[[], Any] | None
    postgres: Callable[[], Any]
    brin: Callable[[], Any] | None = None
    fleet: bool = False


def main(quick: bool, millions: int | None = None) -> int:
    """Loads, asks, loads more: results are kept after each size.

    `millions`: so many readings in the end. Thirty take an hour.
    """
    now = timezone.now()
    end_ms = to_ms(now) // HOUR_MS * HOUR_MS
    store = TelemetryStore(prefix=PREFIX, open_days=DAYS + 1)
    fleet = corpus.Corpus(
        start_ms=end_ms - DAYS * DAY_MS,
        end_ms=end_ms,
        step_ms=STEP_MS,
        alike=QUICK_ALIKE if quick else 1,
    )
    measures: list[Measure] = []
    closed: list[str] = []
    grown: Grown = []
    done = 0
    with table.connected() as connection:
        _make(store, connection, now, end_ms)
        stored = _write_busy(store, connection, end_ms)
        closed.append(_write_crowd(store, end_ms, HOUR_MS // 2 if quick else STEP_MS))
        for connectors in QUICK if quick else _sizes(millions):
            stored += _load(store, connection, fleet, range(done, connectors))
            done = connectors
            readings = done * len(fleet)
            if not quick:
                _merge(store, now)
            spent_s = QUICK_SPENT_S if quick else SPENT_S
            built = _built(store, now, readings, merged=not quick)
            closed += _closed(store, connection, readings + HOUR_MS // 1000, stored)
            found = [built, *_measured(store, connection, end_ms, readings, spent_s)]
            grown.append((readings / 1e6, {each.name.partition(": ")[2]: each for each in found}))
            measures += found
            finish("queries", measures, quick, closed=closed)
            if not quick:
                GROWTH_PLOT.write_text(svg(_growth(grown)))
    return 0


def _sizes(millions: int | None) -> list[int]:
    last = (millions or GROWTH[-1] // A_MILLION) * A_MILLION
    return [*(each for each in GROWTH if each < last), last]


# --- how it grows -----------------------------------------------------------------------------

Grown = list[tuple[float, dict[str, Measure]]]
"""Millions of readings, and what was measured at so many, by name."""


BRIEF = (
    *("last hour, one connector", "30 days, one connector", "worst 50 with facets"),
    *("percentiles by day", "hottest vehicles"),
)
"""What the questions are called in the plot, in their order."""


def _growth(grown: Grown) -> Chart:
    """Ours over the number of readings, and raw beside it where the question is about a fleet."""
    names = [name.removesuffix(", ours") for name in grown[0][1] if name.endswith(", ours")]
    lines: list[Line] = []
    for name, brief, colour in zip(names, BRIEF, COLOURS, strict=False):
        lines.append(Line(brief, _course(grown, f"{name}, ours"), colour, dots=True))
        raw = f"{name}, {RAW}"
        if raw in grown[0][1] and grown[0][1][raw].target is not None:
            lines.append(Line("… readings only", _course(grown, raw), colour, dashes=True))
    most = max(value for line in lines for _, value in line.points)
    largest = grown[-1][0]
    marks = tuple(each for each in (1, 3, 10, 30) if each < largest * 1.1)
    x = Axis("millions of readings", 0.9, max(12, largest * 1.2), marks, logarithmic=True)
    y = Axis("ms", 1, max(200, most), (1, 10, TARGET_MS, 1_000, 10_000), logarithmic=True)
    return Chart("Questions as readings grow, median, warm", x, y, lines, levels=[(TARGET_MS, "")])


def _course(grown: Grown, name: str) -> list[tuple[float, float]]:
    return [(millions, found[name].value) for millions, found in grown]


# --- what is asked ----------------------------------------------------------------------------


def _measured(
    store: TelemetryStore,
    connection: psycopg.Connection,
    end_ms: int,
    readings: int,
    spent_s: float,
) -> list[Measure]:
    measures: list[Measure] = []
    millions = f"{readings / 1e6:.1f} M"
    for question in _questions(store, connection, end_ms):
        measures += _compared(question, f"{millions}: {question.name}", spent_s)
    return measures


def _compared(question: Question, about: str, spent_s: float) -> list[Measure]:
    others = {
        RAW: question.raw,
        "Postgres": question.postgres,
        "Postgres, BRIN alone": question.brin,
    }
    asked = {name: ask for name, ask in others.items() if ask is not None}
    ours_ms, *theirs_ms = _medians_ms([question.ours, *asked.values()], spent_s)
    measures = [Measure.at_most(f"{about}, ours", ours_ms, "ms", TARGET_MS)]
    for name, ms in zip(asked, theirs_ms, strict=True):
        if question.fleet and name == RAW:
            measures.append(Measure.at_least(f"{about}, {name}", ms, "ms", TARGET_FASTER, ours_ms))
        else:
            measures.append(Measure(f"{about}, {name}", ms, "ms", ours_ms, ms / ours_ms))
    return measures


def _built(store: TelemetryStore, now: datetime, readings: int, *, merged: bool) -> Measure:
    started = time.monotonic()
    builder = Builder(store, pace=Pace(share=1.0))
    written = builder.advance(now, levels=(HOUR, DAY))
    seconds = time.monotonic() - started
    store.client.indices.put_settings(
        index=f"{PREFIX}rollup-*", settings={"index.requests.cache.enable": False}
    )
    if merged:
        _merge(store, now)
    return Measure(f"{readings / 1e6:.1f} M: rollups written a second", written / seconds, "1/s")


def _questions(
    store: TelemetryStore, connection: psycopg.Connection, end_ms: int
) -> list[Question]:
    telemetry = TenantTelemetry(corpus.TENANT, store=store)
    end = from_ms(end_ms)
    hour, month, quarter = (timedelta(hours=1), timedelta(days=30), timedelta(days=DAYS))
    one = corpus.Connector(3).id
    heat = HEAT

    def series(connector: str, back: timedelta, points: int) -> Callable[[], Any]:
        return lambda: telemetry.series(
            connector, corpus.QUANTITIES, start=end - back, end=end, points=points
        )

    def postgres(query: Any, *values: object) -> Callable[[], Any]:
        return lambda: table.ask(connection, query, values)

    def brin(query: Any, *values: object) -> Callable[[], Any]:
        return lambda: table.ask_by_brin(connection, query, values)

    since = {back: to_ms(end - back) for back in (hour, month, quarter)}
    return [
        Question(
            "last hour of one connector",
            series(BUSY.id, hour, 600),
            _raw_series(store, BUSY.id, since[hour], end_ms, 600),
            postgres(*_table_series(BUSY.id, since[hour], end_ms, 600)),
        ),
        Question(
            "30 days of one connector at 500 points",
            series(one, month, 500),
            _raw_series(store, one, since[month], end_ms, 500),
            postgres(*_table_series(one, since[month], end_ms, 500)),
        ),
        Question(
            "worst 50 of 10 000 by margin, with facets",
            lambda: telemetry.states(sort="margin", size=50, facets=("model", "batch")),
            lambda: _hottest_now(store, end_ms),
            lambda: _worst_of_table(connection),
            fleet=True,
        ),
        Question(
            "p50, p95, p99 by model and day over 90 days",
            lambda: telemetry.percentiles(
                heat, start=end - quarter, end=end, by=["model"], every=timedelta(days=1)
            ),
            _raw_percentiles(store, heat, since[quarter], end_ms),
            postgres(_TABLE_PERCENTILES, since[quarter], end_ms),
            brin(_TABLE_PERCENTILES, since[quarter], end_ms),
            fleet=True,
        ),
        Question(
            "ten hottest vehicles of 30 days",
            lambda: telemetry.top(
                heat, by="vehicle", statistic="maximum", start=end - month, end=end
            ),
            _raw_hottest(store, heat, since[month], end_ms),
            postgres(_TABLE_HOTTEST, since[month], end_ms),
            brin(_TABLE_HOTTEST, since[month], end_ms),
            fleet=True,
        ),
    ]


def _raw(store: TelemetryStore, clauses: list[Any], aggs: dict[str, Any]) -> Callable[[], Any]:
    query = {"bool": {"filter": [{"term": {"tenant": corpus.TENANT}}, *clauses]}}
    body = {"size": 0, "track_total_hits": False, "query": query, "aggs": aggs}
    return lambda: cluster.search(store.client, f"{PREFIX}readings-*", body, limit_s=120)


def _between(start_ms: int, end_ms: int) -> dict[str, Any]:
    return {"range": {"@timestamp": {"gte": start_ms, "lt": end_ms}}}


def _raw_series(
    store: TelemetryStore, connector: str, start_ms: int, end_ms: int, points: int
) -> Callable[[], Any]:
    time_buckets = {"field": "@timestamp", "fixed_interval": f"{(end_ms - start_ms) // points}ms"}
    stats = {name: {"stats": {"field": name}} for name in corpus.QUANTITIES}
    return _raw(
        store,
        [{"term": {"connector": connector}}, _between(start_ms, end_ms)],
        {"time": {"date_histogram": {**time_buckets, "min_doc_count": 1}, "aggs": stats}},
    )


def _raw_percentiles(
    store: TelemetryStore, name: str, start_ms: int, end_ms: int
) -> Callable[[], Any]:
    inner = {"p": {"percentiles": {"field": name, "percents": [50, 95, 99]}}}
    day = {"date_histogram": {"field": "@timestamp", "fixed_interval": "1d"}, "aggs": inner}
    by = {"terms": {"field": "model", "size": 50}, "aggs": {"day": day}}
    return _raw(store, [_between(start_ms, end_ms)], {"by": by})


def _raw_hottest(store: TelemetryStore, name: str, start_ms: int, end_ms: int) -> Callable[[], Any]:
    terms = {"field": "vehicle", "size": 10, "order": {"max": "desc"}}
    by = {"terms": terms, "aggs": {"max": {"max": {"field": name}}}}
    return _raw(store, [_between(start_ms, end_ms)], {"by": by})


def _hottest_now(
    store: TelemetryStore, end_ms: int
) -> tuple[list[dict[str, Any]], Counter[str], Counter[str]]:
    """The 50 of the crowd whose newest temperature within the hour before end_ms is highest; how
    many connectors there are of each model and batch.

    Collapsing tells each connector's newest reading in one pass; its values come from columns.
    """
    fields = ["connector", "model", "batch", HEAT]
    hour = _between(end_ms - HOUR_MS, end_ms)
    body = {
        "size": STATES,
        "track_total_hits": False,
        "_source": False,
        "docvalue_fields": fields,
        "sort": [{"@timestamp": "desc"}],
        "collapse": {"field": "connector"},
        "query": {"bool": {"filter": [{"term": {"tenant": corpus.TENANT}}, hour]}},
    }
    answer = cluster.search(store.client, CROWD, body, limit_s=120)
    rows = [{name: hit["fields"][name][0] for name in fields} for hit in answer["hits"]["hits"]]
    worst = sorted(rows, key=itemgetter(HEAT), reverse=True)[:50]
    return worst, Counter(row["model"] for row in rows), Counter(row["batch"] for row in rows)


def _table_series(connector: str, start_ms: int, end_ms: int, points: int) -> tuple[Any, ...]:
    columns = ", ".join(
        f"min({name}), max({name}), avg({name}), count({name})" for name in corpus.QUANTITIES
    )
    query = (
        f"SELECT (measured_ms - %s) / %s AS bucket, {columns} FROM bench_readings"  # noqa: S608
        " WHERE connector = %s AND measured_ms >= %s AND measured_ms < %s GROUP BY 1 ORDER BY 1"
    )
    return query, start_ms, (end_ms - start_ms) // points, connector, start_ms, end_ms


_TABLE_PERCENTILES = (
    "SELECT model, measured_ms / 86400000, "
    "percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY temperature_pos_c) "
    "FROM bench_readings WHERE measured_ms >= %s AND measured_ms < %s GROUP BY 1, 2"
)
_TABLE_HOTTEST = (
    "SELECT vehicle, max(temperature_pos_c) FROM bench_readings "
    "WHERE measured_ms >= %s AND measured_ms < %s GROUP BY 1 ORDER BY 2 DESC LIMIT 10"
)


def _worst_of_table(connection: psycopg.Connection) -> None:
    table.ask(connection, "SELECT * FROM bench_states ORDER BY margin_k, serial LIMIT 50", ())
    table.ask(connection, "SELECT model, count(*) FROM bench_states GROUP BY 1", ())
    table.ask(connection, "SELECT batch, count(*) FROM bench_states GROUP BY 1", ())


def _medians_ms(asked: Sequence[Callable[[], Any]], spent_s: float) -> list[float]:
    """Of up to forty rounds in which each is asked once, without the first quarter: warm is when
    the store's machine code is made, which takes more than one.

    In turns, so that what others do to the machine hits all alike; fewer where they take long.
    """
    took: list[list[float]] = [[] for _ in asked]
    begun = time.monotonic()
    for _ in range(ROUNDS):
        for ask, times_ms in zip(asked, took, strict=True):
            started = time.perf_counter()
            ask()
            times_ms.append((time.perf_counter() - started) * 1000)
        if time.monotonic() - begun > spent_s:
            break
    return [median(times_ms[-(-len(times_ms) // 4) :] or times_ms) for times_ms in took]


# --- what it is asked of ----------------------------------------------------------------------


def _make(
    store: TelemetryStore, connection: psycopg.Connection, now: datetime, end_ms: int
) -> None:
    cluster.delete(store.client, store.indices())
    store.prepare(now)
    store.ensure_slices(now, classes=[KEPT_FOR])
    store.client.indices.put_settings(
        index=f"{PREFIX}*", settings={"index.requests.cache.enable": False}
    )
    table.make(connection)
    _write_states(store, connection)


def _write_busy(store: TelemetryStore, connection: psycopg.Connection, end_ms: int) -> int:
    last_hour = corpus.Corpus(start_ms=end_ms - HOUR_MS, end_ms=end_ms, step_ms=1000)
    _copy(connection, last_hour, BUSY)
    return _write(store, last_hour, BUSY)


def _write_crowd(store: TelemetryStore, end_ms: int, step_ms: int) -> str:
    """As much as the store merges by itself, in an index as all readings have it."""
    hour = corpus.Corpus(start_ms=end_ms - HOUR_MS, end_ms=end_ms, step_ms=step_ms)
    bounds = {
        "index.time_series.start_time": end_ms - HOUR_MS,
        "index.time_series.end_time": end_ms,
        "index.requests.cache.enable": False,
        "index.number_of_replicas": 0,
    }
    cluster.delete(store.client, [CROWD])
    store.client.indices.create(
        index=CROWD, settings={**READINGS.settings, **bounds}, mappings=READINGS.mappings
    )
    stored = 0
    for first in range(0, STATES, _TOGETHER):
        connectors = map(corpus.Connector, range(first, first + _TOGETHER))
        lines = [corpus.bulk_lines(CROWD, each, hour.readings(each)) for each in connectors]
        stored += _stored(store, b"".join(lines))
    store.client.indices.refresh(index=CROWD)
    held = int(store.client.count(index=CROWD)["count"])
    return close("the crowd's readings", made=STATES * len(hour), stored=stored, documents=held)


def _write_states(store: TelemetryStore, connection: psycopg.Connection) -> None:
    random = np.random.default_rng(3)
    connection.execute("DROP TABLE IF EXISTS bench_states")
    connection.execute(
        "CREATE TABLE bench_states (connector uuid PRIMARY KEY, serial text, model uuid,"
        " batch text, margin_k double precision)"
    )
    connectors = [corpus.Connector(number) for number in range(STATES)]
    margins = random.normal(40, 15, STATES).round(1).tolist()
    for first in range(0, STATES, 1000):
        rows = [
            {"tenant": corpus.TENANT, "connector": each.id, **each.dimensions,
             "serial": f"B-{each.number:06d}", "margin_k": margins[each.number]}
            for each in connectors[first : first + 1000]
        ]  # fmt: skip
        store.update_states(rows)
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO bench_states VALUES (%(connector)s, %(serial)s, %(model)s,"
                " %(batch)s, %(margin_k)s)",
                rows,
            )
    connection.execute("CREATE INDEX ON bench_states (margin_k, serial)")


def _load(
    store: TelemetryStore, connection: psycopg.Connection, fleet: corpus.Corpus, numbers: range
) -> int:
    """To both at once: each is slower than what makes the readings for it. How many are stored."""
    connectors = [corpus.Connector(number) for number in numbers]
    with ThreadPoolExecutor(3) as pool:
        rows = pool.submit(lambda: [_copy(connection, fleet, each) for each in connectors])
        stored = sum(pool.map(lambda each: _write(store, fleet, each), connectors))
        rows.result()
    store.refresh()
    table.index_for_fleets(connection)
    table.finish(connection)
    return stored


def _merge(store: TelemetryStore, now: datetime) -> None:
    """As upkeep does with slices that have ended, one after the other."""
    while store.merge_closed(now, limit_s=600):
        pass


def _closed(
    store: TelemetryStore, connection: psycopg.Connection, readings: int, stored: int
) -> list[str]:
    """Every side has all of it, or AccountOpen."""
    return [
        close(
            "readings",
            made=readings,
            stored=stored,
            documents=int(store.client.count(index=f"{PREFIX}{READINGS.name}-*")["count"]),
            rows=table.count(connection),
            rolled_up=_rolled_up(store),
        ),
        close(
            "states",
            documents=int(store.client.count(index=f"{PREFIX}state-*")["count"]),
            rows=_rows_of_states(connection),
        ),
    ]


def _rolled_up(store: TelemetryStore) -> int:
    """Readings that the hours have counted."""
    index = f"{PREFIX}{ROLLUP[HOUR.name].name}-*"
    store.client.indices.refresh(index=index)
    body = {"size": 0, "aggs": {"count": {"sum": {"field": "count"}}}}
    answer = cluster.search(store.client, index, body, limit_s=120)
    return int(answer["aggregations"]["count"]["value"])


def _rows_of_states(connection: psycopg.Connection) -> int:
    ((count,),) = table.ask(connection, "SELECT count(*) FROM bench_states", ())
    return int(str(count))


def _copy(
    connection: psycopg.Connection, readings: corpus.Corpus, connector: corpus.Connector
) -> None:
    table.load(connection, connector, readings.readings(connector))


def _write(store: TelemetryStore, readings: corpus.Corpus, connector: corpus.Connector) -> int:
    """A connector's readings, slice by slice; how many are stored."""
    whole, stored = readings.readings(connector), 0
    starts = np.array(
        [slice_of("x", 7, time_ms).start_ms for time_ms in whole.measured_ms.tolist()]
    )
    for start_ms in np.unique(starts).tolist():
        these = np.flatnonzero(starts == start_ms)
        for part in np.array_split(these, 1 + len(these) // 5000):
            index = store.reading_index(KEPT_FOR, start_ms)
            stored += _stored(store, corpus.bulk_lines(index, connector, whole.part(part)))
    return stored


def _stored(store: TelemetryStore, lines: bytes) -> int:
    results = store.bulk(lines)
    if not all(result.is_stored for result in results):
        raise RuntimeError(f"not stored: {next(each for each in results if not each.is_stored)}")
    return len(results)
