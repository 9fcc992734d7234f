"""Acquisition under test: the worker as a process, readings to send, an account to close."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import redis
from django.conf import settings

from apps.devices.directory import Directory
from apps.partitions.log import PartitionLog
from apps.telemetry.answers import AccountLine, ItemResult
from apps.telemetry.board import counts_of_all
from apps.telemetry.cluster import BULK_LIMIT_S, client_of
from apps.telemetry.store import TelemetryStore
from apps.telemetry.tenant import TenantTelemetry
from tests import cast, mqtt
from workers.acquisition import service
from workers.acquisition.board import Board
from workers.acquisition.connection import TOPICS, Broker
from workers.acquisition.intake import Limits
from workers.acquisition.pipeline import Stores
from workers.acquisition.turnstile import Turnstile

ROOT = Path(__file__).parents[1]
IDENTITIES = tuple(
    f"{tenant}.{device}" for tenant in ("kunlun", "aurora") for device in ("tbox-1", "tbox-2")
)
STRANGERS = ("kunlun.stranger", "nowhere.tbox-1")
DEVICES = dict.fromkeys(IDENTITIES + STRANGERS, cast.DEVICE_PASSWORD)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def topic(identity: str, kind: str = "readings") -> str:
    return f"ow/v1/{identity}/{kind}"


def reading(time_ms: int, **fields: object) -> bytes:
    """One reading, by rows."""
    return json.dumps({"time": time_ms, "temperature_pos_c": 41.5, **fields}).encode()


def columns(start_ms: int, count: int, *, channel: int = 0, step_ms: int = 1000) -> bytes:
    """A batch of readings by columns."""
    values = [40 + number % 20 / 10 for number in range(count)]
    return json.dumps(
        {
            "channel": channel,
            "start": start_ms,
            "step_ms": step_ms,
            "columns": {"current_a": values, "temperature_pos_c": values},
        }
    ).encode()


def until(condition: Callable[[], bool], *, within_s: float = 30.0, what: str = "") -> None:
    """Wait until it is so; a test that waits in vain fails with what it waited for."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {within_s:.0f} s in vain: {what or condition}"
        time.sleep(0.05)


def device(broker: mqtt.Mosquitto, identity: str) -> mqtt.MqttClient:
    """A device, connected with its own credentials."""
    return mqtt.MqttClient(broker.port, identity, cast.DEVICE_PASSWORD).connect()


