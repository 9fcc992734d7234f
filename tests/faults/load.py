"""Devices that send numbered readings without end, remember what was acknowledged, and try again.

Readings carry values of their own; one message in forty is rubbish with a text of its own. A run is
named by its seed: the same messages are sent in the same order, only the timing differs.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from django_tenants.utils import tenant_context

from apps.devices.models import Channel
from apps.telemetry.quarantine import TenantQuarantine
from apps.telemetry.questions import RefusedFilter
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.models import Tenant
from tests import cast, mqtt
from tests.acquisition import IDENTITIES, account, miscounted, now_ms, topic
from tests.faults.checker import History, Key, Outcome, Refused, value_of, violations

RECOVERED_S = 120.0
TENANTS = ("kunlun", "aurora")
CONNECTORS = (cast.BENS_CONNECTOR, cast.CLARAS_CONNECTOR)
_DAYS_AGO_MS = 5 * 86_400_000
_ROWS = 20

More = Callable[[Sequence[Key]], dict[str, list[float]]]
"""What readings say beside their current, a column for each quantity."""


@dataclass(frozen=True)
class Course:
    """What is measured: when it begins (0: five days ago), how often, what beside the current."""

    start_ms: int = 0
    step_ms: int = 7
    more: More = lambda keys: {}


@dataclass
class Load:
    """The devices of both tenants, each in a thread."""

    port: int
    seed: int
    rate: float = 5.0
    """Messages a second and device, about; each has 20 readings."""
    course: Course = Course()
    counters_last: bool = True
    """False where Redis is killed: counters lose what its disk did not have yet."""
    history: History = field(init=False)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.history = History(self.seed)
        self._start_ms = self.course.start_ms or now_ms() - _DAYS_AGO_MS

    def start(self) -> "Load":
        for number, identity in enumerate(IDENTITIES):
            arguments = (identity, number)
            self._threads.append(threading.Thread(target=self._send_on, args=arguments))
            self._threads[-1].start()
        return self

    def stop(self) -> None:
        """No more; what is in hand is sent until it is acknowledged."""
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a device can't get rid of its last message"

    def _send_on(self, identity: str, number: int) -> None:
        chance = random.Random(f"{self.seed} {identity}")
        client: mqtt.MqttClient | None = None
        sent = 0
        while not self._over.is_set():
            bodies, keys, rubbish = self._next(identity, number, sent, chance)
            sent += len(bodies) * _ROWS
            with self._lock:
                self.history.sent |= keys
            client = self._until_acknowledged(client, identity, bodies)
            with self._lock:
                self.history.acknowledged |= keys
                self.history.rubbish |= rubbish
            time.sleep(chance.uniform(0, 2) * len(bodies) / self.rate)
        if client is not None:
            client.disconnect()

    def _next(
        self, identity: str, number: int, sent: int, chance: random.Random
    ) -> tuple[list[bytes], set[Key], set[Refused]]:
        tenant, connector = identity.partition(".")[0], str(CONNECTORS[number % len(CONNECTORS)])
        step_ms = self.course.step_ms
        bodies: list[bytes] = []
        keys: set[Key] = set()
        rubbish: set[Refused] = set()
        for message in range(chance.randint(1, 10)):
            if chance.random() < 0.025:
                text = f"rubbish {identity} {self.seed} {sent} {message}"
                rubbish.add((tenant, text))
                bodies.append(text.encode())
                continue
            first_ms = self._start_ms + (sent + message * _ROWS) * step_ms
            times = [first_ms + row * step_ms for row in range(_ROWS)]
            ours: list[Key] = [(tenant, connector, each) for each in times]
            keys.update(ours)
            columns = {"current_a": [value_of(key) for key in ours], **self.course.more(ours)}
            bodies.append(json.dumps({"time": times, "columns": columns}).encode())
        return bodies, keys, rubbish

    def _until_acknowledged(
        self, client: mqtt.MqttClient | None, identity: str, bodies: list[bytes]
    ) -> mqtt.MqttClient:
        deadline = time.monotonic() + RECOVERED_S
        while True:
            try:
                if client is None:
                    password = cast.DEVICE_PASSWORD
                    client = mqtt.MqttClient(self.port, identity, password).connect()
                client.deliver(topic(identity), bodies)
                return client
            except (OSError, mqtt.MqttError):
                if client is not None:
                    client.abort()
                client = None
                assert time.monotonic() < deadline, f"{identity} gets no PUBACK"
                time.sleep(0.2)

    # --- afterwards ---------------------------------------------------------------------------

    def is_drained(self) -> bool:
        """Whether all that was acknowledged is held, and the account closed."""
        lines = account()
        documents = sum(line.held_readings for line in lines.values())
        refused = sum(sum(line.held_quarantined.values()) for line in lines.values())
        return (
            documents >= len(self.history.acknowledged)
            and refused >= len(self.history.rubbish)
            and all(line.is_closed for line in lines.values())
            and not self._miscounted()
        )

    def _miscounted(self) -> list[str]:
        return miscounted() if self.counters_last else []

    def unheld(self) -> int:
        """Readings that were acknowledged and are not held (yet), about."""
        held = sum(line.held_readings for line in account().values())
        return max(0, len(self.history.acknowledged) - held)

    def so_far(self) -> History:
        """What is acknowledged at this moment."""
        with self._lock:
            history = self.history
            return History(
                self.seed, set(history.sent), set(history.acknowledged), set(history.rubbish)
            )

    def forgive_unheld(self, *, but: History | None = None) -> None:
        """What a killed broker lost is not asked of anybody else: it counts as never answered.
        Not so what was acknowledged in `but`."""
        found, kept = self.outcome(), but or History(self.seed)
        held = {(tenant, connector, time_ms) for tenant, connector, time_ms, _ in found.readings}
        self.history.acknowledged &= held | kept.acknowledged
        self.history.rubbish &= set(found.quarantined) | kept.rubbish

    def outcome(self, *, memory_mb: float = 0.0) -> Outcome:
        readings = [
            (tenant, batch.connectors[home], time_ms, current_a)
            for tenant in TENANTS
            for batch in TenantTelemetry(tenant).replay([str(c) for c in CONNECTORS], since_ms=0)
            for home, time_ms, current_a in zip(
                batch.connector.tolist(),
                batch.time_ms.tolist(),
                batch.column("current_a").tolist(),
                strict=True,
            )
        ]
        quarantined = [
            (tenant, message.payload.decode())
            for tenant in TENANTS
            for message in TenantQuarantine(tenant).messages(RefusedFilter())
        ]
        return Outcome(
            readings, quarantined, list(account().values()), self._miscounted(), memory_mb
        )

    def check(self, *, memory_mb: float = 0.0, within_s: float = RECOVERED_S) -> None:
        """Heals within `within_s` without a person, and then nothing is wrong."""
        deadline = time.monotonic() + within_s
        while not self.is_drained():
            if time.monotonic() > deadline:
                found = violations(self.history, self.outcome(memory_mb=memory_mb))
                raise AssertionError(f"not healed within {within_s:.0f} s: {found}")
            time.sleep(0.3)
        print(f"seed {self.seed}: {len(self.history.acknowledged)} readings acknowledged")
        found = violations(self.history, self.outcome(memory_mb=memory_mb))
        assert not found, found


@contextmanager
def under_load(
    broker: mqtt.Mosquitto,
    *,
    seed: int = 0,
    rate: float = 5.0,
    port: int = 0,
    course: Course = Course(),
) -> Iterator[Load]:
    """Devices send while inside; afterwards they have stopped. `seed` 0: another one each time."""
    seed = seed or random.SystemRandom().randint(1, 2**31)
    print(f"seed {seed}")
    load = Load(port or broker.port, seed, rate, course).start()
    try:
        yield load
    finally:
        load.stop()


def channels_are_mapped(tenants: list[Tenant]) -> None:
    """Both boxes of both tenants report on channel 0: the cast has it so."""
    for tenant in tenants:
        with tenant_context(tenant):
            assert set(CONNECTORS) <= set(
                Channel.objects.filter(number=0).values_list("connector", flat=True)
            )
