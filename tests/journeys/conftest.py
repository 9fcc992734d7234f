"""One product for all journeys, and browsers for the people in them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from deploy.stack.layout import RUN
from tests.journeys import product as products
from tests.journeys.product import Product

_CHROMIUM = "/usr/bin/chromium"
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
]
SCREENSHOTS = Path(os.environ.get("OHMWATCH_SCREENSHOTS", RUN / "screenshots"))

SignIn = Callable[..., Page]


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Journeys share one product: one xdist worker tells all of them, in order."""
    for item in items:
        if "journeys" in item.path.parts:
            item.add_marker(pytest.mark.journey)
            item.add_marker(pytest.mark.xdist_group("journeys"))


@pytest.fixture(scope="session")
def product() -> Iterator[Product]:
    running = products.start("journeys")
    yield running
    products.stop(running)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What browsers complained of in this test; a test that leaves some fails."""
    found: list[str] = []
    yield found
    assert not found, found


@pytest.fixture
def sign_in(
    product: Product, browser: Browser, complaints: list[str], request: pytest.FixtureRequest
) -> Iterator[SignIn]:
    """Opens a browser for a person and signs in; context options go to the browser."""
    contexts: list[BrowserContext] = []

    def open_for(person: str, tenant: str, **options: object) -> Page:
        settings = {"viewport": {"width": 1360, "height": 900}, "locale": "en", **options}
        context = browser.new_context(**settings)  # type: ignore[arg-type]
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        _listen(page, product, complaints)
        page.goto(product.url(tenant))
        page.fill("#id_login", person)
        page.fill("#id_password", product.password)
        page.click("form button.primary")
        page.wait_for_selector(".shell")
        return page

    yield open_for
    for number, context in enumerate(contexts):
        for page in context.pages:
            page.screenshot(path=_picture(f"last-{request.node.name}-{number}"))
        context.close()


def _listen(page: Page, product: Product, complaints: list[str]) -> None:
    """A page that asks a third party, breaks its security policy or throws is a defect."""

    def on_console(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text or "Content-Security-Policy" in message.text:
            complaints.append(message.text)

    port = f":{product.stack.ports.web}/"
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    page.on("console", on_console)
    page.on(
        "request",
        lambda request: (
            None
            if port in request.url or request.url.startswith(("data:", "blob:"))
            else complaints.append(f"asks {request.url}")
        ),
    )


def _picture(name: str) -> Path:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS / f"{name}.png"


@pytest.fixture
def picture() -> Callable[[str], Path]:
    """Where a screenshot of that name goes."""
    return _picture
