"""A loose contact makes its pole hot, and it comes and goes: Ben sees one story, not two alarms."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.journeys.conftest import SignIn
from tests.journeys.product import Product, Unit
from tests.journeys.test_pages import _AXE, _is_wider_than_its_window

_STORY = """
import json, time
from datetime import datetime, timedelta, timezone
from django_tenants.utils import schema_context
from apps.alarms.models import Alarm
from apps.alarms.operations import apply_findings
from ohmwatch.findings import Finding, Severity
now = datetime.now(timezone.utc)
def said(condition, severity, minutes):
    at = int((now - timedelta(minutes=minutes)).timestamp() * 1000)
    apply_findings([Finding("{connector}", condition, severity, at, at, at + 100, condition, "1",
        evidence={{"temperature_pos_c": 101.5}})], judged_at=now)
with schema_context("t_{tenant}"):
    said("contact_loose", Severity.WARNING, 30)
    for step in range(4):
        said("overtemperature", Severity.CRITICAL, 20 - 4 * step)
        said("overtemperature", None, 18 - 4 * step)
    found = Alarm.objects.filter(connector="{connector}", state="open")
    print("STORY", json.dumps({{each.condition: str(each.pk) for each in found}}))
"""


@pytest.fixture
def story(product: Product) -> dict[str, str]:
    """Condition → alarm, of a connector of Ben's that no other journey touches."""
    units = [unit for unit in product.units() if unit.tenant == "kunlun"]
    ageing = next(unit for unit in units if unit.scenario)
    unit: Unit = [
        each
        for each in units
        if each.organisation == ageing.organisation and each.vehicle != ageing.vehicle
    ][-1]
    code = _STORY.format(tenant=unit.tenant, connector=unit.connector)
    answer = product.manage("shell", "-c", code)
    said = next(line for line in answer.stdout.splitlines() if line.startswith("STORY"))
    return dict(json.loads(said.removeprefix("STORY ")))


def test_cause_and_consequence_are_one_click_apart(
    product: Product,
    story: dict[str, str],
    sign_in: SignIn,
    picture: Callable[[str], Path],
) -> None:
    ben = sign_in("ben", "kunlun", bypass_csp=True)
    ben.goto(product.url("kunlun", f"/alarms/{story['overtemperature']}/"))
    expect(ben.locator(".call").first).to_contain_text("It comes and goes")
    assert not Axe().run(ben, options=_AXE).response["violations"]
    ben.screenshot(path=picture("story-consequence"))
    ben.locator("#tied").get_by_role("link", name="Loose contact").click()
    expect(ben.locator("h1")).to_contain_text("Loose contact")
    expect(ben.locator("#tied")).to_contain_text("What follows from it")
    ben.screenshot(path=picture("story-cause"))
    phone = sign_in("ben", "kunlun", viewport={"width": 360, "height": 740}, locale="zh-CN")
    phone.goto(product.url("kunlun", f"/alarms/{story['overtemperature']}/"))
    expect(phone.locator("#tied")).to_contain_text("其原因")
    expect(phone.locator(".call").first).to_contain_text("时有时无")
    assert not _is_wider_than_its_window(phone)
    phone.screenshot(path=picture("story-phone-zh"), full_page=True)
