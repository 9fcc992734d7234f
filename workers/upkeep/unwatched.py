"""Ends alarms that nobody judges any more, since a rule switched their detector off.

Queue `upkeep`, every 20 s; limit 60 s, prefetch 1. Killed: the next run finds the same alarms.
"""

from django.utils import timezone
from django_tenants.utils import schema_context

from apps.alarms.unwatched import clear_unwatched
from apps.tenants.queries import ready_tenants
from apps.tenants.tasks import public_task
from apps.warning.queries import schemas_switching_off


@public_task(name="upkeep.unwatched", queue="upkeep", time_limit=60)
def unwatched(**later: object) -> None:
    """In each tenant that has such a rule; one statement asks all of them."""
    for schema in schemas_switching_off([tenant.schema_name for tenant in ready_tenants()]):
        with schema_context(schema):
            clear_unwatched(now=timezone.now())
