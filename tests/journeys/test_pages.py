"""Every page as people meet it: on a phone, in the dark, in Chinese, with a screen reader."""

from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.journeys.conftest import SignIn
from tests.journeys.product import Product, Unit

OWNER = [
    "/vehicles/",
    "/vehicles/{vehicle}/",
    "/connectors/{connector}/",
    "/alarms/",
    "/contacts/",
    "/contacts/add/",
    "/account/two-factor/",
    "/account/sessions/",
    "/account/password/",
]
STAFF = [
    "/portal/",
    "/portal/alarms/",
    "/portal/base/",
    "/portal/analysis/",
    "/portal/models/",
    "/portal/models/add/",
    "/portal/organisations/",
    "/portal/devices/",
    "/portal/devices/add/",
    "/portal/users/",
    "/portal/users/add/",
    "/portal/keys/",
    "/portal/keys/add/",
    "/portal/quarantine/",
    "/portal/rules/",
    "/portal/rules/add/",
    "/portal/rules/add/?detector=overtemperature",
    "/portal/rules/import/",
    "/portal/backtests/",
    "/portal/backtests/add/?detector=overtemperature",
    "/portal/truth/",
    "/portal/truth/add/",
    "/contacts/?of=",
    "/contacts/add/",
]
PLATFORM = ["/", "/readiness/", "/unclaimed/"]
VISITS = [("ben", "kunlun", OWNER), ("anna", "kunlun", STAFF), ("operator", "", PLATFORM)]
_AXE = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}


@pytest.fixture(scope="module")
def ageing(product: Product) -> Unit:
    return next(unit for unit in product.units() if unit.scenario)


def _open(page: Page, product: Product, tenant: str, path: str, unit: Unit) -> str:
    filled = path.format(vehicle=unit.vehicle, connector=unit.connector)
    answer = page.goto(product.url(tenant, filled))
    assert answer is not None
    assert answer.status == 200, filled
    page.wait_for_load_state("load")
    return filled


def _is_wider_than_its_window(page: Page) -> bool:
    return bool(
        page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    )


def _covering(page: Page) -> list[str]:
    """Names of the inputs that are wider than the field that they are in."""
    return list(
        page.evaluate(
            """[...document.querySelectorAll(".field > :is(input, select, textarea)")].filter(
                (one) => one.getBoundingClientRect().right
                    > one.parentElement.getBoundingClientRect().right + 1
            ).map((one) => one.name)"""
        )
    )


@pytest.mark.parametrize(("person", "tenant", "paths"), VISITS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_shut_out(
    product: Product,
    ageing: Unit,
    sign_in: SignIn,
    person: str,
    tenant: str,
    paths: list[str],
    scheme: str,
) -> None:
    """No violation of WCAG 2.2 AA that axe can find, in light and dark; no input over another."""
    # axe itself is a script that the page's policy would refuse, and it would measure the contrast
    # of news that is just fading in.
    page = sign_in(person, tenant, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    found = []
    for path in paths:
        shown = _open(page, product, tenant, path, ageing)
        found += [(shown, "covers its neighbour", name) for name in _covering(page)]
        violations = Axe().run(page, options=_AXE).response["violations"]
        found += [(shown, each["id"], each["nodes"][0]["html"][:160]) for each in violations]
    assert not found


@pytest.mark.parametrize(("person", "tenant", "paths"), VISITS)
def test_a_phone_is_wide_enough(
    product: Product,
    ageing: Unit,
    sign_in: SignIn,
    picture: Callable[[str], Path],
    person: str,
    tenant: str,
    paths: list[str],
) -> None:
    page = sign_in(person, tenant, viewport={"width": 360, "height": 740})
    for number, path in enumerate(paths):
        shown = _open(page, product, tenant, path, ageing)
        assert not _is_wider_than_its_window(page), shown
        page.screenshot(path=picture(f"phone-{person}-{number}"))


@pytest.mark.parametrize(("person", "tenant", "paths"), VISITS)
def test_chinese_is_chinese(
    product: Product,
    ageing: Unit,
    sign_in: SignIn,
    picture: Callable[[str], Path],
    person: str,
    tenant: str,
    paths: list[str],
) -> None:
    page = sign_in(person, tenant, locale="zh-CN", color_scheme="dark")
    for number, path in enumerate(paths):
        shown = _open(page, product, tenant, path, ageing)
        assert page.locator("html").get_attribute("lang") == "zh-hans", shown
        heading = page.locator("h1").first.inner_text()
        assert heading.strip(), shown
        page.screenshot(path=picture(f"zh-{person}-{number}"))
