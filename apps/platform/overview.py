"""What an operator wants to know of each tenant at a glance."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django_tenants.utils import schema_context

from apps.accounts.models import User
from apps.devices.models import Device
from apps.fleet.models import Connector, Vehicle
from apps.tenants.models import Tenant
from apps.tenants.queries import tenants


@dataclass(frozen=True)
class TenantRow:
    """A tenant and how much it holds; None where its schema can't be asked."""

    tenant: Tenant
    url: str
    devices: int | None = None
    online: int | None = None
    vehicles: int | None = None
    connectors: int | None = None
    people: int | None = None

    @property
    def device_limit(self) -> int | None:
        """How many devices the plan allows; None: as many as they like."""
        limit = self.tenant.plan.limits.get("devices")
        return limit if isinstance(limit, int) else None


def tenant_rows(*, page: Iterable[Tenant] | None = None) -> list[TenantRow]:
    """All tenants, or those of a page, by slug. Five counts for each that is ready."""
    return [_row(tenant) for tenant in (tenants() if page is None else page)]


def _row(tenant: Tenant) -> TenantRow:
    url = _url_of(tenant)
    if not tenant.is_ready:
        return TenantRow(tenant, url)
    with schema_context(tenant.schema_name):
        return TenantRow(
            tenant,
            url,
            devices=Device.objects.count(),
            online=Device.objects.filter(online=True).count(),
            vehicles=Vehicle.objects.count(),
            connectors=Connector.objects.count(),
            people=User.objects.filter(is_active=True).count(),
        )


def _url_of(tenant: Tenant) -> str:
    """The tenant's start page, with the scheme and port under which people reach us."""
    return settings.PUBLIC_URL.replace(
        f"//{settings.BASE_DOMAIN}", f"//{tenant.slug}.{settings.BASE_DOMAIN}", 1
    )
