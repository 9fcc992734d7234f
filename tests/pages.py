"""Pages as a browser gets them: signed in at a tenant's host, and what no page may hold."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern
from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.alarms.models import Alarm
from apps.alarms.operations import apply_findings
from apps.tenants.models import Tenant
from tests import cast
from tests.findings import CRITICAL, WARNING, finding

NOW = datetime.now(UTC).replace(microsecond=0)


def browser(user: User | None, tenant: Tenant) -> Client:
    """A browser at the tenant's host; `user` is signed in there."""
    client = Client(HTTP_HOST=f"{tenant.slug}.{settings.BASE_DOMAIN}")
    if user is not None:
        with tenant_context(tenant):
            client.force_login(user, backend=settings.AUTHENTICATION_BACKENDS[0])
    return client


@dataclass(frozen=True)
class World:
    """Ben's alarm at Kunlun, and one at Aurora whose texts are canaries."""

    alarm: UUID
    claras_alarm: UUID


@pytest.fixture
def world(kunlun: Tenant, aurora: Tenant, elasticsearch: str) -> World:
    with tenant_context(aurora):
        said = finding(WARNING, at=NOW, condition=f"{cast.CANARY}condition")
        apply_findings([said], judged_at=NOW)
    with tenant_context(kunlun):
        began = NOW - timedelta(minutes=20)
        mine = finding(CRITICAL, at=NOW, since=began, time_left_s=2400.0)
        hers = finding(WARNING, at=NOW, connector=cast.CLARAS_CONNECTOR)
        apply_findings([mine, hers], judged_at=NOW)
        alarms = {alarm.connector_id: alarm.pk for alarm in Alarm.objects.all()}
    return World(alarms[cast.BENS_CONNECTOR], alarms[cast.CLARAS_CONNECTOR])


def names_of(patterns: list[Any]) -> list[str]:
    """The names of all routes of a list, so that a new one without a row in a table is seen."""
    return sorted(pattern.name for pattern in patterns if isinstance(pattern, URLPattern))


def queries_of(client: Client, path: str) -> int:
    """How many statements a page asks Postgres, without those that only set the search path."""
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).status_code == 200
    return sum("search_path" not in query["sql"] for query in captured.captured_queries)


_SOURCE = re.compile(r"""(?:src|href|action|hx-get|hx-post)\s*=\s*["']([^"']+)["']""")
_INLINE = re.compile(
    r"""<style|\sstyle\s*=|\son[a-z]+\s*=|<script(?![^>]*(?:\ssrc=|type="application/json"))""",
    re.IGNORECASE,
)


def outside(html: str) -> Iterator[str]:
    """Addresses on the page that lead to another host; the demo's inbox is the only one known."""
    for address in _SOURCE.findall(html):
        if re.match(r"(?:[a-z]+:)?//", address) and address != settings.ENVIRONMENT.inbox_url:
            yield address


def inline(html: str) -> list[str]:
    """What a strict content security policy would refuse to run."""
    return _INLINE.findall(html)


def check_clean(html: str) -> None:
    """Nothing from outside, nothing inline, nothing of Aurora's."""
    assert not list(outside(html))
    assert not inline(html)
    assert cast.CANARY not in html
