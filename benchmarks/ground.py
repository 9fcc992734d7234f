"""What a bench of the whole way stands on: a tenant with devices, a broker, workers, an account.

The tenant's devices and connectors are rows of Postgres as people enrol them, the broker is a
Mosquitto as it is shipped, and workers are the processes that the supervisor starts.
"""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import redis
from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError, connection
from django.utils import timezone
from django_tenants.utils import tenant_context

from apps.accounts.models import Organisation
from apps.accounts.operations import create_organisation
from apps.alarms.models import Alarm
from apps.catalog.models import ConnectorModel
from apps.devices.models import Channel, Device
from apps.devices.passwords import hash_password
from apps.fleet.models import Connector, Vehicle
from apps.partitions.models import Checkpoint
from apps.telemetry import cluster
from apps.telemetry.answers import AccountLine
from apps.telemetry.store import TelemetryStore
from apps.tenants.models import Tenant
from apps.tenants.operations import build_tenant, register_tenant
from benchmarks.harness import AccountOpen
from tests import mqtt
from tests.acquisition import ROOT, Worker, now_ms, until
from workers.simulator import fleet as simulated

TENANT = "bench"
CHANNELS = 5
"""Connectors of a device."""
LOADER, PROBE = "loader", "probe"
"""Clients that may publish for every device; a client has one connection."""
PASSWORD = "loader-of-the-bench"  # noqa: S105 - a broker of its own, gone in a minute
QUANTITIES = (
    *("current_a", "voltage_v", "temperature_pos_c", "temperature_neg_c", "ambient_c"),
    *("drop_pos_mv", "drop_neg_mv", "insulation_kohm", "interlock", "humidity_pct"),
    *("vibration_g", "mated"),
)
_RATINGS = simulated.Ratings(250, 800, 38, 180, (80, 780), 500)


@dataclass(frozen=True)
class Ground:
    """Prepared stores, and the fleet whose rows they hold."""

    fleet: simulated.Fleet
    telemetry: TelemetryStore


def prepare(devices: int) -> Ground:
    """Schemas, indices and a tenant with so many devices; what an earlier bench left is emptied."""
    _make_database()
    call_command("migrate_schemas", shared=True, verbosity=0, interactive=False)
    tenant = Tenant.objects.filter(slug=TENANT).first() or register_tenant(
        slug=TENANT, name="Bench", now=timezone.now()
    )
    build_tenant(tenant=tenant)
    with tenant_context(tenant):
        _forget_alarms()
        _write_rows(devices)
        fleet = _fleet()
    telemetry = TelemetryStore()
    cluster.delete(telemetry.client, telemetry.indices())
    telemetry.prepare(timezone.now())
    flush_redis()
    return Ground(fleet, telemetry)


def _make_database() -> None:
    """The stack's own database is there; a guest's is made on its first visit."""
    try:
        connection.ensure_connection()
    except OperationalError:
        import psycopg

        url = str(settings.ENVIRONMENT.postgres_url)
        base, _slash, name = url.rpartition("/")
        with psycopg.connect(f"{base}/ohmwatch", autocommit=True) as server:
            server.execute(f'CREATE DATABASE "{name}"')


def flush_redis() -> None:
    """Queues, logs and counts of an earlier round are gone."""
    for url in (settings.REDIS_BROKER_URL, settings.REDIS_LOG_URL):
        with redis.Redis.from_url(url) as client:
            client.flushdb()


def _forget_alarms() -> None:
    """Of an earlier bench; and what its detection knew, by which the alarms stand already."""
    Checkpoint.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {Alarm._meta.db_table} CASCADE")


