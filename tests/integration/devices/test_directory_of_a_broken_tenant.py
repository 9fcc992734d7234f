"""One tenant's tables are not as they should be: the others are read, and it comes back by itself.

With a real Postgres that refuses: a column is missing, as before a migration, or the schema is not
there.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django_tenants.utils import tenant_context

from apps.devices import directory as directory_module
from apps.devices.directory import Directory
from apps.devices.models import Device
from apps.devices.operations import disable_device
from apps.tenants.models import Tenant
from ohmwatch.refusals import Reason
from tests import cast, mqtt
from tests.acquisition import Slot, account, assert_closed, device, now_ms, reading, topic, until
from tests.clock import Seconds

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def directory(kunlun: Tenant, aurora: Tenant, seconds: Seconds) -> Directory:
    return Directory(monotonic=seconds)


def _run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@contextmanager
def without_a_column() -> Iterator[None]:
    """Aurora's devices lack their codec."""
    _run("ALTER TABLE t_aurora.devices_device RENAME COLUMN codec TO gone")
    try:
        yield
    finally:
        _run("ALTER TABLE t_aurora.devices_device RENAME COLUMN gone TO codec")


@contextmanager
def without_its_schema() -> Iterator[None]:
    """Aurora's schema is not there."""
    _run("ALTER SCHEMA t_aurora RENAME TO a_aurora")
    try:
        yield
    finally:
        _run("ALTER SCHEMA a_aurora RENAME TO t_aurora")


BREAKS: list[Any] = [without_a_column, without_its_schema]


def disable(tenant: Tenant) -> None:
    with tenant_context(tenant):
        disable_device(device=Device.objects.get(pk=cast.BENS_DEVICE))


def is_enabled(directory: Directory, identity: str) -> bool:
    entry = directory.entry(identity)
    assert entry is not None
    return entry.enabled


def looks(directory: Directory, seconds: Seconds, for_s: float) -> None:
    """As often as a worker looks, for so long."""
    for _ in range(int(for_s / 0.5)):
        seconds.now += 0.5
        directory.refresh_if_changed()


@pytest.mark.parametrize("broken", BREAKS)
def test_others_changes_are_learned_within_two_seconds(
    directory: Directory,
    seconds: Seconds,
    kunlun: Tenant,
    aurora: Tenant,
    broken: Callable[[], Any],
) -> None:
    directory.load()
    with broken():
        seconds.now += 61  # all is read anew, and Aurora can't be
        assert directory.refresh_if_changed()
        assert directory.age_s() == 0
        disable(kunlun)
        looks(directory, seconds, 2.0)
        assert not is_enabled(directory, "kunlun.tbox-1")
        assert is_enabled(directory, "aurora.tbox-1"), "it stays as it was"
    disable(aurora)
    looks(directory, seconds, directory_module.UNREAD_RETRY_S)
    assert not is_enabled(directory, "aurora.tbox-1"), "and is read again by itself"


def test_a_change_of_a_broken_tenant_is_not_forgotten(
    directory: Directory, seconds: Seconds, aurora: Tenant
) -> None:
    directory.load()
    disable(aurora)
    with without_a_column():
        looks(directory, seconds, 2.0)
        assert is_enabled(directory, "aurora.tbox-1")
    looks(directory, seconds, directory_module.UNREAD_RETRY_S)
    assert not is_enabled(directory, "aurora.tbox-1")


def test_a_tenant_whose_schema_goes_while_it_is_read_vanishes_with_it(
    directory: Directory, seconds: Seconds, kunlun: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.load()
    pages = directory_module._pages

    def interrupted(rows: Any) -> Iterator[Any]:
        if rows.model is Device and connection.schema_name == "t_aurora":  # type: ignore[attr-defined]
            _run("ALTER SCHEMA t_aurora RENAME TO a_aurora")
        return pages(rows)

    try:
        with monkeypatch.context() as patched:
            patched.setattr(directory_module, "_pages", interrupted)
            seconds.now += 61
            assert directory.refresh_if_changed()
        assert is_enabled(directory, "aurora.tbox-1"), "nobody has said yet that it is gone"
        assert is_enabled(directory, "kunlun.tbox-1")
        Tenant.objects.filter(slug="aurora").update(state="failed")
        looks(directory, seconds, directory_module.UNREAD_RETRY_S)
        assert not directory.knows_tenant("aurora")
        assert is_enabled(directory, "kunlun.tbox-1")
    finally:
        _run("ALTER SCHEMA a_aurora RENAME TO t_aurora")


def test_at_first_it_waits_for_a_while(directory: Directory, seconds: Seconds) -> None:
    """A migration may be under way, and what is unknown would be quarantined."""
    with without_a_column():
        with pytest.raises(DatabaseError, match="aurora"):
            directory.load()
        assert not directory.is_loaded
        seconds.now += directory_module.FIRST_PATIENCE_S
        directory.load()
        assert is_enabled(directory, "kunlun.tbox-1")
        assert directory.knows_tenant("aurora"), "so its own quarantine takes what it sends"
        assert directory.entry("aurora.tbox-1") is None
    looks(directory, seconds, directory_module.UNREAD_RETRY_S)
    assert is_enabled(directory, "aurora.tbox-1")


def test_where_no_tenant_can_be_read_it_goes_on_waiting(
    directory: Directory, seconds: Seconds
) -> None:
    Tenant.objects.filter(slug="kunlun").update(state="failed")
    with without_a_column():
        for _ in range(3):
            with pytest.raises(DatabaseError):
                directory.load()
            assert not directory.refresh_if_changed()
            seconds.now += directory_module.FIRST_PATIENCE_S
    directory.load()
    assert is_enabled(directory, "aurora.tbox-1")


@pytest.mark.usefixtures("empty_elasticsearch", "kunlun", "aurora")
def test_readings_of_others_go_through(
    broker: mqtt.Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_module, "FIRST_PATIENCE_S", 0.5)
    monkeypatch.setattr(directory_module, "UNREAD_RETRY_S", 0.5)
    with without_a_column(), Slot(broker.worker_port) as slot:
        device(broker, "kunlun.tbox-1").deliver(topic("kunlun.tbox-1"), [reading(now_ms())])
        device(broker, "aurora.tbox-1").deliver(topic("aurora.tbox-1"), [reading(now_ms())])
        until(lambda: {"kunlun", "aurora"} <= account().keys())
        time.sleep(1)  # in which it tries again, in vain, and must not end
        assert slot.deaths == []
    assert account()["kunlun"].stored == 1
    assert account()["aurora"].quarantined == {Reason.UNKNOWN_DEVICE: 1}
    assert_closed()
