"""Writes the demo through the same operations as people use. Running it again changes nothing."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django_tenants.utils import get_public_schema_name, schema_context, tenant_context

from apps.accounts.models import Organisation, User
from apps.accounts.operations import create_organisation, create_user, set_password
from apps.catalog.models import ConnectorModel
from apps.catalog.operations import RATINGS, add_model
from apps.devices.credentials import publish
from apps.devices.files import replace_private_file
from apps.devices.models import Codec, Device
from apps.devices.operations import enrol_device, identity_of, map_channel, rotate_password
from apps.devices.passwords import matches
from apps.fleet.models import Connector, Vehicle
from apps.fleet.operations import add_connector, add_vehicle
from apps.notifications.models import Contact
from apps.platform.demo.fleet import (
    AGEING_CAR,
    AGEING_CHANNEL,
    AURORA,
    KUNLUN,
    OPERATOR,
    Car,
    Manufacturer,
    Person,
)
from apps.tenants.models import Tenant
from apps.tenants.operations import build_tenant, change_countries, register_tenant

_AGE_OF_THE_FLEET = timedelta(days=420)


def seed(*, password: str, now: datetime) -> int:
    """Both manufacturers, the operator, and the simulator's file; returns the connectors in it.

    Raises ValidationError where the password is too weak, TenantFailed, or the stores' errors.
    """
    with schema_context(get_public_schema_name()):
        _person(OPERATOR, password, now)
    path = credentials_file()
    known = _known_passwords(path)
    entries: list[dict[str, Any]] = []
    for manufacturer in (KUNLUN, AURORA):
        with tenant_context(_tenant(manufacturer, now)), transaction.atomic():
            _people(manufacturer, password, now)
            for code, ratings in manufacturer.models.items():
                if not ConnectorModel.objects.filter(code=code).exists():
                    add_model(code=code, **ratings)
            entries += [_equip(car, manufacturer, known, now) for car in manufacturer.cars]
    replace_private_file(path, json.dumps(entries, indent=1, ensure_ascii=False))
    publish()
    return sum(len(entry["channels"]) for entry in entries)


def credentials_file() -> Path:
    """Where the simulator finds its devices' passwords."""
    return Path(settings.ENVIRONMENT.data_dir) / "demo" / "devices.json"


def _tenant(manufacturer: Manufacturer, now: datetime) -> Tenant:
    tenant = Tenant.objects.filter(slug=manufacturer.slug).first()
    if tenant is None:
        tenant = register_tenant(
            slug=manufacturer.slug,
            name=manufacturer.name,
            country=manufacturer.country,
            sms_countries=manufacturer.sms_countries,
            now=now,
        )
    elif not tenant.country:  # of a demo from before countries were known
        change_countries(
            tenant=tenant,
            country=manufacturer.country,
            sms_countries=manufacturer.sms_countries,
        )
    return tenant if tenant.is_ready else build_tenant(tenant=tenant)


def _people(manufacturer: Manufacturer, password: str, now: datetime) -> None:
    for name, kind in manufacturer.organisations.items():
        if not Organisation.objects.filter(name=name).exists():
            create_organisation(name=name, kind=kind)
    for person in manufacturer.people:
        _contacts(person, _person(person, password, now), now)


def _person(person: Person, password: str, now: datetime) -> User:
    user = User.objects.filter(username=person.username).first()
    if user is None:
        return create_user(
            username=person.username,
            email=person.email,
            role=person.role,
            now=now,
            password=password,
            organisation=Organisation.objects.filter(name=person.organisation).first(),
            first_name=person.first_name,
            last_name=person.last_name,
            timezone=person.timezone,
            phone=person.phone,
        )
    if not user.check_password(password):
        set_password(user=user, password=password)
    return user


def _contacts(person: Person, user: User, now: datetime) -> None:
    """Owners by email and, with a phone, SMS; staff by email."""
    addresses = [("email", person.email), *([("sms", person.phone)] if person.phone else [])]
    for kind, address in addresses:
        Contact.objects.get_or_create(
            kind=kind,
            address=address,
            user=user,
            defaults={
                "name": user.get_full_name(),
                "language": user.language,
                "timezone": user.timezone,
                "organisation": user.organisation,
                "minimum_severity": Contact.MinimumSeverity.WARNING,
                "verified_at": now,
            },
        )


def _equip(
    car: Car, manufacturer: Manufacturer, known: dict[str, str], now: datetime
) -> dict[str, Any]:
    """A vehicle with its connectors and its device; returns its entry for the simulator."""
    vehicle = _vehicle(car, now)
    device = Device.objects.filter(identifier=car.device).first()
    password = known.get(f"{manufacturer.slug}.{car.device}", "")
    if device is None:
        enrolled = enrol_device(
            identifier=car.device, label=f"Telematics of {car.label}", codec=Codec.JSON, now=now
        )
        device, password = enrolled.device, enrolled.password
    elif not matches(password, device.password_hash):
        password = rotate_password(device=device).password
    connectors = [
        _connector(car, vehicle, device, number, code, now)
        for number, code in enumerate(car.models)
    ]
    return {
        "identity": identity_of(device),
        "password": password,
        "vehicle": {
            "id": str(vehicle.pk),
            "vin": vehicle.vin,
            "plate": vehicle.plate,
            "label": vehicle.label,
            "organisation": car.organisation,
        },
        "channels": [_channel(number, each, car) for number, each in enumerate(connectors)],
    }


def _vehicle(car: Car, now: datetime) -> Vehicle:
    found = Vehicle.objects.filter(vin=car.vin).first()
    return found or add_vehicle(
        organisation=Organisation.objects.get(name=car.organisation),
        vin=car.vin,
        plate=car.plate,
        label=car.label,
        now=now,
    )


def _connector(
    car: Car, vehicle: Vehicle, device: Device, number: int, code: str, now: datetime
) -> Connector:
    serial = f"{code.replace(' ', '')}-{car.batch.replace('-', '')}-{car.vin[-4:]}"
    connector = Connector.objects.select_related("model").filter(serial=serial).first()
    if connector is None:
        connector = add_connector(
            model=ConnectorModel.objects.get(code=code),
            serial=serial,
            batch=car.batch,
            vehicle=vehicle,
            installed_at=now - _AGE_OF_THE_FLEET,
        )
        map_channel(device=device, number=number, connector=connector)
    return connector


def _channel(number: int, connector: Connector, car: Car) -> dict[str, Any]:
    model = connector.model
    ageing = car.organisation == "Harbour Taxi" and (car.device, number) == (
        AGEING_CAR,
        AGEING_CHANNEL,
    )
    return {
        "channel": number,
        "connector": str(connector.pk),
        "serial": connector.serial,
        "position": connector.position,
        "batch": connector.batch,
        "scenario": "ageing" if ageing else None,
        "model": {"code": model.code, **{name: getattr(model, name) for name in RATINGS}},
    }


def _known_passwords(path: Path) -> dict[str, str]:
    """Identity → password of an earlier run, so that running devices stay signed in."""
    try:
        return {entry["identity"]: entry["password"] for entry in json.loads(path.read_text())}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
