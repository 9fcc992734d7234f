"""What every test stands on: two tenants, the cast, a clean store, and the schema left public."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import TransactionTestCase
from django_tenants.utils import tenant_context
from pytest_django.plugin import DjangoDbBlocker

from apps.accounts.models import User
from apps.accounts.permissions import Role
from apps.tenants.models import Tenant
from tests import acquisition, cast, mqtt, stores
from tests.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 11, 23, 12, 0, tzinfo=UTC))


def pytest_unconfigure() -> None:
    """What was kept beside the stores goes with the process."""
    for name in ("OHMWATCH_DATA_DIR", "OHMWATCH_STATIC_DIR"):  # made by tests.settings
        shutil.rmtree(os.environ[name], ignore_errors=True)


# --- stores -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix() -> None:
    """tests.settings has named the worker's database already."""


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """The test database with both tenants and the cast, made once and committed."""
    with django_db_blocker.unblock():
        stores.make_tenants()
        stores.write_both_casts()


@pytest.fixture(scope="session", autouse=True)
def _transactional_tests_leave_nothing() -> Iterator[None]:
    """Django's flush empties the public schema only, and the tenants' rows with it."""
    patch = pytest.MonkeyPatch()
    patch.setattr(TransactionTestCase, "_fixture_teardown", lambda self: stores.restore())
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def _schema_is_public() -> Iterator[None]:
    """A test that leaves a tenant's schema set fails, and doesn't hand it to the next one."""
    connection.set_schema_to_public()  # type: ignore[attr-defined]
    yield
    left = connection.schema_name  # type: ignore[attr-defined]
    connection.set_schema_to_public()  # type: ignore[attr-defined]
    assert left == "public", f"the test left the schema {left} set"


@pytest.fixture(autouse=True)
def _redis_is_empty(request: pytest.FixtureRequest) -> None:
    """Caches, queues and logs of an earlier test are gone. Unit tests have no stores."""
    if "unit" not in request.path.parts:
        stores.flush_redis()


@pytest.fixture(scope="session")
def elasticsearch() -> Iterator[str]:
    """Templates and slices under the worker's own prefix, which is handed to the test."""
    call_command("prepare_stores", verbosity=0)
    yield settings.ENVIRONMENT.elasticsearch_prefix
    stores.delete_indices(templates=True)


@pytest.fixture
def empty_elasticsearch(elasticsearch: str) -> str:
    """The same, without a document in it: costs about a second, so only who counts asks for it."""
    stores.delete_indices(templates=False)
    call_command("prepare_stores", verbosity=0)
    return elasticsearch


@pytest.fixture
def redis_log() -> Iterator[redis.Redis]:
    """A client of the database that holds the partitions' logs."""
    with redis.Redis.from_url(settings.REDIS_LOG_URL) as client:
        yield client


@pytest.fixture
def broker() -> Iterator[mqtt.Mosquitto]:
    """A Mosquitto as it is shipped, with both tenants' devices; nothing waits in it."""
    with mqtt.running(acquisition.DEVICES) as running:
        yield running


# --- tenants and people -------------------------------------------------------------------------


@pytest.fixture
def kunlun(db: None) -> Tenant:
    return Tenant.objects.get(slug="kunlun")


@pytest.fixture
def aurora(db: None) -> Tenant:
    return Tenant.objects.get(slug="aurora")


@pytest.fixture
def in_kunlun(kunlun: Tenant) -> Iterator[Tenant]:
    """The test runs in Kunlun's schema."""
    with tenant_context(kunlun):
        yield kunlun


@pytest.fixture
def in_aurora(aurora: Tenant) -> Iterator[Tenant]:
    """The test runs in Aurora's schema."""
    with tenant_context(aurora):
        yield aurora


def _person(tenant: Tenant, pk: Any) -> User:
    with tenant_context(tenant):
        return User.objects.select_related("organisation").get(pk=pk)


@pytest.fixture
def anna(kunlun: Tenant) -> User:
    """Engineer at Kunlun."""
    return _person(kunlun, cast.ANNA)


@pytest.fixture
def ada(kunlun: Tenant) -> User:
    """Administrator at Kunlun."""
    return _person(kunlun, cast.ADA)


@pytest.fixture
def sam(kunlun: Tenant) -> User:
    """Support at Kunlun."""
    return _person(kunlun, cast.SAM)


@pytest.fixture
def rita(kunlun: Tenant) -> User:
    """Reads only, at Kunlun."""
    return _person(kunlun, cast.RITA)


@pytest.fixture
def ben(kunlun: Tenant) -> User:
    """Fleet manager of Harbour Taxi, Kunlun's customer."""
    return _person(kunlun, cast.BEN)


@pytest.fixture
def dora(kunlun: Tenant) -> User:
    """Drives for Harbour Taxi."""
    return _person(kunlun, cast.DORA)


@pytest.fixture
def clara(kunlun: Tenant) -> User:
    """Fleet manager of City Logistics, another customer of Kunlun's."""
    return _person(kunlun, cast.CLARA)


@pytest.fixture
def otto(aurora: Tenant) -> User:
    """Engineer at Aurora, another tenant."""
    return _person(aurora, cast.OTTO)


@pytest.fixture
def operator(db: None) -> User:
    """Runs the platform, in the public schema."""
    return User.objects.create_user(
        "operator", "operator@ohmwatch.example", cast.PASSWORD, role=Role.OPERATOR
    )