class Worker:
    """An acquisition worker as the supervisor starts it: a process of its own."""

    def __init__(self, broker_port: int, *, slot: int = 0, **environment: str) -> None:
        self.slot = slot
        self._environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PYTHONPATH": f"{ROOT}/src:{ROOT}",
            "OHMWATCH_ACQUISITION_SLOT": str(slot),
            "OHMWATCH_MQTT_URL": f"mqtt://127.0.0.1:{broker_port}",
            "OHMWATCH_MQTT_PASSWORD": mqtt.SLOT_PASSWORD,
            "OHMWATCH_LOG_FORMAT": "console",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.log = Path(settings.ENVIRONMENT.data_dir) / f"acquisition-{slot}.log"

    def start(self, *, ready: bool = True, **environment: str) -> "Worker":
        """`environment`: for this start only, as OHMWATCH_FAULT."""
        with redis.Redis.from_url(settings.REDIS_LOG_URL) as client:
            client.delete(self._key)
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "celery", "-A", "config.celery", "worker"),
                *("-Q", "acquisition", "-P", "solo", "-n", f"acquisition-{self.slot}@test"),
            ],
            env={**self._environment, **environment},
            cwd=ROOT,
            stdout=self.log.open("ab"),
            stderr=subprocess.STDOUT,
        )
        if ready:
            until(self._is_connected, what="the worker's connection")
        return self

    def _is_connected(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.tail()
        return self.state().get("connected") is True

    @property
    def _key(self) -> str:
        return f"ow:acquisition:{self.slot}"

    def state(self) -> dict[str, object]:
        """What the worker reports of itself; empty while it reports nothing."""
        with redis.Redis.from_url(settings.REDIS_LOG_URL) as client:
            found: bytes | None = client.get(self._key)  # type: ignore[assignment]
        return json.loads(found) if found else {}

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def tail(self) -> str:
        return self.log.read_text()[-3000:] if self.log.exists() else ""

    def memory_mb(self) -> float:
        """The most that it has held since its start, or since `forget_peak`."""
        for line in self._about("status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmHWM")

    def forget_peak(self) -> None:
        """From now on `memory_mb` tells of what comes."""
        self._about("clear_refs").write_text("5")

    def _about(self, what: str) -> Path:
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}/{what}")

    def cpu_s(self) -> float:
        """Processor time that it has spent, in user and in system."""
        fields = self._about("stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait(self, *, within_s: float = 40.0) -> int:
        """Until the process has ended by itself; its exit status, negative for a signal."""
        assert self.process is not None
        return self.process.wait(within_s)

    def kill(self) -> None:
        """As by a power cut."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def stop(self) -> int:
        """As the supervisor stops it: SIGTERM, then patience."""
        if self.process is None or self.process.poll() is not None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


class Hasty(TelemetryStore):
    """The store for a worker that waits for its bulk requests no longer than so many seconds."""

    def __init__(self, url: str, bulk_limit_s: float) -> None:
        super().__init__(client=client_of(url))
        self._limit_s = bulk_limit_s

    def bulk(self, lines: bytes, *, limit_s: float = BULK_LIMIT_S) -> list[ItemResult]:
        return super().bulk(lines, limit_s=min(limit_s, self._limit_s))


class Slot:
    """The same in this process: threads instead of a process, and so up at once. What would end
    the process is kept in `deaths`."""

    def __init__(
        self,
        *broker_ports: int,
        slot: int = 0,
        elasticsearch_url: str = "",
        limits: Limits | None = None,
        bulk_limit_s: float = BULK_LIMIT_S,
    ) -> None:
        url = elasticsearch_url or str(settings.ENVIRONMENT.elasticsearch_url)
        self._redis = redis.Redis.from_url(settings.REDIS_LOG_URL)
        self.deaths: list[str] = []
        self.telemetry = Hasty(url, bulk_limit_s)
        stores = Stores(
            directory=Directory(),
            telemetry=self.telemetry,
            partition_log=PartitionLog(self._redis, wake=lambda partitions, delay_ms: None),
            board=Board(self._redis),
            turnstile=Turnstile(),
        )
        place = service.Slot(
            slot,
            tuple(Broker("127.0.0.1", port, mqtt.SLOT_PASSWORD) for port in broker_ports),
            limits or Limits(),
        )
        self.acquisition = service.Acquisition(place, stores, die=self.deaths.append)

    def __enter__(self) -> "Slot":
        self.acquisition.start()
        until(lambda: self.crew is not None and all(s.is_connected for s in self.crew.sessions))
        return self

    def __exit__(self, *_: object) -> None:
        self.acquisition.stop()
        self._redis.close()

    @property
    def crew(self) -> service.Crew:
        return self.acquisition.crew  # type: ignore[return-value]


def account(tenant: str | None = None) -> dict[str, AccountLine]:
    """The account of all time, by tenant."""
    lines = TelemetryStore().account(0, now_ms() + 3_600_000, tenant=tenant)
    return {line.tenant: line for line in lines}


def received(tenant: str = "kunlun") -> int:
    line = account(tenant).get(tenant)
    return line.received if line else 0


def assert_closed() -> None:
    """received = stored + duplicate + quarantined, to the last reading, for each tenant."""
    for line in account().values():
        assert line.is_closed, line


def miscounted() -> list[str]:
    """Tenants whose counters on the board are not the sums of the ledger, each with both. What a
    replay has released counts as no longer quarantined."""
    with redis.Redis.from_url(settings.REDIS_LOG_URL) as client:
        counters = {tenant: _sums(counts) for tenant, counts in counts_of_all(client).items()}
    entered = {tenant: _sums_of(line) for tenant, line in account().items()}
    return [
        f"{tenant}: {counters.get(tenant)} counted, {entered.get(tenant)} entered"
        for tenant in sorted(counters.keys() | entered.keys())
        if counters.get(tenant, {}) != entered.get(tenant, {})
    ]


def _sums(counts: dict[str, int]) -> dict[str, int]:
    sums = {name: counts.get(name, 0) for name in ("received", "stored", "duplicate")}
    for name, number in counts.items():
        kind, _, reason = name.partition(":")
        if kind in ("quarantined", "released"):
            sums[reason] = sums.get(reason, 0) + (number if kind == "quarantined" else -number)
    return {name: number for name, number in sums.items() if number}


def _sums_of(line: AccountLine) -> dict[str, int]:
    sums = {"received": line.received, "stored": line.stored, "duplicate": line.duplicate}
    return {name: number for name, number in {**sums, **line.quarantined}.items() if number}


def assert_counted() -> None:
    """The counters come to what the ledger says, in the end and for each tenant."""
    until(lambda: not miscounted(), what="counters that are the ledger's sums")


def stored_times(connector: object, tenant: str = "kunlun") -> list[int]:
    """When each reading of a connector that the store holds was measured, in order."""
    telemetry = TenantTelemetry(tenant)
    batches = telemetry.replay([str(connector)], since_ms=0)
    return [time_ms for batch in batches for time_ms in batch.time_ms.tolist()]


def elasticsearch_behind(port: int) -> str:
    """The store's address, with the proxy's port."""
    parts = urlsplit(str(settings.ENVIRONMENT.elasticsearch_url))
    return parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}").geturl()


def postgres_behind(port: int) -> str:
    """The same of Postgres."""
    parts = urlsplit(str(settings.ENVIRONMENT.postgres_url))
    user = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()


def redis_behind(port: int, *, url: str = "") -> str:
    """The same of Redis, or of the database that `url` names."""
    parts = urlsplit(url or str(settings.ENVIRONMENT.redis_url))
    user = parts.netloc.rpartition("@")[0]
    return parts._replace(
        netloc=f"{user}@127.0.0.1:{port}" if user else f"127.0.0.1:{port}"
    ).geturl()


def elasticsearch_port() -> int:
    return urlsplit(str(settings.ENVIRONMENT.elasticsearch_url)).port or 9200


def open_session(broker: mqtt.Mosquitto, slot: int = 0) -> None:
    """Make a slot's session at the broker, as its worker's first start does: what comes from now
    on waits for it."""
    client = broker.slot(slot).connect(clean_start=False, session_expiry_s=3600)
    for each in TOPICS:
        client.subscribe(each)
    client.abort()
