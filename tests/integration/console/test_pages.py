"""The pages of owners and drivers: who sees what, and that nobody sees another's."""

from datetime import timedelta

import pytest
from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.console.urls import urlpatterns
from apps.fleet.models import Connector, Vehicle
from apps.telemetry.store import the_store
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.models import Tenant
from tests import cast
from tests.pages import NOW, World, browser, check_clean, names_of, queries_of

OPEN_TO_ALL = {
    "vehicles": "/vehicles/",
    "alarms": "/alarms/",
    "alarm-count": "/alarms/count.json",
    "contacts": "/contacts/",
    "contact-add": "/contacts/add/",
}
OF_BEN = {
    "vehicle": f"/vehicles/{cast.BENS_VEHICLE}/",
    "connector": f"/connectors/{cast.BENS_CONNECTOR}/",
    "series": f"/series/{cast.BENS_CONNECTOR}.json",
    "alarm": "/alarms/{alarm}/",
    "alarm-readings": "/alarms/{alarm}/readings/",
}
CHANGES = {
    "acknowledge": "/alarms/{alarm}/acknowledge",
    "note": "/alarms/{alarm}/note",
    "inspection": "/alarms/{alarm}/inspection",
}


def at(path: str, world: World) -> str:
    return path.format(alarm=world.alarm)


IN_TEST_CONTACTS = ("contact", "contact-code", "contact-verify", "contact-test", "contact-remove")


def test_every_route_has_a_row() -> None:
    rows = [*OPEN_TO_ALL, *OF_BEN, *CHANGES, *IN_TEST_CONTACTS, "home"]
    assert names_of(urlpatterns) == sorted(rows)


@pytest.mark.parametrize("path", [*OPEN_TO_ALL.values(), *OF_BEN.values()])
def test_ben_and_anna_see_it(
    path: str, world: World, kunlun: Tenant, ben: User, anna: User
) -> None:
    for person in (ben, anna):
        answer = browser(person, kunlun).get(at(path, world))
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        check_clean(answer.text)


@pytest.mark.parametrize("path", OF_BEN.values())
def test_to_clara_it_does_not_exist(path: str, world: World, kunlun: Tenant, clara: User) -> None:
    assert browser(clara, kunlun).get(at(path, world)).status_code == 404


@pytest.mark.parametrize("path", CHANGES.values())
def test_clara_changes_nothing(path: str, world: World, kunlun: Tenant, clara: User) -> None:
    assert browser(clara, kunlun).post(at(path, world), {"text": "mine"}).status_code == 404


@pytest.mark.parametrize("path", ["/", *OPEN_TO_ALL.values(), *OF_BEN.values(), *CHANGES.values()])
def test_who_is_not_signed_in_is_asked_to(
    path: str, world: World, kunlun: Tenant, aurora: Tenant, otto: User
) -> None:
    """Neither is Otto, whose session is Aurora's: he knocks at Kunlun's host with its cookie."""
    stranger = browser(None, kunlun)
    ottos = browser(otto, aurora)
    ottos.defaults["HTTP_HOST"] = stranger.defaults["HTTP_HOST"]
    for client in (stranger, ottos):
        answer = client.get(at(path, world))
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/account/login/?next=")


def test_ottos_own_pages_show_auroras_alarm_and_not_kunluns(
    world: World, aurora: Tenant, otto: User
) -> None:
    client = browser(otto, aurora)
    assert cast.CANARY in client.get("/alarms/").text
    assert client.get(f"/alarms/{world.alarm}/").status_code == 404


def test_each_begins_where_their_work_is(
    kunlun: Tenant, elasticsearch: str, ben: User, anna: User
) -> None:
    assert browser(ben, kunlun).get("/").headers["Location"] == "/vehicles/"
    assert browser(anna, kunlun).get("/").headers["Location"] == "/portal/"


