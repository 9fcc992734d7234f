"""A fleet that lives: its history once, then its present, until it is told to stop."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from workers.simulator import control
from workers.simulator.control import Answer, Order
from workers.simulator.duty import Mode
from workers.simulator.faults import Fault, FaultKind, Pole
from workers.simulator.fleet import Fleet, Unit
from workers.simulator.history import DAY_MS, History, Pace
from workers.simulator.memory import Memory
from workers.simulator.payloads import live_message
from workers.simulator.plant import LONGEST_STEP_S, Ageing, Plant, Sample
from workers.simulator.session import Broker, Message, Session, drive

log = logging.getLogger("workers.simulator")

ANY_KIND = "all"
MUTE_AFTER_REPAIR_MS = 4_000
"""While a contact is exchanged its device says nothing about it."""
HELD_AFTER_REPAIR_MS = 600_000
"""The load stays on after a repair: what clears the alarm is the new contact, not the rest."""
AT_ONCE = 2_000
"""Instants of the past that one turn catches up with at most."""


@dataclass(frozen=True)
class Settings:
    """How the simulator is run; times in s, days in days."""

    folder: Path
    broker: Broker
    seed: int = 1
    interval_s: float = 1.5
    history_days: float = 30.0
    replay_days: float = 0.0
    """The history's last days are not written as such but played at `speed`, to the present."""
    speed: float = 1.0
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True)
class Clock:
    """Simulated time: `speed` times the wall's from `begin_ms` on, until it has caught up."""

    begin_ms: int
    started_ms: int
    speed: float

    def at(self, wall_ms: int) -> int:
        """Simulated ms at this wall time; never ahead of it."""
        return min(wall_ms, self.begin_ms + int((wall_ms - self.started_ms) * self.speed))


