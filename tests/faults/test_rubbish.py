"""A worker that is sent rubbish without end lives, keeps the good, and accounts for every message.

`./ohmwatch test tests/faults/test_rubbish.py -m fault` sends a million; CI a few thousand.
"""

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from django.conf import settings
from django_tenants.utils import tenant_context

from apps.devices.models import Device
from apps.telemetry.slices import from_ms
from apps.telemetry.store import the_store
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.models import Tenant
from ohmwatch.codecs import cbor, json
from ohmwatch.refusals import Reason, Refused
from tests import cast, mqtt
from tests.acquisition import (
    Worker,
    account,
    assert_closed,
    columns,
    device,
    now_ms,
    stored_times,
    topic,
    until,
)
from tests.faults.rubbish import hostile, hostile_status

pytestmark = pytest.mark.usefixtures("empty_elasticsearch")
GOOD_ROWS = 50
MEMORY_LIMIT_MB = 250
A_CALL = 2_000
KINDS = ("readings",) * 8 + ("status", "events")
"""Whereto rubbish goes, as often."""
LEAST_RATE = 0.5
"""Of good messages amid a flood, to their rate alone."""


def readings_in(payload: bytes) -> int:
    """What the account has to count for a message: its readings, or 1."""
    codec = cbor if cbor.looks_like_cbor(payload) else json
    try:
        return codec.decode(payload).received
    except Refused:
        return 1


@pytest.mark.django_db(transaction=True)
def test_some_thousands(broker: mqtt.Mosquitto, kunlun: Tenant) -> None:
    flood(broker, kunlun, messages=4_000, good=200)


@pytest.mark.fault
@pytest.mark.timeout(3600)
@pytest.mark.django_db(transaction=True)
def test_a_million(broker: mqtt.Mosquitto, kunlun: Tenant) -> None:
    rate = flood(broker, kunlun, messages=1_000_000, good=20_000)
    assert rate >= LEAST_RATE, "a ratio within one run: what else the machine does is in both"


def flood(broker: mqtt.Mosquitto, kunlun: Tenant, *, messages: int, good: int) -> float:
    """Ben's box sends rubbish while Clara's sends what is good; how fast the good one was, to what
    it was alone."""
    seed = random.SystemRandom().randint(1, 2**31)
    print(f"seed {seed}")
    with tenant_context(kunlun):
        Device.objects.filter(pk=cast.BENS_DEVICE).update(codec="")
    with Worker(broker.worker_port).start() as worker:
        assert worker.process is not None
        pid = worker.process.pid
        start = now_ms() - 5 * 86_400_000
        quiet_s = _send_good(broker, start, 0, good // 2)
        with ThreadPoolExecutor(1) as pool:
            sender = pool.submit(_send_rubbish, broker, random.Random(seed), messages)
            flooded_s = _send_good(broker, start, good // 2, good)
            sent = sender.result()
        wanted = sent.pop("received") + good * GOOD_ROWS
        until(lambda: _received() == wanted, within_s=300, what=f"{wanted} readings received")
        until(lambda: _counted(sent) == sent, within_s=60, what=f"counted: {sent}")
        assert worker.process.poll() is None, worker.tail()
        assert worker.process.pid == pid
        assert worker.memory_mb() < MEMORY_LIMIT_MB
        assert worker.stop() == 0
    times = stored_times(cast.CLARAS_CONNECTOR)
    assert len(times) == good * GOOD_ROWS
    assert Reason.CODEC_FAILED not in account("kunlun")["kunlun"].quarantined
    assert_closed()
    print(
        f"good messages: {good // 2 / quiet_s:.0f}/s alone, {good // 2 / flooded_s:.0f}/s flooded"
    )
    return quiet_s / flooded_s


def _send_rubbish(broker: mqtt.Mosquitto, chance: random.Random, messages: int) -> Counter[str]:
    """Sends so many; what has to be counted for them: `received` by the account, the rest on the
    notice board."""
    box = device(broker, "kunlun.tbox-1")
    expected: Counter[str] = Counter()
    for first in range(0, messages, A_CALL):
        payloads: dict[str, list[bytes]] = {kind: [] for kind in KINDS}
        now = now_ms()
        for _ in range(min(A_CALL, messages - first)):
            kind = chance.choice(KINDS)
            payloads[kind].append(_hostile_of(kind, chance, now, expected))
        for kind, several in payloads.items():
            box.deliver(topic("kunlun.tbox-1", kind), several, window=500)
    return expected


def _hostile_of(kind: str, chance: random.Random, now: int, expected: Counter[str]) -> bytes:
    """One for that topic; adds what has to be counted for it."""
    if kind == "status":
        payload, is_readable = hostile_status(chance, now)
        expected["status_unreadable"] += not is_readable
        return payload
    payload = hostile(chance, now)
    if kind == "readings":
        expected["received"] += readings_in(payload)
    else:
        expected[kind] += 1
    return payload


def _counted(names: Counter[str]) -> Counter[str]:
    """What the notice board says of these."""
    with redis.Redis.from_url(settings.REDIS_LOG_URL) as client:
        found = client.hmget("ow:counts:kunlun", list(names))
    return Counter(dict(zip(names, (int(each or 0) for each in found), strict=True)))  # type: ignore[arg-type]


def _send_good(broker: mqtt.Mosquitto, start: int, first: int, last: int) -> float:
    """Sends them and waits until they are stored; seconds that took."""
    began = time.monotonic()
    box = device(broker, "kunlun.tbox-2")
    bodies = [
        columns(start + message * GOOD_ROWS * 10, GOOD_ROWS, step_ms=10)
        for message in range(first, last)
    ]
    box.deliver(topic("kunlun.tbox-2"), bodies)
    until(lambda: _is_held(start + (last * GOOD_ROWS - 1) * 10), within_s=300)
    return time.monotonic() - began


def _is_held(time_ms: int) -> bool:
    """Whether the last of them is there; a slot stores in about the order of arrival."""
    the_store().refresh()
    page = TenantTelemetry("kunlun").readings(
        cast.CLARAS_CONNECTOR, start=from_ms(time_ms), end=from_ms(time_ms + 1)
    )
    return bool(page.readings)


def _received() -> int:
    line = account("kunlun").get("kunlun")
    return line.received if line else 0
