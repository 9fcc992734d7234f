"""What the demo shows: two manufacturers with different products, their customers and vehicles."""

from dataclasses import dataclass
from typing import Any

from apps.fleet.vin import check_digit, has_check_digit

_ELECTRICAL = (
    "current_a",
    "voltage_v",
    "temperature_pos_c",
    "temperature_neg_c",
    "ambient_c",
    "insulation_kohm",
    "interlock",
)
_INLET = (*_ELECTRICAL, "mated", "mating_cycles")


@dataclass(frozen=True)
class Person:
    """Somebody who can sign in to the demo; `organisation` empty: the manufacturer's staff."""

    username: str
    first_name: str
    last_name: str
    email: str
    role: str
    organisation: str = ""
    phone: str = ""
    timezone: str = "UTC"


@dataclass(frozen=True)
class Car:
    """A vehicle, its device and the models of its connectors, by channel."""

    organisation: str
    label: str
    plate: str
    vin: str
    device: str
    models: tuple[str, ...]
    batch: str


@dataclass(frozen=True)
class Manufacturer:
    """A tenant of the demo."""

    slug: str
    name: str
    models: dict[str, dict[str, Any]]
    organisations: dict[str, str]
    people: tuple[Person, ...]
    country: str
    sms_countries: tuple[str, ...]
    cars: tuple[Car, ...]


def numbered_vin(prefix: str, number: int) -> str:
    """A valid VIN from its first eight characters and a running number."""
    draft = f"{prefix}0SH{number:06d}"
    if not has_check_digit(draft):
        return draft
    return f"{prefix}{check_digit(draft)}{draft[9:]}"


KUNLUN_MODELS: dict[str, dict[str, Any]] = {
    "KL-T280": {
        "name": "Traction battery connector 280 A, two poles, screened",
        "position": "traction",
        "rated_current_a": 280,
        "rated_voltage_v": 1000,
        "temperature_limit_c": 125,
        "derating": [[40, 280], [60, 245], [85, 180], [105, 110], [125, 0]],
        "temperature_rise_rated_k": 42,
        "temperature_rise_limit_k": 55,
        "contact_resistance_new_uohm": 145,
        "contact_resistance_end_uohm": 400,
        "thermal_resistance_k_per_w": 3.7,
        "thermal_time_constants_s": [85, 820],
        "insulation_minimum_kohm": 500,
        "rated_mating_cycles": 100,
        "reports": list(_ELECTRICAL),
        "interval_s": 1.5,
    },
    "KL-V200": {
        "name": "Inverter connector 200 A, two poles, screened",
        "position": "inverter",
        "rated_current_a": 200,
        "rated_voltage_v": 1000,
        "temperature_limit_c": 125,
        "derating": [[40, 200], [70, 160], [85, 135], [105, 85], [125, 0]],
        "temperature_rise_rated_k": 38,
        "temperature_rise_limit_k": 50,
        "contact_resistance_new_uohm": 180,
        "contact_resistance_end_uohm": 450,
        "thermal_resistance_k_per_w": 5.3,
        "thermal_time_constants_s": [60, 540],
        "insulation_minimum_kohm": 500,
        "rated_mating_cycles": 50,
        "reports": list(_ELECTRICAL),
        "interval_s": 1.5,
    },
    "KL-C400": {
        "name": "Charging inlet, DC contacts 400 A",
        "position": "charging_inlet",
        "rated_current_a": 400,
        "rated_voltage_v": 1000,
        "temperature_limit_c": 90,
        "derating": [[30, 400], [40, 370], [50, 310], [60, 220], [80, 0]],
        "temperature_rise_rated_k": 36,
        "temperature_rise_limit_k": 50,
        "contact_resistance_new_uohm": 62,
        "contact_resistance_end_uohm": 190,
        "thermal_resistance_k_per_w": 3.6,
        "thermal_time_constants_s": [110, 1100],
        "insulation_minimum_kohm": 500,
        "rated_mating_cycles": 10000,
        "reports": list(_INLET),
        "interval_s": 1.5,
    },
    "KL-A40": {
        "name": "Auxiliary connector 40 A for heater and compressor",
        "position": "auxiliary",
        "rated_current_a": 40,
        "rated_voltage_v": 850,
        "temperature_limit_c": 125,
        "derating": [[40, 40], [85, 28], [105, 18], [125, 0]],
        "temperature_rise_rated_k": 28,
        "temperature_rise_limit_k": 45,
        "contact_resistance_new_uohm": 620,
        "contact_resistance_end_uohm": 1600,
        "thermal_resistance_k_per_w": 28,
        "thermal_time_constants_s": [35],
        "insulation_minimum_kohm": 500,
        "rated_mating_cycles": 50,
        "reports": list(_ELECTRICAL),
        "interval_s": 1.5,
    },
}

