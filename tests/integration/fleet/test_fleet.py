"""Vehicles and connectors: whose they are, and what the database takes."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import Http404
from django_tenants.utils import tenant_context

from apps.accounts.models import Organisation, User
from apps.catalog.models import ConnectorModel
from apps.catalog.queries import model_for, models
from apps.devices.queries import device_for, devices
from apps.fleet.models import Connector, Vehicle
from apps.fleet.operations import (
    add_connector,
    add_vehicle,
    change_vehicle,
    install_connector,
    retire_connector,
)
from apps.fleet.queries import connector_for, connectors, vehicle_for, vehicles
from apps.tenants.models import Tenant
from tests import cast
from tests.clock import Clock

LookUp = Callable[..., Any]


def test_who_sees_which_vehicles(
    in_kunlun: Tenant, anna: User, rita: User, ben: User, dora: User, clara: User
) -> None:
    def seen_by(user: User) -> set[uuid.UUID]:
        return {vehicle.pk for vehicle in vehicles(for_user=user)}

    assert seen_by(anna) == seen_by(rita) == {cast.BENS_VEHICLE, cast.CLARAS_VEHICLE}
    assert seen_by(ben) == seen_by(dora) == {cast.BENS_VEHICLE}
    assert seen_by(clara) == {cast.CLARAS_VEHICLE}


def test_customers_see_their_connectors_and_models_and_no_devices(
    in_kunlun: Tenant, ben: User, anna: User, clock: Clock
) -> None:
    unused = ConnectorModel.objects.get(pk=cast.MODEL)
    unused.pk, unused.code = uuid.uuid4(), "HV-UNUSED"
    unused.save(force_insert=True)
    spare = add_connector(model=unused, serial="SN-SPARE")
    assert set(connectors(for_user=ben).values_list("pk", flat=True)) == {
        cast.BENS_CONNECTOR,
        cast.BENS_SECOND_CONNECTOR,
    }
    assert [model.code for model in models(for_user=ben)] == ["HV-250"]
    assert not devices(for_user=ben).exists()
    assert connector_for(user=anna, pk=spare.pk) == spare
    assert models(for_user=anna).count() == 2
    assert devices(for_user=anna).count() == 2


@pytest.mark.parametrize(
    ("look_up", "bens", "claras"),
    [
        (vehicle_for, cast.BENS_VEHICLE, cast.CLARAS_VEHICLE),
        (connector_for, cast.BENS_CONNECTOR, cast.CLARAS_CONNECTOR),
    ],
)
def test_an_outsider_gets_what_a_missing_thing_gets(
    in_kunlun: Tenant,
    ben: User,
    clara: User,
    look_up: LookUp,
    bens: uuid.UUID,
    claras: uuid.UUID,
) -> None:
    assert look_up(user=ben, pk=bens).pk == bens
    assert look_up(user=ben, pk=str(bens)).pk == bens
    told = []
    for user, pk in [
        (clara, bens),
        (ben, claras),
        (ben, uuid.uuid4()),
        (ben, "no key"),
        (ben, ""),
        (ben, None),
    ]:
        with pytest.raises(Http404) as refused:
            look_up(user=user, pk=pk)
        told.append(str(refused.value))
    assert len(set(told)) == 1


@pytest.mark.parametrize("look_up", [vehicle_for, connector_for, device_for, model_for])
def test_who_was_disabled_sees_nothing(in_kunlun: Tenant, anna: User, look_up: LookUp) -> None:
    anna.is_active = False
    for pk in (cast.BENS_VEHICLE, cast.BENS_CONNECTOR, cast.BENS_DEVICE, cast.MODEL):
        with pytest.raises(Http404):
            look_up(user=anna, pk=pk)


def test_the_same_key_at_aurora_is_auroras(aurora: Tenant, otto: User) -> None:
    with tenant_context(aurora):
        found = vehicle_for(user=otto, pk=cast.BENS_VEHICLE)
    assert found.label == "CANARY-B-vehicle-1"


def test_vehicles_and_connectors_live(in_kunlun: Tenant, clock: Clock) -> None:
    harbour = Organisation.objects.get(pk=cast.HARBOUR)
    city = Organisation.objects.get(pk=cast.CITY)
    model = ConnectorModel.objects.get(pk=cast.MODEL)
    vehicle = add_vehicle(
        organisation=harbour, vin=" lsvau2a3 6n2183295", plate="HH 9", now=clock.now
    )
    assert vehicle.vin == "LSVAU2A36N2183295"
    unit = add_connector(model=model, serial="SN-9", batch="B", vehicle=vehicle)
    assert unit.position == "traction"
    change_vehicle(vehicle=vehicle, plate="HH 10", label="Nine", organisation=city)
    install_connector(connector=unit, vehicle=vehicle, position="inverter", now=clock.now)
    retire_connector(connector=unit)
    with pytest.raises(ValidationError, match="retired"):
        install_connector(connector=unit, vehicle=vehicle, position="inverter", now=clock.now)


def test_equal_keys_are_refused_with_words(in_kunlun: Tenant, clock: Clock) -> None:
    harbour = Organisation.objects.get(pk=cast.HARBOUR)
    with pytest.raises(ValidationError) as known:
        add_vehicle(organisation=harbour, vin="WVWZZZE1ZMP012345", now=clock.now)
    assert "vin" in known.value.message_dict
    with pytest.raises(ValidationError) as known:
        add_connector(model=ConnectorModel.objects.get(pk=cast.MODEL), serial="SN-0001")
    assert "serial" in known.value.message_dict


@pytest.mark.parametrize(
    ("model", "change"),
    [
        (Vehicle, {"vin": "TOO SHORT"}),
        (Vehicle, {"vin": "IOQIOQIOQIOQIOQ12"}),
        (Vehicle, {"vin": "lsvau2a34n2183294"}),
        (Vehicle, {"organisation": None}),
        (Connector, {"serial": ""}),
        (Connector, {"serial": "=cmd()"}),
        (Connector, {"state": "lost"}),
        (Connector, {"position": "Über"}),
        (ConnectorModel, {"rated_current_a": 0}),
        (ConnectorModel, {"rated_current_a": 5000}),
        (ConnectorModel, {"rated_current_a": float("nan")}),
        (ConnectorModel, {"rated_voltage_v": -1}),
        (ConnectorModel, {"temperature_limit_c": 1000}),
        (ConnectorModel, {"temperature_rise_rated_k": 60}),
        (ConnectorModel, {"contact_resistance_end_uohm": 10}),
        (ConnectorModel, {"thermal_resistance_k_per_w": 0}),
        (ConnectorModel, {"thermal_resistance_k_per_w": float("inf")}),
        (ConnectorModel, {"derating": {"40": 250}}),
        (ConnectorModel, {"reports": "current_a"}),
        (ConnectorModel, {"position": ""}),
    ],
)
def test_the_database_refuses_what_no_form_saw(
    in_kunlun: Tenant, model: type[Vehicle | Connector | ConnectorModel], change: dict[str, Any]
) -> None:
    row = model._default_manager.order_by("pk").first()
    assert row is not None
    with pytest.raises(IntegrityError), transaction.atomic():
        model._default_manager.filter(pk=row.pk).update(**change)
