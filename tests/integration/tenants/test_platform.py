"""The operator creates a tenant, sees it get ready, and mends what failed."""

import json

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.accounts.permissions import Role
from apps.tenants import operations
from apps.tenants.models import Tenant, TenantState
from apps.tenants.tasks import build
from tests.clock import Clock


@pytest.fixture
def portal(client: Client, operator: User) -> Client:
    client.defaults["HTTP_HOST"] = "localhost"
    client.force_login(operator)
    return client


def test_the_operator_sees_tenants_with_state_plan_and_devices(
    portal: Client, kunlun: Tenant
) -> None:
    page = portal.get("/").text
    assert "Kunlun Connectors" in page
    assert "ready" in page
    assert "Standard" in page
    assert "http://kunlun.localhost" in page


def test_who_is_not_signed_in_is_asked_to(client: Client, db: None) -> None:
    answer = client.get("/", headers={"host": "localhost"})
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/account/login/")


@pytest.mark.django_db(transaction=True)
def test_a_tenant_made_in_the_portal_is_built_by_a_task(
    portal: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(build, "delay", lambda *, tenant: sent.append(tenant))
    answer = portal.post("/tenants/new/", {"name": "Taiyuan Plugs", "slug": "taiyuan", "plan": ""})
    assert answer.status_code == 302
    made = Tenant.objects.get(slug="taiyuan")
    assert made.state == TenantState.CREATING
    assert portal.get("/", headers={"host": "taiyuan.localhost"}).status_code == 503

    build(tenant=sent[0])
    made.refresh_from_db()
    assert made.state == TenantState.READY
    with tenant_context(made):
        assert not User.objects.exists()


@pytest.mark.parametrize(
    ("slug", "why"),
    [
        ("Kunlun", "small letters"),
        ("k", "small letters"),
        ("a" * 32, "at most 31"),
        ("with_underscore", "small letters"),
        ("ends-", "small letters"),
        ("public", "reserved"),
        ("www", "reserved"),
        ("kunlun", "already exists"),
    ],
)
def test_a_bad_short_name_is_explained(portal: Client, kunlun: Tenant, slug: str, why: str) -> None:
    answer = portal.post("/tenants/new/", {"name": "Somebody", "slug": slug, "plan": ""})
    assert answer.status_code == 200
    assert why in answer.text


def test_where_a_manufacturers_sms_may_go(portal: Client, kunlun: Tenant) -> None:
    page = f"/tenants/{kunlun.pk}/sms/"
    shown = portal.get(page).text
    assert "0 of 500 SMS" in shown
    assert 'value="CN DE"' in shown
    wrong = portal.post(page, {"country": "CN", "sms_countries": "DE XX"}).text
    assert "Not a country&#x27;s code: XX" in wrong
    told = portal.post(page, {"country": "CN", "sms_countries": "at, de"}, follow=True)
    assert "holds from the next message on" in told.text
    kunlun.refresh_from_db()
    assert kunlun.reachable_countries == {"AT", "DE"}
    portal.post(page, {"country": "CN", "sms_countries": ""})
    kunlun.refresh_from_db()
    assert kunlun.reachable_countries == {"CN"}


@pytest.mark.django_db(transaction=True)
def test_a_failed_tenant_keeps_its_reason_and_can_be_tried_again(
    portal: Client, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = operations.register_tenant(slug="taiyuan", name="Taiyuan", now=clock.now)

    def break_down(schema_name: str) -> None:
        raise RuntimeError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(operations, "_build_schema", break_down)
        with pytest.raises(operations.TenantFailed):
            operations.build_tenant(tenant=tenant)
    tenant.refresh_from_db()
    assert tenant.state == TenantState.FAILED
    assert "disk full" in portal.get("/").text

    sent: list[str] = []
    monkeypatch.setattr(build, "delay", lambda *, tenant: sent.append(tenant))
    assert portal.post(f"/tenants/{tenant.pk}/retry").status_code == 302
    build(tenant=sent[0])
    tenant.refresh_from_db()
    assert tenant.state == TenantState.READY
    assert tenant.failure == ""


def test_nobody_but_an_operator_can_stand_in_public_and_none_in_a_tenant(
    db: None, kunlun: Tenant
) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create(username="mallory", role=Role.ADMINISTRATOR)
    with tenant_context(kunlun), pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create(username="mallory", role=Role.OPERATOR)


def test_machines_are_answered_on_any_host(client: Client, db: None) -> None:
    assert client.get("/healthz", headers={"host": "10.1.2.3:8000"}).content == b"ok\n"
    ready = client.get("/readyz", headers={"host": "whatever"})
    checks = json.loads(ready.content)["checks"]
    assert set(checks) == {"postgres", "redis", "elasticsearch", "tenants"}
    assert all(check["ok"] for check in checks.values()), checks
    assert b"python_info" in client.get("/metrics", headers={"host": "10.1.2.3"}).content


def test_strangers_see_neither_metrics_nor_reasons(client: Client, db: None) -> None:
    assert client.get("/metrics", REMOTE_ADDR="192.0.2.7").status_code == 404
    assert client.get("/metrics", headers={"x-forwarded-for": "192.0.2.7"}).status_code == 404


def test_a_tenant_without_one_of_its_tables_is_not_ready(client: Client, kunlun: Tenant) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE t_kunlun.devices_channel")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "t_kunlun lacks 1" in json.loads(answer.content)["checks"]["tenants"]["reason"]
