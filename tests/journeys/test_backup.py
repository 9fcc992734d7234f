"""A backup of the running product, restored into a stack that has nothing."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.stack import (
    backup,
    elasticsearch_node,
    management,
    owner,
    restoring,
    supervisor,
)
from deploy.stack.errors import StackError
from deploy.stack.layout import RUN, Home
from deploy.stack.ports import Ports, free_base
from deploy.stack.stack import Shape, Stack
from deploy.stack.up import bring_down
from tests.journeys.product import Product
from tests.workers import until


@pytest.fixture
def taken(product: Product, tmp_path: Path) -> Path:
    until(lambda: sum(backup.count_documents(product.stack).values()) > 1000, 120, "no readings")
    until(lambda: _has_been_warned(product.stack), 240, "detection has told of nothing")
    return backup.make(product.stack, tmp_path, now=datetime.now(UTC))


def _has_been_warned(stack: Stack) -> bool:
    """Whether detection has a checkpoint and alarms, and the store some of their events."""
    with backup.postgres_of(stack) as connection:
        counts = backup.count_rows(connection)
    has_judged = counts["public.partitions_checkpoint"] and counts["t_kunlun.alarms_alarm"]
    return bool(has_judged and backup.count_documents(stack).get("events-1"))


@pytest.fixture
def empty() -> Iterator[Stack]:
    """A stack without anything, stores only."""
    home = Home(RUN / "test" / "restored")
    shape = Shape(durable=False, heap="512m", product=False)
    stack = Stack(home, owner.current(), Ports.from_base(free_base()), shape=shape)
    bring_down(stack)
    shutil.rmtree(home.path, ignore_errors=True)
    yield stack
    bring_down(stack)


@pytest.mark.timeout(700)
def test_what_was_backed_up_is_there_again(product: Product, taken: Path, empty: Stack) -> None:
    workers = {"acquisition-0", "detection-0", "notification", "upkeep", "scheduler"}
    states = {each.name: each.state for each in supervisor.every_state(product.stack)}
    assert {states[name] for name in workers} <= {"RUNNING", "STARTING"}, "the product goes on"

    manifest = restoring.restore(empty, taken)

    with backup.postgres_of(empty) as connection:
        assert backup.count_rows(connection) == manifest.rows
        waiting = connection.execute(
            "SELECT count(*) FROM t_kunlun.notifications_delivery WHERE state IN ('due', 'sending')"
        ).fetchone()
    assert waiting == (0,), "a restore wakes nobody"
    assert backup.count_documents(empty) == manifest.documents
    assert sum(manifest.documents.values()) > 1000
    _holds_the_same_readings(product.stack, empty, until=manifest.made_at)
    _stores_agree(empty)
    _closes_its_account(empty)
    assert empty.credentials["secret_key"] == product.stack.credentials["secret_key"]

    with pytest.raises(StackError, match="has data"):
        restoring.restore(empty, taken)


def _holds_the_same_readings(source: Stack, restored: Stack, *, until: str) -> None:
    """Connector by connector, of what had arrived when the backup began: the source goes on."""
    before, after = (_readings_by_connector(stack, until) for stack in (source, restored))
    assert before.keys() == after.keys()
    assert len(before) > 10
    for name, expected in before.items():
        assert after[name] == pytest.approx(expected), name


def _readings_by_connector(stack: Stack, until: str) -> dict[str, dict[str, float]]:
    """Count, times and temperatures of each, as `<tenant>/<connector>`."""
    until_ms = int(datetime.fromisoformat(until).timestamp() * 1000)
    by = [{name: {"terms": {"field": name}}} for name in ("tenant", "connector")]
    said = {
        name.strip("@"): {"stats": {"field": name}}
        for name in ("@timestamp", "arrived_at", "temperature_pos_c", "current_a")
    }
    asked = {
        "size": 0,
        "query": {"range": {"arrived_at": {"lt": until_ms}}},
        "aggs": {"each": {"composite": {"size": 10_000, "sources": by}, "aggs": said}},
    }
    with elasticsearch_node.client(stack) as client:
        answer = client.post("/*readings-*/_search", json=asked).raise_for_status().json()
    return {
        f"{each['key']['tenant']}/{each['key']['connector']}": {
            f"{name}_{part}": each[name][part] or 0.0
            for name in said
            for part in ("count", "min", "max", "sum")
        }
        for each in answer["aggregations"]["each"]["buckets"]
    }


def _stores_agree(stack: Stack) -> None:
    """Postgres and Elasticsearch are of one moment: neither knows what the other doesn't."""
    told = _manage(stack, "shell", "-c", _WHAT_EACH_STORE_KNOWS)
    said = json.loads(told[told.index("{") :])
    assert said["connectors"] > 0, "checkpoints know of connectors"
    assert said["clocks_without_a_reading"] == []
    assert said["judged_more_than_stored"] == []
    assert said["alarms"] > 0, "the demo has faults"
    assert said["events_of_nothing"] == []
    assert said["events_not_indexed"] == []
    assert said["states_that_count_other_alarms"] == []


