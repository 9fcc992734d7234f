"""Readings of two tenants that nobody else has: what a test counts is its own."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from secrets import token_hex

import orjson
import pytest

from apps.telemetry import cluster
from apps.telemetry.answers import ItemResult
from apps.telemetry.documents import KINDS
from apps.telemetry.store import TelemetryStore
from apps.telemetry.tenant import TenantTelemetry

NOW = datetime.now(UTC).replace(microsecond=0)
NOW_MS = int(NOW.timestamp() * 1000)
CONNECTOR = "01900000-0000-7000-8000-00000000002a"

Rows = Sequence[tuple[int, Mapping[str, float]]]
Write = Callable[..., list[ItemResult]]


@pytest.fixture
def store(elasticsearch: str) -> TelemetryStore:
    """The workers' store on the test's indices."""
    return TelemetryStore()


@pytest.fixture
def ours() -> str:
    """A tenant's slug that only this test knows."""
    return f"ours-{token_hex(6)}"


@pytest.fixture
def theirs() -> str:
    """Another tenant's."""
    return f"theirs-{token_hex(6)}"


@pytest.fixture
def telemetry(store: TelemetryStore, ours: str) -> TenantTelemetry:
    return TenantTelemetry(ours, store=store)


def forget(store: TelemetryStore) -> None:
    """Leave nothing of a store that had indices and templates of its own."""
    cluster.delete(store.client, [*store.indices(), *store.unfinished()])
    for kind in KINDS:
        store.client.indices.delete_index_template(name=f"{store.prefix}{kind.name}")


def reading_lines(
    store: TelemetryStore,
    tenant: str,
    rows: Rows,
    *,
    connector: str = CONNECTOR,
    arrived_ms: int = NOW_MS,
    batch_id: int = 1,
    **dimensions: str,
) -> bytes:
    """`_bulk` bytes as acquisition makes them."""
    lines = []
    for time_ms, values in rows:
        lines.append(orjson.dumps({"create": {"_index": store.reading_index("30d", time_ms)}}))
        document = {
            "@timestamp": time_ms,
            "tenant": tenant,
            "connector": connector,
            "arrived_at": arrived_ms,
            "batch_id": batch_id,
            **dimensions,
            **values,
        }
        lines.append(orjson.dumps(document))
    return b"\n".join(lines) + b"\n"


@pytest.fixture
def write(store: TelemetryStore) -> Write:
    """Write readings of a tenant and make them visible; tells what became of each."""

    def write_readings(tenant: str, rows: Rows, **more: object) -> list[ItemResult]:
        results = store.bulk(reading_lines(store, tenant, rows, **more))  # type: ignore[arg-type]
        store.refresh()
        return results

    return write_readings


def minutes_ago(minutes: float) -> int:
    """That long before NOW, in ms."""
    return NOW_MS - int(timedelta(minutes=minutes).total_seconds() * 1000)
