"""Callers of the API, and equal things at both tenants for them to find or not to find."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django_tenants.utils import tenant_context
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from apps.accounts.models import Organisation, User
from apps.alarms.models import Alarm, AlarmEvent
from apps.api.models import Scope
from apps.api.operations import create_key
from apps.catalog.models import ConnectorModel
from apps.fleet.models import Connector, Vehicle
from apps.telemetry.store import TelemetryStore
from apps.tenants.models import Tenant
from tests import cast, stores
from tests.integration.telemetry.conftest import reading_lines

NOW = datetime.now(UTC).replace(microsecond=0)
NOW_MS = int(NOW.timestamp() * 1000)
BENS_ALARM, CLARAS_ALARM = cast.fixed_id(60), cast.fixed_id(61)
AURORAS = {
    "models": cast.fixed_id(900),
    "vehicles": cast.fixed_id(901),
    "connectors": cast.fixed_id(902),
    "alarms": cast.fixed_id(903),
}
"""What exists at Aurora under keys that Kunlun does not know."""
UNUSED_MODEL = cast.fixed_id(904)
"""A model of Kunlun's that is in none of Ben's vehicles."""


@pytest.fixture(scope="module")
def readings(elasticsearch: str) -> None:
    """An hour of readings of Ben's and Clara's connectors at both tenants, and their states.

    And nothing else: other tests report for the same connectors.
    """
    stores.delete_indices(templates=False)
    call_command("prepare_stores", verbosity=0)
    store = TelemetryStore()
    for tenant, ampere in (("kunlun", 180.5), ("aurora", -666.0)):
        whose = {cast.BENS_CONNECTOR: cast.HARBOUR, cast.CLARAS_CONNECTOR: cast.CITY}
        for connector, organisation in whose.items():
            rows = [
                (NOW_MS - minute * 60_000, {"current_a": ampere, "temperature_pos_c": 61.0})
                for minute in range(1, 61)
            ]
            of = {"organisation": str(organisation), "model": "HV-250", "batch": "2026-03"}
            store.bulk(reading_lines(store, tenant, rows, connector=str(connector), **of))
        store.update_states(
            [
                {
                    "tenant": tenant,
                    "connector": str(cast.BENS_CONNECTOR),
                    "organisation": str(cast.HARBOUR),
                    "last": {"current_a": ampere},
                    "measured_at": NOW_MS,
                    "arrived_at": NOW_MS,
                    "judged_at": NOW_MS,
                    "margin_k": 42.0,
                    "margin_from_k": 38.5,
                    "margin_to_k": 45.5,
                    "headroom_k": 61.0,
                    "left_unknown": "not_growing",
                    "learnt_at": NOW_MS - 6 * 86_400_000,
                    "mating_step_neg": -0.12,
                    "batch": cast.CANARY if tenant == "aurora" else "2026-03",
                }
            ]
        )
    store.refresh()


@pytest.fixture
def world(kunlun: Tenant, aurora: Tenant, readings: None) -> None:
    """Alarms with equal keys at both tenants; some things at Aurora alone."""
    for tenant in (kunlun, aurora):
        with tenant_context(tenant):
            _write_alarm(BENS_ALARM, cast.BENS_CONNECTOR, number=1, tenant=tenant)
            _write_alarm(CLARAS_ALARM, cast.CLARAS_CONNECTOR, number=2, tenant=tenant)
    with tenant_context(kunlun):
        _write_model(UNUSED_MODEL, "HV-UNUSED")
    with tenant_context(aurora):
        _write_aurora_alone(aurora)


def _write_alarm(pk: UUID, connector: UUID, *, number: int, tenant: Tenant) -> None:
    said = cast.CANARY if tenant.slug == "aurora" else "overtemperature"
    alarm = Alarm.objects.create(
        id=pk,
        connector_id=connector,
        condition=said,
        severity="warning",
        since=NOW - timedelta(minutes=9),
        last_measured_at=NOW,
        opened_at=NOW - timedelta(minutes=8),
        evidence={"temperature_pos_c": 131.0, "note": said},
    )
    AlarmEvent.objects.create(
        number=number,
        alarm=alarm,
        kind="opened",
        severity="warning",
        reason="first_finding",
        measured_at=NOW - timedelta(minutes=9),
        arrived_at=NOW - timedelta(minutes=9),
        judged_at=NOW - timedelta(minutes=8),
        evidence={"note": said},
    )


def _write_model(pk: UUID, code: str) -> ConnectorModel:
    return ConnectorModel.objects.create(
        id=pk,
        code=code,
        name=code,
        position="traction",
        rated_current_a=100,
        rated_voltage_v=800,
        temperature_limit_c=90,
    )


def _write_aurora_alone(aurora: Tenant) -> None:
    _write_model(AURORAS["models"], "HV-AURORA")
    Vehicle.objects.create(
        id=AURORAS["vehicles"], organisation_id=cast.HARBOUR, vin="1HGCM82633A004352"
    )
    Connector.objects.create(
        id=AURORAS["connectors"],
        model_id=AURORAS["models"],
        serial="SN-AURORA",
        vehicle_id=AURORAS["vehicles"],
        position="traction",
    )
    _write_alarm(AURORAS["alarms"], AURORAS["connectors"], number=3, tenant=aurora)


# --- callers --------------------------------------------------------------------------------------


def caller(host: str = "kunlun.localhost", *, key: str | None = None) -> APIClient:
    """Somebody at a tenant's host, with a key or without anything."""
    client = APIClient(HTTP_HOST=host)
    if key is not None:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
    return client


def signed_in(user: User, tenant: Tenant, *, host: str | None = None) -> APIClient:
    """A browser whose session is the user's."""
    client = caller(host or f"{tenant.slug}.localhost")
    with tenant_context(tenant):
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def new_key(tenant: Tenant, *, organisation: UUID | None = None, **more: Any) -> str:
    """A key with all scopes, seeing one organisation or all of the tenant."""
    with tenant_context(tenant):
        wanted: dict[str, Any] = {
            "user": None,
            "name": "Telematics of the maker",
            "scopes": Scope.values,
            "organisation": organisation and Organisation.objects.get(pk=organisation),
            "now": NOW,
        }
        return create_key(**(wanted | more))[1]


@pytest.fixture
def bens_browser(kunlun: Tenant, ben: User) -> APIClient:
    return signed_in(ben, kunlun)


@pytest.fixture
def bens_key(kunlun: Tenant) -> APIClient:
    """A system of Harbour Taxi's."""
    return caller(key=new_key(kunlun, organisation=cast.HARBOUR))


@pytest.fixture
def annas_browser(kunlun: Tenant, anna: User) -> APIClient:
    return signed_in(anna, kunlun)


@pytest.fixture
def staff_key(kunlun: Tenant) -> APIClient:
    return caller(key=new_key(kunlun))


@pytest.fixture(scope="session")
def description(django_db_setup: None) -> dict[str, Any]:
    """The API's OpenAPI document, as served."""
    generator = SchemaGenerator(urlconf="config.urls_tenant")  # type: ignore[no-untyped-call]
    document: dict[str, Any] = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return document
