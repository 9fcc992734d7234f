"""The portal's pages: each role sees its own, a customer sees that there is none."""

import pytest

from apps.accounts.models import User
from apps.portal.urls import urlpatterns
from apps.tenants.models import Tenant
from tests import cast
from tests.pages import World, browser, check_clean, names_of

RULE = f"/portal/rules/{cast.fixed_id(0xDEAD)}"
DEVICE = f"/portal/devices/{cast.BENS_DEVICE}"
PAGES = {
    "overview": "/portal/",
    "account": "/portal/account/",
    "intake": "/portal/intake/",
    "base": "/portal/base/",
    "analysis": "/portal/analysis/",
    "models": "/portal/models/",
    "model-add": "/portal/models/add/",
    "model": f"/portal/models/{cast.MODEL}/",
    "model-edit": f"/portal/models/{cast.MODEL}/edit/",
    "organisations": "/portal/organisations/",
    "organisation-add": "/portal/organisations/add/",
    "organisation": f"/portal/organisations/{cast.HARBOUR}/",
    "vehicle-add": "/portal/vehicles/add/",
    "vehicle-edit": f"/portal/vehicles/{cast.BENS_VEHICLE}/",
    "connector-add": "/portal/connectors/add/",
    "connector-edit": f"/portal/connectors/{cast.BENS_CONNECTOR}/",
    "connector-alike": f"/portal/connectors/{cast.BENS_CONNECTOR}/alike/",
    "devices": "/portal/devices/",
    "device-add": "/portal/devices/add/",
    "device": f"{DEVICE}/",
    "quarantine": "/portal/quarantine/?reason=undecodable&from=2026-11-23T08:00&state=waiting",
    "quarantine-download": "/portal/quarantine/download?device=tbox-1",
    "rules": "/portal/rules/",
    "rule-add": "/portal/rules/add/?detector=overtemperature",
    "rule-export": "/portal/rules/export/",
    "rule-import": "/portal/rules/import/",
    "backtests": "/portal/backtests/",
    "backtest-add": "/portal/backtests/add/?detector=overtemperature",
    "truth": "/portal/truth/",
    "failure-add": "/portal/truth/add/",
}
OF_ADMINISTRATORS = {
    "users": "/portal/users/",
    "user-add": "/portal/users/add/",
    "user-edit": f"/portal/users/{cast.BEN}/",
    "keys": "/portal/keys/",
    "key-add": "/portal/keys/add/",
}
CHANGES = {
    "connector-retire": f"/portal/connectors/{cast.BENS_CONNECTOR}/retire",
    "device-password": f"{DEVICE}/password",
    "device-state": f"{DEVICE}/state",
    "channel-map": f"{DEVICE}/channels",
    "channel-unmap": f"{DEVICE}/channels/0/unmap",
    "rule-mode": f"{RULE}/mode",
    "rule-take-back": f"{RULE}/take-back",
    "rule-remove": f"{RULE}/remove",
    "backtest-cancel": f"/portal/backtests/{cast.fixed_id(0xDEAD)}/cancel",
    "user-state": f"/portal/users/{cast.BEN}/state",
    "user-password": f"/portal/users/{cast.BEN}/password",
    "quarantine-replay": "/portal/quarantine/replay",
    "replay-cancel": f"/portal/quarantine/replays/{cast.fixed_id(0xDEAD)}/cancel",
    "user-second-factor": f"/portal/users/{cast.BEN}/second-factor",
    "key-revoke": f"/portal/keys/{cast.fixed_id(1)}/revoke",
}
ELSEWHERE = {
    "alarms": "/portal/alarms/",
    "quarantined": "/portal/quarantine/aurora:1/",
    "quarantined-bytes": "/portal/quarantine/aurora:1/bytes",
    "replay": f"/portal/quarantine/replays/{cast.fixed_id(0xDEAD)}/",
    "rule": f"{RULE}/",
    "rule-edit": f"{RULE}/edit/",
    "rule-version": f"{RULE}/versions/1/",
    "backtest": f"/portal/backtests/{cast.fixed_id(0xDEAD)}/",
}
READS = [*PAGES.values(), *OF_ADMINISTRATORS.values(), *ELSEWHERE.values()]


def test_every_route_has_a_row() -> None:
    assert names_of(urlpatterns) == sorted([*PAGES, *OF_ADMINISTRATORS, *CHANGES, *ELSEWHERE])


@pytest.mark.parametrize("path", PAGES.values())
def test_anna_works_with_it(path: str, world: World, kunlun: Tenant, anna: User) -> None:
    answer = browser(anna, kunlun).get(path)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    check_clean(answer.text)


@pytest.mark.parametrize("path", OF_ADMINISTRATORS.values())
def test_only_an_administrator_manages_people(
    path: str, world: World, kunlun: Tenant, ada: User, anna: User
) -> None:
    answer = browser(ada, kunlun).get(path)
    assert answer.status_code == 200
    check_clean(answer.text)
    assert browser(anna, kunlun).get(path).status_code == 403


@pytest.mark.parametrize("path", READS)
def test_to_ben_there_is_no_portal(path: str, world: World, kunlun: Tenant, ben: User) -> None:
    assert browser(ben, kunlun).get(path).status_code == 404


@pytest.mark.parametrize("path", CHANGES.values())
def test_ben_and_rita_change_nothing(
    path: str, world: World, kunlun: Tenant, ben: User, rita: User
) -> None:
    assert browser(ben, kunlun).post(path).status_code == 404
    assert browser(rita, kunlun).post(path).status_code == 403


@pytest.mark.parametrize("path", [*READS, *CHANGES.values()])
def test_otto_with_auroras_cookie_is_asked_to_sign_in(
    path: str, world: World, kunlun: Tenant, aurora: Tenant, otto: User
) -> None:
    client = browser(otto, aurora)
    client.defaults["HTTP_HOST"] = browser(None, kunlun).defaults["HTTP_HOST"]
    assert client.get(path).headers["Location"].startswith("/account/login/")


@pytest.mark.parametrize("path", [v for v in ELSEWHERE.values() if "quarantine" in v])
def test_auroras_refusals_are_not_kunluns(
    path: str, world: World, kunlun: Tenant, anna: User
) -> None:
    assert browser(anna, kunlun).get(path).status_code == 404


def test_the_page_is_in_the_language_that_was_chosen(
    world: World, kunlun: Tenant, anna: User
) -> None:
    client = browser(anna, kunlun)
    answer = client.post("/preferences/", {"language": "zh-hans", "theme": "dark", "next": "/x/"})
    assert answer.headers["Location"] == "/x/"
    page = client.get("/portal/").text
    assert '<html lang="zh-hans" data-theme="dark">' in page


def test_preferences_lead_to_no_other_host(kunlun: Tenant) -> None:
    answer = browser(None, kunlun).post("/preferences/", {"next": "https://evil.example/"})
    assert answer.headers["Location"] == "/"
