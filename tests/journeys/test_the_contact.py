"""Ben adds a phone, proves it by the code that it gets, and sees that it works."""

import re
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from tests.journeys.conftest import SignIn
from tests.journeys.product import Product

NUMBER = "+4915198765432"


def _text_to(product: Product, number: str) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        told = [sms["text"] for sms in product.sms() if sms["to"] == number]
        if told:
            return str(told[0])
        time.sleep(0.2)
    raise AssertionError("no SMS came")


def test_a_phone_is_added_and_proved(
    product: Product, sign_in: SignIn, picture: Callable[[str], Path]
) -> None:
    ben = sign_in("ben", "kunlun")
    ben.get_by_role("link", name="Contacts").first.click()
    ben.get_by_role("link", name="Add a contact").first.click()
    ben.select_option("#id_kind", "sms")
    ben.fill("#id_address", "+49 151 98765432")
    ben.fill("#id_name", "Night shift")
    ben.get_by_role("button", name="Add and send the code").click()
    expect(ben.locator(".messages")).to_contain_text("HTTP 202")
    ben.screenshot(path=picture("contact-code"))
    code = re.search(r"\d{4} \d{4}", _text_to(product, NUMBER))
    assert code
    ben.fill("#code", code[0])
    ben.get_by_role("button", name="Prove it").click()
    expect(ben.locator(".facts")).to_contain_text("Is told")
    ben.get_by_role("button", name="Send a test message").click()
    # The code was a moment ago, and a number gets one message a minute by hand.
    expect(ben.locator(".messages")).to_contain_text("Try again in 1 minute")
    ben.screenshot(path=picture("contact"))
