"""Whose is it? Every detail of the API, for its owner and for everybody else."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from django_tenants.utils import tenant_context
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.tenants.models import Tenant
from tests import cast
from tests.integration.api.conftest import (
    AURORAS,
    BENS_ALARM,
    CLARAS_ALARM,
    UNUSED_MODEL,
    caller,
    new_key,
    signed_in,
)

pytestmark = pytest.mark.usefixtures("world")

OWN = {
    "models": cast.MODEL,
    "vehicles": cast.BENS_VEHICLE,
    "connectors": cast.BENS_CONNECTOR,
    "alarms": BENS_ALARM,
}
CLARAS = {
    "models": UNUSED_MODEL,
    "vehicles": cast.CLARAS_VEHICLE,
    "connectors": cast.CLARAS_CONNECTOR,
    "alarms": CLARAS_ALARM,
}


def details(description: dict[str, Any]) -> list[str]:
    """Every path with an id in it, found in the document and not remembered here."""
    return [path for path in description["paths"] if "{id}" in path]


def at(path: str, ids: dict[str, UUID]) -> str:
    kind = path.removeprefix("/api/v1/").split("/")[0]
    return path.replace("{id}", str(ids[kind]))


def body(response: Any) -> dict[str, Any]:
    """The answer without the request's own id."""
    found: dict[str, Any] = json.loads(response.content)
    found.pop("request_id", None)
    return found


@pytest.fixture(params=["browser", "key"])
def ben_asks(request: pytest.FixtureRequest) -> APIClient:
    """Ben, and a system of his organisation's: both see the same."""
    client: APIClient = request.getfixturevalue(f"bens_{request.param}")
    return client


def test_own_things_are_found(ben_asks: APIClient, description: dict[str, Any]) -> None:
    assert len(details(description)) >= 8
    for path in details(description):
        response = ben_asks.get(at(path, OWN))
        assert response.status_code == 200, path
        assert cast.CANARY not in response.content.decode(), path


@pytest.mark.parametrize(
    "ids",
    [CLARAS, AURORAS, dict.fromkeys(OWN, uuid4())],
    ids=["another organisation's", "another tenant's", "nobody's"],
)
def test_others_things_are_not_there(
    ben_asks: APIClient, description: dict[str, Any], ids: dict[str, UUID]
) -> None:
    missing = body(ben_asks.get("/api/v1/nothing-of-that-name"))
    assert missing["code"] == "not_found"
    for path in details(description):
        response = ben_asks.get(at(path, ids))
        assert response.status_code == 404, path
        assert body(response) == missing, path


def test_lists_hold_only_what_is_theirs(ben_asks: APIClient, description: dict[str, Any]) -> None:
    for path in set(description["paths"]) - {*details(description)}:
        text = ben_asks.get(path).content.decode()
        assert cast.CANARY not in text, path
        for foreign in (*CLARAS.values(), *AURORAS.values()):
            assert str(foreign) not in text, path


def test_filters_do_not_tell_what_others_have(ben_asks: APIClient) -> None:
    for query in (
        f"vehicles?organisation={cast.CITY}",
        f"connectors?vehicle={cast.CLARAS_VEHICLE}",
        f"connectors?model={UNUSED_MODEL}",
        f"alarms?connector={cast.CLARAS_CONNECTOR}",
        f"alarms?vehicle={uuid4()}",
    ):
        response = ben_asks.get(f"/api/v1/{query}")
        assert (response.status_code, response.json()["results"]) == (200, []), query


def test_staff_sees_all_of_its_tenant_and_nothing_of_another(
    annas_browser: APIClient, staff_key: APIClient, description: dict[str, Any]
) -> None:
    for client in (annas_browser, staff_key):
        for path in details(description):
            assert client.get(at(path, OWN)).status_code == 200
            assert client.get(at(path, CLARAS)).status_code == 200
            assert client.get(at(path, AURORAS)).status_code == 404
        for path in description["paths"]:
            response = client.get(at(path, OWN) if "{id}" in path else path)
            assert cast.CANARY not in response.content.decode()


def test_another_tenants_session_and_key_are_nobody_here(
    aurora: Tenant, otto: User, description: dict[str, Any]
) -> None:
    session = signed_in(otto, aurora, host="kunlun.localhost")
    for client in (session, caller(key=new_key(aurora))):
        for path in description["paths"]:
            assert client.get(at(path, OWN) if "{id}" in path else path).status_code == 401, path


def test_nobody_gets_nothing(description: dict[str, Any]) -> None:
    for path in description["paths"]:
        response = caller().get(at(path, OWN) if "{id}" in path else path)
        assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")
        assert response["WWW-Authenticate"].startswith("Bearer")


def test_a_person_who_was_switched_off_is_nobody(bens_browser: APIClient, kunlun: Tenant) -> None:
    assert bens_browser.get("/api/v1/me").status_code == 200
    with tenant_context(kunlun):
        User.objects.filter(pk=cast.BEN).update(is_active=False)
    assert bens_browser.get("/api/v1/me").status_code == 401


def test_a_customer_sees_a_model_only_while_it_is_in_a_vehicle(bens_browser: APIClient) -> None:
    codes = [model["code"] for model in bens_browser.get("/api/v1/models").json()["results"]]
    assert codes == ["HV-250"]
