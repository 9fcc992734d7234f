"""Changes of vehicles and connectors, in the schema that is set."""

from datetime import datetime
from typing import TypeVar

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from apps.accounts.models import Organisation
from apps.catalog.models import ConnectorModel
from apps.fleet.models import Connector, ConnectorState, Vehicle
from apps.fleet.vin import clean_vin
from apps.tenants.changes import Rows, announce

Row = TypeVar("Row", Vehicle, Connector)


def add_vehicle(
    *, organisation: Organisation, vin: str, now: datetime, plate: str = "", label: str = ""
) -> Vehicle:
    """Raises ValidationError for a VIN that is malformed, mistyped or known already."""
    vehicle = Vehicle(
        organisation=organisation, vin=_vin(vin), plate=plate, label=label, created_at=now
    )
    return _save(vehicle)


def change_vehicle(
    *, vehicle: Vehicle, plate: str, label: str, organisation: Organisation
) -> Vehicle:
    """New plate, label or owner. Readings from before stay with the organisation of their time."""
    vehicle.plate, vehicle.label, vehicle.organisation = plate, label, organisation
    return _save(vehicle)


def add_connector(
    *,
    model: ConnectorModel,
    serial: str,
    batch: str = "",
    vehicle: Vehicle | None = None,
    position: str = "",
    installed_at: datetime | None = None,
) -> Connector:
    """A unit, in a vehicle or in store. Without a position it takes its model's."""
    connector = Connector(
        model=model,
        serial=serial.strip(),
        batch=batch,
        vehicle=vehicle,
        position=position or model.position,
        installed_at=installed_at,
    )
    return _save(connector)


def install_connector(
    *, connector: Connector, vehicle: Vehicle, position: str, now: datetime
) -> Connector:
    """Put a unit into a vehicle, or move it there. Raises ValidationError for a retired one."""
    if connector.state == ConnectorState.RETIRED:
        raise ValidationError(_("This connector is retired."))
    connector.vehicle, connector.position, connector.installed_at = vehicle, position, now
    return _save(connector)


def retire_connector(*, connector: Connector) -> Connector:
    """Take a unit out of service for good; what its channel still reports is quarantined."""
    connector.state = ConnectorState.RETIRED
    return _save(connector)


def _vin(text: str) -> str:
    try:
        return clean_vin(text)
    except ValidationError as error:
        raise ValidationError({"vin": error}) from error


def _save(row: Row) -> Row:
    with transaction.atomic():
        row.full_clean()
        row.save()
        announce(_changed(row))
    return row


def _changed(row: Vehicle | Connector) -> Rows:
    if isinstance(row, Vehicle):
        return Rows.of(vehicles=[row.pk])
    return Rows.of(connectors=[row.pk])
