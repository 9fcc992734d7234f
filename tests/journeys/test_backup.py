"""A backup of the running product, restored into a stack that has nothing."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.stack import backup, management, owner, restoring, supervisor
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
    return backup.make(product.stack, tmp_path, now=datetime.now(UTC))


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


@pytest.mark.timeout(400)
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
    assert manifest.rows["t_kunlun.alarms_alarm"] >= 0
    assert backup.count_documents(empty) == manifest.documents
    assert sum(manifest.documents.values()) > 1000
    _closes_its_account(empty)
    assert empty.credentials["secret_key"] == product.stack.credentials["secret_key"]

    with pytest.raises(StackError, match="has data"):
        restoring.restore(empty, taken)


def _closes_its_account(stack: Stack) -> None:
    """Once its slots have entered, as they do when they start, what a backup came in between of."""

    def manage(*arguments: str) -> str:
        done = management.manage(stack, *arguments, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)

    manage("shell", "-c", _AS_A_SLOT_STARTS)
    told = manage("account", "--from", "2000-01-01", "--wait", "0", "--json")
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
