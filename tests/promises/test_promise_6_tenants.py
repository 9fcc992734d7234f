"""Promise 6, in Postgres, caches, links and tasks: tenants never see each other.

Both tenants hold equal primary keys, so a statement in the wrong schema finds a row and not an
error; the texts tell whose it was.
"""

import ast
import asyncio
import random
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from celery import Task
from celery.loaders.base import find_related_module
from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.tokens import default_token_generator
from django.core.cache import cache
from django.db import connection, connections, transaction
from django.test import RequestFactory
from django_tenants.utils import schema_context, tenant_context

from apps.accounts.models import Organisation, User
from apps.accounts.permissions import Role
from apps.fleet.models import Vehicle
from apps.tenants.middleware import HostMiddleware
from apps.tenants.models import Tenant, TenantState
from apps.tenants.queries import current_tenant, expected_tables, missing_tables
from apps.tenants.schema import current_schema, in_public, in_tenant
from apps.tenants.tasks import PublicTask, SchemaMissing, TenantTask, public_task, tenant_task
from config.celery import app as celery
from config.celery import packages_of
from tests import cast

ROOT = Path(__file__).parents[2]
THREADS, STEPS = 8, 150


# --- Postgres ----------------------------------------


def label_of_bens_vehicle() -> str:
    return Vehicle.objects.get(pk=cast.BENS_VEHICLE).label


LABELS = {"kunlun": "Taxi 1", "aurora": "CANARY-B-vehicle-1"}


class Fault(Exception):
    """What a request or a task may die of in the middle."""


def use_tenant(tenant: Tenant, chance: random.Random) -> str | None:
    """One request or task: read, write, perhaps roll back or die. Returns what it read."""
    with tenant_context(tenant):
        try:
            with transaction.atomic():
                Organisation.objects.create(name=f"{tenant.slug}-{uuid.uuid4()}")
                seen = label_of_bens_vehicle()
                if chance.random() < 0.3:
                    raise Fault
                if chance.random() < 0.2:
                    with transaction.atomic():
                        connection.cursor().execute("SELECT 1")
                        transaction.set_rollback(True)
        except Fault:
            seen = label_of_bens_vehicle()
    return seen


@pytest.mark.django_db(transaction=True)
def test_random_interleaving_never_reads_or_writes_the_other_tenant(
    kunlun: Tenant, aurora: Tenant
) -> None:
    seed = random.randrange(1 << 32)
    wrong: list[str] = []

    def work(number: int) -> None:
        chance = random.Random(seed + number)
        try:
            for _ in range(STEPS):
                tenant = chance.choice([kunlun, aurora])
                if (seen := use_tenant(tenant, chance)) != LABELS[tenant.slug]:
                    wrong.append(f"{tenant.slug} read {seen}")
                if not in_public():
                    wrong.append(f"{current_schema()} was left set")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    assert not wrong, f"seed {seed}: {wrong[:5]}"
    for tenant in (kunlun, aurora):
        with tenant_context(tenant):
            written = Organisation.objects.filter(name__contains="-")
            strange = [row.name for row in written if not row.name.startswith(tenant.slug)]
            assert not [name for name in strange if "CANARY" not in name], f"seed {seed}"
            assert written.filter(name__startswith=tenant.slug).exists()


def test_every_tenant_holds_every_table_of_its_own(kunlun: Tenant, aurora: Tenant) -> None:
    assert not missing_tables()
    assert {"accounts_user", "django_session", "fleet_vehicle"} <= expected_tables()


def test_nobody_of_the_platform_can_sign_in_at_a_tenant(operator: User, kunlun: Tenant) -> None:
    request = RequestFactory().post("/account/login/")
    with tenant_context(kunlun):
        assert authenticate(request, username="operator", password=cast.PASSWORD) is None
        assert not User.objects.filter(role=Role.OPERATOR).exists()
    assert authenticate(request, username="operator", password=cast.PASSWORD) == operator


def test_a_half_made_tenant_is_seen_and_not_served(operator: User, kunlun: Tenant) -> None:
    """Without its table the search path would show the platform's people: so it must show."""
    with connection.cursor() as cursor:
        cursor.execute('DROP TABLE t_kunlun."accounts_user" CASCADE')
    with tenant_context(kunlun):
        assert User.objects.filter(username="operator").exists(), "the trap is real"
    assert missing_tables() == {"t_kunlun": frozenset({"accounts_user"})}
    Tenant.objects.filter(pk=kunlun.pk).update(state=TenantState.FAILED)
    answer = HostMiddleware(lambda request: pytest.fail("it was served"))(
        RequestFactory().get("/", headers={"host": "kunlun.localhost"})
    )
    assert answer.status_code == 503


def test_a_request_that_dies_leaves_the_schema_public(kunlun: Tenant) -> None:
    def die(request: object) -> None:
        assert current_schema() == "t_kunlun"
        raise Fault

    with pytest.raises(Fault):
        HostMiddleware(die)(  # type: ignore[arg-type]
            RequestFactory().get("/", headers={"host": "kunlun.localhost"})
        )
    assert in_public()


# --- caches, links ----------------------------------------


def test_a_cached_value_is_its_tenants_alone(kunlun: Tenant, aurora: Tenant) -> None:
    with tenant_context(aurora):
        cache.set("same-key", "CANARY-B-cache")
    with tenant_context(kunlun):
        assert cache.get("same-key") is None
        cache.set("same-key", "ours")
    assert cache.get("same-key") is None
    with redis.Redis.from_url(settings.REDIS_CACHE_URL) as client:
        keys = {key.decode() for key in client.scan_iter()}
    assert keys == {"t_kunlun::1:same-key", "t_aurora::1:same-key"}


