"""An acquisition slot: its session, the hands that carry batches, and the housekeeping.

Three kinds of thread. The session reads and acknowledges; hands take batches through the pipeline,
several at a time; the keeper reports and watches, while the slot waits for its stores as well, and
what asks a store that may hang (the directory, the look back) has a thread of its own. Whichever of
them ends unexpectedly ends the process: a slot that looks alive and does nothing swallows its share
of the broker's messages. The supervisor starts it again within seconds, under the same client id.
"""

import ctypes
import gc
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import structlog
from django.db import DatabaseError, InterfaceError, connections
from redis import RedisError

from apps.telemetry.errors import TelemetryError
from workers.acquisition.connection import Broker, TakenOver
from workers.acquisition.intake import Intake, Limits
from workers.acquisition.pipeline import Stores, take_in
from workers.acquisition.reconciling import (
    FormerLives,
    count_missing,
    enter_missing,
    former_lives,
    looks,
    taken_over,
)
from workers.acquisition.session import Session, now_ms
from workers.acquisition.turnstile import Stopping

HANDS = 4
"""Batches in the pipeline at once."""
DRAIN_S = 10.0
"""How long a stopping worker waits for what it holds; the rest comes again after the restart."""
STUCK_S = 120.0
COLLECT_EVERY = (50_000, 20, 50)
"""Objects made and kept before the cyclic collector looks, and how its generations follow."""
_KEEP_S = 0.25
_M_ARENA_MAX = -8
_REPORT_S = 1.0
_GIVE_UP_S = 2.0
_LOOK_RETRY_S = 5.0

T = TypeVar("T")
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Slot:
    """Which slot this process is, where its brokers are, how much it may hold.

    The brokers are independent of each other; a cluster is one of them, by one address.
    `retiring`: the slot is given up, what waits for it is taken and nothing new.
    """

    number: int
    brokers: tuple[Broker, ...]
    limits: Limits = field(default_factory=Limits)
    retiring: bool = False

    @property
    def client_id(self) -> str:
        """Stable: the broker keeps this session's messages while the slot is away."""
        return f"ohmwatch-acq-{self.number}"


def die(what: str) -> None:
    """End the process at once, visibly. Called where an exception is being handled."""
    log.critical("acquisition_dies", what=what, exc_info=True)
    logging.shutdown()
    os._exit(1)


class Acquisition:
    """Start it, stop it; in between it runs by itself."""

    def __init__(self, slot: Slot, stores: Stores, *, die: Callable[[str], None] = die) -> None:
        self._slot = slot
        self._stores = stores
        self._die = die
        self._lock = threading.Lock()
        self._reported_at = 0.0
        self.crew: Crew | None = None
        """Who works, once the stores have answered for the first time."""

    def start(self) -> None:
        """Begin, as soon as the stores answer. Returns at once."""
        guarded_thread("acquisition-keeper", self._keep_house, self._die)
        guarded_thread("acquisition-start", self._begin, self._die)

    def stop(self, *, end_session: bool = False) -> None:
        """Read no more, finish what is held, acknowledge it, disconnect."""
        log.info("acquisition_stops")
        with self._lock:
            if self.crew is not None:
                self.crew.leave(limit_s=DRAIN_S, end_session=end_session)
            self._stores.patience.stopping.set()

    def _begin(self) -> None:
        try:
            lives = self._hold("elasticsearch", self._look_back)
            # Before this life enters anything: the next one looks only beyond the last entry.
            self._hold("elasticsearch", lambda: enter_missing(self._stores.telemetry, lives))
            uncounted = self._hold("redis", lambda: self._take_over(lives))
            # A directory that knows nobody would quarantine everything as unknown.
            self._hold("postgres", self._stores.directory.load)
        except Stopping:
            return
        _spare_the_collector()
        _spare_memory()
        with self._lock:
            if not self._stores.patience.stopping.is_set():
                self.crew = Crew(self._slot, self._stores, lives, uncounted, self._die)
                self.crew.begin()

    def _look_back(self) -> FormerLives:
        return former_lives(self._stores.telemetry, slot=self._slot.number, now_ms=now_ms())

    def _take_over(self, lives: FormerLives) -> FormerLives:
        telemetry, board, slot = self._stores.telemetry, self._stores.board, self._slot.number
        uncounted = taken_over(telemetry, board, slot=slot, lives=lives)
        count_missing(telemetry, board, slot=slot, lives=uncounted)
        return uncounted

    def _hold(self, store: str, action: Callable[[], T]) -> T:
        away = (TelemetryError, RedisError, DatabaseError, InterfaceError)
        return self._stores.patience.hold(action, store=store, away=away)

    # --- the keeper ---------------------------------------------------------------------------

    def _keep_house(self) -> None:
        while not self._stores.patience.stopping.wait(_KEEP_S):
            if self.crew is not None:
                self.crew.watch()
            self._report()

    def _report(self) -> None:
        if time.monotonic() - self._reported_at < _REPORT_S:
            return
        self._reported_at = time.monotonic()
        try:
            self._stores.board.report(self._slot.number, self.state())
        except RedisError as error:
            log.warning("not_reported", error=str(error))

    def state(self) -> dict[str, object]:
        """How the slot is, for `status`, metrics and the portal."""
        if self.crew is not None:
            return self.crew.state()
        return {
            "at_ms": now_ms(),
            "client_id": self._slot.client_id,
            "pid": os.getpid(),
            "starting": True,
            "connected": False,
            "holding": self._stores.patience.holding(),
            "reading": False,
        }


