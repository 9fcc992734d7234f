"""A contact comes loose; everybody who can act hears of it, and nobody else."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import SignIn
from tests.journeys.product import Product, Unit

_ALARM_MS = 120_000
_CLEARED_MS = 240_000
_MESSAGE_S = 330
"""Where the demo's own critical alarm was told a moment before, this one joins the next message."""


@pytest.fixture(scope="module")
def healthy(product: Product) -> Unit:
    """A connector of Ben's without a fault, on another vehicle than the demo's ageing one."""
    units = [unit for unit in product.units() if unit.tenant == "kunlun"]
    ageing = next(unit for unit in units if unit.scenario)
    return next(
        unit
        for unit in units
        if unit.organisation == ageing.organisation
        and unit.vehicle != ageing.vehicle
        and unit.position == ageing.position
    )


def _mark(page: Page) -> None:
    """A reload would lose this mark."""
    page.evaluate("window.journey = 'not reloaded'")


def _is_marked(page: Page) -> bool:
    return bool(page.evaluate("window.journey === 'not reloaded'"))


def _until(found: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.5)
    return result


@pytest.mark.timeout(900)
def test_a_loose_contact_is_told_acknowledged_and_cleared(
    product: Product,
    healthy: Unit,
    sign_in: SignIn,
    picture: Callable[[str], Path],
) -> None:
    ben, anna = sign_in("ben", "kunlun"), sign_in("anna", "kunlun")
    ben.goto(product.url("kunlun", "/vehicles/"))
    anna.goto(product.url("kunlun", "/portal/alarms/"))
    for page in (ben, anna):
        _mark(page)

    told = product.sms()
    product.simulator("fault", "loose", f"kunlun/{healthy.serial}", "--over", "20")

    toast = ben.locator("#toasts .toast", has_text=healthy.serial).first
    expect(toast).to_be_visible(timeout=_ALARM_MS)
    expect(anna.locator("#content", has_text=healthy.serial)).to_be_visible(timeout=20_000)
    assert _is_marked(ben)
    assert _is_marked(anna)

    # Anna is told as well, by a message of her own; whose comes first depends on what waited.
    assert _until(
        lambda: [m for m in product.mails() if healthy.serial in str(m) and "ben@" in str(m["to"])],
        _MESSAGE_S,
    )
    # A message for several alarms names the gravest and counts the others.
    names = (healthy.serial, "more alarm")
    assert _until(
        lambda: [
            s for s in product.sms() if s not in told and any(name in s["text"] for name in names)
        ],
        _MESSAGE_S,
    )

    ben.goto(product.url("kunlun", f"/connectors/{healthy.connector}/?range=1h"))
    expect(ben.locator(".uplot canvas").first).to_be_visible()
    ben.screenshot(path=picture("connector"))
    ben.locator(".call a.button").first.click()
    ben.screenshot(path=picture("alarm"))
    ben.get_by_role("button", name="I take care of it").click()
    expect(ben.locator(".call").first).to_contain_text("has it in hand")

    product.simulator("fault", "loose", f"kunlun/{healthy.serial}", "--repair")
    _mark(ben)
    expect(ben.locator(".pill", has_text="Cleared").first).to_be_visible(timeout=_CLEARED_MS)
    assert _is_marked(ben)


def test_the_first_alarm_comes_without_a_hand_being_moved(
    product: Product, sign_in: SignIn, picture: Callable[[str], Path]
) -> None:
    """Three clicks after signing in Ben sees the ageing connector."""
    ageing = next(unit for unit in product.units() if unit.scenario)
    ben = sign_in("ben", "kunlun")
    alarm = ben.locator("#content tr, #content li", has_text=ageing.serial).first
    ben.goto(product.url("kunlun", "/alarms/"))
    expect(alarm).to_be_visible(timeout=300_000)
    ben.goto(product.url("kunlun", "/"))
    ben.screenshot(path=picture("vehicles"))
    ben.locator(f"a[href*='{ageing.connector}']").first.click()
    expect(ben.locator("h1")).to_contain_text(ageing.serial)
    expect(ben.locator(".uplot canvas").first).to_be_visible()
    expect(ben.locator(".call").first).to_be_visible()
    ben.wait_for_timeout(1500)
    ben.screenshot(path=picture("ageing"))


def test_live_values_move_without_a_reload(
    product: Product, healthy: Unit, sign_in: SignIn
) -> None:
    ben = sign_in("ben", "kunlun")
    ben.goto(product.url("kunlun", f"/connectors/{healthy.connector}/"))
    measured = ben.locator("[data-measured]").first
    expect(measured).to_have_attribute("datetime", re.compile(r"^\d{4}-"))
    before = measured.get_attribute("datetime")
    _mark(ben)
    expect(measured).not_to_have_attribute("datetime", str(before), timeout=15_000)
    assert _is_marked(ben)
