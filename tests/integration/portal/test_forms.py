"""Forms of the portal: what they make, and that a refusal says what to do."""

from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.catalog.models import ConnectorModel
from apps.devices.models import Channel, Device
from apps.tenants.models import Tenant
from tests import cast
from tests.pages import World, browser

MODEL = {
    "code": "HV-400",
    "name": "Inlet",
    "position": "charging_inlet",
    "rated_current_a": "400",
    "rated_voltage_v": "1000",
    "temperature_limit_c": "90",
    "derating": "40:400 70:300",
    "thermal_time_constants_s": "80 780",
}


def test_a_model_with_its_derating(world: World, kunlun: Tenant, anna: User) -> None:
    answer = browser(anna, kunlun).post("/portal/models/add/", MODEL)
    assert answer.status_code == 302
    with tenant_context(kunlun):
        made = ConnectorModel.objects.get(code="HV-400")
    assert made.derating == [[40.0, 400.0], [70.0, 300.0]]
    assert made.thermal_time_constants_s == [80.0, 780.0]


def test_a_wrong_derating_says_how_to_write_it(world: World, kunlun: Tenant, anna: User) -> None:
    wrong = MODEL | {"derating": "forty", "rated_current_a": ""}
    page = browser(anna, kunlun).post("/portal/models/add/", wrong).text
    assert "as in 40:250 70:180 85:120" in page
    assert "Please mend what is marked below" in page
    assert 'aria-invalid="true"' in page


def test_what_the_operation_refuses_lands_on_its_field(
    world: World, kunlun: Tenant, anna: User
) -> None:
    mistyped = {"organisation": cast.HARBOUR, "vin": "LSVAU2A35N2183294"}
    page = browser(anna, kunlun).post("/portal/vehicles/add/", mistyped).text
    assert "check digit" in page
    assert 'id="id_vin_error"' in page


def test_a_devices_password_is_shown_once(world: World, kunlun: Tenant, anna: User) -> None:
    client = browser(anna, kunlun)
    shown = client.post("/portal/devices/add/", {"identifier": "tbox-9"})
    with tenant_context(kunlun):
        device = Device.objects.get(identifier="tbox-9")
    password = shown.text.split("data-password>")[1].split("<")[0]
    assert "mosquitto_pub" in shown.text
    assert shown.headers["Cache-Control"] == "no-store"
    assert password not in client.get(f"/portal/devices/{device.pk}/").text


def test_mapping_an_unknown_connector_says_what_to_do(
    world: World, kunlun: Tenant, anna: User
) -> None:
    asked = {"number": 5, "serial": "SN-NONE"}
    page = browser(anna, kunlun).post(f"/portal/devices/{cast.BENS_DEVICE}/channels", asked).text
    assert "No connector has this serial number: add it first." in page


def test_a_channel_changes_over(world: World, kunlun: Tenant, anna: User) -> None:
    client = browser(anna, kunlun)
    client.post(f"/portal/devices/{cast.BENS_DEVICE}/channels/1/unmap")
    mapped = {"number": 7, "serial": "SN-0002"}
    client.post(f"/portal/devices/{cast.BENS_DEVICE}/channels", mapped)
    with tenant_context(kunlun):
        assert Channel.objects.get(connector=cast.BENS_SECOND_CONNECTOR).number == 7


def test_a_person_gets_a_first_password_that_works(world: World, kunlun: Tenant, ada: User) -> None:
    asked = {"username": "eve", "email": "eve@k.example", "role": "support"}
    page = browser(ada, kunlun).post("/portal/users/add/", asked).text
    password = page.split("data-password>")[1].split("<")[0]
    signed_in = browser(None, kunlun).post(
        "/account/login/", {"login": "eve", "password": password}
    )
    assert signed_in.status_code == 302


def test_an_owner_without_an_organisation_is_refused_with_the_reason(
    world: World, kunlun: Tenant, ada: User
) -> None:
    asked = {"username": "eve", "email": "eve@k.example", "role": "owner"}
    page = browser(ada, kunlun).post("/portal/users/add/", asked).text
    assert "Owners and drivers belong to an organisation." in page