class Simulator:
    """All devices of a fleet, in one thread."""

    def __init__(
        self, fleet: Fleet, settings: Settings, *, wall_ms: Callable[[], int] | None = None
    ) -> None:
        self._settings = settings
        self._wall_ms = wall_ms or (lambda: time.time_ns() // 1_000_000)
        self._fleet = fleet
        self._plant = Plant(fleet, seed=settings.seed)
        self._memory = Memory.load(settings.folder / "simulator.json")
        self._orders = settings.folder / "orders"
        self._orders.mkdir(parents=True, exist_ok=True)
        self._mute_until_ms: dict[int, int] = {}
        self._held_until_ms: dict[int, int] = {}
        self._stopping = False
        self._sessions = {
            device.identity: Session(
                settings.broker,
                identity=device.identity,
                password=device.password,
                status={
                    "firmware": "2.1.0",
                    "codec": "json",
                    "channels": [fleet.units[place].channel for place in device.units],
                },
            )
            for device in fleet.devices
        }

    def stop(self) -> None:
        """Finish soon; safe to call from a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Write the history where it is missing, then play the present until `stop`."""
        self._begin()
        history = History(self._plant, self._sessions, self._memory, pace=self._settings.pace)
        if history.write(go_on=self._go_on):
            self._live()
        self._leave()

    def _begin(self) -> None:
        memory = self._memory
        if not memory.history_end_ms:
            now_ms = self._wall_ms()
            step_ms = self._settings.pace.step_ms
            end_ms = now_ms - int(self._settings.replay_days * DAY_MS)
            begin_ms = now_ms - int(self._settings.history_days * DAY_MS)
            memory.history_begin_ms = begin_ms // step_ms * step_ms
            memory.history_end_ms = max(end_ms // step_ms * step_ms, memory.history_begin_ms)
            memory.save()
        self._plant.faults = memory.faults
        self._tell_the_story(live_ms=memory.live_since_ms or memory.history_end_ms)

    def _tell_the_story(self, *, live_ms: int) -> None:
        """Let the scenario's connector age, unless somebody has repaired it already."""
        for place, unit in enumerate(self._fleet.units):
            if unit.scenario == "ageing" and not self._memory.scenario_repaired:
                began_ms = self._memory.history_begin_ms
                self._plant.scenario = Ageing(place, began_ms=began_ms, live_ms=live_ms)

    def _live(self) -> None:
        memory, started_ms = self._memory, self._wall_ms()
        replayed_ms = int(self._settings.replay_days * DAY_MS)
        begin_ms = started_ms if memory.live_since_ms else started_ms - replayed_ms
        if not memory.live_since_ms:
            memory.live_since_ms = begin_ms
            memory.save()
        self._tell_the_story(live_ms=memory.live_since_ms)
        clock = Clock(begin_ms, started_ms, self._settings.speed)
        interval_ms = int(self._settings.interval_s * 1000)
        said_ms, due_s = begin_ms - interval_ms, time.monotonic()
        log.info("live: %d connectors, every %.1f s", len(self._fleet.units), interval_ms / 1000)
        while self._go_on(max(0.0, min(0.2, due_s - time.monotonic()))):
            if time.monotonic() < due_s:
                continue
            due_s = max(due_s + self._settings.interval_s, time.monotonic())
            said_ms = self._say(said_ms, clock.at(self._wall_ms()), interval_ms)

    def _say(self, said_ms: int, now_ms: int, interval_ms: int) -> int:
        """Let every device report the instants since `said_ms`; the last one said."""
        self._hold_loads(now_ms)
        samples = [
            (each, self._plant.advance(each)) for each in _instants(said_ms, now_ms, interval_ms)
        ]
        if samples:
            self._offer(samples)
        return samples[-1][0] if samples else said_ms

    def _offer(self, samples: list[tuple[int, Sample]]) -> None:
        newest_ms = samples[-1][0]
        mute = {place for place, until in self._mute_until_ms.items() if until > newest_ms}
        for device in self._fleet.devices:
            payload = live_message(self._fleet, device, samples, mute=mute)
            if payload is not None:
                self._sessions[device.identity].offer(Message(payload))

    def _hold_loads(self, now_ms: int) -> None:
        """Vehicles with a fault carry load, so that the fault can be seen."""
        held: dict[int, Mode] = {}
        for place, until_ms in self._held_until_ms.items():
            if until_ms > now_ms:
                held[self._fleet.units[place].vehicle] = heavy(self._fleet.units[place])
        faulty = [self._plant.index_of(fault.connector) for fault in self._plant.faults]
        if self._plant.scenario is not None:
            faulty.append(self._plant.scenario.index)
        for place in faulty:
            held[self._fleet.units[place].vehicle] = heavy(self._fleet.units[place])
        self._plant.held = held

    def _go_on(self, seconds: float) -> bool:
        """Let sessions and orders work for a moment; false once it is time to stop."""
        drive(self._sessions.values(), seconds=seconds)
        control.obey(self._orders, self._carry_out)
        return not self._stopping

    def _carry_out(self, order: Order) -> Answer:
        places = self._fleet.named(order.connector)
        if not places:
            return Answer(done=False, text=f"{order.connector} is no connector of the demo")
        if len(places) > 1:
            return Answer(done=False, text=f"{order.connector} is several; say tenant/serial")
        if not (order.kind in list(FaultKind) or (order.repair and order.kind == ANY_KIND)):
            known = ", ".join(FaultKind)
            return Answer(done=False, text=f"{order.kind} is no fault; known are {known}")
        change = self._repair if order.repair else self._start
        answer = change(places[0], order)
        self._memory.save()
        log.info("%s", answer.text)
        return answer

    def _start(self, place: int, order: Order) -> Answer:
        unit = self._fleet.units[place]
        fault = Fault(
            FaultKind(order.kind),
            unit.connector,
            began_ms=self._wall_ms(),
            pole=Pole(order.pole),
            over_s=max(order.over_s, 0.001),
        )
        self._memory.faults.append(fault)
        return Answer(done=True, text=f"{order.kind} started at {unit.tenant}/{unit.serial}")

    def _repair(self, place: int, order: Order) -> Answer:
        unit, now_ms, story = self._fleet.units[place], self._wall_ms(), self._plant.scenario
        mended = [
            fault
            for fault in self._memory.faults
            if fault.connector == unit.connector and order.kind in (fault.kind, ANY_KIND)
        ]
        ends_story = story is not None and story.index == place
        ends_story = ends_story and order.kind in (FaultKind.AGEING, ANY_KIND)
        if not mended and not ends_story:
            return Answer(done=False, text=f"nothing to repair at {unit.tenant}/{unit.serial}")
        self._memory.faults[:] = [each for each in self._memory.faults if each not in mended]
        if ends_story:
            self._memory.scenario_repaired, self._plant.scenario = True, None
        self._plant.renew(place)
        self._mute_until_ms[place] = now_ms + MUTE_AFTER_REPAIR_MS
        self._held_until_ms[place] = now_ms + HELD_AFTER_REPAIR_MS
        return Answer(done=True, text=f"{unit.tenant}/{unit.serial} repaired")

    def _leave(self) -> None:
        """Say goodbye for every device, and give the network a moment to carry it."""
        for session in self._sessions.values():
            session.say_goodbye()
        until_s = time.monotonic() + 1.0
        while time.monotonic() < until_s and any(
            session.wants_write() for session in self._sessions.values()
        ):
            drive(self._sessions.values(), seconds=0.05)


def heavy(unit: Unit) -> Mode:
    """The mode that loads a connector in this place."""
    charges = unit.position not in ("inverter", "auxiliary")
    return Mode.CHARGING_HARD if charges else Mode.DRIVING_HARD


def _instants(said_ms: int, now_ms: int, interval_ms: int) -> list[int]:
    """The instants to report after `said_ms`: now, or a row of them when time runs fast."""
    passed_ms = now_ms - said_ms
    if passed_ms < interval_ms // 2:
        return []
    if passed_ms < 10 * interval_ms:
        return [now_ms]
    step_ms = max(interval_ms, int(1000 * LONGEST_STEP_S))
    return [*range(said_ms + step_ms, now_ms, step_ms)][-AT_ONCE:] or [now_ms]
