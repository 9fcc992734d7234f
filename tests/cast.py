"""The people and things that the tests tell stories with, the same in two tenants.

Kunlun and Aurora hold rows with EQUAL primary keys, VINs, serial numbers, user names and device
identifiers: equal keys are what shows a leak. What differs is text, and every text of Aurora's
carries a canary, `CANARY-B-<place>`, that no page, message or log of Kunlun's may ever show.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from django.contrib.auth.hashers import make_password

from apps.accounts.models import Organisation, User
from apps.accounts.permissions import Role
from apps.catalog.models import ConnectorModel
from apps.devices.models import Channel, Device
from apps.devices.passwords import hash_password
from apps.fleet.models import Connector, Vehicle

LONG_AGO = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PASSWORD = "correct horse battery staple"
DEVICE_PASSWORD = "device-secret-of-the-tests"
DEVICE_HASH = hash_password(DEVICE_PASSWORD, salt=b"twelve bytes")
CANARY = "CANARY-B-"


def fixed_id(number: int) -> uuid.UUID:
    """A primary key of version 7 that is the same in both tenants and in every run."""
    return uuid.UUID(f"01900000-0000-7000-8000-{number:012x}")


HARBOUR, CITY = fixed_id(1), fixed_id(2)
ANNA, BEN, CLARA, OTTO, DORA, RITA, SAM, ADA = (fixed_id(number) for number in range(10, 18))
MODEL = fixed_id(20)
BENS_VEHICLE, CLARAS_VEHICLE = fixed_id(30), fixed_id(31)
BENS_CONNECTOR, CLARAS_CONNECTOR, BENS_SECOND_CONNECTOR = (
    fixed_id(40),
    fixed_id(41),
    fixed_id(42),
)
BENS_DEVICE, CLARAS_DEVICE = fixed_id(50), fixed_id(51)


@dataclass(frozen=True)
class Text:
    """How a tenant's texts read: plain at Kunlun, with a canary at Aurora."""

    canary: str

    def __call__(self, plain: str, place: str) -> str:
        return f"{self.canary}{place}" if self.canary else plain


KUNLUN_TEXT, AURORA_TEXT = Text(""), Text(CANARY)


@cache
def _password_hash() -> str:
    return make_password(PASSWORD)


def write_cast(text: Text, *, otto: bool) -> None:
    """Write all rows of the cast into the schema that is set; Otto exists at Aurora only."""
    _write_people(text, otto=otto)
    _write_fleet(text)
    _write_devices(text)


def _write_people(text: Text, *, otto: bool) -> None:
    Organisation.objects.bulk_create(
        [
            Organisation(id=HARBOUR, name=text("Harbour Taxi", "organisation-1")),
            Organisation(id=CITY, name=text("City Logistics", "organisation-2")),
        ]
    )
    people = [
        (ANNA, "anna", Role.ENGINEER, None),
        (BEN, "ben", Role.OWNER, HARBOUR),
        (CLARA, "clara", Role.OWNER, CITY),
        (DORA, "dora", Role.DRIVER, HARBOUR),
        (RITA, "rita", Role.READONLY, None),
        (SAM, "sam", Role.SUPPORT, None),
        (ADA, "ada", Role.ADMINISTRATOR, None),
    ]
    if otto:
        people.append((OTTO, "otto", Role.ENGINEER, None))
    User.objects.bulk_create(
        User(
            id=pk,
            username=username,
            email=f"{username}@{text('kunlun', 'email')}.example",
            first_name=text(username.capitalize(), f"first-name-{username}"),
            last_name=text("Of Kunlun", f"last-name-{username}"),
            role=role,
            organisation_id=organisation,
            password=_password_hash(),
            date_joined=LONG_AGO,
        )
        for pk, username, role, organisation in people
    )


def _write_fleet(text: Text) -> None:
    ConnectorModel.objects.create(
        id=MODEL,
        code="HV-250",
        name=text("Traction connector 250 A", "model"),
        position="traction",
        rated_current_a=250,
        rated_voltage_v=800,
        temperature_limit_c=125,
        derating=[[40, 250], [70, 180], [85, 120]],
        temperature_rise_rated_k=38,
        temperature_rise_limit_k=50,
        contact_resistance_new_uohm=180,
        contact_resistance_end_uohm=450,
        thermal_resistance_k_per_w=3.2,
        thermal_time_constants_s=[80, 780],
        insulation_minimum_kohm=500,
        rated_mating_cycles=100,
        reports=["current_a", "temperature_pos_c", "temperature_neg_c", "ambient_c"],
        interval_s=1,
    )
    Vehicle.objects.bulk_create(
        Vehicle(
            id=pk,
            organisation_id=organisation,
            vin=vin,
            plate=text(plate, f"plate-{number}")[:20],
            label=text(label, f"vehicle-{number}"),
            created_at=LONG_AGO,
        )
        for number, (pk, organisation, vin, plate, label) in enumerate(
            [
                (BENS_VEHICLE, HARBOUR, "LSVAU2A34N2183294", "HH-BT 1", "Taxi 1"),
                (CLARAS_VEHICLE, CITY, "WVWZZZE1ZMP012345", "HH-CL 1", "Van 1"),
            ],
            start=1,
        )
    )
    Connector.objects.bulk_create(
        Connector(
            id=pk,
            model_id=MODEL,
            serial=serial,
            batch=text("2026-03", "batch"),
            vehicle_id=vehicle,
            position="traction",
            installed_at=LONG_AGO,
        )
        for pk, serial, vehicle in [
            (BENS_CONNECTOR, "SN-0001", BENS_VEHICLE),
            (BENS_SECOND_CONNECTOR, "SN-0002", BENS_VEHICLE),
            (CLARAS_CONNECTOR, "SN-0003", CLARAS_VEHICLE),
        ]
    )


def _write_devices(text: Text) -> None:
    Device.objects.bulk_create(
        Device(
            id=pk,
            identifier=identifier,
            label=text(label, f"device-{identifier}"),
            codec="json",
            password_hash=DEVICE_HASH,
            firmware=text("2.1.0", "firmware"),
            created_at=LONG_AGO,
        )
        for pk, identifier, label in [
            (BENS_DEVICE, "tbox-1", "Box of taxi 1"),
            (CLARAS_DEVICE, "tbox-2", "Box of van 1"),
        ]
    )
    Channel.objects.bulk_create(
        Channel(device_id=device, number=number, connector_id=connector)
        for device, number, connector in [
            (BENS_DEVICE, 0, BENS_CONNECTOR),
            (BENS_DEVICE, 1, BENS_SECOND_CONNECTOR),
            (CLARAS_DEVICE, 0, CLARAS_CONNECTOR),
        ]
    )