def test_the_ageing_connector_is_two_clicks_from_the_sign_in(
    world: World, kunlun: Tenant, ben: User
) -> None:
    """Sign in, then its row: the vehicle in trouble stands first, its worst connector on top."""
    page = browser(ben, kunlun).get("/vehicles/").text
    first = page.index('class="connector-row"')
    assert str(cast.BENS_CONNECTOR) in page[first : first + 200]
    assert "Contact too hot" in page


def test_vehicles_are_found_by_a_serial_number(
    kunlun: Tenant, elasticsearch: str, anna: User
) -> None:
    client = browser(anna, kunlun)
    found = client.get("/vehicles/", {"q": "SN-0003"}).text
    assert "Van 1" in found
    assert "Taxi 1" not in found
    assert "Nothing is called" in client.get("/vehicles/", {"q": "no such thing"}).text


def test_more_vehicles_cost_no_more_queries(kunlun: Tenant, world: World, anna: User) -> None:
    client = browser(anna, kunlun)
    few = queries_of(client, "/vehicles/")
    with tenant_context(kunlun):
        _more_vehicles(10)
    assert queries_of(client, "/vehicles/") == few


def _more_vehicles(count: int) -> None:
    for number in range(count):
        vehicle = Vehicle.objects.create(
            organisation_id=cast.HARBOUR, vin=f"LSVAU2A34N21{number:05}", label=f"Extra {number}"
        )
        Connector.objects.create(
            model_id=cast.MODEL, serial=f"EX-{number}", vehicle=vehicle, position="traction"
        )


def test_a_store_that_is_away_leaves_the_alarms(
    world: World, kunlun: Tenant, ben: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.telemetry.errors import StoreUnavailable
    from apps.telemetry.tenant import TenantTelemetry

    def away(*args: object, **more: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(TenantTelemetry, "latest", away)
    monkeypatch.setattr(TenantTelemetry, "series", away)
    client = browser(ben, kunlun)
    page = client.get(f"/connectors/{cast.BENS_CONNECTOR}/").text
    assert "Contact too hot" in page
    assert "Measured values can't be read" in page
    assert client.get(f"/series/{cast.BENS_CONNECTOR}.json").status_code == 503


def test_the_strict_policy_is_on_every_page(world: World, kunlun: Tenant, ben: User) -> None:
    policy = browser(ben, kunlun).get("/vehicles/").headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def test_what_is_known_of_its_contacts_is_told_with_how_sure_it_is(
    world: World, kunlun: Tenant, ben: User, anna: User
) -> None:
    telemetry, now_ms = TenantTelemetry("kunlun"), int(NOW.timestamp() * 1000)
    known = {
        "margin_k": 12.0,
        "margin_from_k": 8.0,
        "margin_to_k": 16.0,
        "headroom_k": 61.0,
        "left_unknown": "not_growing",
        "learnt_at": now_ms - 6 * 86_400_000,
        "base_since": now_ms - 90 * 86_400_000,
        "mating_step_neg": -0.12,
        "serial": "SN-known",
        "measured_at": now_ms,
    }
    page_at = f"/connectors/{cast.BENS_CONNECTOR}/"
    try:
        telemetry.update_states([{"connector": str(cast.BENS_CONNECTOR), **known}])
        page = browser(ben, kunlun).get(page_at).text.partition("What is known of its contacts")[2]
        for word in ("12.0&nbsp;", "8.0&nbsp;", "16.0&nbsp;", "61.0&nbsp;", "−12 %"):
            assert word in page
        assert "can't be said: it is not getting worse" in page
        learnt = page.partition("Last learnt")[2]
        assert f'datetime="{(NOW - timedelta(days=6)).isoformat()}" data-when="ago"' in learnt
        the_store().refresh()
        base = browser(anna, kunlun).get("/portal/base/?q=SN-known").text
        assert "margin at rated load" in base
        assert "(8 … 16)" in base
    finally:
        telemetry.delete_states([str(cast.BENS_CONNECTOR)])
    assert "What is known of its contacts" not in browser(ben, kunlun).get(page_at).text
