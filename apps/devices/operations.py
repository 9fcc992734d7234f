"""Changes of devices, in the schema that is set. Each tells the broker and the workers."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from apps.devices.credentials import publish_soon
from apps.devices.models import CHANNEL_LIMIT, Channel, Codec, Device, DeviceState
from apps.devices.passwords import hash_password, new_password
from apps.fleet.models import Connector, ConnectorState
from apps.tenants.changes import Rows, announce
from apps.tenants.queries import current_tenant


@dataclass(frozen=True)
class Enrolled:
    """A device and its password, which exists nowhere else: show it once, then it is gone."""

    device: Device
    identity: str
    password: str = field(repr=False)


def enrol_device(
    *, identifier: str, now: datetime, label: str = "", codec: str = Codec.GUESSED
) -> Enrolled:
    """A new device with credentials; the broker knows it within seconds. Raises ValidationError."""
    password = new_password()
    device = Device(
        identifier=identifier,
        label=label,
        codec=codec,
        password_hash=hash_password(password),
        created_at=now,
    )
    _save(device)
    return Enrolled(device, identity_of(device), password)


def rotate_password(*, device: Device) -> Enrolled:
    """A new password; the old one stops working as soon as the broker has the new one."""
    password = new_password()
    device.password_hash = hash_password(password)
    _save(device)
    return Enrolled(device, identity_of(device), password)


def enable_device(*, device: Device) -> Device:
    """Let a disabled device connect and report again."""
    device.state = DeviceState.ENABLED
    return _save(device)


def disable_device(*, device: Device) -> Device:
    """Keep a device out: it can't sign in, and what still comes from it is quarantined."""
    device.state = DeviceState.DISABLED
    return _save(device)


def map_channel(*, device: Device, number: int, connector: Connector) -> Channel:
    """Say which connector a channel measures; a channel that was mapped changes over.

    Raises ValidationError for a number out of range, a retired connector, or one that another
    channel measures.
    """
    if not 0 <= number < CHANNEL_LIMIT:
        raise ValidationError({"number": _("Channels are numbered 0 to 63.")})
    if connector.state == ConnectorState.RETIRED:
        raise ValidationError({"connector": _("This connector is retired.")})
    with transaction.atomic():
        taken = Channel.objects.select_for_update().filter(connector=connector)
        if taken.exclude(device=device, number=number).exists():
            raise ValidationError({"connector": _("Another channel measures this connector.")})
        former = _measured_by(device, number)
        channel, _created = Channel.objects.update_or_create(
            device=device, number=number, defaults={"connector": connector}
        )
        announce(Rows.of(devices=[device.pk], connectors=former))
    return channel


def unmap_channel(*, device: Device, number: int) -> None:
    """What the channel still reports is quarantined as `unknown_channel`."""
    with transaction.atomic():
        former = _measured_by(device, number)
        Channel.objects.filter(device=device, number=number).delete()
        announce(Rows.of(devices=[device.pk], connectors=former))


def note_status(*, identifier: str, online: bool, seen_at: datetime, firmware: str = "") -> bool:
    """What a device, or its last will, said of itself; False if no such device exists.

    Old news is dropped: statuses of one device can come through two sessions out of order.
    """
    devices = Device.objects.filter(identifier=identifier).exclude(last_seen_at__gt=seen_at)
    changes: dict[str, object] = {"online": online, "last_seen_at": seen_at}
    if firmware:
        changes["firmware"] = firmware[:60]
    return bool(devices.update(**changes)) or Device.objects.filter(identifier=identifier).exists()


def identity_of(device: Device) -> str:
    """`<tenant>.<device>`: MQTT user name, client id and topic level."""
    return f"{current_tenant().slug}.{device.identifier}"


def _measured_by(device: Device, number: int) -> list[UUID]:
    """The connector that a channel measures, if it does."""
    found = Channel.objects.filter(device=device, number=number)
    return list(found.values_list("connector_id", flat=True))


def _save(device: Device) -> Device:
    with transaction.atomic():
        device.full_clean()
        device.save()
        announce(Rows.of(devices=[device.pk]))
        publish_soon()
    return device
