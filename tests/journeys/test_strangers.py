"""Otto of another tenant, Clara of another organisation: the same clicks, and guesses."""

import asyncio
import concurrent.futures
import json
import re
import time

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from playwright.sync_api import Page
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from tests.journeys.conftest import SignIn
from tests.journeys.product import Product, Unit


@pytest.fixture(scope="module")
def bens(product: Product) -> Unit:
    return next(unit for unit in product.units() if unit.scenario)


def _paths(unit: Unit) -> list[str]:
    return [
        f"/vehicles/{unit.vehicle}/",
        f"/connectors/{unit.connector}/",
        f"/series/{unit.connector}.json?range=1h",
        f"/api/v1/vehicles/{unit.vehicle}",
        f"/api/v1/connectors/{unit.connector}",
    ]


def _status(page: Page, url: str) -> int:
    """Asked by the page itself: only the browser knows that *.localhost is this machine."""
    ask = "url => fetch(url, {redirect: 'manual'}).then(answer => answer.status)"
    return int(page.evaluate(ask, url))


@pytest.mark.parametrize(("person", "tenant"), [("otto", "aurora"), ("clara", "kunlun")])
def test_guessed_addresses_show_nothing(
    product: Product, bens: Unit, sign_in: SignIn, person: str, tenant: str
) -> None:
    page = sign_in(person, tenant)
    for path in _paths(bens):
        assert _status(page, product.url(tenant, path)) == 404, path
    for path in ("/vehicles/", "/alarms/", f"/vehicles/?q={bens.serial}"):
        page.goto(product.url(tenant, path))
        shown = page.locator("#content").inner_text()
        assert bens.connector not in page.content()
        assert not re.search(rf"\b{bens.serial}\b(?!”)", shown), path


def test_ben_himself_sees_them(product: Product, bens: Unit, sign_in: SignIn) -> None:
    """The same addresses answer for him: the strangers' 404 is no broken link."""
    page = sign_in("ben", "kunlun")
    for path in _paths(bens):
        assert _status(page, product.url("kunlun", path)) == 200, path


def test_ottos_session_opens_no_socket_at_kunlun(product: Product, sign_in: SignIn) -> None:
    page = sign_in("otto", "aurora")
    cookies = "; ".join(f"{each['name']}={each['value']}" for each in page.context.cookies())

    async def knock(host: str) -> str:
        there = f"{host}:{product.stack.ports.web}"
        knocking = connect(
            f"ws://{there}/ws/live/",
            origin=Origin(f"http://{there}"),
            additional_headers={"Cookie": cookies},
            host="127.0.0.1",
        )
        try:
            async with knocking as socket:
                return str(await asyncio.wait_for(socket.recv(), 10))
        except (InvalidStatus, ConnectionClosed):
            return "refused"

    def knock_from_a_thread(host: str) -> str:
        # Playwright's own loop runs in this thread.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, knock(host)).result()

    assert knock_from_a_thread("kunlun.localhost") == "refused"
    assert json.loads(knock_from_a_thread("aurora.localhost"))["type"] == "hello"


def test_ottos_device_hears_nothing_of_kunluns(product: Product) -> None:
    device = next(d for d in product.devices() if d["identity"].startswith("aurora."))
    heard: list[str] = []
    granted: list[bool] = []
    client = paho.Client(
        CallbackAPIVersion.VERSION2, device["identity"], protocol=MQTTProtocolVersion.MQTTv5
    )
    client.username_pw_set(device["identity"], device["password"])
    client.on_message = lambda _client, _data, message: heard.append(message.topic)
    client.on_subscribe = lambda _client, _data, _mid, codes, _props: granted.extend(
        not code.is_failure for code in codes
    )
    client.connect("127.0.0.1", product.stack.ports.mqtt_devices)
    client.subscribe([("ow/v1/#", 1), ("$share/x/ow/v1/+/readings", 1), ("#", 1)])
    client.loop_start()
    try:
        time.sleep(6)
    finally:
        client.disconnect()
        client.loop_stop()
    assert granted, "the broker answered the subscription"
    assert not [topic for topic in heard if "/kunlun." in topic]
