"""Changes of tenants: made, mended, renamed. Each can be repeated after a crash."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connection, transaction
from django.utils.translation import gettext as _
from django_tenants.utils import get_public_schema_name, schema_context

from apps.telemetry.slices import move_begins, to_ms
from apps.tenants.changes import count
from apps.tenants.identifiers import RESERVED_SLUGS, schema_name_of
from apps.tenants.models import Domain, Erasure, Plan, Tenant, TenantState
from apps.tenants.queries import expected_tables

logger = structlog.get_logger(__name__)

STANDARD_PLAN = "standard"
STANDARD_LIMITS = {"devices": 10_000, "readings_per_s": 10_000, "sms_per_day": 500}


class TenantFailed(Exception):
    """A tenant's schema could not be made; the tenant is `failed` and can be retried."""


def create_tenant(
    *, slug: str, name: str, now: datetime, plan: Plan | None = None, country: str = ""
) -> Tenant:
    """Register a tenant and build its schema; ready when this returns (about 1.5 s).

    Raises ValidationError for a slug that is malformed, reserved or taken, and TenantFailed.
    """
    registered = register_tenant(slug=slug, name=name, now=now, plan=plan, country=country)
    return build_tenant(tenant=registered)


def register_tenant(
    *,
    slug: str,
    name: str,
    now: datetime,
    plan: Plan | None = None,
    country: str = "",
    sms_countries: Sequence[str] = (),
) -> Tenant:
    """Reserve slug and host for a tenant in state `creating`; its host answers 503 until built.

    Without a country it sends no SMS until one is named (`change_countries`).
    """
    _check_slug(slug)
    with schema_context(get_public_schema_name()), transaction.atomic():
        tenant = Tenant(
            slug=slug,
            name=name,
            schema_name=schema_name_of(slug),
            plan=plan or standard_plan(),
            country=country.upper(),
            sms_countries=_codes(sms_countries),
            created_at=now,
        )
        tenant.full_clean()
        tenant.save()
        Domain.objects.create(tenant=tenant, domain=host_of(slug), is_primary=True)
    return tenant


def build_tenant(*, tenant: Tenant) -> Tenant:
    """Make or complete the tenant's schema; safe to repeat for a `creating` or `failed` one.

    Raises TenantFailed, and then leaves the reason in `tenant.failure` for the operator.
    """
    with schema_context(get_public_schema_name()):
        try:
            _build_schema(tenant.schema_name)
        except Exception as error:
            logger.exception("tenant_failed", tenant=tenant.slug)
            _settle(tenant, TenantState.FAILED, failure=f"{type(error).__name__}: {error}"[:2000])
            raise TenantFailed(tenant.slug) from error
        _settle(tenant, TenantState.READY, failure="")
        transaction.on_commit(lambda: count(tenant.slug))
    logger.info("tenant_ready", tenant=tenant.slug)
    return tenant


def change_countries(*, tenant: Tenant, country: str, sms_countries: Sequence[str]) -> Tenant:
    """Where the tenant is at home and its SMS may go, from the next message on.

    Raises ValidationError for what is no code of a country.
    """
    tenant.country, tenant.sms_countries = country.upper(), _codes(sms_countries)
    with schema_context(get_public_schema_name()):
        tenant.full_clean()
        tenant.save(update_fields=["country", "sms_countries"])
    logger.info("tenant_countries", tenant=tenant.slug, sms=sorted(tenant.reachable_countries))
    return tenant


def standard_plan() -> Plan:
    """The plan of tenants for whom none was chosen."""
    plan, _created = Plan.objects.get_or_create(
        code=STANDARD_PLAN, defaults={"name": "Standard", "limits": STANDARD_LIMITS}
    )
    return plan


def host_of(slug: str) -> str:
    """The host name of a tenant below the platform's own."""
    return f"{slug}.{settings.BASE_DOMAIN}"


def _codes(countries: Sequence[str]) -> list[str]:
    codes = sorted({code.upper() for code in countries})
    wrong = [code for code in codes if not re.fullmatch("[A-Z]{2}", code)]
    if wrong:
        raise ValidationError(
            {"sms_countries": _("Not a country's code: %(codes)s") % {"codes": " ".join(wrong)}}
        )
    return codes


