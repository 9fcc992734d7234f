"""`status`: one line a service."""

import json
import time
from dataclasses import dataclass
from typing import Any

import redis
from rich.console import Console
from rich.table import Table

from deploy.stack import processes, supervisor
from deploy.stack.services import Service, services
from deploy.stack.stack import Stack
from deploy.stack.supervisor import State


@dataclass(frozen=True)
class Line:
    """lag: what waits for the service, in words; empty where it has none."""

    name: str
    state: str
    port: int | None
    memory_bytes: int
    uptime_s: float
    restarts: int
    lag: str

    @property
    def is_up(self) -> bool:
        return self.state == "RUNNING"


def lines(stack: Stack, *, now: float) -> list[Line]:
    """In the order in which services start. now: seconds since 1970."""
    states = {state.name: state for state in supervisor.every_state(stack)}
    restarts = supervisor.restarts(stack) if states else {}
    waiting = _waiting(stack)
    return [
        _line(service, states.get(service.name), restarts, waiting, now=now)
        for service in services(stack)
    ]


def show(found: list[Line]) -> None:
    """As a table without frames, so that it can be cut by other tools."""
    table = Table(box=None, pad_edge=False)
    for heading in ("service", "state"):
        table.add_column(heading)
    for heading in ("port", "memory", "up", "restarts"):
        table.add_column(heading, justify="right")
    table.add_column("waiting")
    for line in found:
        table.add_row(
            line.name,
            line.state.lower(),
            str(line.port or ""),
            f"{line.memory_bytes / 2**20:.0f} MiB" if line.is_up else "",
            duration(line.uptime_s) if line.is_up else "",
            str(line.restarts),
            line.lag,
            style=None if line.is_up else "bold red",
        )
    Console(highlight=False, width=100).print(table)


def duration(seconds: float) -> str:
    """The two largest units: 2d 3h, 5m 10s, 7s."""
    whole = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, whole = divmod(whole, length)
        if count or parts:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def _line(
    service: Service,
    state: State | None,
    restarts: dict[str, int],
    waiting: dict[str, str],
    *,
    now: float,
) -> Line:
    running = state is not None and state.is_running
    return Line(
        name=service.name,
        state=state.state if state else "STOPPED",
        port=service.port,
        memory_bytes=processes.memory_bytes(state.pid) if state and running else 0,
        uptime_s=now - state.started_at if state and running else 0,
        restarts=restarts.get(service.name, 0),
        lag=waiting.get(service.queue or service.name, "") if running else "",
    )


def _waiting(stack: Stack) -> dict[str, str]:
    """Queue or slot to what waits in it; empty where Redis doesn't answer."""
    found: dict[str, str] = {}
    try:
        with _client(stack, 0) as broker:
            for queue in ("detection", "notification", "upkeep", "backtest"):
                found[queue] = f"{broker.llen(queue)} tasks"
        with _client(stack, 2) as logs:
            found["detection"] += f", {_detection_lag(logs)}"
            for slot in range(stack.shape.slots):
                found[f"acquisition-{slot}"] = _slot_lag(logs, slot)
    except redis.RedisError:
        pass
    return found


def _detection_lag(logs: "redis.Redis") -> str:
    """The partitions' logs are trimmed up to each checkpoint: what is there is not judged yet."""
    waiting = sum(int(logs.xlen(key)) for key in logs.scan_iter("ow:log:*", _type="stream"))
    return f"{waiting} chunks"


def _slot_lag(logs: "redis.Redis", slot: int) -> str:
    """What the slot says about itself; it says it again each few seconds."""
    said = logs.get(f"ow:acquisition:{slot}")
    if not isinstance(said, bytes):
        return "silent"
    return slot_in_words(json.loads(said), now_ms=time.time() * 1000)


def slot_in_words(said: dict[str, Any], *, now_ms: float) -> str:
    """What waits, and what the worker waits for."""
    words = ["starting" if said.get("starting") else f"{said.get('waiting_messages', 0)} messages"]
    words += [f"no connection to {address}" for address in said.get("away_brokers", ())]
    for store, since_ms in sorted(said.get("holding", {}).items()):
        words.append(f"holding for {duration(max(0, now_ms - since_ms) / 1000)}: {store}")
    return ", ".join(words)


def _client(stack: Stack, database: int) -> "redis.Redis":
    return redis.Redis(
        port=stack.ports.redis,
        password=stack.credentials["redis"],
        db=database,
        socket_timeout=1,
        socket_connect_timeout=1,
    )
