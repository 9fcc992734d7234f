"""Promise 3: received = stored + duplicate + quarantined, for each tenant, to the last reading.

The sum that acquisition enters is held against what the store holds, by `account`, whatever was
killed, cut or in doubt in between; and so is what it counts for Prometheus.
"""

import json
import time

import httpx
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone

from apps.telemetry.answers import LedgerEntry
from apps.telemetry.documents import PLATFORM
from apps.telemetry.store import TelemetryStore
from apps.tenants.models import Tenant
from ohmwatch.refusals import Reason
from tests import cast, mqtt
from tests.acquisition import (
    Slot,
    Worker,
    account,
    assert_closed,
    assert_counted,
    columns,
    device,
    elasticsearch_behind,
    elasticsearch_port,
    miscounted,
    now_ms,
    open_session,
    reading,
    received,
    topic,
    until,
)
from tests.faults import proxy
from workers.acquisition.batches import Batch, Message
from workers.acquisition.pipeline import take_in

pytestmark = pytest.mark.usefixtures("kunlun", "empty_elasticsearch")

STEPS = (
    "after_receive:2",
    "after_decode",
    "before_bulk",
    "after_bulk",
    "after_log",
    "after_ledger",
    "before_puback",
    "half_pubacks",
)


def test_good_and_bad_and_repeated_add_up(broker: mqtt.Mosquitto, aurora: Tenant) -> None:
    start = now_ms() - 3_600_000
    rows = [{"time": start + n, "current_a": 9_999 if n % 5 == 0 else 1} for n in range(50)]
    mixed = json.dumps({"readings": rows}).encode()
    with Slot(broker.worker_port):
        ours, theirs = device(broker, "kunlun.tbox-1"), device(broker, "aurora.tbox-1")
        ours.deliver(topic("kunlun.tbox-1"), [mixed, mixed, b"rubbish", reading(start + 1)])
        ours.deliver(topic("kunlun.tbox-1"), [columns(start, 10, channel=7)])
        theirs.deliver(topic("aurora.tbox-1"), [columns(start, 30), reading(1)])
        nobody = device(broker, "nowhere.tbox-1")
        nobody.deliver(topic("nowhere.tbox-1"), [reading(start), b"\xff"])
        until(lambda: received("kunlun") == 112 and received("aurora") == 31)
        until(lambda: received(PLATFORM) == 2)
    lines = account()
    assert (lines["kunlun"].stored, lines["kunlun"].duplicate) == (40, 41)
    assert lines["kunlun"].quarantined == {
        Reason.OUT_OF_RANGE: 20,
        Reason.UNDECODABLE: 1,
        Reason.UNKNOWN_CHANNEL: 10,
    }
    assert (lines["aurora"].stored, lines["aurora"].quarantined) == (30, {Reason.TIME_TOO_OLD: 1})
    assert lines[PLATFORM].quarantined == {Reason.UNKNOWN_TENANT: 2}
    assert_closed()
    assert_counted()


def test_the_counters_are_the_ledgers_sums_wherever_the_worker_is_killed(
    broker: mqtt.Mosquitto,
) -> None:
    open_session(broker)
    box = device(broker, "kunlun.tbox-1")
    start = now_ms() - 3_600_000
    with Worker(broker.worker_port) as worker:
        for number, step in enumerate(STEPS):
            box.deliver(topic("kunlun.tbox-1"), [columns(start + number, 5), b"rubbish"])
            worker.start(ready=False, OHMWATCH_FAULT=step)
            assert worker.wait() == -9, worker.tail()
        worker.start()
        until(lambda: _held("kunlun") >= len(STEPS) * 5)
        assert_counted()
        assert worker.stop() == 0
    assert_closed()
    assert_counted()


def test_what_a_dead_workers_request_stores_late_is_counted_once(broker: mqtt.Mosquitto) -> None:
    """Each look counts by how much the ledger has grown; so does the next life, if this one dies
    between its entry and its count."""
    with Slot(broker.worker_port) as slot:
        uncounted = slot.crew._uncounted
        late = uncounted.high - 1
        _store_behind_the_ledgers_back(now_ms() - 1_000, batch=late)
        for _ in range(2):
            assert slot.crew._reconcile()
            assert_counted()
    _enter(late, stored=3)
    for _ in range(2):
        with Slot(broker.worker_port):
            assert_counted()
    assert account()["kunlun"].stored == 3


def test_what_is_stored_in_parts_after_a_death_is_entered_by_later_lives(
    broker: mqtt.Mosquitto,
) -> None:
    """A life that is killed at once has looked too early, and entered what there was then."""
    with Slot(broker.worker_port) as slot:
        late = slot.crew._uncounted.high - 1
    for part in range(3):
        _store_behind_the_ledgers_back(now_ms() - 1_000 - part, batch=late)
        with Slot(broker.worker_port):
            assert_counted()
        assert account()["kunlun"].stored == part + 1
    start = now_ms() - 3_600_000
    with Slot(broker.worker_port), device(broker, "kunlun.tbox-1") as box:
        box.deliver(topic("kunlun.tbox-1"), [columns(start, 10)])
        until(lambda: received() == 13)
    with Slot(broker.worker_port):
        assert_counted()
    assert_closed()