def _check_slug(slug: str) -> None:
    try:
        schema_name_of(slug)
    except ValueError as error:
        raise ValidationError(
            {
                "slug": _(
                    "2 to 31 small letters, digits and hyphens; a letter first, no hyphen last."
                )
            }
        ) from error
    if slug in RESERVED_SLUGS:
        raise ValidationError({"slug": _("This name is reserved for the platform.")})


def _build_schema(schema_name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema_name}"')
    call_command(
        "migrate_schemas", tenant=True, schema_name=schema_name, verbosity=0, interactive=False
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema_name])
        missing = expected_tables() - {table for (table,) in cursor.fetchall()}
    if missing:
        raise RuntimeError(f"tables are missing after migration: {', '.join(sorted(missing))}")


def _settle(tenant: Tenant, state: TenantState, *, failure: str) -> None:
    tenant.state, tenant.failure = state, failure
    tenant.save(update_fields=["state", "failure"])


def change_retention(*, tenant: Tenant, retention_class: str, now: datetime) -> datetime:
    """How long is kept what is measured from the answered midnight on; raises ValidationError.

    What was measured before stays in the class that it is in, also where it is sent again.
    """
    since = move_begins(now)
    with schema_context(get_public_schema_name()), transaction.atomic():
        held = Tenant.objects.select_for_update().get(pk=tenant.pk)
        moved = held.retention.moved(retention_class, to_ms(since))
        tenant.retention_class, tenant.former_classes = moved.latest, list(map(list, moved.former))
        tenant.full_clean()
        tenant.save(update_fields=["retention_class", "former_classes"])
        transaction.on_commit(lambda: count(tenant.slug))
    logger.info("tenant_retention", tenant=tenant.slug, kept=retention_class, since=str(since))
    return since


def close_tenant(*, tenant: Tenant) -> None:
    """Serve it no more: its host answers 503, its devices are unknown within 2 s."""
    with schema_context(get_public_schema_name()), transaction.atomic():
        _settle(tenant, TenantState.FAILED, failure="being erased")
        transaction.on_commit(lambda: count(tenant.slug))


def drop_tenant(*, tenant: Tenant) -> dict[str, int]:
    """Drop the schema of a closed tenant with all that is in it, its hosts and its record.

    Returns how many rows each table had, where it had any.
    """
    if tenant.is_ready:
        raise ValueError(f"{tenant.slug} is being served: close it first")
    with schema_context(get_public_schema_name()), transaction.atomic():
        rows = _rows_by_table(tenant.schema_name)
        with connection.cursor() as cursor:
            cursor.execute(f'DROP SCHEMA IF EXISTS "{tenant.schema_name}" CASCADE')
        for model, own in ((Domain, {"tenant": tenant}), (Tenant, {"pk": tenant.pk})):
            rows[model._meta.db_table], _by_model = model.objects.filter(**own).delete()
        transaction.on_commit(lambda: count(tenant.slug))
    logger.info("tenant_dropped", tenant=tenant.slug, rows=sum(rows.values()))
    return rows


def _rows_by_table(schema_name: str) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema_name])
        tables = sorted(table for (table,) in cursor.fetchall())
        rows = {}
        for table in tables:
            cursor.execute(f'SELECT count(*) FROM "{schema_name}"."{table}"')  # noqa: S608
            rows[table] = int(cursor.fetchone()[0])
    return {table: number for table, number in rows.items() if number}


def note_erasure(
    *,
    slug: str,
    connector: str,
    began_at: datetime,
    ended_at: datetime,
    report: Mapping[str, object],
    failure: str = "",
) -> Erasure:
    """Keep what was erased where operators find it (`erase --list`)."""
    with schema_context(get_public_schema_name()):
        return Erasure.objects.create(
            slug=slug,
            connector=connector,
            began_at=began_at,
            ended_at=ended_at,
            report=dict(report),
            failure=failure[:2000],
        )
