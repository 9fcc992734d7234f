"""Memory of what a worker knows of devices and connectors, by their number, and the time to read.

Both ends of how fleets are built: a device and a vehicle for each connector, and one for five. The
peak is that of reading everything once more, as a worker does each minute beside its work. A change
is a device that is disabled: its time is from the commit to the look-up that knows it, without the
half second at most until the worker looks.
"""

import ctypes
import gc
import time
from pathlib import Path
from statistics import median
from typing import LiteralString

from django.db import connection
from django_tenants.utils import tenant_context

from apps.devices.directory import LOOK_INTERVAL_S, Directory
from apps.devices.models import Device
from apps.devices.operations import disable_device
from apps.tenants.models import Tenant
from benchmarks import ground
from benchmarks.harness import Measure, finish

NEEDS_STORES = True
CONNECTORS, QUICK_CONNECTORS = 300_000, 30_000
CHANNELS = (5, 1)
"""Connectors of a device and its vehicle. The dearer way last: freed memory is used again."""
_EACH = 100_000
_ASKED = 200_000
_CHANGES = 20
_MIB = 2.0**20
_EMPTY: LiteralString = """
    TRUNCATE devices_channel, devices_device, fleet_connector, fleet_vehicle,
        catalog_connectormodel, accounts_organisation CASCADE
"""
_ROWS: LiteralString = """
    INSERT INTO accounts_organisation (id, name, kind)
        SELECT md5('o' || n)::uuid, 'Fleet ' || n, 'fleet' FROM generate_series(0, 499) n;
    INSERT INTO catalog_connectormodel (id, code, name, position, rated_current_a, rated_voltage_v,
            temperature_limit_c, derating, thermal_time_constants_s, reports)
        SELECT md5('m' || n)::uuid, 'HV-' || n, 'HV', 'traction', 250, 800, 125,
            '[[40, 250], [70, 180]]', '[80, 780]', '[]' FROM generate_series(0, 19) n;
    INSERT INTO fleet_vehicle (id, organisation_id, vin, plate, label, created_at)
        SELECT md5('v' || n)::uuid, md5('o' || n %% 500)::uuid, 'BENCH' || lpad(n::text, 12, '0'),
            '', '', now() FROM generate_series(0, %(devices)s - 1) n;
    INSERT INTO fleet_connector (id, model_id, serial, batch, vehicle_id, position, state)
        SELECT md5('c' || n)::uuid, md5('m' || n %% 20)::uuid, 'B-' || n, 'batch-' || n %% 200,
            md5('v' || n / %(channels)s)::uuid, 'traction', 'in_service'
            FROM generate_series(0, %(connectors)s - 1) n;
    INSERT INTO devices_device (id, identifier, label, state, codec, password_hash, firmware,
            online, clock_state, created_at)
        SELECT md5('d' || n)::uuid, 'box-' || lpad(n::text, 6, '0'), '', 'enabled', '', '$7$', '',
            false, '', now() FROM generate_series(0, %(devices)s - 1) n;
    INSERT INTO devices_channel (id, device_id, number, connector_id)
        SELECT md5('h' || n)::uuid, md5('d' || n / %(channels)s)::uuid, n %% %(channels)s,
            md5('c' || n)::uuid FROM generate_series(0, %(connectors)s - 1) n;
    ANALYZE
"""


def main(quick: bool) -> int:
    ground.prepare(1)
    tenant = Tenant.objects.get(slug=ground.TENANT)
    connectors = QUICK_CONNECTORS if quick else CONNECTORS
    measures: list[Measure] = []
    try:
        for channels in CHANNELS:
            _fill(tenant, connectors, channels)
            measures += _measured(connectors, channels)
    finally:
        with tenant_context(tenant), connection.cursor() as cursor:
            cursor.execute(_EMPTY)
    finish("directory", measures, quick)
    return 0


def _fill(tenant: Tenant, connectors: int, channels: int) -> None:
    sizes = {"connectors": connectors, "devices": connectors // channels, "channels": channels}
    with tenant_context(tenant), connection.cursor() as cursor:
        cursor.execute(_EMPTY)
        for statement in _ROWS.split(";"):
            cursor.execute(statement, sizes)


def _measured(connectors: int, channels: int) -> list[Measure]:
    directory = Directory()
    empty = _resident()
    began, worked = time.perf_counter(), time.process_time()
    directory.load()
    read_s, work_s = time.perf_counter() - began, time.process_time() - worked
    held = _resident() - empty
    _forget_peak()
    directory.load()
    again = _peak() - empty - held
    share = _EACH / connectors
    told = f"{channels} a device"
    return [
        Measure(f"{told}: 100 000 connectors", held * share / _MIB, "MiB"),
        Measure(f"{told}: more while they are read again", again * share / _MIB, "MiB"),
        Measure(f"{told}: to read 100 000", read_s * share, "s"),
        Measure(f"{told}: processor time of that", work_s * share, "s"),
        Measure(f"{told}: to find a device", _asked_ns(directory, connectors // channels), "ns"),
        _one_change(f"{told}: to learn of one change, against reading all", read_s),
    ]


def _one_change(name: str, read_all_s: float) -> Measure:
    """The median of some; read again, alone, in a tenant of that size."""
    now = [0.0]
    directory = Directory(monotonic=lambda: now[0])
    directory.load()
    took_s = median(_learned_s(directory, now, number) for number in range(_CHANGES))
    return Measure(name, took_s, "s", read_all_s, took_s / read_all_s)


def _learned_s(directory: Directory, now: list[float], number: int) -> float:
    identifier = f"box-{number:06d}"
    with tenant_context(Tenant.objects.get(slug=ground.TENANT)):
        disable_device(device=Device.objects.get(identifier=identifier))
    began = time.perf_counter()
    now[0] += LOOK_INTERVAL_S
    directory.refresh_if_changed()
    took_s = time.perf_counter() - began
    entry = directory.entry(f"{ground.TENANT}.{identifier}")
    if entry is None or entry.enabled:
        raise RuntimeError(f"{identifier} was disabled, and the directory doesn't know it")
    return took_s


def _asked_ns(directory: Directory, devices: int) -> float:
    names = [f"{ground.TENANT}.box-{n * 7919 % devices:06d}" for n in range(_ASKED)]
    began = time.process_time()
    for name in names:
        directory.entry(name)
    return (time.process_time() - began) / _ASKED * 1e9


# --- this process's memory, in bytes ----------------------------------------------------------


def _resident() -> float:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return _told("VmRSS")


def _peak() -> float:
    return _told("VmHWM")


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _told(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return float(line.split()[1]) * 1024
    raise KeyError(name)
