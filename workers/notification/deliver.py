"""Sends what one tenant's people must hear.

Queue `notification`; limit: 10 s for each message (the transports' own), about 120 s for a run.
Killed at any point: what was claimed is free again after a lease of 60 s and goes out under the
same key; what was planned and not claimed is still due; the sweep starts it within 10 s.
"""

from django.utils import timezone

from apps.notifications import operations
from apps.tenants.tasks import tenant_task


@tenant_task(name="notification.deliver", queue="notification", time_limit=180)
def deliver(*, schema: str, **later: object) -> None:
    """Plans and sends all that is due in the tenant's schema."""
    operations.plan_and_deliver(now=timezone.now())
