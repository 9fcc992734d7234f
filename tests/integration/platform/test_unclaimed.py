"""Operators see what no tenant could be told for; nobody else does, and no tenant's is among it."""

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import User
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


@pytest.mark.parametrize("key", ["kunlun:7-0", f"{PLATFORM}:8-0", "x"])
def test_a_tenants_own_is_not_found_here(refused: None, at_the_platform: Client, key: str) -> None:
    assert at_the_platform.get(f"{PATH}{key}/").status_code == 404


def test_a_tenants_host_has_no_such_page(refused: None, kunlun: Tenant, anna: User) -> None:
    assert browser(anna, kunlun).get(PATH).status_code == 404
    assert browser(anna, kunlun).get(f"/portal/quarantine/{STRANGERS}/").status_code == 404
