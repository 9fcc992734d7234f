"""Tells the notification worker, after a commit, that somebody must be told."""

from typing import Any

from apps.alarms.models import AlarmEvent
from apps.alarms.signals import events_written
from config.celery import app as celery

QUEUE = "notification"


def connect() -> None:
    """Listens to alarms from now on."""
    events_written.connect(on_events, sender=AlarmEvent, dispatch_uid="notifications")


def on_events(*, schema: str, notify: bool, **_more: Any) -> None:
    """Sends the wake-up; where Redis is away the sweep finds the same rows in Postgres."""
    if notify:
        deliver_soon(schema)


def deliver_soon(schema: str) -> None:
    """Asks a notification worker to send what is due at this tenant."""
    celery.send_task("notification.deliver", kwargs={"schema": schema}, queue=QUEUE, retry=False)
