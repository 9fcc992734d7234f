"""A guest of the demo's stores leaves them as it found them, whether its bench went well or not."""

import redis
from django.conf import settings

from apps.telemetry import cluster
from apps.telemetry.store import TelemetryStore
from deploy.stack.benching import CORNER


def leave() -> None:
    """Delete the bench's indices and templates, and empty its Redis databases; its database in
    Postgres stays for the next one, because to make it takes longer than to measure. Does nothing
    on stores of the bench's own."""
    if settings.ELASTICSEARCH_PREFIX != CORNER:
        return
    client = TelemetryStore().client
    cluster.delete(client, list(client.indices.get(index=f"{CORNER}*", expand_wildcards="all")))
    templates = client.indices.get_index_template(name=f"{CORNER}*")["index_templates"]
    for each in templates:
        client.indices.delete_index_template(name=each["name"])
    for url in (settings.REDIS_BROKER_URL, settings.REDIS_LAYER_URL, settings.REDIS_LOG_URL):
        with redis.Redis.from_url(url) as corner:
            corner.flushdb()