def _spare_the_collector() -> None:
    """Batches make and drop objects by the ten thousand, and none of them in cycles: the cyclic
    collector would walk through all of Django for each few hundred of them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_EVERY)


def _spare_memory() -> None:
    """One heap for all threads: with one for each, glibc keeps the largest batch of every hand.
    Elsewhere than on glibc there is nothing to set."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def guarded_thread(
    name: str, target: Callable[[], None], die: Callable[[str], None]
) -> threading.Thread:
    """A started thread whose unexpected end is the end of the process."""

    def run() -> None:
        try:
            target()
        except TakenOver:
            die("another process uses this slot's client id")
        except BaseException:
            die(name)
        finally:
            connections.close_all()  # a thread's own, of the directory's questions to Postgres

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


class Crew:
    """The threads of a slot and what they share."""

    def __init__(
        self,
        slot: Slot,
        stores: Stores,
        lives: FormerLives,
        uncounted: FormerLives,
        die: Callable[[str], None],
    ) -> None:
        self._slot = slot
        self._stores = stores
        self._lives = lives
        self._uncounted = uncounted
        self._die = die
        self.intake = Intake(slot=slot.number, above=lives.high, limits=slot.limits)
        self.sessions = [
            Session(
                broker=broker,
                client_id=slot.client_id,
                intake=self.intake,
                retiring=slot.retiring,
            )
            for broker in slot.brokers
        ]
        self._readers: list[threading.Thread] = []
        self._hands: list[threading.Thread] = []

    def begin(self) -> None:
        self._readers = [self._thread(f"session-{n}", s.run) for n, s in enumerate(self.sessions)]
        self._hands = [self._thread(f"hand-{number}", self._carry) for number in range(HANDS)]
        self._thread("learning", self._learn)
        self._thread("looking-back", self._look_back)
        log.info("acquisition_begins", client_id=self._slot.client_id)

    def leave(self, *, limit_s: float, end_session: bool = False) -> None:
        """Finish within the limit; what is not finished then comes again."""
        deadline = time.monotonic() + limit_s
        for session in self.sessions:
            session.drain()
        for hand in self._hands:  # they end when the intake is empty
            hand.join(max(deadline - time.monotonic(), 0.0))
        self._stores.patience.stopping.set()
        self._stores.turnstile.stop()
        for hand in self._hands:
            hand.join(_GIVE_UP_S)
        is_done = self.intake.held_messages == 0  # else the broker has to keep what comes again
        for session in self.sessions:
            session.leave(end_session=end_session and is_done)
        for reader in self._readers:
            reader.join(_GIVE_UP_S)

    def is_empty(self, *, quiet_s: float) -> bool:
        """Whether nothing is held, and nothing has come from any broker for so long."""
        is_quiet = all(session.quiet_s >= quiet_s for session in self.sessions)
        return is_quiet and self.intake.held_messages == 0

    def _thread(self, name: str, target: Callable[[], None]) -> threading.Thread:
        return guarded_thread(f"acquisition-{name}", target, self._die)

    # --- the hands ----------------------------------------------------------------------------

    def _carry(self) -> None:
        while (batch := self.intake.take()) is not None:
            try:
                receipt = take_in(batch, stores=self._stores, now=datetime.now(UTC))
            except Stopping:
                return
            self.intake.settle(batch)  # first, so that the session wakes to a socket it may read
            for session in self.sessions:
                session.confirm(receipt.batch)

    # --- what may hang ------------------------------------------------------------------------

    def _learn(self) -> None:
        """Apart from the keeper, as the look back: a Postgres that hangs makes the directory old,
        and nothing else."""
        while not self._stores.patience.stopping.wait(_KEEP_S):
            self._stores.directory.refresh_if_changed()

    def _look_back(self) -> None:
        """Apart from the keeper: a store that doesn't answer must not make the slot silent."""
        began = time.monotonic()
        times = looks()
        look_at = began + next(times)
        while not self._stores.patience.stopping.wait(max(look_at - time.monotonic(), _KEEP_S)):
            entered = self._reconcile()
            look_at = began + next(times) if entered else time.monotonic() + _LOOK_RETRY_S

    def _reconcile(self) -> bool:
        telemetry, board = self._stores.telemetry, self._stores.board
        try:
            enter_missing(telemetry, self._lives)
            count_missing(telemetry, board, slot=self._slot.number, lives=self._uncounted)
        except (TelemetryError, RedisError) as error:
            log.warning("not_reconciled_yet", error=str(error))
            return False
        return True

    # --- what the keeper asks -----------------------------------------------------------------

    def watch(self) -> None:
        """Raises TimeoutError where a session stands still."""
        for session in self.sessions:
            silent_s = time.monotonic() - session.ticked_at
            if silent_s > STUCK_S:
                raise TimeoutError(f"{session.address}: its loop stood still for {silent_s:.0f} s")

    def state(self) -> dict[str, object]:
        """How the slot is while it works."""
        return {
            "at_ms": now_ms(),
            "client_id": self._slot.client_id,
            "pid": os.getpid(),
            "connected": all(session.is_connected for session in self.sessions),
            "connections": sum(session.connections for session in self.sessions),
            "away_brokers": [s.address for s in self.sessions if not s.is_connected],
            "holding": self._stores.patience.holding(),
            "reading": self.intake.has_room(),
            "waiting_messages": self.intake.held_messages,
            "waiting_bytes": self.intake.held_bytes,
            "waiting_batches": self.intake.waiting_batches,
            "oldest_ms": self.intake.oldest_ms(),
            "directory_age_s": round(self._stores.directory.age_s()),
        }
