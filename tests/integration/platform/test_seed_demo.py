"""The demo is seeded through the same doors as people use, once."""

import json
import stat
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django_tenants.utils import schema_context

from apps.accounts.models import User
from apps.devices.models import Channel, Device
from apps.devices.passwords import matches
from apps.fleet.models import Connector
from apps.fleet.vin import clean_vin
from apps.notifications.models import Contact
from apps.platform.demo.seeding import credentials_file

PASSWORD = "wonderful-lantern-42"


@pytest.fixture
def demo(db: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The cast stands in for tenants that exist already; serials and devices are the demo's own."""
    monkeypatch.setattr(settings, "DEMO", True)
    monkeypatch.setattr(settings.ENVIRONMENT, "data_dir", str(tmp_path))
    monkeypatch.setenv("OHMWATCH_DEMO_PASSWORD", PASSWORD)


def seed() -> str:
    said = StringIO()
    call_command("seed_demo", stdout=said)
    return said.getvalue()


def test_the_demo_is_complete_and_a_second_run_changes_nothing(
    demo: None, kunlun: object, aurora: object
) -> None:
    assert "46 connectors" in seed()
    before = credentials_file().read_bytes()
    assert stat.S_IMODE(credentials_file().stat().st_mode) == 0o600
    entries = json.loads(before)
    assert len(entries) == 16
    channels = [channel for entry in entries for channel in entry["channels"]]
    assert [channel["position"] for channel in channels if channel["scenario"]] == ["traction"]
    for entry in entries:
        assert clean_vin(entry["vehicle"]["vin"]) == entry["vehicle"]["vin"]
        slug, _dot, identifier = entry["identity"].partition(".")
        with schema_context(f"t_{slug}"):
            device = Device.objects.get(identifier=identifier)
            assert matches(entry["password"], device.password_hash)
            assert Channel.objects.filter(device=device).count() == len(entry["channels"])
    with schema_context("t_kunlun"):
        counts = (Connector.objects.count(), User.objects.count(), Contact.objects.count())
        ben = User.objects.get(username="ben")
        assert {contact.kind for contact in Contact.objects.filter(user=ben)} == {"email", "sms"}
    seed()
    assert credentials_file().read_bytes() == before
    with schema_context("t_kunlun"):
        assert counts == (
            Connector.objects.count(),
            User.objects.count(),
            Contact.objects.count(),
        )


def test_a_lost_file_gives_the_devices_new_passwords(
    demo: None, kunlun: object, aurora: object
) -> None:
    seed()
    before = credentials_file().read_text()
    credentials_file().unlink()
    seed()
    entry = json.loads(credentials_file().read_text())[0]
    assert entry["password"] not in before
    with schema_context("t_kunlun"):
        device = Device.objects.get(identifier=entry["identity"].partition(".")[2])
        assert matches(entry["password"], device.password_hash)


def test_outside_a_demo_there_are_no_demo_accounts(
    demo: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "DEMO", False)
    with pytest.raises(CommandError, match="no demo"):
        seed()


def test_without_a_password_nobody_is_made(demo: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OHMWATCH_DEMO_PASSWORD")
    with pytest.raises(CommandError, match="OHMWATCH_DEMO_PASSWORD"):
        seed()
    assert not User.objects.filter(username="operator").exists()
