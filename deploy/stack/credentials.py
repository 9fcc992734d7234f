"""The generated secrets of a stack: one file each, readable by its owner alone."""

import secrets
from pathlib import Path

from deploy.stack.layout import Home, write_private

NAMES = (
    "secret_key",
    "postgres",
    "redis",
    "elasticsearch",
    "mqtt",
    "email",
    "sms_gateway_token",
    "demo_password",
)


class Credentials:
    """Secrets by name. They are made once and stay until `reset`."""

    def __init__(self, home: Home) -> None:
        self._folder = home.secrets

    def generate(self) -> None:
        """Makes those that are missing."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        for name in NAMES:
            if not self._path(name).exists():
                write_private(self._path(name), _new(name))

    def replace(self, name: str, secret: str) -> None:
        """Puts another stack's secret in the place of ours: what it signed stays valid."""
        write_private(self._path(name), secret)

    def __getitem__(self, name: str) -> str:
        return self._path(name).read_text()

    def _path(self, name: str) -> Path:
        if name not in NAMES:
            raise KeyError(name)
        return self._folder / name


def _new(name: str) -> str:
    # People type this one; 80 bits hold against guessing where sign-in is limited.
    if name == "demo_password":
        return "-".join(secrets.token_hex(2) for _ in range(5))
    return secrets.token_urlsafe(48 if name == "secret_key" else 32)
