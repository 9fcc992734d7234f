"""What workers know of devices, how soon they learn, and what they do without Postgres."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import OperationalError
from django_tenants.utils import tenant_context

from apps.accounts.models import Organisation
from apps.catalog.models import ConnectorModel
from apps.catalog.operations import change_model
from apps.devices import directory as directory_module
from apps.devices.directory import Directory
from apps.devices.models import Channel, Device
from apps.devices.operations import disable_device, enrol_device, map_channel, unmap_channel
from apps.fleet.models import Connector, Vehicle
from apps.fleet.operations import change_vehicle, install_connector, retire_connector
from apps.telemetry.slices import Retention, to_ms
from apps.tenants import changes
from apps.tenants.models import Tenant
from apps.tenants.operations import change_retention
from tests import cast
from tests.clock import Clock, Seconds

Commit = Callable[..., object]


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def directory(kunlun: Tenant, aurora: Tenant, seconds: Seconds) -> Directory:
    loaded = Directory(monotonic=seconds)
    loaded.load()
    return loaded


def learns(directory: Directory, seconds: Seconds) -> bool:
    """Whether it learned something within the two seconds that are promised."""
    found = False
    for _ in range(4):
        seconds.now += 0.5
        found = directory.refresh_if_changed() or found
    return found


def test_an_identity_leads_to_its_own_tenants_device(directory: Directory) -> None:
    ours, theirs = directory.entry("kunlun.tbox-1"), directory.entry("aurora.tbox-1")
    assert ours is not None
    assert theirs is not None
    assert (ours.tenant, theirs.tenant) == ("kunlun", "aurora")
    assert ours.channels[0].dimensions == {
        "model": "HV-250",
        "batch": "2026-03",
        "organisation": str(cast.HARBOUR),
        "vehicle": str(cast.BENS_VEHICLE),
        "position": "traction",
    }
    assert theirs.channels[0].dimensions["batch"] == "CANARY-B-batch"
    assert ours.retention == Retention("30d")


@pytest.mark.parametrize(
    "identity", ["", ".", "kunlun", "kunlun.", ".tbox-1", "nobody.tbox-1", "kunlun.tbox-1.x"]
)
def test_what_is_no_identity_leads_nowhere(directory: Directory, identity: str) -> None:
    assert directory.entry(identity) is None


def test_ratings_are_the_models_and_what_is_missing_is_nan(
    directory: Directory, kunlun: Tenant
) -> None:
    ratings = directory.ratings_of("kunlun", str(cast.BENS_CONNECTOR))
    assert ratings is not None
    assert ratings.rated_current_a == 250
    assert ratings.derating == ((40.0, 250.0), (70.0, 180.0), (85.0, 120.0))
    bare = directory_module.ratings_of_model(ConnectorModel(code="X", position="traction"))
    assert math.isnan(bare.thermal_resistance_k_per_w)
    assert bare.derating == ()


def test_everything_in_service_is_listed_once(directory: Directory) -> None:
    listed = list(directory.connectors())
    assert len(listed) == len(set(listed)) == 6
    assert directory.schema_of("kunlun") == "t_kunlun"


def test_it_learns_of_every_change_within_two_seconds(
    directory: Directory,
    kunlun: Tenant,
    seconds: Seconds,
    clock: Clock,
    django_capture_on_commit_callbacks: Commit,
) -> None:
    @contextmanager
    def committed() -> Iterator[None]:
        with django_capture_on_commit_callbacks(execute=True), tenant_context(kunlun):  # type: ignore[attr-defined]
            yield
        assert learns(directory, seconds)

    with committed():
        box = enrol_device(identifier="tbox-9", now=clock.now).device
    assert directory.entry("kunlun.tbox-9") is not None
    assert directory.entry("aurora.tbox-9") is None

    with committed():
        unmap_channel(device=Device.objects.get(pk=cast.BENS_DEVICE), number=0)
        map_channel(device=box, number=5, connector=Connector.objects.get(pk=cast.BENS_CONNECTOR))
    entry = directory.entry("kunlun.tbox-9")
    assert entry is not None
    assert entry.channels[5].id == str(cast.BENS_CONNECTOR)

    with committed():
        disable_device(device=box)
    entry = directory.entry("kunlun.tbox-9")
    assert entry is not None
    assert not entry.enabled

    with committed():
        install_connector(
            connector=Connector.objects.get(pk=cast.BENS_CONNECTOR),
            vehicle=Vehicle.objects.get(pk=cast.CLARAS_VEHICLE),
            position="inverter",
            now=clock.now,
        )
    moved = directory.connector("kunlun", str(cast.BENS_CONNECTOR))
    assert moved is not None
    assert moved.dimensions["organisation"] == str(cast.CITY)

    with committed():
        change_model(model=ConnectorModel.objects.get(pk=cast.MODEL), temperature_limit_c=100)
    ratings = directory.ratings_of("kunlun", str(cast.BENS_CONNECTOR))
    assert ratings is not None
    assert ratings.temperature_limit_c == 100

    with committed():
        since = change_retention(tenant=kunlun, retention_class="90d", now=clock.now)
    known = directory.tenant("kunlun")
    assert known is not None
    assert known.retention == Retention("90d", (("30d", to_ms(since)),))

    with committed():
        retire_connector(connector=Connector.objects.get(pk=cast.BENS_CONNECTOR))
    assert directory.ratings_of("kunlun", str(cast.BENS_CONNECTOR)) is None
    theirs = directory.ratings_of("aurora", str(cast.BENS_CONNECTOR))
    assert theirs is not None
    assert theirs.temperature_limit_c == 125


def test_it_goes_on_with_what_it_knows_while_postgres_is_away(
    directory: Directory, seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> list[Tenant]:
        raise OperationalError("connection refused")

    with monkeypatch.context() as broken:
        broken.setattr(directory_module, "ready_tenants", away)
        broken.setattr(directory_module.connection, "close", lambda: None)
        seconds.now += 600
        assert not directory.refresh_if_changed()
        assert directory.entry("kunlun.tbox-1") is not None
        assert directory.age_s() == 600
    seconds.now += 1
    assert directory.refresh_if_changed()
    assert directory.age_s() == 0


def test_without_redis_it_reads_again_each_minute(
    directory: Directory,
    seconds: Seconds,
    kunlun: Tenant,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(client: redis.Redis) -> dict[str, int]:
        raise redis.ConnectionError("connection refused")

    monkeypatch.setattr(directory_module, "read_counters", away)
    with tenant_context(kunlun):
        enrol_device(identifier="tbox-9", now=clock.now)
    seconds.now += 2
    directory.refresh_if_changed()
    assert directory.entry("kunlun.tbox-9") is None
    seconds.now += 60
    assert directory.refresh_if_changed()
    assert directory.entry("kunlun.tbox-9") is not None


def test_a_tenant_that_is_no_longer_ready_is_unknown(
    directory: Directory, seconds: Seconds, kunlun: Tenant
) -> None:
    assert directory.knows_tenant("kunlun")
    Tenant.objects.filter(pk=kunlun.pk).update(state="failed")
    seconds.now += 61
    directory.refresh_if_changed()
    assert not directory.knows_tenant("kunlun")
    assert directory.entry("kunlun.tbox-1") is None


def test_a_tenant_that_was_erased_is_unknown_though_its_counter_is_gone(
    directory: Directory, seconds: Seconds, kunlun: Tenant
) -> None:
    changes.count("kunlun")
    changes.count("aurora")
    assert learns(directory, seconds)
    assert not directory.lacks_tenant("kunlun")
    Tenant.objects.filter(pk=kunlun.pk).update(state="failed")
    with redis.Redis.from_url(settings.REDIS_LOG_URL) as client:
        client.hdel("ow:directory", "kunlun")
    assert learns(directory, seconds)
    assert directory.lacks_tenant("kunlun")
    assert directory.knows_tenant("aurora")


def test_before_postgres_was_read_nobody_is_said_to_be_gone(db: None) -> None:
    assert not Directory().lacks_tenant("kunlun")


def test_a_redis_that_was_emptied_is_noticed(directory: Directory, seconds: Seconds) -> None:
    with redis.Redis.from_url(settings.REDIS_LOG_URL) as client:
        client.hset("ow:directory", "kunlun", 7)
    assert learns(directory, seconds)
    with redis.Redis.from_url(settings.REDIS_LOG_URL) as client:
        client.flushdb()
    assert learns(directory, seconds)


def test_what_has_not_changed_stays_the_object_that_it_was(
    directory: Directory, seconds: Seconds, kunlun: Tenant
) -> None:
    """So reading a large fleet once more holds no second copy of it."""
    before = _objects(directory)
    seconds.now += 61
    assert directory.refresh_if_changed()
    assert before == _objects(directory)
    with tenant_context(kunlun):
        Connector.objects.filter(pk=cast.BENS_CONNECTOR).update(batch="2026-04")
    seconds.now += 61
    assert directory.refresh_if_changed()
    ours, theirs = directory.entry("kunlun.tbox-1"), directory.entry("aurora.tbox-1")
    assert ours is not None
    assert ours.channels[0] is directory.connector("kunlun", str(cast.BENS_CONNECTOR))
    changed = {id(ours), id(ours.channels[0])}
    assert _objects(directory) - before == changed
    assert id(theirs) in before


def _objects(directory: Directory) -> set[int]:
    """Which objects entries are; the caller's set is of what lives on in the directory."""
    return {
        id(entry)
        for tenant in directory.tenants()
        for entry in (*tenant.devices.values(), *tenant.connectors.values())
    }


