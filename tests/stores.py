"""The test worker's stores: filled once, and put back after a test that commits."""

from datetime import UTC, datetime

import httpx
import redis
from django.conf import settings
from django.db import connection
from django_tenants.utils import tenant_context

from apps.tenants.models import Tenant
from apps.tenants.operations import build_tenant, register_tenant
from apps.warning.detectors import forget_plugins
from tests import cast

TENANTS = {"kunlun": "Kunlun Connectors", "aurora": f"{cast.CANARY}tenant"}
_KEPT = ("django_migrations", "django_content_type", "auth_permission")


def make_tenants() -> None:
    """Both tenants with their schemas, unless an earlier run with --reuse-db left them."""
    _drop_foreign_schemas()
    for slug, name in TENANTS.items():
        tenant = Tenant.objects.filter(slug=slug).first() or _register(slug, name)
        build_tenant(tenant=tenant)


def write_both_casts() -> None:
    """The cast, fresh, in both tenants."""
    _empty_tables()
    _fill()


def restore() -> None:
    """Undo all that a test has committed, in every schema."""
    connection.set_schema_to_public()  # type: ignore[attr-defined]
    _drop_foreign_schemas()
    _empty_tables()
    _fill()


def flush_redis() -> None:
    """Empty the four databases of this test worker."""
    for url in (
        settings.REDIS_BROKER_URL,
        settings.REDIS_LAYER_URL,
        settings.REDIS_LOG_URL,
        settings.REDIS_CACHE_URL,
    ):
        with redis.Redis.from_url(url) as client:
            client.flushdb()
    forget_plugins()


def delete_indices(*, templates: bool) -> None:
    """Delete this test worker's indices, which are found by the prefix, and its templates."""
    prefix = settings.ENVIRONMENT.elasticsearch_prefix
    assert "test-" in prefix
    with httpx.Client(base_url=str(settings.ENVIRONMENT.elasticsearch_url), timeout=30) as client:
        client.post(f"/{prefix}*/_refresh")
        found = client.get("/_cat/indices", params={"format": "json", "expand_wildcards": "all"})
        for row in found.raise_for_status().json():
            # An index without documents is as good as a new one, and making one takes its time.
            keep = not templates and row["docs.count"] == "0"
            if row["index"].startswith(prefix) and not keep:
                client.delete(f"/{row['index']}").raise_for_status()
        if templates:
            client.delete(f"/_index_template/{prefix}*")
            client.delete(f"/_component_template/{prefix}*")


def _register(slug: str, name: str) -> Tenant:
    return register_tenant(
        slug=slug,
        name=name,
        now=datetime(2026, 1, 1, tzinfo=UTC),
        country="CN",
        sms_countries=["CN", "DE"],
    )


def _fill() -> None:
    for slug, name in TENANTS.items():
        tenant = Tenant.objects.filter(slug=slug).first() or _register(slug, name)
        Tenant.objects.filter(pk=tenant.pk).update(state="ready", failure="")
        with tenant_context(tenant):
            aurora = slug == "aurora"
            cast.write_cast(cast.AURORA_TEXT if aurora else cast.KUNLUN_TEXT, otto=aurora)


def _schemas() -> list[str]:
    return ["public", *(f"t_{slug}" for slug in TENANTS)]


def _drop_foreign_schemas() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 't\\_%%'")
        for (name,) in cursor.fetchall():
            if name not in _schemas():
                cursor.execute(f'DROP SCHEMA "{name}" CASCADE')


def _empty_tables() -> None:
    """Truncate what holds rows, in one statement; most of the tables hold none."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '10s'")
        cursor.execute(
            "SELECT format('%%I.%%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname = ANY(%s) AND tablename <> ALL(%s)",
            [_schemas(), list(_KEPT)],
        )
        tables = [table for (table,) in cursor.fetchall()]
        cursor.execute(
            " UNION ALL ".join(
                f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table})" for table in tables
            )
        )
        filled = [table for (table,) in cursor.fetchall()]
        if filled:
            cursor.execute(f"TRUNCATE {', '.join(filled)} CASCADE")
        cursor.execute("RESET lock_timeout")