AURORA_MODELS: dict[str, dict[str, Any]] = {
    "AX 350-HD": {
        "name": "Traction connector 350 A for buses",
        "position": "traction",
        "rated_current_a": 350,
        "rated_voltage_v": 920,
        "temperature_limit_c": 130,
        "derating": [[40, 350], [70, 270], [90, 190], [110, 100], [130, 0]],
        "temperature_rise_rated_k": 45,
        "temperature_rise_limit_k": 60,
        "contact_resistance_new_uohm": 110,
        "contact_resistance_end_uohm": 320,
        "thermal_resistance_k_per_w": 3.3,
        "thermal_time_constants_s": [100, 960],
        "insulation_minimum_kohm": 460,
        "rated_mating_cycles": 80,
        "reports": list(_ELECTRICAL),
        "interval_s": 1.5,
    },
    "AX 250-CI": {
        "name": "Charging inlet 250 A",
        "position": "charging_inlet",
        "rated_current_a": 250,
        "rated_voltage_v": 920,
        "temperature_limit_c": 90,
        "derating": [[30, 250], [45, 220], [60, 140], [80, 0]],
        "temperature_rise_rated_k": 34,
        "temperature_rise_limit_k": 50,
        "contact_resistance_new_uohm": 95,
        "contact_resistance_end_uohm": 280,
        "thermal_resistance_k_per_w": 5.7,
        "thermal_time_constants_s": [90, 900],
        "insulation_minimum_kohm": 460,
        "rated_mating_cycles": 10000,
        "reports": list(_INLET),
        "interval_s": 1.5,
    },
}


def _kunlun_cars() -> tuple[Car, ...]:
    usual = ("KL-T280", "KL-V200", "KL-C400")
    fleets = (
        ("Harbour Taxi", "Taxi", "HH-HT", "LKHE5A2B", 5),
        ("City Logistics", "Van", "HH-CL", "1KVE4C3D", 5),
        ("Elbe Waterworks", "Truck", "HH-EW", "WKLZZZ9T", 2),
    )
    cars: list[Car] = []
    for organisation, kind, plate, prefix, count in fleets:
        for number in range(1, count + 1):
            place = len(cars) + 1
            cars.append(
                Car(
                    organisation=organisation,
                    label=f"{kind} {number}",
                    plate=f"{plate} {100 + number}",
                    vin=numbered_vin(prefix, 1000 + 17 * place),
                    device=f"tbox-{place:06d}",
                    models=(*usual, "KL-A40") if place in (1, 6) else usual,
                    batch=("2025-W36", "2025-W41", "2026-W03")[place % 3],
                )
            )
    return tuple(cars)


def _aurora_cars() -> tuple[Car, ...]:
    return tuple(
        Car(
            organisation="Alpine Coaches" if number < 3 else "Northline Couriers",
            label=f"Coach {number}" if number < 3 else f"Courier {number - 2}",
            plate=f"AX {200 + number}",
            vin=numbered_vin("WAXZZZ7B", 400 + 13 * number),
            device=f"tbox-{number:06d}",
            models=tuple(AURORA_MODELS),
            batch=("B-1107", "B-1115")[number % 2],
        )
        for number in range(1, 5)
    )


KUNLUN = Manufacturer(
    slug="kunlun",
    name="Kunlun Connectors",
    models=KUNLUN_MODELS,
    country="CN",
    sms_countries=("CN", "DE"),
    organisations={
        "Harbour Taxi": "fleet",
        "City Logistics": "fleet",
        "Elbe Waterworks": "fleet",
    },
    people=(
        Person(
            "anna", "Anna", "Wei", "anna@kunlun.example", "administrator", timezone="Asia/Shanghai"
        ),
        Person(
            "ben",
            "Ben",
            "Carstens",
            "ben@harbour-taxi.example",
            "owner",
            organisation="Harbour Taxi",
            phone="+4915123456789",
            timezone="Europe/Berlin",
        ),
        Person(
            "clara",
            "Clara",
            "Duarte",
            "clara@city-logistics.example",
            "owner",
            organisation="City Logistics",
            timezone="Europe/Berlin",
        ),
    ),
    cars=_kunlun_cars(),
)

AURORA = Manufacturer(
    slug="aurora",
    name="Aurora Interconnect",
    country="NO",
    sms_countries=("NO", "DE", "CH"),
    models=AURORA_MODELS,
    organisations={"Alpine Coaches": "fleet", "Northline Couriers": "fleet"},
    people=(
        Person(
            "otto", "Otto", "Berg", "otto@aurora.example", "administrator", timezone="Europe/Oslo"
        ),
    ),
    cars=_aurora_cars(),
)

OPERATOR = Person("operator", "", "", "operator@ohmwatch.example", "operator")

AGEING_CAR, AGEING_CHANNEL = "tbox-000001", 0
"""Harbour Taxi's first taxi: its traction connector grows old while one watches."""
