"""Whether what a web process stands on is there, dependency by dependency, with the reason."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import redis
from django.conf import settings
from django.db import connection

from apps.tenants.queries import missing_tables
from apps.warning.plugins import Report, reports

_PATIENCE_S = 2.0


@dataclass(frozen=True)
class Check:
    """One dependency: whether it answered, why not, and how long that took."""

    name: str
    ok: bool
    reason: str
    took_ms: int


def check_dependencies() -> list[Check]:
    """Ask each store now, at most 2 s each; a tenant that lacks a table counts as a fault too."""
    return [
        _check("postgres", _ask_postgres),
        _check("redis", _ask_redis),
        _check("elasticsearch", _ask_elasticsearch),
        _check("tenants", _look_at_tenants),
    ]


def plugins() -> list[Report]:
    """How the plug-ins are, as detection workers said last; none where Redis is away."""
    try:
        with redis.Redis.from_url(
            settings.REDIS_LOG_URL, socket_timeout=_PATIENCE_S, socket_connect_timeout=_PATIENCE_S
        ) as client:
            return reports(client)
    except redis.RedisError:
        return []


def _check(name: str, ask: Callable[[], str]) -> Check:
    started = time.monotonic()
    try:
        reason = ask()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    took_ms = round((time.monotonic() - started) * 1000)
    return Check(name, ok=not reason, reason=reason, took_ms=took_ms)


def _ask_postgres() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return ""


def _ask_redis() -> str:
    for url in (settings.REDIS_BROKER_URL, settings.REDIS_LAYER_URL):
        with redis.Redis.from_url(
            url, socket_timeout=_PATIENCE_S, socket_connect_timeout=_PATIENCE_S
        ) as client:
            client.ping()
    return ""


def _ask_elasticsearch() -> str:
    url = str(settings.ENVIRONMENT.elasticsearch_url).rstrip("/")
    answer = httpx.get(f"{url}/_cluster/health", timeout=_PATIENCE_S)
    status = answer.raise_for_status().json()["status"]
    return "cluster status is red" if status == "red" else ""


def _look_at_tenants() -> str:
    lacking = missing_tables()
    return "; ".join(
        f"{schema_name} lacks {len(tables)} tables" for schema_name, tables in lacking.items()
    )
