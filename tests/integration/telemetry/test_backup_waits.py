"""A backup begins when the store has ended what stopped workers had sent: it is of one moment."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from django.conf import settings

from apps.telemetry.store import TelemetryStore
from deploy.stack import backup
from deploy.stack.errors import StackError
from tests.integration.telemetry.conftest import NOW_MS, reading_lines

MANY = 30_000


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(base_url=str(settings.ENVIRONMENT.elasticsearch_url), timeout=30) as client:
        yield client


def test_what_was_sent_is_there_when_the_waiting_ends(
    store: TelemetryStore, ours: str, client: httpx.Client
) -> None:
    rows = [(NOW_MS - number, {"current_a": 1.0}) for number in range(MANY)]
    lines = reading_lines(store, ours, rows)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(store.bulk, lines)
        while not (backup._writes(client) or sending.done()):
            pass

        backup.let_writes_end(client)

        store.refresh()
        query = {"term": {"tenant": ours}}
        assert store.client.count(index=f"{store.prefix}readings-*", query=query)["count"] == MANY
        sending.result()


def test_who_would_wait_for_ever_is_told(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "WRITES_LIMIT_S", 0)
    monkeypatch.setattr(backup, "_writes", lambda _client: True)

    with pytest.raises(StackError, match="has been writing"):
        backup.let_writes_end(client)
