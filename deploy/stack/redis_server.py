"""Redis of one stack."""

from pathlib import Path

import redis

from deploy.stack.layout import write_private
from deploy.stack.stack import Stack

# noeviction: Redis would otherwise throw queues away when memory is short.
_CONF = """\
bind 127.0.0.1
port {port}
requirepass {password}
databases {databases}
dir {folder}
appendonly {appendonly}
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
"""


def _conf(stack: Stack) -> Path:
    return stack.home.etc / "redis.conf"


def prepare(stack: Stack) -> None:
    folder = stack.home.data / "redis"
    stack.owner.make(folder)
    text = _CONF.format(
        port=stack.ports.redis,
        password=stack.credentials["redis"],
        # Each worker of a parallel test run takes four.
        databases=16 if stack.shape.durable else 256,
        folder=folder,
        appendonly="yes" if stack.shape.durable else "no",
    )
    write_private(_conf(stack), text)
    stack.owner.owns(_conf(stack))


def command(stack: Stack) -> list[str]:
    return ["/usr/bin/redis-server", str(_conf(stack))]


def check(stack: Stack) -> None:
    """Raises until the server answers."""
    with redis.Redis(
        port=stack.ports.redis, password=stack.credentials["redis"], socket_timeout=2
    ) as client:
        client.ping()