def test_connectors_share_their_model_and_their_vehicle(directory: Directory) -> None:
    tenant = directory.tenant("kunlun")
    assert tenant is not None
    several = list(tenant.connectors.values())
    assert len(several) > len({id(each.ratings) for each in several})
    carriers = {each.carrier.vehicle: each.carrier for each in several if each.carrier}
    for each in several:
        assert each.carrier is None or each.carrier is carriers[each.carrier.vehicle]


def test_a_channel_that_measures_nothing_has_no_connector(
    directory: Directory, seconds: Seconds, kunlun: Tenant
) -> None:
    with tenant_context(kunlun):
        Channel.objects.filter(connector=cast.BENS_CONNECTOR).update(number=63)
        Channel.objects.filter(connector=cast.CLARAS_CONNECTOR).delete()
    seconds.now += 61
    directory.refresh_if_changed()
    box = directory.entry("kunlun.tbox-1")
    assert box is not None
    found = {number: box.connector_on(number) for number in range(70)}
    last = found[63]
    assert last is not None
    assert last.id == str(cast.BENS_CONNECTOR)
    assert found[2] is found[62] is found[64] is found[69] is None
    assert directory.ratings_of("kunlun", str(cast.CLARAS_CONNECTOR)) is not None


def test_only_what_has_changed_is_read_again(
    directory: Directory,
    seconds: Seconds,
    kunlun: Tenant,
    django_capture_on_commit_callbacks: Commit,
) -> None:
    """A row that was changed behind its back shows whether it was read."""
    with django_capture_on_commit_callbacks(execute=True), tenant_context(kunlun):  # type: ignore[attr-defined]
        Device.objects.filter(pk=cast.CLARAS_DEVICE).update(codec="cbor")
        disable_device(device=Device.objects.get(pk=cast.BENS_DEVICE))
    before = _objects(directory)
    assert learns(directory, seconds)
    assert _codecs(directory) == ("json", "json")
    (changed,) = _objects(directory) - before
    assert changed == id(directory.entry("kunlun.tbox-1"))
    seconds.now += 61
    assert directory.refresh_if_changed()
    assert _codecs(directory) == ("json", "cbor")


