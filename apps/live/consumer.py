"""The socket of a signed-in page: alarm hints as they happen, states of the connectors it shows.

    browser → {"watch": ["<connector>", …]}   these and no others from now on
    browser → {"after": 17}                   hints of the events after number 17
    → {"type": "hello", "number": 17}         the newest event that this person may see
    → {"type": "alarm", "number": 18, "previous": 17, …}
    → {"type": "latest", "number": 18}        at least every 20 s: who is behind fetches
    → {"type": "state", "connector": …, "measured_at": ms, "values": {…}, "health": …}

Pushes are put together for 250 ms, and of a connector only its newest state goes out.
"""

import asyncio
import random
import time
from typing import Any
from uuid import UUID

import orjson
import structlog
from channels.generic.websocket import AsyncWebsocketConsumer
from django.utils import translation

from apps.live import events, viewer
from apps.live.hints import Hint, spoken
from apps.live.viewer import Viewer
from apps.live.watching import Watching, watching
from apps.tenants.models import Tenant
from apps.tenants.schema import in_tenant

log = structlog.get_logger(__name__)

PUT_TOGETHER_S = 0.25
"""Between two pushes; the first after a pause goes out when GATHER_S have passed."""
GATHER_S = 0.02
CHECKED_EVERY_S = 20.0
WATCHED_AT_MOST = 500
HINTS_AT_ONCE = 20
ASKED_EVERY_S, ASKED_AT_ONCE = 10.0, 40
NOT_SIGNED_IN, NONSENSE, TOO_MUCH = 4401, 4400, 4429


class LiveConsumer(AsyncWebsocketConsumer):
    tenant: Tenant
    viewer: Viewer
    watching: Watching

    async def connect(self) -> None:
        self.tenant = self.scope["tenant"]
        self._session_key = viewer.session_key_of(self.scope["headers"])
        self._tasks: set[asyncio.Task[None]] = set()
        self._hints: list[Hint] = []
        self._states: dict[str, dict[str, Any]] = {}
        self._latest = 0
        self._flushing: asyncio.Task[None] | None = None
        self._flushed_at = 0.0
        self._asked: list[float] = []
        self._watched: frozenset[str] = frozenset()
        found = await self._who()
        if found is None:
            await self.close(NOT_SIGNED_IN)
            return
        self.viewer = found
        self.watching = watching(self.tenant.slug)
        await self.channel_layer.group_add(found.group, self.channel_name)
        await self.accept()
        number = await in_tenant(self.tenant, viewer.latest_number, found)
        await self._say({"type": "hello", "number": number})
        self._run(self._check_for_ever())

    async def disconnect(self, code: int) -> None:
        for task in self._tasks:
            task.cancel()
        if hasattr(self, "viewer"):
            self.watching.leave(self._on_state)
            await self.channel_layer.group_discard(self.viewer.group, self.channel_name)

    # --- from the browser -----------------------------------------------------------------------

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._asks_too_much():
            await self.close(TOO_MUCH)
            return
        try:
            asked = orjson.loads(text_data or "")
            wanted = [UUID(str(key)) for key in asked.get("watch", ())]
            after = int(asked["after"]) if "after" in asked else None
        except (ValueError, TypeError, AttributeError):
            await self.close(NONSENSE)
            return
        if "watch" in asked:
            await self._watch(wanted)
        if after is not None:
            await self._tell_after(max(after, 0))

    def _asks_too_much(self) -> bool:
        now = time.monotonic()
        self._asked = [*(each for each in self._asked if each > now - ASKED_EVERY_S), now]
        return len(self._asked) > ASKED_AT_ONCE

    async def _watch(self, wanted: list[UUID]) -> None:
        allowed = await in_tenant(
            self.tenant, viewer.watchable, self.viewer, wanted[:WATCHED_AT_MOST]
        )
        self._watched = allowed
        self._states.clear()
        self.watching.watch(self._on_state, allowed)

    async def _tell_after(self, number: int) -> None:
        page = await in_tenant(
            self.tenant, events.page_after, self.viewer.user_id, number, size=HINTS_AT_ONCE
        )
        if page.more:
            await self._say({"type": "latest", "number": page.latest})
            return
        for hint in page.hints:
            await self._say(self._in_words(hint))

    # --- from the channel layer -----------------------------------------------------------------

    async def alarm_events(self, message: dict[str, Any]) -> None:
        self._hints += message["hints"]
        self._flush_soon()

    async def alarm_latest(self, message: dict[str, Any]) -> None:
        self._latest = max(self._latest, message["number"])
        self._flush_soon()

    def _on_state(self, state: dict[str, Any]) -> None:
        self._states[state["connector"]] = state
        self._flush_soon()

    # --- to the browser -------------------------------------------------------------------------

    def _flush_soon(self) -> None:
        if self._flushing is None or self._flushing.done():
            self._flushing = self._run(self._flush())

    async def _flush(self) -> None:
        due = self._flushed_at + PUT_TOGETHER_S - time.monotonic()
        await asyncio.sleep(max(GATHER_S, due))
        self._flushed_at = time.monotonic()
        hints, self._hints = self._hints, []
        states, self._states = self._states, {}
        latest, self._latest = self._latest, 0
        if len(hints) > HINTS_AT_ONCE:
            latest, hints = max(latest, hints[-1]["number"]), []
        for hint in hints:
            await self._say(self._in_words(hint))
        if latest:
            await self._say({"type": "latest", "number": latest})
        for state in states.values():
            await self._say(state)
        if self._hints or self._states or self._latest:  # came while this one was sending
            self._flushing = self._run(self._flush())

    def _in_words(self, hint: Hint) -> Hint:
        with translation.override(self.viewer.language):
            return spoken(hint)

    async def _say(self, message: dict[str, Any]) -> None:
        await self.send(text_data=orjson.dumps(message).decode())

    # --- who is there ---------------------------------------------------------------------------

    async def _check_for_ever(self) -> None:
        """Closes the socket of somebody who signed out, was disabled or got another role."""
        while True:
            await asyncio.sleep(CHECKED_EVERY_S * random.uniform(0.75, 1))  # noqa: S311
            found = await self._who()
            if found is None or found != self.viewer:
                await self.close(NOT_SIGNED_IN)
                return
            self.viewer = found  # it may read another language by now
            if self._watched:  # a vehicle may have another owner by now
                wanted = [UUID(key) for key in self._watched]
                allowed = await in_tenant(self.tenant, viewer.watchable, self.viewer, wanted)
                if allowed != self._watched:
                    self._watched = allowed
                    self.watching.watch(self._on_state, allowed)
            number = await in_tenant(self.tenant, viewer.latest_number, self.viewer)
            await self._say({"type": "latest", "number": number})

    async def _who(self) -> Viewer | None:
        return await in_tenant(
            self.tenant, viewer.viewer_of, self.tenant.schema_name, self._session_key
        )

    def _run(self, coroutine: Any) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # A check that failed says nothing about who is there: end the socket, it comes back.
            log.warning("live_socket_failed", error=repr(task.exception()))
            closing = asyncio.get_running_loop().create_task(self.close(1011))
            closing.add_done_callback(lambda each: each.cancelled() or each.exception())
