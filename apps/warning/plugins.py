"""How the plug-ins are, as detection workers say: for the operator's page and for alerts.

A hash in the database of the partitions' logs, `ow:plugins`: entry point's name → Report. It can be
lost: workers write it when they start, and again at each failure.
"""

from datetime import datetime

import msgspec
import redis

from ohmwatch.plugins.wire import Declared

KEY = "ow:plugins"
_json = msgspec.json.Encoder()


class Report(msgspec.Struct, frozen=True):
    """One plug-in: `state` is ready, failing, switched_off or refused; `detail` says why.

    `detector` and what follows is what rules have to know of it; empty where it never started.
    """

    plugin: str
    state: str
    at: datetime
    detail: str = ""
    version: str = ""
    condition: str = ""
    detector: str = ""
    about: str = ""
    needs: list[str] = []
    parameters: list[Declared] = []


def put(client: redis.Redis, report: Report) -> None:
    """Raises redis.RedisError."""
    client.hset(KEY, report.plugin, _json.encode(report))


def reports(client: redis.Redis) -> list[Report]:
    """The newest of each plug-in, by name. Raises redis.RedisError."""
    found = client.hgetall(KEY)
    return sorted(
        (msgspec.json.decode(each, type=Report) for each in found.values()),
        key=lambda each: each.plugin,
    )
