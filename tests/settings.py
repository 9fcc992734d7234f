"""The product's settings on stores of the test worker's own.

Each xdist worker has its own database, four Redis databases, Elasticsearch prefix and data
directory, told to it through the same environment variables as in production, so that worker
processes which a test starts find the same stores.
"""

import os
import tempfile
from urllib.parse import urlsplit, urlunsplit

_REDIS_DATABASES = 4


def _worker() -> str:
    return os.environ.get("PYTEST_XDIST_WORKER", "gw0")


def _own_postgres(url: str, worker: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/test_{parts.path.lstrip('/')}_{worker}"))


def _own_redis(url: str, worker: str) -> str:
    base, database = url.rsplit("/", 1)
    number = int(worker.removeprefix("gw"))
    return f"{base}/{int(database or 0) + _REDIS_DATABASES * (1 + number)}"


def _take_own_stores(environment: "os._Environ[str]") -> None:
    worker = _worker()
    if environment.get("OHMWATCH_TESTED_BY") == worker:
        return
    # xdist's workers inherit what their controller took: all count from what it was given.
    for name in ("POSTGRES_URL", "REDIS_URL", "ELASTICSEARCH_PREFIX"):
        given = environment.setdefault(
            f"TESTS_GIVEN_{name}", environment.get(f"OHMWATCH_{name}", "")
        )
        environment[f"OHMWATCH_{name}"] = given
    prefix = environment["OHMWATCH_ELASTICSEARCH_PREFIX"]
    environment.update(
        OHMWATCH_TESTED_BY=worker,
        OHMWATCH_POSTGRES_URL=_own_postgres(environment["OHMWATCH_POSTGRES_URL"], worker),
        OHMWATCH_REDIS_URL=_own_redis(environment["OHMWATCH_REDIS_URL"], worker),
        OHMWATCH_ELASTICSEARCH_PREFIX=f"{prefix}test-{worker}-",
        OHMWATCH_DATA_DIR=tempfile.mkdtemp(prefix=f"ohmwatch-test-{worker}-"),
        OHMWATCH_STATIC_DIR=tempfile.mkdtemp(prefix=f"ohmwatch-static-{worker}-"),
        OHMWATCH_MQTT_PASSWORD_FILE="",
        OHMWATCH_MQTT_PID_FILE="",
    )


_take_own_stores(os.environ)
# Processes that a test starts are the product, not the tests.
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"

from config.settings import *  # noqa: E402, F403
from config.settings import CHANNEL_LAYERS, DATABASES, REDIS_LAYER_URL, STORAGES  # noqa: E402

DATABASES["default"]["TEST"] = {"NAME": DATABASES["default"]["NAME"]}
# Pages are rendered without collecting assets first: plain names instead of hashed ones.
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
# Several web servers live in one test process, each with a loop of its own, and a layer knows but
# one: a socket's read must be over when the next server begins, however idle it was.
CHANNEL_LAYERS["default"] = {
    **CHANNEL_LAYERS["default"],
    "CONFIG": {**CHANNEL_LAYERS["default"]["CONFIG"], "hosts": [REDIS_LAYER_URL]},
}
