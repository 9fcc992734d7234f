"""Acquisition as a part of a Celery worker.

    celery -A config.celery worker -Q acquisition -P solo       OHMWATCH_ACQUISITION_SLOT=0

A step of the worker, not of its consumer: consumer steps are restarted each time the connection to
Redis is, and would take MQTT down with it. `-P solo`, because nothing may fork beside threads. On
SIGTERM `stop` drains; when killed, what was not acknowledged comes again to the same slot.
"""

from typing import Any
from urllib.parse import urlsplit

import redis
from celery import bootsteps
from django.conf import settings

from workers.acquisition.connection import Broker


class AcquisitionStep(bootsteps.StartStopStep):
    """Runs the slot that OHMWATCH_ACQUISITION_SLOT names; absent where it is -1."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._acquisition: Any = None

    def include_if(self, worker: Any) -> bool:
        return bool(settings.ENVIRONMENT.acquisition_slot >= 0)

    def start(self, worker: Any) -> None:
        self._acquisition = acquisition_of(settings.ENVIRONMENT.acquisition_slot)
        self._acquisition.start()

    def stop(self, worker: Any) -> None:
        if self._acquisition is not None:
            self._acquisition.stop()


def acquisition_of(slot: int, *, retiring: bool = False) -> Any:
    """A slot on the stores that settings name. Models are imported here: Django is ready now."""
    from apps.devices.directory import Directory
    from apps.partitions.log import PartitionLog
    from apps.telemetry.store import the_store
    from workers.acquisition.board import Board
    from workers.acquisition.pipeline import Stores
    from workers.acquisition.service import Acquisition, Slot
    from workers.acquisition.turnstile import Turnstile

    client = _redis()
    stores = Stores(
        directory=Directory(),
        telemetry=the_store(),
        partition_log=PartitionLog(client),
        board=Board(client),
        turnstile=Turnstile(),
    )
    return Acquisition(Slot(slot, brokers_of(settings.ENVIRONMENT), retiring=retiring), stores)


def board_of() -> Any:
    """The notice board of the stores that settings name."""
    from workers.acquisition.board import Board

    return Board(_redis())


def _redis() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_LOG_URL, socket_timeout=10, socket_connect_timeout=5)


def brokers_of(environment: Any) -> tuple[Broker, ...]:
    """The workers' listeners as OHMWATCH_MQTT_URL and OHMWATCH_MQTT_PASSWORD say."""
    return tuple(_broker_of(url, environment) for url in environment.mqtt_urls)


def _broker_of(address: Any, environment: Any) -> Broker:
    url = urlsplit(str(address))
    tls = url.scheme == "mqtts"
    return Broker(
        host=url.hostname or "127.0.0.1",
        port=url.port or (8883 if tls else 1883),
        password=environment.mqtt_password.get_secret_value(),
        tls=tls,
    )
