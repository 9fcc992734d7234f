"""The quarantine's pages: searched, taken along as a file, replayed."""

import base64
import json
from datetime import timedelta

import pytest
from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.quarantine.models import Replay
from apps.telemetry.parsing import quarantine_lines
from apps.telemetry.slices import to_ms
from apps.telemetry.store import the_store
from apps.tenants.models import Tenant
from tests.pages import NOW, browser, check_clean

PATH = "/portal/quarantine/"


@pytest.fixture
def refused(empty_elasticsearch: str, kunlun: Tenant, aurora: Tenant) -> None:
    """Three of Kunlun's, an hour apart, and one of Aurora's."""
    store = the_store()
    for tenant, number, reason in [
        ("kunlun", 0, "undecodable"),
        ("kunlun", 1, "unknown_channel"),
        ("kunlun", 2, "unknown_channel"),
        ("aurora", 0, "unknown_channel"),
    ]:
        arrived_ms = to_ms(NOW - timedelta(hours=number))
        store.bulk(
            quarantine_lines(
                store.quarantine_index(arrived_ms),
                tenant=tenant,
                batch_id=number + 1,
                number=number,
                arrived_ms=arrived_ms,
                reason=reason,
                identity=f"{tenant}.tbox-{number}",
                device=f"tbox-{number}",
                topic=f"ow/v1/{tenant}.tbox-{number}/readings",
                detail=f"Row {number}: the sensor is broken",
                payload=f"{tenant} {number} \xff".encode("latin-1"),
            )
        )
    store.refresh()


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", {"tbox-0", "tbox-1", "tbox-2"}),
        ("?reason=unknown_channel", {"tbox-1", "tbox-2"}),
        ("?reason=no_such_reason", {"tbox-0", "tbox-1", "tbox-2"}),
        ("?device=tbox-2", {"tbox-2"}),
        ("?state=replayed", set()),
        ("?q=BROKEN+sensor", {"tbox-0", "tbox-1", "tbox-2"}),
        ("?q=broken+2", {"tbox-2"}),
        ("?q=broken+elsewhere", set()),
        ("?q=V1/kunlun.tbox-1/read", {"tbox-1"}),
        ("?q=tbox-*", set()),
        ("?state=waiting", {"tbox-0", "tbox-1", "tbox-2"}),
        (f"?from={NOW - timedelta(minutes=90):%Y-%m-%dT%H:%M}", {"tbox-0", "tbox-1"}),
        (f"?to={NOW - timedelta(minutes=90):%Y-%m-%dT%H:%M}", {"tbox-2"}),
        ("?from=yesterday&to=9999-99-99T00:00", {"tbox-0", "tbox-1", "tbox-2"}),
    ],
)
def test_searched_by_reason_device_state_and_time(
    query: str, shown: set[str], refused: None, kunlun: Tenant, anna: User
) -> None:
    page = browser(anna, kunlun).get(PATH + query).text
    assert {box for box in ("tbox-0", "tbox-1", "tbox-2") if f">{box}</td>" in page} == shown
    check_clean(page)
    lines = browser(anna, kunlun).get(f"{PATH}download{query}").text.splitlines()
    assert {json.loads(line)["identity"] for line in lines} == {f"kunlun.{box}" for box in shown}


def test_a_file_has_the_bytes(refused: None, kunlun: Tenant, anna: User) -> None:
    answer = browser(anna, kunlun).get(f"{PATH}download?device=tbox-1")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="quarantine.ndjson"'
    (line,) = answer.text.splitlines()
    assert base64.b64decode(json.loads(line)["payload_base64"]) == b"kunlun 1 \xff"


def test_a_large_download_goes_on_in_another(
    refused: None, kunlun: Tenant, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.quarantine.files.FILE_BYTES", 10)
    seen, after = [], ""
    for _ in range(3):
        text = browser(anna, kunlun).get(f"{PATH}download?after={after}").text
        message, end = map(json.loads, text.splitlines())
        seen.append(message["id"])
        after = end["after"]
    assert len(set(seen)) == 3


@pytest.mark.django_db(transaction=True)
def test_all_that_fit_are_replayed_in_the_background(
    refused: None, kunlun: Tenant, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[int] = []
    monkeypatch.setattr("apps.portal.quarantine.wake", lambda run: woken.append(run.number))
    client = browser(anna, kunlun)
    asked = client.post(f"{PATH}replay", {"reason": "unknown_channel", "device": "tbox-1"})
    with tenant_context(kunlun):
        run = Replay.objects.get()
    assert (run.reason, run.device, run.requested_by_id) == ("unknown_channel", "tbox-1", anna.pk)
    assert woken == [1]
    assert asked.headers["Location"] == f"{PATH}replays/{run.pk}/"
    page = client.get(asked.headers["Location"]).text
    check_clean(page)
    assert "hx-trigger" in page
    assert client.post(f"{PATH}replays/{run.pk}/cancel").status_code == 302
    with tenant_context(kunlun):
        assert Replay.objects.get().state == "cancelling"
    assert "Replay 1" in client.get(PATH).text


@pytest.mark.django_db(transaction=True)
def test_one_message_of_ones_own_is_replayed_and_no_other(
    refused: None, kunlun: Tenant, anna: User, rita: User
) -> None:
    client = browser(anna, kunlun)
    assert client.post(f"{PATH}replay", {"message": "aurora:1-0"}).status_code == 404
    assert client.post(f"{PATH}replay", {"message": "kunlun:2-1"}).status_code == 302
    with tenant_context(kunlun):
        assert Replay.objects.get().message == "kunlun:2-1"
    assert "/replay" in client.get(f"{PATH}kunlun:2-1/").text
    assert "/replay" not in browser(rita, kunlun).get(f"{PATH}kunlun:2-1/").text
