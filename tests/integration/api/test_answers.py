"""What the API answers: pages, readings, series, events, and what it says when it can't."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django_tenants.utils import tenant_context
from rest_framework.test import APIClient

from apps.api import views
from apps.fleet.models import Vehicle
from apps.telemetry.errors import StoreSlow, StoreUnavailable
from apps.telemetry.store import the_store
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.models import Tenant
from tests import cast
from tests.integration.api.conftest import BENS_ALARM, NOW

pytestmark = pytest.mark.usefixtures("world")

CONNECTOR = f"/api/v1/connectors/{cast.BENS_CONNECTOR}"


def walk(client: APIClient, url: str) -> list[list[dict[str, Any]]]:
    """The pages of a list, by following `next`."""
    pages = []
    following: str | None = url
    while following:
        answer = client.get(following).json()
        pages.append(answer["results"])
        following = answer["next"]
    return pages


def test_a_list_is_walked_page_by_page(bens_key: APIClient, kunlun: Tenant) -> None:
    with tenant_context(kunlun):
        Vehicle.objects.bulk_create(
            Vehicle(organisation_id=cast.HARBOUR, vin=f"LSVAU2A34N21{number:05}")
            for number in range(11)
        )
    pages = walk(bens_key, "/api/v1/vehicles?page_size=5")
    assert [len(page) for page in pages] == [5, 5, 2]
    ids = [row["id"] for page in pages for row in page]
    assert len(set(ids)) == 12
    assert ids == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ("vehicles?page_size=501", "page_size"),
        ("vehicles?page_size=0", "page_size"),
        ("vehicles?page_size=many", "page_size"),
        ("vehicles?page_size=%C2%B2", "page_size"),
        ("vehicles?cursor=nonsense", "cursor"),
        ("vehicles?organisation=1", "organisation"),
        ("connectors?state=molten", "state"),
        ("alarms?opened_after=yesterday", "opened_after"),
        ("events?after=-1", "after"),
        ("statistics?quantity=interlock", "quantity"),
        ("statistics?by=tenant", "by"),
        ("statistics?leading=mean&by=model", "leading"),
        ("statistics/now?by=tenant", "by"),
        ("statistics/now?by=model&statistic=mode", "statistic"),
        (f"connectors/{cast.BENS_CONNECTOR}/readings?start=soon", "start"),
        (f"connectors/{cast.BENS_CONNECTOR}/readings?page_size=501", "page_size"),
        (f"connectors/{cast.BENS_CONNECTOR}/readings?start=0001-01-01T00:00:00%2B14:00", "start"),
        (f"connectors/{cast.BENS_CONNECTOR}/series?points=2001", "points"),
        (f"connectors/{cast.BENS_CONNECTOR}/series?quantities={'x' * 601}", "quantities"),
    ],
)
def test_what_cannot_be_read_is_named(bens_key: APIClient, question: str, field: str) -> None:
    response = bens_key.get(f"/api/v1/{question}")
    assert (response.status_code, response.json()["code"]) == (400, "invalid")
    assert list(response.json()["errors"]) == [field]


def test_start_lies_before_end(bens_key: APIClient) -> None:
    span = {"start": NOW.isoformat(), "end": (NOW - timedelta(hours=1)).isoformat()}
    response = bens_key.get(f"{CONNECTOR}/readings", span)
    assert (response.status_code, response.json()["code"]) == (400, "invalid")


@pytest.mark.parametrize(
    ("quantities", "code"),
    [("current_v", "wrong_question"), (",".join(f"x_{n}" for n in range(17)), "asked_too_much")],
)
def test_the_stores_limits_are_told(bens_key: APIClient, quantities: str, code: str) -> None:
    response = bens_key.get(f"{CONNECTOR}/series", {"quantities": quantities})
    assert (response.status_code, response.json()["code"]) == (400, code)


def test_readings_come_raw_in_order_and_complete(bens_key: APIClient) -> None:
    pages = walk(
        bens_key,
        f"{CONNECTOR}/readings?page_size=25&start={(NOW - timedelta(hours=2)):%Y-%m-%dT%H:%M:%SZ}",
    )
    assert [len(page) for page in pages] == [25, 25, 10]
    rows = [row for page in pages for row in page]
    times = [row["measured_at"] for row in rows]
    assert times == sorted(set(times))
    assert {row["values"]["current_a"] for row in rows} == {180.5}


def test_a_series_has_buckets_with_their_extremes(bens_key: APIClient) -> None:
    answer = bens_key.get(
        f"{CONNECTOR}/series",
        {
            "quantities": "current_a",
            "points": 6,
            "start": (NOW - timedelta(hours=1)).isoformat(),
            "end": NOW.isoformat(),
        },
    ).json()
    assert answer["interval_s"] == 600
    assert [bucket["count"] for bucket in answer["buckets"]] == [10] * 6
    assert answer["buckets"][0]["values"]["current_a"] == {
        "minimum": 180.5,
        "maximum": 180.5,
        "mean": 180.5,
        "last": 180.5,
        "count": 10,
    }


SPAN = {"start": (NOW - timedelta(hours=2)).isoformat(), "end": NOW.isoformat()}


def test_statistics_are_of_what_the_asker_may_see(
    bens_key: APIClient, annas_browser: APIClient
) -> None:
    question = {"quantity": "current_a", "by": "organisation", **SPAN}
    own = bens_key.get("/api/v1/statistics", question).json()
    everybodys = annas_browser.get("/api/v1/statistics", question).json()

    assert [(row["group"], row["count"]) for row in own["results"]] == [(str(cast.HARBOUR), 60)]
    assert own["results"][0]["percentiles"] == {"50": 180.5, "95": 180.5, "99": 180.5}
    assert {row["group"] for row in everybodys["results"]} == {str(cast.HARBOUR), str(cast.CITY)}
    assert (everybodys["total"], everybodys["settled"], everybodys["cut"]) == (2, True, False)


def test_statistics_of_another_organisation_are_not_there(bens_key: APIClient) -> None:
    response = bens_key.get("/api/v1/statistics", {"organisation": str(cast.CITY)})
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    other = bens_key.get("/api/v1/statistics", {"connector": str(cast.CLARAS_CONNECTOR), **SPAN})
    assert (other.status_code, other.json()["results"]) == (200, [])


def test_statistics_by_hour_and_who_leads(annas_browser: APIClient) -> None:
    by_hour = annas_browser.get("/api/v1/statistics", {"every": "hour", **SPAN}).json()
    assert sum(row["count"] for row in by_hour["results"]) == 120
    assert all(row["start"].endswith(":00:00Z") for row in by_hour["results"])

    leading = {"leading": "maximum", "by": "connector", "page_size": 1, **SPAN}
    first = annas_browser.get("/api/v1/statistics", leading).json()
    assert (len(first["results"]), first["total"], first["results"][0]["maximum"]) == (1, 2, 61.0)
    alone = annas_browser.get("/api/v1/statistics", {"leading": "maximum"})
    assert (alone.status_code, list(alone.json()["errors"])) == (400, ["leading"])


@pytest.fixture
def claras_state(readings: None, kunlun: Tenant) -> Iterator[None]:
    """Of the other organisation, and better off than Ben's."""
    telemetry = TenantTelemetry(kunlun.slug)
    of = {"organisation": str(cast.CITY), "batch": "2026-04", "margin_k": 50.0}
    telemetry.update_states([{"connector": str(cast.CLARAS_CONNECTOR), **of}])
    the_store().refresh()
    yield
    telemetry.delete_states([cast.CLARAS_CONNECTOR])
    the_store().refresh()


