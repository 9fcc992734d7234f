"""From a device's enrolment to its first sign-in at the broker, and to its last."""

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.test import Client
from django_tenants.utils import tenant_context
from pydantic import SecretStr

from apps.devices import credentials
from apps.devices.models import Channel, Device
from apps.devices.operations import (
    Enrolled,
    disable_device,
    enable_device,
    enrol_device,
    map_channel,
    note_status,
    rotate_password,
    unmap_channel,
)
from apps.devices.passwords import hash_password, matches
from apps.devices.slots import slot_user
from apps.fleet.models import Connector, ConnectorState
from apps.tenants.models import Tenant
from tests import cast, mqtt
from tests.clock import Clock
from tests.eventually import eventually


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[mqtt.Mosquitto]:
    """A Mosquitto whose password file is ours to keep."""
    with mqtt.running({}) as running:
        environment = settings.ENVIRONMENT
        monkeypatch.setattr(environment, "mqtt_password_file", str(running._folder / "passwords"))
        monkeypatch.setattr(environment, "mqtt_pid_file", str(running._folder / "mosquitto.pid"))
        monkeypatch.setattr(environment, "mqtt_password", SecretStr(mqtt.SLOT_PASSWORD))
        yield running


def gets_in(broker: mqtt.Mosquitto, enrolled: Enrolled) -> bool:
    try:
        with mqtt.MqttClient(broker.port, enrolled.identity, enrolled.password).connect():
            return True
    except mqtt.MqttError:
        return False


def test_a_device_gets_in_until_it_is_disabled(
    broker: mqtt.Mosquitto, in_kunlun: Tenant, clock: Clock
) -> None:
    first = enrol_device(identifier="tbox-900", now=clock.now)
    assert not gets_in(broker, first)
    assert credentials.publish()
    eventually(lambda: gets_in(broker, first), "the new device gets in")

    second = rotate_password(device=first.device)
    credentials.publish()
    eventually(lambda: gets_in(broker, second), "the new password works")
    assert not gets_in(broker, first)

    disable_device(device=first.device)
    credentials.publish()
    eventually(lambda: not gets_in(broker, second), "the disabled device stays out")

    enable_device(device=first.device)
    credentials.publish()
    eventually(lambda: gets_in(broker, second), "the enabled device gets in again")


def test_the_slots_get_in_with_what_is_published(broker: mqtt.Mosquitto, kunlun: Tenant) -> None:
    credentials.publish()
    eventually(lambda: broker.slot(3).connect() is not None, "slot 3 gets in")


