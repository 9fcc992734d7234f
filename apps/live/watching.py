"""Live readings: one question for all sockets of a tenant in this process, again and again."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import structlog
from asgiref.sync import sync_to_async

from apps.telemetry.answers import State
from apps.telemetry.tenant import TenantTelemetry

log = structlog.get_logger(__name__)
EVERY_S, EVERY_S_AT_MOST = 0.1, 1.0
SHARE = 0.2
"""Of the time, what asking may take: who watches few connectors is told sooner than who watches
two thousand."""
ASKED_AT_ONCE = 2000

Push = Callable[[dict[str, Any]], None]


class Watching:
    """The connectors that sockets of one tenant watch, and the task that asks for their state."""

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        self._watched: dict[Push, frozenset[str]] = {}
        self._told: dict[Push, dict[str, tuple[object, ...]]] = {}
        self._task: asyncio.Task[None] | None = None

    def watch(self, push: Push, connectors: frozenset[str]) -> None:
        """From now on this socket gets these connectors' states, and no others."""
        self._watched[push] = connectors
        told = self._told.get(push, {})
        self._told[push] = {key: value for key, value in told.items() if key in connectors}
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._ask_for_ever())

    def leave(self, push: Push) -> None:
        """The socket has gone; with the last one the asking ends."""
        self._watched.pop(push, None)
        self._told.pop(push, None)
        if not self._watched and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _ask_for_ever(self) -> None:
        while True:
            began, pause_s = time.monotonic(), EVERY_S_AT_MOST
            try:
                await self._ask()
                pause_s = min(pause_s, max(EVERY_S, (time.monotonic() - began) / SHARE))
            except Exception as error:
                # Elasticsearch may be away for a while: pages keep the last value and its time.
                log.warning("live_states_unavailable", error=type(error).__name__)
            await asyncio.sleep(pause_s)

    async def _ask(self) -> None:
        wanted = sorted(frozenset().union(*self._watched.values()))
        latest = sync_to_async(TenantTelemetry(self._tenant).latest, thread_sensitive=False)
        for start in range(0, len(wanted), ASKED_AT_ONCE):
            states = await latest(wanted[start : start + ASKED_AT_ONCE])
            self._tell(states)

    def _tell(self, states: dict[str, State]) -> None:
        for push, connectors in list(self._watched.items()):
            told = self._told[push]
            for key in connectors & states.keys():
                print_ = _fingerprint(states[key])
                if told.get(key) != print_:
                    told[key] = print_
                    push(_message(states[key]))


_by_loop: dict[tuple[asyncio.AbstractEventLoop, str], Watching] = {}


def watching(tenant: str) -> Watching:
    """This process's one for the tenant (by its slug). Call it on the event loop."""
    return _by_loop.setdefault((asyncio.get_running_loop(), tenant), Watching(tenant))


def _fingerprint(state: State) -> tuple[object, ...]:
    return (state.measured_ms, state.judged_ms, state.health, state.open_alarms, state.margin_k)


def _message(state: State) -> dict[str, Any]:
    return {
        "type": "state",
        "connector": state.connector,
        "measured_at": state.measured_ms,
        "arrived_at": state.arrived_ms,
        "judged_at": state.judged_ms,
        "values": state.last,
        "margin_k": state.margin_k,
        "health": state.health,
        "open_alarms": state.open_alarms,
    }
