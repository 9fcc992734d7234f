"""The Celery application: queues by worker kind, and what each worker process runs beside tasks."""

import os
import sys

from celery import signals
from django.conf import settings
from tenant_schemas_celery.app import CeleryApp as TenantAwareCelery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

if int(os.environ.get("OHMWATCH_ACQUISITION_SLOT", "-1")) >= 0:
    # Elasticsearch's client imports them wherever they are installed, for a serializer and for
    # asynchronous requests, which no slot asks for: 38 and 9 MB, a fifth of what a slot may hold.
    # It takes "not installed" for an answer.
    for name in ("pyarrow", "aiohttp"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]

app = TenantAwareCelery("ohmwatch")
app.config_from_object("django.conf:settings", namespace="CELERY")

_ALL = (
    "apps.tenants",
    "apps.devices",
    "workers.acquisition",
    "workers.backtest",
    "workers.detection",
    "workers.notification",
    "workers.upkeep",
)


def packages_of(slot: int) -> tuple[str, ...]:
    """Where a process finds its tasks. An acquisition slot is sent none: what the others' import
    (numba, pyarrow) is 60 MB, a quarter of what it may hold."""
    return ("apps.tenants",) if slot >= 0 else _ALL


app.autodiscover_tasks(lambda: packages_of(settings.ENVIRONMENT.acquisition_slot))
# Of the worker, not of its consumer: that one restarts whenever the connection to Redis does.
app.steps["worker"].add("workers.acquisition.step:AcquisitionStep")


@signals.setup_logging.connect
def _keep_our_logging(**_: object) -> None:
    """Celery would set the root logger to its own level and format; settings.LOGGING stands."""
