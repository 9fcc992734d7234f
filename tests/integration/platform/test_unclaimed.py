"""Operators see what no tenant could be told for; nobody else does, and no tenant's is among it."""

import pytest
from django.test import Client
from django.utils import timezone
from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.quarantine.models import Replay
from apps.telemetry.documents import PLATFORM
from apps.telemetry.parsing import quarantine_lines
from apps.telemetry.slices import to_ms
from apps.telemetry.store import the_store
from apps.tenants.models import Tenant
from tests.pages import browser, check_clean

PATH = "/unclaimed/"
STRANGERS = f"{PLATFORM}:7-0"


@pytest.fixture
def refused(empty_elasticsearch: str) -> None:
    """One of a maker that doesn't exist, one of Kunlun's."""
    store, arrived_ms = the_store(), to_ms(timezone.now())
    for tenant, identity, reason in [
        (PLATFORM, "nosuchmaker.tbox-1", "unknown_tenant"),
        ("kunlun", "kunlun.tbox-1", "undecodable"),
    ]:
        lines = quarantine_lines(
            store.quarantine_index(arrived_ms),
            tenant=tenant,
            batch_id=7,
            number=0,
            arrived_ms=arrived_ms,
            reason=reason,
            identity=identity,
            device="",
            topic=f"ow/v1/{identity}/readings",
            payload=b"<b>bytes</b> \xff",
        )
        store.bulk(lines)
    store.refresh()


@pytest.fixture
def at_the_platform(operator: User) -> Client:
    client = Client(HTTP_HOST="localhost")
    client.force_login(operator)
    return client


def test_searched_by_reason_and_opened(refused: None, at_the_platform: Client) -> None:
    page = at_the_platform.get(PATH).text
    check_clean(page)
    assert "ow/v1/nosuchmaker.tbox-1/readings" in page
    assert "kunlun.tbox-1" not in page
    assert "nosuchmaker" not in at_the_platform.get(f"{PATH}?reason=undecodable").text
    message = at_the_platform.get(f"{PATH}{STRANGERS}/").text
    check_clean(message)
    assert "3c 62 3e 62 79 74 65 73" in message, "bytes that are no text are shown as a dump"
    answer = at_the_platform.get(f"{PATH}{STRANGERS}/bytes")
    assert answer.content == b"<b>bytes</b> \xff"
    assert answer.headers["Content-Type"] == "application/octet-stream"


def test_searched_by_maker_and_words_and_taken_along(
    refused: None, at_the_platform: Client
) -> None:
    for query, found in [
        ("maker=nosuchmaker", 1),
        ("maker=nosuch", 0),
        ("q=nosuchmaker.tbox-1", 1),
        ("q=MAKER.tbox", 1),
        ("q=another", 0),
    ]:
        page = at_the_platform.get(f"{PATH}?{query}").text
        check_clean(page)
        assert ("ow/v1/nosuchmaker" in page) == bool(found), query
        lines = at_the_platform.get(f"{PATH}download?{query}").text.splitlines()
        assert len(lines) == found, query


def test_they_are_replayed_for_a_maker_that_is_there(
    refused: None, at_the_platform: Client, kunlun: Tenant
) -> None:
    store, arrived_ms = the_store(), to_ms(timezone.now())
    store.bulk(
        quarantine_lines(
            store.quarantine_index(arrived_ms),
            tenant=PLATFORM,
            batch_id=9,
            number=0,
            arrived_ms=arrived_ms,
            reason="unknown_tenant",
            identity="kunlun.tbox-1",
            device="tbox-1",
            topic="ow/v1/kunlun.tbox-1/readings",
            payload=b"rubbish",
        )
    )
    store.refresh()
    assert "/unclaimed/replay" not in at_the_platform.get(f"{PATH}?maker=nosuchmaker").text
    assert "Replay these for" in at_the_platform.get(f"{PATH}?maker=kunlun").text
    said = {"maker": "kunlun", "reason": "unknown_tenant", "q": "readings"}
    assert at_the_platform.post(f"{PATH}replay", said).status_code == 302
    with tenant_context(kunlun):
        run = Replay.objects.get()
    assert (run.requested_by, run.reason, run.words) == (None, "unknown_tenant", "readings")
    assert run.unclaimed is not None
    assert at_the_platform.post(f"{PATH}replay", {"maker": "nosuchmaker"}).status_code == 404
    assert at_the_platform.get(f"{PATH}replay").status_code == 405


@pytest.mark.parametrize("key", ["kunlun:7-0", f"{PLATFORM}:8-0", "x"])
def test_a_tenants_own_is_not_found_here(refused: None, at_the_platform: Client, key: str) -> None:
    assert at_the_platform.get(f"{PATH}{key}/").status_code == 404


def test_a_tenants_host_has_no_such_page(refused: None, kunlun: Tenant, anna: User) -> None:
    assert browser(anna, kunlun).get(PATH).status_code == 404
    assert browser(anna, kunlun).get(f"/portal/quarantine/{STRANGERS}/").status_code == 404
