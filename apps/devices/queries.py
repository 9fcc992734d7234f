"""Which devices there are and whether one is who it says it is."""

import hmac
from dataclasses import dataclass

from django.conf import settings
from django.db.models import QuerySet
from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.accounts.permissions import Permission
from apps.devices.models import Device, DeviceState
from apps.devices.passwords import matches
from apps.devices.slots import is_slot
from apps.tenants.identifiers import schema_name_of
from apps.tenants.lookups import find_or_404
from apps.tenants.queries import tenant_of_schema


def devices(*, for_user: User) -> QuerySet[Device]:
    """All devices for the tenant's staff; its customers see none."""
    if for_user.is_staff_of_tenant and for_user.can(Permission.VIEW_FLEET):
        return Device.objects.prefetch_related("channels__connector__vehicle")
    return Device.objects.none()


def device_for(*, user: User, pk: object) -> Device:
    """Raises Http404 where it doesn't exist or is not this person's to see."""
    return find_or_404(devices(for_user=user), pk)


@dataclass(frozen=True)
class Claim:
    """What a client says when it connects to the broker."""

    client_id: str
    username: str
    password: str


def is_genuine(claim: Claim) -> bool:
    """Whether the broker may let this client in: a device or a slot of ours, under its own id."""
    if claim.client_id != claim.username:
        return False
    if is_slot(claim.username):
        expected = settings.ENVIRONMENT.mqtt_password.get_secret_value()
        return hmac.compare_digest(claim.password.encode(), expected.encode())
    return matches(claim.password, _hash_of(claim.username))


def _hash_of(identity: str) -> str:
    """The hash of an enabled device of a ready tenant, else an empty one that nothing matches."""
    slug, _dot, identifier = identity.partition(".")
    try:
        tenant = tenant_of_schema(schema_name_of(slug))
    except ValueError:
        return ""
    if tenant is None or not tenant.is_ready:
        return ""
    with tenant_context(tenant):
        device = Device.objects.filter(identifier=identifier, state=DeviceState.ENABLED).first()
    return device.password_hash if device else ""