def _write_rows(devices: int) -> None:
    if Device.objects.count() == devices:
        return
    for model in (Channel, Device, Connector, Vehicle, ConnectorModel, Organisation):
        model.objects.all().delete()
    now = timezone.now()
    owner = create_organisation(name="Fleet", kind="fleet")
    kind = ConnectorModel.objects.create(
        code="HV-250",
        name="HV-250",
        position="traction",
        rated_current_a=250,
        rated_voltage_v=800,
        temperature_limit_c=125,
        reports=list(QUANTITIES),
    )
    vehicles = [
        Vehicle(id=uuid.uuid4(), organisation=owner, vin=f"BENCH{n:012d}", created_at=now)
        for n in range(devices)
    ]
    connectors = [
        Connector(
            id=uuid.uuid4(),
            model=kind,
            serial=f"B-{n}",
            batch=f"2026-{n % 12 + 1:02d}",
            vehicle=vehicles[n // CHANNELS],
            position="traction",
            installed_at=now,
        )
        for n in range(devices * CHANNELS)
    ]
    secret = hash_password(PASSWORD)  # one for all: nobody signs in with it
    boxes = [
        Device(id=uuid.uuid4(), identifier=box(n), password_hash=secret, created_at=now)
        for n in range(devices)
    ]
    channels = [
        Channel(device=boxes[n // CHANNELS], number=n % CHANNELS, connector=connector)
        for n, connector in enumerate(connectors)
    ]
    Vehicle.objects.bulk_create(vehicles)
    Connector.objects.bulk_create(connectors)
    Device.objects.bulk_create(boxes)
    Channel.objects.bulk_create(channels)


def _places(device: int) -> tuple[int, ...]:
    return tuple(range(device * CHANNELS, (device + 1) * CHANNELS))


def box(number: int) -> str:
    """The identifier of a device; its connectors are number * CHANNELS and those after it."""
    return f"box-{number:05d}"


def _fleet() -> simulated.Fleet:
    """The same rows as the simulator sees them."""
    rows = Channel.objects.select_related("device", "connector").order_by(
        "device__identifier", "number"
    )
    units = [
        simulated.Unit(
            connector=str(row.connector_id),
            serial=row.connector.serial,
            tenant=TENANT,
            channel=row.number,
            vehicle=place // CHANNELS,
            position=row.connector.position,
            ratings=_RATINGS,
            reports=QUANTITIES,
            scenario=None,
        )
        for place, row in enumerate(rows)
    ]
    devices = [
        simulated.Device(f"{TENANT}.{box(n)}", "", _places(n))
        for n in range(len(units) // CHANNELS)
    ]
    return simulated.Fleet(tuple(devices), tuple(units))


# --- broker and workers -----------------------------------------------------------------------


class Broker(mqtt.Mosquitto):
    """As it is shipped, with two clients that may publish for every device."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys((LOADER, PROBE), PASSWORD))
        acl = self._folder / "acl"
        more = "".join(f"user {name}\ntopic write ow/v1/#\n" for name in (LOADER, PROBE))
        acl.write_text(more + acl.read_text())

    def loader(self, name: str = LOADER) -> mqtt.MqttClient:
        """The client that speaks for all devices."""
        return mqtt.MqttClient(self.port, name, PASSWORD).connect()


@contextmanager
def broker() -> Iterator[Broker]:
    """A broker that runs as long as the `with` lasts."""
    running = Broker()
    running.start()
    try:
        yield running
    finally:
        running.stop()


def workers_on(broker: Broker, slots: int, **environment: str) -> list[Worker]:
    """So many acquisition workers, connected."""
    return [Worker(broker.worker_port, slot=slot, **environment).start() for slot in range(slots)]


DETECTION = (
    *("celery", "-A", "config.celery", "worker", "-Q", "detection", "-P", "solo"),
    *("-n", "detection@bench", "-l", "WARNING"),
)


@contextmanager
def process(log: Path, *module: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the product as long as the `with` lasts; it keeps its connections to Postgres,
    as in production. Fails where it has ended before."""
    environment = {**os.environ, "OHMWATCH_POSTGRES_POOL": "true"}
    command = [sys.executable, "-m", *module]
    with log.open("ab") as output:
        running = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield running
            assert running.poll() is None, log.read_text()[-2000:]
        finally:
            running.send_signal(signal.SIGCONT)
            running.terminate()
            running.wait(30)


def cpu_s(running: subprocess.Popen[bytes]) -> float:
    """Processor time that a process has spent, in user and in system."""
    fields = Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- the account ------------------------------------------------------------------------------


def counted() -> int:
    """Readings received up to now, as the notice board has them."""
    return int(_board().hget(f"ow:counts:{TENANT}", "received") or 0)  # type: ignore[arg-type]


@cache
def _board() -> redis.Redis:
    """A standing connection, because this is asked all the time while the clock runs."""
    return redis.Redis.from_url(settings.REDIS_LOG_URL)


def close_account(
    ground: Ground, workers: list[Worker], expected: int, *, beside: Sequence[str] = ()
) -> AccountLine:
    """Everything was received, stored once and acknowledged. Raises AccountOpen, and AssertionError
    where some of it has not been received for half a minute.

    A worker says once a second how many messages it holds: without what was sent just before, one
    that has held none for a moment looks as if it were done.

    `beside`: other tenants that have readings in the store; their accounts have to close as well.
    """
    until(lambda: counted() >= expected, what=f"all {expected} readings")
    until(lambda: all(worker.state().get("waiting_messages") == 0 for worker in workers))
    lines = ground.telemetry.account(0, now_ms() + 3_600_000)
    line = next((line for line in lines if line.tenant == TENANT), AccountLine(TENANT))
    known = {each.tenant for each in lines} <= {TENANT, *beside}
    whole = known and all(each.is_closed for each in lines)
    if not whole or line.stored != expected or line.received != expected:
        raise AccountOpen(f"expected {expected} readings: {lines}")
    return line
