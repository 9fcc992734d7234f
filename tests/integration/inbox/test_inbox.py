"""The demo's inbox over its real protocols: SMTP with AUTH, HTTP with a token."""

import asyncio
import smtplib
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from workers.inbox.__main__ import serving
from workers.inbox.settings import SettingMissing, Settings
from workers.inbox.store import KEPT, Inbox


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.of(
        {
            "OHMWATCH_EMAIL_URL": f"smtp://ohmwatch:m%40il@127.0.0.1:{free_port()}",
            "OHMWATCH_SMS_GATEWAY_URL": f"http://127.0.0.1:{free_port()}/sms/v1/messages",
            "OHMWATCH_SMS_GATEWAY_TOKEN": "sms-token",
            "OHMWATCH_DATA_DIR": str(tmp_path),
        }
    )


@pytest_asyncio.fixture
async def page(settings: Settings) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser at the inbox page, whose servers run."""
    async with (
        serving(settings),
        aiohttp.ClientSession(f"http://127.0.0.1:{settings.http_port}") as session,
    ):
        yield session


@pytest.fixture
def mail() -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Critical: overtemperature · 充电口"
    message["From"] = "alarms@ohmwatch.localhost"
    message["To"] = "ben@harbour-taxi.example"
    message.set_content("Stop and disconnect.")
    message.add_alternative("<p>Stop and <b>disconnect</b>.</p>", subtype="html")
    return message


async def send(settings: Settings, message: EmailMessage, *, password: str = "m@il") -> None:
    def over_smtp() -> None:
        with smtplib.SMTP("127.0.0.1", settings.smtp_port, timeout=5) as server:
            server.login("ohmwatch", password)
            server.send_message(message)

    await asyncio.to_thread(over_smtp)


async def post_sms(
    page: aiohttp.ClientSession, *, key: str | None = "d-1", token: str = "sms-token", **asked: str
) -> tuple[int, dict[str, str]]:
    headers = {"Authorization": f"Bearer {token}"} | ({"Idempotency-Key": key} if key else {})
    body = {"to": "+8613800000001", "text": "Stop now"} | asked
    async with page.post("/sms/v1/messages", json=body, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_a_mail_lands_with_both_of_its_bodies(
    settings: Settings, page: aiohttp.ClientSession, mail: EmailMessage
) -> None:
    await send(settings, mail)
    [got] = await (await page.get("/api/mails")).json()
    assert got["subject"] == "Critical: overtemperature · 充电口"
    assert got["to"] == ["ben@harbour-taxi.example"]
    assert got["text"].strip() == "Stop and disconnect."
    assert "<b>disconnect</b>" in got["html"]


async def test_a_mails_html_is_served_without_the_right_to_run_anything(
    settings: Settings, page: aiohttp.ClientSession, mail: EmailMessage
) -> None:
    await send(settings, mail)
    [got] = await (await page.get("/api/mails")).json()
    async with page.get(f"/mails/{got['id']}.html") as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("sandbox ")
        assert "allow-scripts" not in policy
        assert "default-src 'none'" in policy
        assert "<b>disconnect</b>" in await answer.text()
    assert (await page.get("/mails/mail-none.html")).status == 404


async def test_mail_with_a_wrong_password_or_none_is_refused(
    settings: Settings, page: aiohttp.ClientSession, mail: EmailMessage
) -> None:
    with pytest.raises(smtplib.SMTPAuthenticationError):
        await send(settings, mail, password="guess")

    def without_login() -> None:
        with smtplib.SMTP("127.0.0.1", settings.smtp_port, timeout=5) as server:
            server.send_message(mail)

    with pytest.raises(smtplib.SMTPSenderRefused):
        await asyncio.to_thread(without_login)
    assert await (await page.get("/api/mails")).json() == []


async def test_an_sms_is_accepted_once_for_a_key(page: aiohttp.ClientSession) -> None:
    status, first = await post_sms(page)
    again_status, again = await post_sms(page)
    assert (status, again_status) == (202, 200)
    assert first["id"] == again["id"]
    assert len(await (await page.get("/api/sms")).json()) == 1


async def test_a_key_with_another_text_is_refused(page: aiohttp.ClientSession) -> None:
    await post_sms(page)
    status, problem = await post_sms(page, text="Another")
    assert (status, problem["code"]) == (409, "key_reused")


async def test_an_sms_becomes_delivered(page: aiohttp.ClientSession) -> None:
    _, sent = await post_sms(page)
    assert sent["status"] == "queued"
    await asyncio.sleep(1.1)
    headers = {"Authorization": "Bearer sms-token"}
    async with page.get(f"/sms/v1/messages/{sent['id']}", headers=headers) as answer:
        assert (await answer.json())["status"] == "delivered"


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"token": "guess"}, 401, "unauthorized"),
        ({"to": "12345"}, 400, "invalid_number"),
        ({"text": "  "}, 400, "empty_text"),
        ({"text": "x" * 1601}, 413, "text_too_long"),
        ({"key": "k" * 256}, 400, "invalid_key"),
    ],
)
async def test_what_the_gateway_refuses_has_a_code(
    page: aiohttp.ClientSession, asked: dict[str, str], status: int, code: str
) -> None:
    got, problem = await post_sms(page, **asked)
    assert (got, problem["code"]) == (status, code)
    assert await (await page.get("/api/sms")).json() == []


async def test_nonsense_is_a_wrong_shape(page: aiohttp.ClientSession) -> None:
    headers = {"Authorization": "Bearer sms-token"}
    for body in (b"", b"[]", b"{", b'{"to": "+8613800000001"}'):
        async with page.post("/sms/v1/messages", data=body, headers=headers) as answer:
            assert (answer.status, (await answer.json(content_type=None))["code"]) == (
                400,
                "wrong_shape",
            )


async def test_an_open_page_hears_of_news(
    settings: Settings, page: aiohttp.ClientSession, mail: EmailMessage
) -> None:
    async with page.get("/events") as events:
        await send(settings, mail)
        async with asyncio.timeout(5):
            async for line in events.content:
                if line == b"data: news\n":
                    break


async def test_the_page_brings_all_it_needs(page: aiohttp.ClientSession) -> None:
    for path in ("/", "/inbox.css", "/inbox.js", "/favicon.svg", "/healthz"):
        async with page.get(path) as answer:
            assert answer.status == 200, path
            assert "http" + "://" not in (await answer.text()).replace("http://www.w3.org", "")


async def test_what_came_is_there_after_a_restart(settings: Settings, mail: EmailMessage) -> None:
    async with serving(settings):
        await send(settings, mail)
    async with (
        serving(settings),
        aiohttp.ClientSession(f"http://127.0.0.1:{settings.http_port}") as page,
    ):
        assert len(await (await page.get("/api/mails")).json()) == 1
        assert (await page.delete("/api/messages")).status == 204
        assert await (await page.get("/api/mails")).json() == []


def test_only_the_newest_are_kept(tmp_path: Path, mail: EmailMessage) -> None:
    inbox = Inbox(tmp_path / "inbox.sqlite")
    now = datetime(2026, 11, 24, tzinfo=UTC)
    for number in range(KEPT + 3):
        inbox.add_sms(recipient="+861", text=str(number), idempotency_key=None, received_at=now)
    assert [sms.text for sms in inbox.texts()][:2] == [str(KEPT + 2), str(KEPT + 1)]
    assert len(inbox.texts()) == KEPT
    inbox.close()


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(SettingMissing, match="OHMWATCH_EMAIL_URL"):
        Settings.of({})
