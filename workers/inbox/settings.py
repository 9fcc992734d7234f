"""Where the inbox listens and what it takes for genuine, from the addresses that senders have."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit


class SettingMissing(Exception):
    """An environment variable that the inbox can't do without is not there."""


@dataclass(frozen=True)
class Settings:
    """Both ends read the same variables, so sender and inbox can't disagree."""

    smtp_host: str
    smtp_port: int
    smtp_user: str
    smtp_password: str
    http_host: str
    http_port: int
    token: str
    path: Path

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Settings":
        """Raises SettingMissing with the variable's name."""
        mail = urlsplit(_needed(environment, "OHMWATCH_EMAIL_URL"))
        gateway = urlsplit(_needed(environment, "OHMWATCH_SMS_GATEWAY_URL"))
        return cls(
            smtp_host=mail.hostname or "127.0.0.1",
            smtp_port=mail.port or 25,
            smtp_user=unquote(mail.username or ""),
            smtp_password=unquote(mail.password or ""),
            http_host=environment.get("OHMWATCH_INBOX_HOST") or gateway.hostname or "127.0.0.1",
            http_port=gateway.port or 80,
            token=_needed(environment, "OHMWATCH_SMS_GATEWAY_TOKEN"),
            path=Path(_needed(environment, "OHMWATCH_DATA_DIR")) / "demo" / "inbox.sqlite",
        )


def _needed(environment: Mapping[str, str], name: str) -> str:
    found = environment.get(name, "")
    if not found:
        raise SettingMissing(f"{name} is not set")
    return found