def test_the_file_holds_every_tenants_devices_and_is_private(
    broker: mqtt.Mosquitto, kunlun: Tenant, aurora: Tenant
) -> None:
    credentials.publish()
    path = Path(settings.ENVIRONMENT.mqtt_password_file)
    names = {line.split(":")[0] for line in path.read_text().splitlines()}
    assert names == {
        *(slot_user(slot) for slot in range(16)),
        *(f"{slug}.tbox-{number}" for slug in ("kunlun", "aurora") for number in (1, 2)),
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert cast.DEVICE_PASSWORD not in path.read_text()
    assert mqtt.SLOT_PASSWORD not in path.read_text()


def test_an_unchanged_list_leaves_file_and_broker_alone(
    broker: mqtt.Mosquitto, kunlun: Tenant
) -> None:
    assert credentials.publish()
    assert not credentials.publish()


def test_a_stale_pid_of_somebody_else_is_not_signalled(
    broker: mqtt.Mosquitto, kunlun: Tenant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    pid_file.write_text(str(os.getpid()))
    monkeypatch.setattr(settings.ENVIRONMENT, "mqtt_pid_file", str(pid_file))
    credentials.publish()  # SIGHUP would end this test run


def test_changes_in_one_moment_send_one_task(
    broker: mqtt.Mosquitto,
    in_kunlun: Tenant,
    clock: Clock,
    django_capture_on_commit_callbacks: Callable[..., object],
) -> None:
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[attr-defined]
        for number in range(5):
            enrol_device(identifier=f"tbox-90{number}", now=clock.now)
    with redis.Redis.from_url(settings.REDIS_BROKER_URL) as queue:
        assert queue.llen("upkeep") + queue.zcard("unacked_index") == 1  # type: ignore[operator]


def test_a_password_has_192_random_bits_and_is_kept_as_a_hash_only(
    in_kunlun: Tenant, clock: Clock
) -> None:
    enrolled = enrol_device(identifier="tbox-901", now=clock.now)
    assert len(enrolled.password) == 32
    assert enrolled.password not in repr(enrolled)
    assert enrolled.device.password_hash.startswith("$7$101$")
    assert matches(enrolled.password, enrolled.device.password_hash)
    assert not matches("something else", enrolled.device.password_hash)
    assert enrolled.identity == "kunlun.tbox-901"


@pytest.mark.parametrize("nonsense", ["", "$7$", "$6$101$AA==$AA==", "$7$x$y$z", "plain"])
def test_what_is_no_hash_matches_nothing(nonsense: str) -> None:
    assert not matches("", nonsense)
    assert not matches("x", nonsense)


def test_mosquittos_own_form_of_a_hash() -> None:
    assert hash_password("x", salt=b"0" * 12).startswith("$7$101$MDAwMDAwMDAwMDAw$")


@pytest.mark.parametrize("identifier", ["", "with.dot", "a/b", "a+b", "#", "ü", "x" * 65, "a b"])
def test_an_identifier_that_would_break_a_topic_is_refused(
    in_kunlun: Tenant, clock: Clock, identifier: str
) -> None:
    with pytest.raises(ValidationError):
        enrol_device(identifier=identifier, now=clock.now)


def test_a_device_without_a_hash_is_refused_by_the_database(in_kunlun: Tenant) -> None:
    with pytest.raises(IntegrityError):
        Device.objects.create(identifier="tbox-902", password_hash="in the clear")


# --- channels and status ----------------------------------------------------------------------


def test_a_connector_is_measured_by_one_channel(in_kunlun: Tenant) -> None:
    device = Device.objects.get(pk=cast.BENS_DEVICE)
    claras = Connector.objects.get(pk=cast.CLARAS_CONNECTOR)
    with pytest.raises(ValidationError, match="Another channel"):
        map_channel(device=device, number=7, connector=claras)
    unmap_channel(device=Device.objects.get(pk=cast.CLARAS_DEVICE), number=0)
    map_channel(device=device, number=7, connector=claras)
    map_channel(device=device, number=7, connector=claras)
    assert Channel.objects.get(connector=claras).number == 7


@pytest.mark.parametrize("number", [-1, 64])
def test_channels_are_numbered_0_to_63(in_kunlun: Tenant, number: int) -> None:
    device = Device.objects.get(pk=cast.BENS_DEVICE)
    with pytest.raises(ValidationError, match="0 to 63"):
        map_channel(
            device=device, number=number, connector=Connector.objects.get(pk=cast.BENS_CONNECTOR)
        )


def test_a_retired_connector_gets_no_channel(in_kunlun: Tenant) -> None:
    Connector.objects.filter(pk=cast.BENS_CONNECTOR).update(state=ConnectorState.RETIRED)
    with pytest.raises(ValidationError, match="retired"):
        map_channel(
            device=Device.objects.get(pk=cast.BENS_DEVICE),
            number=0,
            connector=Connector.objects.get(pk=cast.BENS_CONNECTOR),
        )


def test_status_is_kept_and_old_news_is_dropped(in_kunlun: Tenant, clock: Clock) -> None:
    before, now = clock.now, clock.advance(seconds=10)
    assert note_status(identifier="tbox-1", online=True, seen_at=now, firmware="2.2.0")
    assert note_status(identifier="tbox-1", online=False, seen_at=before)
    device = Device.objects.get(identifier="tbox-1")
    assert (device.online, device.firmware, device.last_seen_at) == (True, "2.2.0", now)
    assert not note_status(identifier="nobody", online=True, seen_at=now)


# --- EMQX's question ----------------------------------------------------------------------------


@pytest.fixture
def emqx(monkeypatch: pytest.MonkeyPatch, client: Client, kunlun: Tenant) -> Callable[..., str]:
    monkeypatch.setattr(settings.ENVIRONMENT, "broker_auth_token", SecretStr("shared"))
    monkeypatch.setattr(settings.ENVIRONMENT, "mqtt_password", SecretStr(mqtt.SLOT_PASSWORD))

    def ask(client_id: object, username: object, password: object) -> str:
        answer = client.post(
            "/broker/authenticate",
            json.dumps({"clientid": client_id, "username": username, "password": password}),
            content_type="application/json",
            headers={"host": "web:8000", "authorization": "Bearer shared"},
        )
        assert answer.status_code == 200
        result: str = answer.json()["result"]
        assert answer.json()["is_superuser"] is False
        return result

    return ask


def test_emqx_is_told_who_is_genuine(emqx: Callable[..., str], aurora: Tenant) -> None:
    right = cast.DEVICE_PASSWORD
    assert emqx("kunlun.tbox-1", "kunlun.tbox-1", right) == "allow"
    assert emqx("ohmwatch-acq-1", "ohmwatch-acq-1", mqtt.SLOT_PASSWORD) == "allow"
    assert emqx("kunlun.tbox-2", "kunlun.tbox-1", right) == "deny"
    assert emqx("kunlun.tbox-1", "kunlun.tbox-1", "wrong") == "deny"
    assert emqx("kunlun.nobody", "kunlun.nobody", right) == "deny"
    assert emqx("nobody.tbox-1", "nobody.tbox-1", right) == "deny"
    assert emqx("public.tbox-1", "public.tbox-1", right) == "deny"
    assert emqx("ohmwatch-acq-1", "ohmwatch-acq-1", "wrong") == "deny"
    assert emqx("", "", "") == "deny"
    assert emqx(None, ["x"], 1) == "deny"


def test_a_disabled_device_or_an_unready_tenant_is_denied(
    emqx: Callable[..., str], kunlun: Tenant
) -> None:
    who = "kunlun.tbox-1"
    with tenant_context(kunlun):
        disable_device(device=Device.objects.get(identifier="tbox-1"))
    assert emqx(who, who, cast.DEVICE_PASSWORD) == "deny"
    with tenant_context(kunlun):
        enable_device(device=Device.objects.get(identifier="tbox-1"))
    Tenant.objects.filter(pk=kunlun.pk).update(state="failed")
    assert emqx(who, who, cast.DEVICE_PASSWORD) == "deny"


@pytest.mark.parametrize("token", ["", "Bearer ", "Bearer wrong", "Basic shared"])
def test_without_the_token_the_question_does_not_exist(
    emqx: Callable[..., str], client: Client, token: str
) -> None:
    answer = client.post(
        "/broker/authenticate",
        "{}",
        content_type="application/json",
        headers={"authorization": token},
    )
    assert answer.status_code == 404


def test_without_a_configured_token_it_is_off(
    client: Client, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings.ENVIRONMENT, "broker_auth_token", SecretStr(""))
    answer = client.post(
        "/broker/authenticate",
        "{}",
        content_type="application/json",
        headers={"authorization": "Bearer "},
    )
    assert answer.status_code == 404