_WHAT_EACH_STORE_KNOWS = """
import json
from collections import defaultdict
from datetime import UTC, datetime
from django.db.models import Count
from django_tenants.utils import tenant_context
from apps.alarms.models import Alarm, AlarmEvent, Consumer, Outbox, OutboxState, State
from apps.partitions.models import Checkpoint
from apps.telemetry.leaving import PARTS, TenantExport, Wanted
from apps.telemetry.store import the_store
from apps.tenants.queries import ready_tenants
from ohmwatch.watch import Watch
from workers.detection.gathering import key_of
from workers.detection.panel import DETECTORS

the_store().refresh()
said = defaultdict(list)
clocks = defaultdict(dict)
for row in Checkpoint.objects.all():
    watch = Watch.load(bytes(row.state), DETECTORS, keep_absent=True)
    for name in watch.connectors:
        slug, connector = key_of(name)
        clocks[slug][connector] = watch.clock_ms(name), watch.judged(name)

everything = Wanted(datetime(2000, 1, 1, tzinfo=UTC))
alarms = 0
for tenant in ready_tenants():
    telemetry = TenantExport(tenant.slug)
    own = clocks[tenant.slug]
    spans = {name: [(at, at + 1), (0, at + 1)] for name, (at, _) in own.items()}
    for name, (there, stored) in telemetry.counts(spans).items():
        if there != 1:
            said["clocks_without_a_reading"].append([tenant.slug, name, own[name]])
        if own[name][1] > stored:
            said["judged_more_than_stored"].append([tenant.slug, name, own[name], stored])
    part = PARTS["events"]
    indexed = {
        hit["_source"]["event"]
        for day in telemetry.days(part, everything)
        for page in telemetry.documents(part, everything, day)
        for hit in page
    }
    with tenant_context(tenant):
        told = {str(key) for key in AlarmEvent.objects.values_list("pk", flat=True)}
        waits = Outbox.objects.filter(consumer=Consumer.INDEX).exclude(state=OutboxState.DONE)
        waiting = {str(key) for key in waits.values_list("event", flat=True)}
        unsettled = {str(key) for key in waits.values_list("event__alarm__connector", flat=True)}
        is_open = Alarm.objects.filter(state=State.OPEN).values_list("connector")
        opened = {str(key): number for key, number in is_open.annotate(Count("pk"))}
        alarms += Alarm.objects.count()
    said["events_of_nothing"] += sorted(indexed - told)
    said["events_not_indexed"] += sorted(told - indexed - waiting)
    for name, state in telemetry.latest(sorted(own)).items():
        if name not in unsettled and state.open_alarms != opened.get(name, 0):
            said["states_that_count_other_alarms"].append([tenant.slug, name])

names = ("clocks_without_a_reading", "judged_more_than_stored", "events_of_nothing",
         "events_not_indexed", "states_that_count_other_alarms")
found = {name: said[name][:10] for name in names}
print(json.dumps({"connectors": sum(map(len, clocks.values())), "alarms": alarms, **found}))
"""


def _manage(stack: Stack, *arguments: str) -> str:
    done = management.manage(stack, *arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


def _closes_its_account(stack: Stack) -> None:
    """Once its slots have entered, as they do when they start, what a backup came in between of."""
    _manage(stack, "shell", "-c", _AS_A_SLOT_STARTS)
    told = _manage(stack, "account", "--from", "2000-01-01", "--wait", "0", "--json")
    said = json.loads(told[told.index("{") :])
    assert said["closed"]
    assert said["lines"][-1]["received"] > 1000


_AS_A_SLOT_STARTS = """
import time
from apps.telemetry.store import the_store
from workers.acquisition.reconciling import enter_missing, former_lives
for slot in range(2):
    lives = former_lives(the_store(), slot=slot, now_ms=time.time_ns() // 1_000_000)
    enter_missing(the_store(), lives)
"""


@pytest.mark.timeout(200)
def test_a_backup_that_is_not_whole_is_refused(taken: Path, empty: Stack) -> None:
    said = json.loads((taken / backup.MANIFEST).read_text())

    def refused(match: str) -> None:
        with pytest.raises(StackError, match=match):
            restoring.restore(empty, taken)
        assert not (empty.home.data / "postgres").exists()

    (taken / backup.MANIFEST).write_text(json.dumps({**said, "format": backup.FORMAT + 1}))
    refused("newer Ohmwatch")
    newer = {**said, "migrations": [*said["migrations"], "fleet.9999_from_the_future"]}
    (taken / backup.MANIFEST).write_text(json.dumps(newer))
    refused("9999_from_the_future")
    (taken / backup.MANIFEST).write_text(json.dumps(said))
    with (taken / "public.dump").open("r+b") as file:
        file.write(b"\0")
    refused("damaged")
    (taken / "public.dump").unlink()
    refused("not copied whole")
    (taken / backup.MANIFEST).unlink()
    refused("no finished backup")
