"""Which host answers what: an exact match, or nothing of anybody's."""

import pytest
from django.test import Client
from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.tenants.models import Tenant, TenantState


@pytest.mark.parametrize(
    "host",
    [
        "nobody.localhost",
        "kunlun.localhost.evil.example",
        "evil.example",
        "www.kunlun.localhost",
        "kunlun.aurora.localhost",
        "t_kunlun.localhost",
        "xn--kunln-3ya.localhost",
        "bad host",
        "",
    ],
)
def test_an_unknown_host_is_answered_with_nothing_of_a_tenants(
    client: Client, kunlun: Tenant, aurora: Tenant, host: str
) -> None:
    answer = client.get("/account/login/", headers={"host": host})
    assert answer.status_code == 404
    assert b"Kunlun" not in answer.content
    assert b"CANARY" not in answer.content


@pytest.mark.parametrize(
    "host", ["kunlun.localhost", "KUNLUN.localhost", "kunlun.localhost:8000", "kunlun.localhost."]
)
def test_a_tenants_host_answers_in_any_spelling_that_means_it(
    client: Client, kunlun: Tenant, host: str
) -> None:
    answer = client.get("/account/login/", headers={"host": host})
    assert answer.status_code == 200
    assert "Kunlun Connectors" in answer.text


def test_a_forwarded_host_changes_nothing(client: Client, kunlun: Tenant, aurora: Tenant) -> None:
    answer = client.get(
        "/account/login/",
        headers={"host": "kunlun.localhost", "x-forwarded-host": "aurora.localhost"},
    )
    assert "Kunlun Connectors" in answer.text
    assert "CANARY" not in answer.text


@pytest.mark.parametrize("state", [TenantState.CREATING, TenantState.FAILED])
def test_a_tenant_that_is_not_ready_asks_for_patience(
    client: Client, kunlun: Tenant, state: str
) -> None:
    Tenant.objects.filter(pk=kunlun.pk).update(state=state)
    answer = client.get("/account/login/", headers={"host": "kunlun.localhost"})
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_a_session_of_kunlun_is_nobody_at_aurora(
    client: Client, anna: User, aurora: Tenant
) -> None:
    with tenant_context(Tenant.objects.get(slug="kunlun")):
        client.force_login(anna)
    answer = client.get("/portal/", headers={"host": "aurora.localhost"})
    assert answer.status_code in (302, 404)
    assert answer.headers.get("Location", "/account/login/").startswith("/account/login/")


def test_no_platform_page_on_a_tenants_host_and_the_other_way_round(
    client: Client, operator: User, kunlun: Tenant
) -> None:
    client.force_login(operator)
    assert client.get("/tenants/new/", headers={"host": "kunlun.localhost"}).status_code == 404
    assert client.get("/portal/", headers={"host": "localhost"}).status_code == 404