def test_what_a_zombie_enters_is_counted_once(broker: mqtt.Mosquitto) -> None:
    """It was stopped in a batch, another has its slot by now, and it ends what it had begun: with
    duplicates, of which the store says nothing to the heir, who looks at it afterwards."""
    start = now_ms() - 3_600_000
    with Slot(broker.worker_port) as heir, Slot(broker.worker_port, slot=1) as zombie:
        messages = [Message(topic("kunlun.tbox-1"), columns(start, n)) for n in (10, 5)]
        batch = Batch(heir.crew._uncounted.high - 1, 0, now_ms(), messages)
        take_in(batch, stores=zombie.acquisition._stores, now=timezone.now())
        for looks in range(2):
            line = account()["kunlun"]
            assert (line.stored, line.duplicate) == (10, 5), looks
            assert miscounted() == []
            assert heir.crew._reconcile()
    assert_closed()


def _enter(batch: int, *, stored: int) -> None:
    said = LedgerEntry("kunlun", batch, now_ms() - 1_000, stored, duplicate=0, quarantined={})
    TelemetryStore().write_ledger([said])


def test_killed_between_the_store_and_its_own_counting(broker: mqtt.Mosquitto) -> None:
    """What no ledger entry tells is entered by the slot's next life."""
    open_session(broker)
    start = now_ms() - 3_600_000
    box = device(broker, "kunlun.tbox-1")
    box.deliver(topic("kunlun.tbox-1"), [columns(start, 100), b"rubbish"])
    with Worker(broker.worker_port) as worker:
        worker.start(ready=False, OHMWATCH_FAULT="after_log")
        assert worker.wait() == -9, worker.tail()
    assert not account()["kunlun"].is_closed, "stored, and not entered"
    with Slot(broker.worker_port):
        until(lambda: received() == 202)
        until(lambda: account()["kunlun"].is_closed)
    line = account()["kunlun"]
    assert (line.stored, line.duplicate) == (100, 100)
    assert line.quarantined == {Reason.UNDECODABLE: 2}
    assert_closed()
    assert_counted()


def test_an_answer_that_never_came_is_looked_up(broker: mqtt.Mosquitto) -> None:
    """A bulk request is carried out and its answer lost: its repeat says "duplicate" to what the
    same batch has stored. The store's own count decides."""
    start = now_ms() - 3_600_000
    box = device(broker, "kunlun.tbox-1")
    with proxy.between(elasticsearch_port()) as way:
        address = elasticsearch_behind(way.port)
        with Slot(broker.worker_port, elasticsearch_url=address):
            way.swallows_answers = True
            box.deliver(topic("kunlun.tbox-1"), [columns(start, 100), b"rubbish"])
            until(lambda: _held("kunlun") == 100, what="stored without an answer")
            way.swallows_answers = False
            until(lambda: received() == 101)
    line = account()["kunlun"]
    assert (line.stored, line.duplicate) == (100, 0)
    assert_closed()
    assert_counted()


def test_killed_between_a_bulk_request_and_its_answer(broker: mqtt.Mosquitto) -> None:
    """The store has carried it out, the worker died before it could know."""
    open_session(broker)
    start = now_ms() - 3_600_000
    box = device(broker, "kunlun.tbox-1")
    with proxy.between(elasticsearch_port()) as way:
        address = elasticsearch_behind(way.port)
        with Worker(broker.worker_port, OHMWATCH_ELASTICSEARCH_URL=address) as worker:
            worker.start()
            way.is_mute = True
            box.deliver(topic("kunlun.tbox-1"), [columns(start, 100), b"rubbish"])
            until(lambda: _held("kunlun") == 100, what="stored without an answer")
            worker.kill()
    assert received() == 0, "nothing of it was entered"
    with Slot(broker.worker_port):
        until(lambda: received() == 201)
        until(lambda: account()["kunlun"].is_closed)
    line = account()["kunlun"]
    assert (line.stored, line.duplicate) == (100, 100)
    assert line.quarantined == {Reason.UNDECODABLE: 1}
    assert_closed()
    assert_counted()


def _held(tenant: str) -> int:
    line = account(tenant).get(tenant)
    return line.held_readings if line else 0


def test_the_command_closes_the_account_or_fails(
    broker: mqtt.Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    start = now_ms() - 3_600_000
    with Slot(broker.worker_port), device(broker, "kunlun.tbox-1") as box:
        box.deliver(topic("kunlun.tbox-1"), [columns(start, 100)])
        until(lambda: received() == 100)
    assert _status_of_account() == 0
    _store_behind_the_ledgers_back(start + 500)
    assert _status_of_account() == 1


def _status_of_account() -> int:
    """The exit status of `manage.py account`."""
    try:
        call_command("account", wait=3.0)
    except SystemExit as left:
        return int(left.code or 0)
    except CommandError as error:
        return error.returncode
    return 0


def _store_behind_the_ledgers_back(time_ms: int, *, batch: int = 1) -> None:
    store = TelemetryStore()
    index = store.reading_index("30d", time_ms)
    document = {
        "@timestamp": time_ms,
        "tenant": "kunlun",
        "connector": str(cast.BENS_CONNECTOR),
        "arrived_at": int(time.time() * 1000) - 1000,
        "batch_id": batch,
        "current_a": 1,
    }
    url = f"{settings.ENVIRONMENT.elasticsearch_url}{index}/_doc?refresh=true"
    httpx.post(url, json=document).raise_for_status()
