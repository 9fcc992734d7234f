"""Answers about tenants. All of them read the public schema, whatever schema is set."""

from collections import defaultdict

from django.apps import apps
from django.conf import settings
from django.db import connection
from django.db.models import QuerySet
from django_tenants.utils import get_public_schema_name, schema_context

from apps.telemetry.slices import Retention
from apps.tenants.models import Domain, Tenant, TenantState
from apps.tenants.schema import current_schema, in_public


def tenant_of_host(host: str) -> Tenant | None:
    """The tenant that answers on this host name (lower case, no port), in whatever state."""
    with schema_context(get_public_schema_name()):
        domain = Domain.objects.select_related("tenant").filter(domain=host).first()
    return domain.tenant if domain else None


def tenant_of_schema(schema_name: str) -> Tenant | None:
    """The tenant whose schema has this name, in whatever state."""
    with schema_context(get_public_schema_name()):
        return Tenant.objects.filter(schema_name=schema_name).first()


def tenants() -> QuerySet[Tenant]:
    """All tenants by slug. Evaluate it in the public schema."""
    return Tenant.objects.select_related("plan").order_by("slug")


def ready_tenants() -> list[Tenant]:
    """The tenants that may be served, by slug: what every fan-out walks."""
    with schema_context(get_public_schema_name()):
        return list(tenants().filter(state=TenantState.READY))


def retentions() -> dict[str, Retention]:
    """How long the readings of each tenant are kept, in whatever state it is, by slug."""
    with schema_context(get_public_schema_name()):
        return {tenant.slug: tenant.retention for tenant in tenants()}


def classes_in_use() -> list[str]:
    """The retention classes that readings of tenants in service are in, past ones too."""
    return sorted({name for tenant in ready_tenants() for name in tenant.retention.names})


def current_tenant() -> Tenant:
    """The tenant whose schema is set. Raises LookupError in the public schema."""
    if in_public():
        raise LookupError("no tenant's schema is set")
    set_tenant = connection.tenant  # type: ignore[attr-defined]
    tenant = set_tenant if isinstance(set_tenant, Tenant) else tenant_of_schema(current_schema())
    if tenant is None:
        raise LookupError(f"no tenant has the schema {current_schema()}")
    return tenant


def expected_tables() -> frozenset[str]:
    """The tables that every tenant's schema must hold.

    A table that a schema lacks would be looked up in public through the search path.
    """
    configs = [apps.get_app_config(name.rsplit(".", 1)[-1]) for name in settings.TENANT_APPS]
    models = (model for config in configs for model in config.get_models(include_auto_created=True))
    tables = {
        model._meta.db_table
        for model in models
        if model._meta.managed and not model._meta.proxy and not model._meta.swapped
    }
    return frozenset(tables | {"django_migrations"})


def missing_tables() -> dict[str, frozenset[str]]:
    """Schema → the expected tables it lacks, for ready tenants that lack any. One query."""
    held: dict[str, set[str]] = defaultdict(set)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT schemaname, tablename FROM pg_catalog.pg_tables WHERE schemaname LIKE 't\\_%%'"
        )
        for schema_name, table in cursor.fetchall():
            held[schema_name].add(table)
    expected = expected_tables()
    lacking = {
        tenant.schema_name: expected - held[tenant.schema_name] for tenant in ready_tenants()
    }
    return {schema_name: tables for schema_name, tables in lacking.items() if tables}
