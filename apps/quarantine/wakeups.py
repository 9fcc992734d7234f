"""Telling a worker that a run has something to do. A lost wake-up costs a minute: see the sweep."""

import structlog
from celery import current_app
from kombu.exceptions import OperationalError

from apps.quarantine.models import Replay
from apps.tenants.schema import current_schema

logger = structlog.get_logger(__name__)

TASK = "acquisition.replay"


def wake(run: Replay) -> None:
    """Ask for work at this run, in the schema that is set. Raises nothing."""
    try:
        current_app.send_task(
            TASK, kwargs={"schema": current_schema(), "run": str(run.pk)}, queue="upkeep"
        )
    except OperationalError as error:
        logger.warning("replay_not_woken", run=run.number, error=str(error))
