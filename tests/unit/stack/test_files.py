"""Secrets are private from their first byte on, and a stack remembers what was chosen."""

import stat
from pathlib import Path

import pytest

from deploy.stack.credentials import NAMES, Credentials
from deploy.stack.layout import Choices, Home, write_private
from deploy.stack.stack import Stack


def test_secrets_are_for_their_owner_alone(stack: Stack) -> None:
    assert stat.S_IMODE(stack.home.secrets.stat().st_mode) == 0o700
    files = list(stack.home.secrets.iterdir())
    assert {file.name for file in files} == set(NAMES)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_secrets_stay_and_differ(stack: Stack) -> None:
    before = {name: stack.credentials[name] for name in NAMES}
    stack.credentials.generate()
    assert {name: stack.credentials[name] for name in NAMES} == before
    assert len(set(before.values())) == len(NAMES)
    assert all(len(value) >= 24 for value in before.values())


def test_an_unknown_secret_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        Credentials(Home(tmp_path))["postgress"]


def test_a_private_file_replaces_an_open_one(tmp_path: Path) -> None:
    file = tmp_path / "conf"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, "new")
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_choices_are_remembered(tmp_path: Path) -> None:
    home = Home(tmp_path / "test" / "stores")
    assert Choices.remembered(home) == Choices(8000, "127.0.0.1")
    Choices(8100, "0.0.0.0").remember(home)
    assert Choices.remembered(home) == Choices(8100, "0.0.0.0")