@pytest.mark.parametrize("loss", ["a note", "the notes", "the counter"])
def test_where_changes_are_missing_all_is_read_again(
    directory: Directory,
    seconds: Seconds,
    kunlun: Tenant,
    loss: str,
    django_capture_on_commit_callbacks: Commit,
) -> None:
    with django_capture_on_commit_callbacks(execute=True), tenant_context(kunlun):  # type: ignore[attr-defined]
        Device.objects.filter(pk=cast.CLARAS_DEVICE).update(codec="cbor")
        disable_device(device=Device.objects.get(pk=cast.BENS_DEVICE))
    with redis.Redis.from_url(settings.REDIS_LOG_URL) as client:
        if loss == "a note":  # as a process of the version before announces
            client.hincrby("ow:directory", "kunlun", 1)
        elif loss == "the notes":
            client.delete("ow:changes:kunlun")
        else:
            client.hset("ow:directory", "kunlun", -1)
    assert learns(directory, seconds)
    assert _codecs(directory) == ("json", "cbor")


def _codecs(directory: Directory) -> tuple[str, ...]:
    found = (directory.entry(f"kunlun.tbox-{number}") for number in (1, 2))
    return tuple(device.codec for device in found if device)


def test_a_vehicles_new_owner_is_that_of_all_that_is_in_it(
    directory: Directory,
    seconds: Seconds,
    kunlun: Tenant,
    django_capture_on_commit_callbacks: Commit,
) -> None:
    with django_capture_on_commit_callbacks(execute=True), tenant_context(kunlun):  # type: ignore[attr-defined]
        change_vehicle(
            vehicle=Vehicle.objects.get(pk=cast.BENS_VEHICLE),
            plate="",
            label="",
            organisation=Organisation.objects.get(pk=cast.CITY),
        )
    assert learns(directory, seconds)
    box = directory.entry("kunlun.tbox-1")
    assert box is not None
    assert box.channels[0] is directory.connector("kunlun", str(cast.BENS_CONNECTOR))
    assert box.channels[0].dimensions["organisation"] == str(cast.CITY)


def test_a_change_is_learned_while_all_is_read(
    directory: Directory,
    seconds: Seconds,
    kunlun: Tenant,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Commit,
) -> None:
    """Between the pages; and what was read of it before is not what stays."""
    seen: list[bool] = []
    pages = directory_module._pages

    def slow_pages(rows: Any) -> Iterator[Any]:
        for page in pages(rows):
            yield page
            if rows.model is Device and not seen:
                with django_capture_on_commit_callbacks(execute=True):  # type: ignore[attr-defined]
                    disable_device(device=Device.objects.get(pk=cast.BENS_DEVICE))
                seconds.now += 1
                yield rows.none()  # a look for changes comes after each page
                seen.append(_is_enabled(directory))

    monkeypatch.setattr(directory_module, "_pages", slow_pages)
    directory.load_only(kunlun)
    assert seen == [False]
    assert not _is_enabled(directory)


def _is_enabled(directory: Directory) -> bool:
    entry = directory.entry("kunlun.tbox-1")
    assert entry is not None
    return entry.enabled


def test_pages_hold_every_device_once(
    directory: Directory, kunlun: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _objects(directory)
    for at_once in (1, 2, 3):
        monkeypatch.setattr(directory_module, "ROWS_AT_ONCE", at_once)
        directory.load()
        assert _objects(directory) == before
