"""A question whose answer has more groups than the store makes is told what to ask instead."""

from collections.abc import Iterator
from datetime import timedelta

import orjson
import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from apps.telemetry import cluster
from apps.telemetry.store import TelemetryStore
from tests import stores
from tests.integration.api.conftest import NOW, NOW_MS

HOUR_MS = 3_600_000
VEHICLES, HOURS = 500, 70
"""Each reading is a stretch of its own and a bin in it: twice as many as the store allows."""


@pytest.fixture(scope="module")
def fleet(elasticsearch: str) -> Iterator[None]:
    """A reading of each vehicle in each hour."""
    stores.delete_indices(templates=False)
    call_command("prepare_stores", verbosity=0)
    store = TelemetryStore()
    for hour in range(1, HOURS + 1):
        time_ms = NOW_MS - hour * HOUR_MS
        action = orjson.dumps({"create": {"_index": store.reading_index("30d", time_ms)}})
        of = {"tenant": "kunlun", "@timestamp": time_ms, "arrived_at": NOW_MS, "batch_id": 1}
        lines = [
            orjson.dumps({**of, "connector": f"c-{n}", "vehicle": f"v-{n}", "current_a": 1.0})
            for n in range(VEHICLES)
        ]
        results = store.bulk(b"".join(action + b"\n" + line + b"\n" for line in lines))
        assert all(result.is_stored for result in results)
    store.refresh()
    yield
    stores.delete_indices(templates=False)
    call_command("prepare_stores", verbosity=0)


def test_groups_by_the_hour_are_too_many_and_longer_stretches_are_not(
    fleet: None, annas_browser: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "ANSWER_LIMIT_S", 60.0)  # or a busy machine's answer is "slow"
    span = {"start": (NOW - timedelta(hours=HOURS + 1)).isoformat(), "end": NOW.isoformat()}
    question = {"quantity": "current_a", "by": "vehicle", "page_size": 1, **span}

    by_hour = annas_browser.get("/api/v1/statistics", {**question, "every": "hour"})
    by_day = annas_browser.get("/api/v1/statistics", {**question, "every": "day"})

    problem = by_hour.json()
    assert (by_hour.status_code, problem["code"]) == (400, "asked_too_much")
    assert (problem["what"], problem["limit"]) == ("groups and stretches", 65_536)
    assert "longer stretches" in problem["ask"]
    assert "longer stretches" in problem["detail"]
    assert by_day.status_code == 200
    assert by_day.json()["total"] >= VEHICLES * 3