def test_every_cache_writes_the_schema_into_its_keys() -> None:
    for alias, cache_settings in settings.CACHES.items():
        assert cache_settings["KEY_FUNCTION"] == "django_tenants.cache.make_key", alias
    assert settings.ACCOUNT_EMAIL_CONFIRMATION_HMAC is False
    assert settings.SESSION_COOKIE_DOMAIN is None


def test_a_signed_link_of_one_tenant_is_refused_by_the_other(
    kunlun: Tenant, aurora: Tenant
) -> None:
    """Equal key, name and address: what differs is the hash of the password alone."""
    with tenant_context(kunlun):
        ours = User.objects.get(pk=cast.BEN)
        ours.set_password(cast.PASSWORD)
        ours.save()
        token = default_token_generator.make_token(ours)
        assert default_token_generator.check_token(ours, token)
    with tenant_context(aurora):
        theirs = User.objects.get(pk=cast.BEN)
        assert not default_token_generator.check_token(theirs, token)


# --- tasks ----------------------------------------


@tenant_task(name="tests.whose")
def whose(*, schema: str, **later: object) -> str:
    return f"{current_tenant().slug}: {label_of_bens_vehicle()}"


@public_task(name="tests.where")
def where(**later: object) -> str:
    return current_schema()


def test_a_task_runs_where_its_argument_says(kunlun: Tenant, aurora: Tenant) -> None:
    assert whose(schema="t_kunlun") == "kunlun: Taxi 1"
    with tenant_context(kunlun):
        assert whose(schema="t_aurora") == "aurora: CANARY-B-vehicle-1"
        assert current_schema() == "t_kunlun"
        assert where(unknown="to old workers") == "public"


@pytest.mark.parametrize("said", [{}, {"schema": "public"}, {"schema": None}, {"schema": 3}])
def test_a_tenants_task_without_a_tenant_refuses(db: None, said: dict[str, object]) -> None:
    with pytest.raises(SchemaMissing):
        whose(**said)


def every_task() -> dict[str, Task]:
    """Each task of ours that any worker knows, by its name."""
    for package in packages_of(slot=-1):
        find_related_module(package, "tasks")
    return {
        name: task
        for name, task in celery.tasks.items()
        if task.__module__.startswith(("apps.", "workers."))
    }


def test_every_task_says_whose_it_is_and_knocks_in_vain_elsewhere(db: None) -> None:
    """A tenant's task without a tenant, or of one that is gone, does nothing; none is neither."""
    found = every_task()
    of_tenants = {name: task for name, task in found.items() if isinstance(task, TenantTask)}
    assert len(of_tenants) > 5
    assert {name for name, task in found.items() if not isinstance(task, PublicTask)} == set(
        of_tenants
    )
    for task in of_tenants.values():
        for said in ({}, {"schema": "public"}):
            with pytest.raises(SchemaMissing):
                task(**said)
        assert task(schema="t_gone") is None
        assert in_public()


def test_a_task_of_a_tenant_that_is_gone_ends_quietly(kunlun: Tenant) -> None:
    assert whose(schema="t_gone") is None
    Tenant.objects.filter(pk=kunlun.pk).update(state=TenantState.FAILED)
    assert whose(schema="t_kunlun") is None
    assert in_public()


def test_nothing_but_json_gets_into_a_worker() -> None:
    assert celery.conf.accept_content == ["json"]
    assert celery.conf.task_serializer == "json"


# --- async code ----------------------------------------


@pytest.mark.django_db(transaction=True)
def test_consumers_that_take_turns_on_one_thread_read_their_own(
    kunlun: Tenant, aurora: Tenant
) -> None:
    async def consumer(tenant: Tenant) -> list[str]:
        seen = []
        for _ in range(50):
            seen.append(await in_tenant(tenant, label_of_bens_vehicle))
            await asyncio.sleep(0)
        return seen

    async def together() -> list[list[str]]:
        return await asyncio.gather(*(consumer(t) for t in (kunlun, aurora, kunlun)))

    for tenant, seen in zip((kunlun, aurora, kunlun), asyncio.run(together()), strict=True):
        assert set(seen) == {LABELS[tenant.slug]}


SWITCHES = {
    "set_schema",
    "set_tenant",
    "set_schema_to_public",
    "schema_context",
    "tenant_context",
}


def switches_in_async(source: str) -> list[int]:
    """Lines of an `async def` that set a schema: the next await may run under another one."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AsyncFunctionDef):
            inner = {
                id(child)
                for nested in ast.walk(node)
                if isinstance(nested, ast.FunctionDef | ast.Lambda)
                for child in ast.walk(nested)
            }
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and id(call) not in inner:
                    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
                    if name in SWITCHES:
                        found.append(call.lineno)
    return found


def test_no_async_function_sets_a_schema() -> None:
    found = {
        str(path.relative_to(ROOT)): lines
        for folder in ("apps", "workers", "config")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := switches_in_async(path.read_text()))
    }
    assert not found


def test_the_rule_catches_what_it_is_for() -> None:
    bad = "async def f():\n    c.set_tenant(t)\n    with schema_context(s):\n        await g()"
    good = (
        "async def f():\n    def call():\n        with tenant_context(t):\n            return 1\n"
    )
    assert switches_in_async(bad) == [2, 3]
    assert switches_in_async(good) == []


def test_contexts_nest_and_come_back(kunlun: Tenant, aurora: Tenant) -> None:
    with tenant_context(kunlun):
        with tenant_context(aurora), schema_context("public"):
            assert in_public()
        assert current_schema() == "t_kunlun"
    other: list[str] = []
    with tenant_context(kunlun):
        thread = threading.Thread(target=lambda: other.append(current_schema()))
        thread.start()
        thread.join()
    assert other == ["public"]
