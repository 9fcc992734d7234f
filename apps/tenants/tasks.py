"""What every Celery task of ours is: one that runs in a tenant's schema, or one in public.

A task that was sent without a schema would run in public and find the platform's people instead of
a tenant's. So the schema is an argument that can't be left out.
"""

from functools import partial
from typing import Any

import structlog
from celery import shared_task
from django_tenants.utils import get_public_schema_name, schema_context, tenant_context
from tenant_schemas_celery.task import TenantTask as SchemaAwareTask

from apps.tenants.models import Tenant
from apps.tenants.operations import TenantFailed, build_tenant
from apps.tenants.queries import tenant_of_schema

logger = structlog.get_logger(__name__)


class SchemaMissing(Exception):
    """A tenant's task was sent without the schema of a tenant."""


class TenantTask(SchemaAwareTask):
    """Runs with the schema set that its keyword argument `schema` names.

    Raises SchemaMissing without it, or for public. A tenant that is gone, or not ready any more,
    ends the task quietly: there is nothing left to do it for.
    """

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        schema = kwargs.get("schema")
        if not isinstance(schema, str) or schema == get_public_schema_name():
            raise SchemaMissing(f"{self.name} needs the keyword `schema` of a tenant")
        tenant = tenant_of_schema(schema)
        if tenant is None or not tenant.is_ready:
            logger.warning("task_discarded_tenant_gone", task=self.name, schema=schema)
            return None
        with tenant_context(tenant):
            return super().__call__(*args, **kwargs)


class PublicTask(SchemaAwareTask):
    """Runs in the public schema, whatever schema its sender had set."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with schema_context(get_public_schema_name()):
            return super().__call__(*args, **kwargs)


tenant_task = partial(shared_task, base=TenantTask)
"""@tenant_task(name=…, queue=…) def work(*, schema: str, **later: object) -> None: …"""

public_task = partial(shared_task, base=PublicTask)
"""@public_task(name=…, queue=…) def work(**later: object) -> None: …"""


@public_task(name="tenants.build", queue="upkeep")
def build(*, tenant: str, **later: object) -> None:
    """Make or complete the schema of the tenant with this primary key. Safe to repeat."""
    try:
        build_tenant(tenant=Tenant.objects.get(pk=tenant))
    except TenantFailed:
        logger.warning("tenant_waits_for_retry", tenant=tenant)
