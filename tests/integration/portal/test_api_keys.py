"""Keys of the API from the page that makes them to the request that is refused."""

import re

import pytest
from django.test import Client
from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.api.models import ApiKey
from apps.tenants.models import Tenant
from tests import cast
from tests.pages import browser, check_clean

NEW = {"name": "Plant 4", "days": "90", "scopes": ["read:fleet", "read:alarms"]}


@pytest.fixture
def adas(kunlun: Tenant, ada: User) -> Client:
    return browser(ada, kunlun)


def made(client: Client, **changes: object) -> tuple[str, str]:
    """The page that shows a new key, and the key."""
    shown = client.post("/portal/keys/add/", NEW | changes).text
    found = re.search(r"data-key>(ohm_live_[\w-]+)<", shown)
    assert found, shown
    return shown, found[1]


def test_a_key_is_shown_once_with_a_line_that_works(kunlun: Tenant, adas: Client) -> None:
    assert "No keys yet" in adas.get("/portal/keys/").text
    shown, token = made(adas)
    check_clean(shown)
    machine = browser(None, kunlun)
    line = re.search(r"curl -sS -H &#x27;(.+?): (.+?)&#x27; \\\n +(\S+)</code>", shown)
    assert line, shown
    name, value, address = line.groups()
    assert address == "http://kunlun.localhost/api/v1/me"
    answer = machine.get("/api/v1/me", headers={name: value})
    assert answer.status_code == 200
    listed = adas.get("/portal/keys/").text
    assert token not in listed
    assert "Plant 4" in listed
    assert "Ada Of Kunlun" in listed


def test_it_may_what_was_chosen_until_it_is_revoked(kunlun: Tenant, adas: Client) -> None:
    _shown, token = made(adas, organisation=str(cast.HARBOUR))
    machine, asks = browser(None, kunlun), {"Authorization": f"Bearer {token}"}
    seen = machine.get("/api/v1/vehicles", headers=asks).json()
    assert {row["id"] for row in seen["results"]} == {str(cast.BENS_VEHICLE)}
    path = f"/api/v1/connectors/{cast.BENS_CONNECTOR}/state"
    assert machine.get(path, headers=asks).status_code == 403
    with tenant_context(kunlun):
        key = ApiKey.objects.get()
    answer = adas.post(f"/portal/keys/{key.pk}/revoke", follow=True)
    assert "is refused from now on" in answer.text
    assert "Revoked" in answer.text
    assert machine.get("/api/v1/vehicles", headers=asks).status_code == 401


@pytest.mark.parametrize(
    "wrong", [{"scopes": []}, {"name": " "}, {"scopes": ["write:all"]}, {"days": ""}]
)
def test_a_key_for_nothing_is_not_made(
    kunlun: Tenant, adas: Client, wrong: dict[str, object]
) -> None:
    assert "mend what is marked" in adas.post("/portal/keys/add/", NEW | wrong).text
    with tenant_context(kunlun):
        assert not ApiKey.objects.exists()


def test_never_is_a_choice(kunlun: Tenant, adas: Client) -> None:
    made(adas, days="never")
    with tenant_context(kunlun):
        assert ApiKey.objects.get().expires_at is None
