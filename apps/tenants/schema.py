"""Which schema is set, and running things in a tenant's.

A schema belongs to a thread's connection. What sets it and what queries in it stand in ONE
synchronous function: between two awaits another consumer of the process sets its own.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connection
from django_tenants.utils import get_public_schema_name, tenant_context

from apps.tenants.models import Tenant

P = ParamSpec("P")
T = TypeVar("T")


def current_schema() -> str:
    """The name of the schema that this thread's connection has set."""
    name: str = connection.schema_name  # type: ignore[attr-defined]
    return name


def in_public() -> bool:
    return current_schema() == get_public_schema_name()


async def in_tenant(tenant: Tenant, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a synchronous function with the tenant's schema set, from async code.

    The result must hold no unevaluated queryset: outside it would read another schema.
    """

    def call() -> T:
        close_old_connections()
        try:
            with tenant_context(tenant):
                return fn(*args, **kwargs)
        finally:
            close_old_connections()

    return await sync_to_async(call)()
