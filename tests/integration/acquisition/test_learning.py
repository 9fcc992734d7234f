"""A running worker learns of what people change, by a real clock: the promise is two seconds."""

import time
from collections.abc import Callable

import pytest
from django.utils import timezone
from django_tenants.utils import tenant_context

from apps.devices.models import Device
from apps.devices.operations import (
    disable_device,
    enable_device,
    enrol_device,
    map_channel,
    unmap_channel,
)
from apps.fleet.models import Connector
from apps.tenants.models import Tenant
from ohmwatch.refusals import Reason
from tests import cast, mqtt
from tests.acquisition import Slot, account, device, now_ms, reading, received, topic, until

pytestmark = [
    pytest.mark.usefixtures("kunlun", "empty_elasticsearch"),
    pytest.mark.django_db(transaction=True),
]

PROMISED_S = 2.0
ATTEMPTS = 5
"""A machine that is busy with something else may be late with a change, but not with each."""

BOX = "kunlun.stranger"
FIRST, SECOND = 3, 4
STORED = "stored"


class Person:
    """Who changes things, and looks what becomes of a reading two seconds after it."""

    def __init__(self, box: mqtt.MqttClient, kunlun: Tenant) -> None:
        self._box = box
        self._kunlun = kunlun

    def sees(self, change: Callable[[], object], *, channel: int) -> str:
        """What becomes of a reading that is sent when the promised time is over."""
        with tenant_context(self._kunlun):
            change()
        time.sleep(PROMISED_S)
        before = _outcomes()
        self._box.deliver(topic(BOX), [reading(now_ms(), channel=channel)])
        until(lambda: received() > sum(before.values()))
        (outcome,) = [name for name, number in _outcomes().items() if number > before.get(name, 0)]
        return outcome


def _outcomes() -> dict[str, int]:
    found = account("kunlun").get("kunlun")
    return {STORED: found.stored, **found.quarantined} if found else {STORED: 0}


def _connector() -> Connector:
    return Connector.objects.get(pk=cast.BENS_CONNECTOR)


def _map(number: int) -> None:
    map_channel(device=_box(), number=number, connector=_connector())


def _remap() -> None:
    unmap_channel(device=_box(), number=FIRST)
    _map(SECOND)


def _box() -> Device:
    return Device.objects.get(identifier="stranger")


def test_a_change_holds_two_seconds_later(broker: mqtt.Mosquitto, kunlun: Tenant) -> None:
    with tenant_context(kunlun):
        unmap_channel(device=Device.objects.get(pk=cast.BENS_DEVICE), number=0)

    def enrol() -> None:
        enrol_device(identifier="stranger", now=timezone.now())
        _map(FIRST)

    def forget() -> None:
        Device.objects.filter(identifier="stranger").delete()

    with Slot(broker.worker_port), device(broker, BOX) as box:
        person = Person(box, kunlun)
        story = [
            (enrol, FIRST, STORED),
            (_remap, SECOND, STORED),
            (lambda: disable_device(device=_box()), SECOND, Reason.DEVICE_DISABLED),
            (lambda: enable_device(device=_box()), FIRST, Reason.UNKNOWN_CHANNEL),
        ]
        for _ in range(ATTEMPTS):
            seen = [person.sees(change, channel=channel) for change, channel, _ in story]
            if seen == [outcome for _, _, outcome in story]:
                return
            with tenant_context(kunlun):
                forget()
    pytest.fail(f"{ATTEMPTS} times one of them was not known in time, the last time: {seen}")
