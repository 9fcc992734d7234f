"""How many SMS a manufacturer may send a day, by its plan, and who hears when that runs out.

SMS cost money: at 80 % of a day's messages the platform's operators are told, at 100 % no more go
out. Warnings and worse go by email then, at once, for a plan's limit stops no alarm; notices wait.
The operators are told of it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import redis
import structlog
from django.core.cache import cache
from django.db import transaction
from django.utils.translation import gettext
from django_tenants.utils import get_public_schema_name, schema_context

from apps.notifications.allowance import Counter, used
from apps.notifications.operators import tell_operators
from apps.tenants.models import Tenant

log = structlog.get_logger(__name__)

COUNTER = "sms-day"
DAY = timedelta(days=1)
STANDARD = 500
"""Messages a day where the plan names no `sms_per_day`."""
EARLY = 0.8
BY_HAND = 0.8
"""What share of the day codes and tests may use: the rest is for alarms."""


@dataclass(frozen=True, slots=True)
class Budget:
    """SMS of the last 24 hours; `used` is None where the counters can't be asked."""

    used: int | None
    limit: int

    @property
    def is_short(self) -> bool:
        return self.used is not None and self.used >= EARLY * self.limit


def limit_of(tenant: Tenant) -> int:
    """The plan's messages a day; 0: the manufacturer sends none."""
    with schema_context(get_public_schema_name()):
        limit = tenant.plan.limits.get("sms_per_day", STANDARD)
    return max(0, limit) if isinstance(limit, int) else STANDARD


def counter(tenant: Tenant, *, share: float = 1.0) -> Counter:
    """The day's counter, of which `share` may be used."""
    window = (round(DAY.total_seconds()), int(share * limit_of(tenant)))
    return Counter(COUNTER, tenant.slug, (window,))


def sms_of_the_day(tenant: Tenant, *, now: datetime) -> Budget:
    """What was used of the day, and what there is."""
    day = counter(tenant)
    limit = day.windows[0][1]
    try:
        return Budget(used(tenant=tenant.slug, counter=day, within=DAY, now=now), limit)
    except redis.RedisError as error:
        log.warning("sms_limits_unavailable", error=type(error).__name__)
        return Budget(None, limit)


def warn_early(tenant: Tenant, *, now: datetime) -> None:
    """Tells the operators once a day where most of the messages are used."""
    today = sms_of_the_day(tenant, now=now)
    if today.is_short:
        _tell_once(tenant, "sms_budget_short", today.limit)


def used_up(tenant: Tenant) -> None:
    """Tells the operators once a day that no more SMS go out."""
    _tell_once(tenant, "sms_budget_used_up", limit_of(tenant))


def _tell_once(tenant: Tenant, code: str, limit: int) -> None:
    if cache.add(f"told-operators:{code}", "y", timeout=DAY.total_seconds()):
        log.error(code, tenant=tenant.slug, limit=limit)
        # After the commit: a mail server that hangs must hold no lock.
        compose = partial(_words, tenant, code, limit)
        transaction.on_commit(partial(tell_operators, code, compose))


def _words(tenant: Tenant, code: str, limit: int) -> tuple[str, str]:
    """Subject and text, in the language that is set."""
    words = {"tenant": tenant.name, "limit": limit}
    if code == "sms_budget_short":
        subject = gettext("%(tenant)s has used 80 %% of the day's SMS") % words
        text = gettext(
            "Of the %(limit)d SMS a day of %(tenant)s most are used. At the limit "
            "warnings and critical alarms go by email only, and notices wait. A larger plan "
            "holds at once."
        )
    else:
        subject = gettext("%(tenant)s has used up the day's SMS") % words
        text = gettext(
            "All %(limit)d SMS a day of %(tenant)s are used: warnings and critical alarms go "
            "by email only from now on, notices wait. A larger plan holds at once."
        )
    return subject, text % words
