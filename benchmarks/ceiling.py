"""The yardstick: how many of the same documents Elasticsearch takes, whoever sends them.

`_bulk` bodies are made before the clock runs, and two connections send them, each the next as soon
as the last is answered. Of an answer only its head is read, where it says whether all went well.
"""

import http.client
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
from django.conf import settings

from apps.devices.directory import ConnectorEntry, Directory
from apps.telemetry.store import TelemetryStore
from benchmarks.ground import QUANTITIES, TENANT, box
from benchmarks.load import Recording
from ohmwatch.readings import Columns
from workers.acquisition.documents import reading_lines

CONNECTIONS = 2
DOCUMENTS = 2_000
"""In a body: more doesn't make it faster here, fewer do make it slower."""
_HEAD = b'"errors":false'
_STRETCH = 50


def bodies(
    recording: Recording, start_ms: int, telemetry: TelemetryStore, *, documents: int = DOCUMENTS
) -> list[bytes]:
    """The documents that acquisition makes of a recording, in the order in which it would."""
    directory = Directory()
    directory.load()
    texts = list(_texts(recording, start_ms, telemetry, directory))
    together = max(1, documents // _STRETCH)
    return [b"".join(texts[first : first + together]) for first in range(0, len(texts), together)]


@dataclass(frozen=True)
class _Stretch:
    """Some readings of one connector, as documents are made of them."""

    tenant: str
    device: str
    connector: ConnectorEntry
    columns: Columns


def _texts(
    recording: Recording, start_ms: int, telemetry: TelemetryStore, directory: Directory
) -> Iterator[bytes]:
    connectors = [directory.connector(TENANT, unit.connector) for unit in recording.fleet.units]
    for first in range(0, recording.instants, _STRETCH):
        for place, connector in enumerate(connectors):
            assert connector is not None
            device = box(recording.fleet.units[place].vehicle)
            columns = _columns(recording, start_ms, first, place)
            yield reading_lines(
                [_Stretch(TENANT, device, connector, columns)],
                index=telemetry.reading_index("30d", int(columns.time_ms[0])),
                arrived_ms=start_ms,
                batch_number=1,
            )


def _columns(recording: Recording, start_ms: int, first: int, place: int) -> Columns:
    rows = slice(first, first + _STRETCH)
    values = {
        name: np.array([row[place] for row in recording.values[name][rows]], dtype=np.float64)
        for name in QUANTITIES
    }
    count = len(values[QUANTITIES[0]])
    times = start_ms + (first + np.arange(count)) * recording.step_ms
    return Columns(times, np.zeros(count, dtype=np.int16), values)


def send(wanted: Sequence[bytes]) -> float:
    """Seconds until all bodies are answered. Raises RuntimeError where one was not all stored."""
    left = iter(wanted)
    lock = threading.Lock()
    failures: list[str] = []

    def work() -> None:
        with_each = _connection()
        while not failures:
            with lock:
                body = next(left, None)
            if body is None:
                return
            with_each.request("POST", "/_bulk?filter_path=errors,items.*.error", body, _headers())
            answer = with_each.getresponse().read()
            if _HEAD not in answer[:64]:
                failures.append(answer[:300].decode(errors="replace"))

    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(failures[0])
    return time.perf_counter() - began


def _connection() -> http.client.HTTPConnection:
    url = urlsplit(str(settings.ENVIRONMENT.elasticsearch_url))
    return http.client.HTTPConnection(url.hostname or "127.0.0.1", url.port, timeout=60)


def _headers() -> dict[str, str]:
    url = urlsplit(str(settings.ENVIRONMENT.elasticsearch_url))
    secret = b64encode(f"{url.username}:{url.password}".encode()).decode()
    return {"content-type": "application/x-ndjson", "authorization": f"Basic {secret}"}
