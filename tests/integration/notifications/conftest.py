"""The servers that people are reached through."""

from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings

from tests.outside import MailServer, SmsGateway, mail_server, sms_gateway


@pytest.fixture
def mails(settings: Settings) -> Iterator[MailServer]:
    with mail_server() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
        settings.EMAIL_TIMEOUT = 5
        yield server


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmsGateway]:
    with sms_gateway() as server:
        monkeypatch.setenv("OHMWATCH_SMS_GATEWAY_URL", server.url)
        monkeypatch.setenv("OHMWATCH_SMS_GATEWAY_TOKEN", server.token)
        yield server