def test_who_leads_now_of_what_the_asker_may_see(
    claras_state: None, bens_key: APIClient, annas_browser: APIClient
) -> None:
    question = {"by": "batch", "lowest": True, "statistic": "minimum"}

    own = bens_key.get("/api/v1/statistics/now", question).json()
    everybodys = annas_browser.get("/api/v1/statistics/now", question).json()
    other = bens_key.get("/api/v1/statistics/now", {**question, "organisation": str(cast.CITY)})

    assert [(row["group"], row["minimum"]) for row in own["results"]] == [("2026-03", 42.0)]
    assert [row["group"] for row in everybodys["results"]] == ["2026-03", "2026-04"]
    assert everybodys["results"][1]["percentiles"] == {"50": 50.0, "95": 50.0, "99": 50.0}
    assert (everybodys["quantity"], everybodys["total"], everybodys["cut"]) == (
        "margin_k", 2, False,
    )  # fmt: skip
    assert other.status_code == 404
    unknown = annas_browser.get("/api/v1/statistics/now", {"by": "batch", "quantity": "serial"})
    assert (unknown.status_code, unknown.json()["code"]) == (400, "wrong_question")


def test_a_connectors_state(bens_key: APIClient) -> None:
    answer = bens_key.get(f"{CONNECTOR}/state").json()
    assert answer["last"] == {"current_a": 180.5}
    names = ("margin_k", "margin_from_k", "margin_to_k", "headroom_k", "mating_step_neg")
    assert [answer[name] for name in names] == [42.0, 38.5, 45.5, 61.0, -0.12]
    assert (answer["time_left_s"], answer["time_left_unknown"]) == (None, "not_growing")
    assert datetime.fromisoformat(answer["learnt_at"]) == NOW - timedelta(days=6)
    silent = bens_key.get(f"/api/v1/connectors/{cast.BENS_SECOND_CONNECTOR}/state").json()
    assert (silent["health"], silent["last"], silent["measured_at"]) == ("unknown", {}, None)
    assert (silent["margin_from_k"], silent["time_left_unknown"]) == (None, "")


