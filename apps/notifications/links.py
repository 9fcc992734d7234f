"""Addresses of pages as a person outside must write them."""

from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings

from apps.tenants.models import Tenant
from apps.tenants.operations import host_of


def of_tenant(tenant: Tenant, path: str = "/") -> str:
    """A page on the tenant's host, with the platform's scheme and port."""
    public = urlsplit(settings.PUBLIC_URL)
    port = f":{public.port}" if public.port else ""
    return f"{public.scheme}://{host_of(tenant.slug)}{port}{path}"


def of_alarm(tenant: Tenant, alarm_id: UUID) -> str:
    """The page of an alarm."""
    return of_tenant(tenant, f"/alarms/{alarm_id}/")
