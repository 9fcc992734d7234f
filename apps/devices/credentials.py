"""Mosquitto's password file: every enabled device of every tenant, and the workers' slots.

The file is always written as a whole, from what the database says, and replaced in one step, so a
crash or two writers can't leave half of it. EMQX asks over HTTP instead and needs no file.
"""

import hashlib
import hmac
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import redis
import structlog
from celery import current_app
from django.conf import settings
from django.db import transaction
from django_tenants.utils import schema_context

from apps.devices.files import replace_private_file
from apps.devices.models import Device, DeviceState
from apps.devices.passwords import hash_password
from apps.devices.slots import SLOTS, slot_user
from apps.tenants.queries import ready_tenants

logger = structlog.get_logger(__name__)

_DUE_KEY = "ow:credentials:due"
_QUIET_S = 0.5
_DUE_EXPIRES_S = 10
"""A lost task must not keep later changes from sending another."""


def publish_soon() -> None:
    """Publish after the transaction has committed; changes in the same half second go together."""
    transaction.on_commit(_send_once)


def publish() -> bool:
    """Write the file from the database and tell Mosquitto, if anything changed. True if so."""
    environment = settings.ENVIRONMENT
    if not environment.mqtt_password_file:
        return False
    with redis.Redis.from_url(settings.REDIS_LOG_URL, socket_timeout=2) as client:
        client.delete(_DUE_KEY)  # first: what changes from here on sends a task of its own
    path = Path(environment.mqtt_password_file)
    content = "".join(f"{user}:{password_hash}\n" for user, password_hash in _entries())
    if path.exists() and path.read_text() == content:
        return False
    replace_private_file(path, content)
    if environment.mqtt_pid_file:
        _tell_to_reload(Path(environment.mqtt_pid_file))
    logger.info("credentials_published", users=content.count("\n"))
    return True


def _send_once() -> None:
    """Send the task unless one is on its way. A sweep publishes what this may lose."""
    if not settings.ENVIRONMENT.mqtt_password_file:
        return
    try:
        with redis.Redis.from_url(settings.REDIS_LOG_URL, socket_timeout=2) as client:
            if client.set(_DUE_KEY, "1", nx=True, ex=_DUE_EXPIRES_S):
                current_app.send_task(
                    "devices.publish_credentials", queue="upkeep", countdown=_QUIET_S
                )
    except Exception as error:
        logger.warning("credentials_wait_for_the_sweep", error=str(error))


def _entries() -> Iterator[tuple[str, str]]:
    password = settings.ENVIRONMENT.mqtt_password.get_secret_value()
    for slot in range(SLOTS):
        yield slot_user(slot), hash_password(password, salt=_steady_salt(slot_user(slot)))
    for tenant in ready_tenants():
        with schema_context(tenant.schema_name):
            devices = list(
                Device.objects.filter(state=DeviceState.ENABLED)
                .order_by("identifier")
                .values_list("identifier", "password_hash")
            )
        yield from ((f"{tenant.slug}.{identifier}", hashed) for identifier, hashed in devices)


def _steady_salt(user: str) -> bytes:
    """The same for the same user, so that an unchanged file reads as unchanged."""
    return hmac.digest(settings.SECRET_KEY.encode(), user.encode(), hashlib.sha256)[:12]


def _tell_to_reload(pid_file: Path) -> None:
    """SIGHUP to the process in the file if it is Mosquitto: a stale pid may be anybody's by now."""
    try:
        pid = int(pid_file.read_text())
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except (OSError, ValueError) as error:
        logger.warning("mosquitto_not_found", error=str(error))
        return
    if name == "mosquitto":
        os.kill(pid, signal.SIGHUP)