def test_alarms_are_narrowed(annas_browser: APIClient) -> None:
    def found(**query: str) -> int:
        return len(annas_browser.get("/api/v1/alarms", query).json()["results"])

    assert found() == 2
    assert found(connector=str(cast.BENS_CONNECTOR)) == 1
    assert found(vehicle=str(cast.CLARAS_VEHICLE)) == 1
    assert found(severity="critical") == 0
    assert found(state="open") == 2
    assert found(opened_after=NOW.isoformat()) == 0
    assert found(opened_before=NOW.isoformat()) == 2


def test_an_alarm_has_the_readings_that_show_it(bens_key: APIClient) -> None:
    answer = bens_key.get(f"/api/v1/alarms/{BENS_ALARM}/readings").json()
    minutes = [(NOW - datetime.fromisoformat(each["measured_at"])) for each in answer["results"]]
    assert minutes == [timedelta(minutes=each) for each in (11, 10, 9, 8, 7)]
    assert datetime.fromisoformat(answer["opened_by"]) == NOW - timedelta(minutes=9)
    assert answer["results"][2]["values"] == {"current_a": 180.5, "temperature_pos_c": 61.0}


def test_events_are_polled_by_number(annas_browser: APIClient, bens_key: APIClient) -> None:
    first = annas_browser.get("/api/v1/events", {"page_size": 1}).json()
    assert ([row["number"] for row in first["results"]], first["after"]) == ([1], 1)
    assert first["more"]
    rest = annas_browser.get("/api/v1/events", {"after": first["after"]}).json()
    assert ([row["number"] for row in rest["results"]], rest["more"]) == ([2], False)
    nothing = annas_browser.get("/api/v1/events", {"after": 2}).json()
    assert nothing == {"results": [], "after": 2, "more": False}
    assert [row["number"] for row in bens_key.get("/api/v1/events").json()["results"]] == [1]
    story = bens_key.get(f"/api/v1/alarms/{BENS_ALARM}/events").json()
    assert [row["kind"] for row in story["results"]] == ["opened"]


def test_too_many_requests_are_told_when_to_come_back(
    bens_key: APIClient, annas_browser: APIClient, settings: Any
) -> None:
    settings.API_RATE = "3/min"
    answers = [bens_key.get("/api/v1/me") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].json()["code"] == "throttled"
    assert 0 < int(answers[-1]["Retry-After"]) <= 60
    assert annas_browser.get("/api/v1/me").status_code == 200


@pytest.mark.parametrize(
    ("error", "code"),
    [(StoreSlow(limit_s=5), "store_slow"), (StoreUnavailable(), "store_unavailable")],
)
def test_a_store_that_is_away_is_a_503(
    bens_key: APIClient, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    def away() -> None:
        raise error

    monkeypatch.setattr(views, "telemetry", away)
    response = bens_key.get(f"{CONNECTOR}/state")
    assert (response.status_code, response.json()["code"]) == (503, code)
    assert response["Retry-After"] == "5"


def test_a_fault_of_ours_tells_nothing_but_the_request_id(
    bens_key: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("the secret is tin-opener")

    monkeypatch.setattr(views, "telemetry", broken)
    response = bens_key.get(f"{CONNECTOR}/state")
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert response.json()["request_id"]
    assert "tin-opener" not in response.content.decode()


def test_only_get_is_answered(bens_key: APIClient, bens_browser: APIClient) -> None:
    for client in (bens_key, bens_browser):
        for method in ("post", "put", "patch", "delete"):
            response = getattr(client, method)("/api/v1/vehicles", {}, format="json")
            assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
