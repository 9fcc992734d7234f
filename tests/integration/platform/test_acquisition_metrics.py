"""What acquisition puts up in Redis, Prometheus can read; and every metric is documented."""

import re
from pathlib import Path

import pytest
import redis
from django.test import Client
from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.devices.models import Device
from apps.devices.operations import disable_device
from apps.platform.acquisition import counts, slots
from apps.tenants.models import Tenant
from deploy.stack.status import slot_in_words
from ohmwatch.refusals import Reason
from tests import cast, mqtt
from tests.acquisition import (
    Slot,
    Worker,
    account,
    assert_closed,
    assert_counted,
    device,
    elasticsearch_behind,
    elasticsearch_port,
    now_ms,
    open_session,
    postgres_behind,
    reading,
    received,
    topic,
    until,
)
from tests.faults import nemesis, proxy

TBOX = topic("kunlun.tbox-1")
DOCS = Path(__file__).parents[3] / "docs" / "operations.md"


def metrics(client: Client) -> str:
    return client.get("/metrics").content.decode()


@pytest.mark.usefixtures("kunlun", "empty_elasticsearch")
def test_every_reading_is_counted_by_what_became_of_it(
    broker: mqtt.Mosquitto, client: Client, redis_log: redis.Redis
) -> None:
    now = now_ms()
    with Slot(broker.worker_port), device(broker, "kunlun.tbox-1") as box:
        good = [reading(now), reading(now), reading(now - 2 * 3_600_000)]
        box.deliver(TBOX, [*good, reading(now, current_a=9_999), b"rubbish"])
        until(lambda: received() == 5)
        until(lambda: any(each.connected for each in slots(redis_log, now_ms=now_ms())))
        said = metrics(client)
    assert 'ohmwatch_readings_total{outcome="received",tenant="kunlun"} 5.0' in said
    assert 'ohmwatch_readings_total{outcome="stored",tenant="kunlun"} 2.0' in said
    assert 'ohmwatch_readings_total{outcome="duplicate",tenant="kunlun"} 1.0' in said
    assert 'ohmwatch_readings_total{outcome="late",tenant="kunlun"} 1.0' in said
    for reason in (Reason.OUT_OF_RANGE, Reason.UNDECODABLE):
        counted = f'ohmwatch_readings_quarantined_total{{reason="{reason}",tenant="kunlun"}} 1.0'
        assert counted in said
    assert 'ohmwatch_acquisition_connected{slot="0"} 1.0' in said
    (lag_s,) = re.findall(r'readings_lag_seconds{tenant="kunlun"} ([\d.]+)', said)
    assert 0 <= float(lag_s) < 60
    (kunlun,) = counts(redis_log)
    found = kunlun.outcomes
    assert found["received"] == found["stored"] + found["duplicate"] + 2


@pytest.mark.usefixtures("kunlun", "empty_elasticsearch")
def test_a_worker_says_which_store_it_waits_for(
    broker: mqtt.Mosquitto, client: Client, redis_log: redis.Redis
) -> None:
    with proxy.between(elasticsearch_port()) as way:
        address = elasticsearch_behind(way.port)
        with Slot(broker.worker_port, elasticsearch_url=address) as slot:
            way.cut()
            began = now_ms()
            device(broker, "kunlun.tbox-1").deliver(TBOX, [reading(now_ms())])
            until(lambda: "elasticsearch" in slot.crew.state()["holding"])
            until(lambda: "holding_seconds{" in metrics(client), within_s=5)
            (told,) = slots(redis_log, now_ms=now_ms())
            assert began - 1_000 <= told.holding["elasticsearch"] <= now_ms()
            assert told.waiting_messages == 1
            way.mend()
            until(lambda: received() == 1)
            until(lambda: slot.crew.state()["holding"] == {})


@pytest.mark.usefixtures("empty_elasticsearch")
@pytest.mark.django_db(transaction=True)
def test_what_is_said_by_nobody_is_counted_and_is_no_part_of_the_account(
    broker: mqtt.Mosquitto, kunlun: Tenant, client: Client
) -> None:
    with tenant_context(kunlun):
        disable_device(device=Device.objects.get(pk=cast.CLARAS_DEVICE))
    online = b'{"online": true}'
    with Slot(broker.worker_port):
        for identity in ("kunlun.stranger", "kunlun.tbox-2", "nowhere.tbox-1"):
            with device(broker, identity) as one:
                one.deliver(topic(identity, "status"), [online, online])
                one.deliver(topic(identity, "events"), [b"{}"])
        with device(broker, "kunlun.tbox-1") as known:
            known.deliver(topic("kunlun.tbox-1", "status"), [online, b"rubbish"])
            known.deliver(TBOX, [reading(now_ms())])
        until(lambda: received() == 1)
        until(lambda: 'unheard_total{kind="status",reason="undecodable"' in metrics(client))
        said = metrics(client)
    counted = "ohmwatch_messages_unheard_total"
    for labels, number in {
        'kind="status",reason="unknown_device",tenant="kunlun"': 2,
        'kind="events",reason="unknown_device",tenant="kunlun"': 1,
        'kind="status",reason="device_disabled",tenant="kunlun"': 2,
        'kind="events",reason="device_disabled",tenant="kunlun"': 1,
        'kind="status",reason="unknown_tenant",tenant="_platform"': 2,
        'kind="events",reason="unknown_tenant",tenant="_platform"': 1,
        'kind="status",reason="undecodable",tenant="kunlun"': 1,
    }.items():
        assert f"{counted}{{{labels}}} {number}.0" in said
    assert account().keys() == {"kunlun"}
    assert_closed()
    assert_counted()


@pytest.mark.usefixtures("kunlun", "empty_elasticsearch")
@pytest.mark.parametrize("store", ["elasticsearch", "postgres"])
def test_a_worker_that_starts_while_a_store_is_away_says_so(
    broker: mqtt.Mosquitto, operator: User, client: Client, redis_log: redis.Redis, store: str
) -> None:
    open_session(broker)
    device(broker, "kunlun.tbox-1").deliver(TBOX, [reading(now_ms())])
    with proxy.between(nemesis.ports()[store]) as way:
        way.cut()
        behind = elasticsearch_behind if store == "elasticsearch" else postgres_behind
        address = {f"OHMWATCH_{store.upper()}_URL": behind(way.port)}
        with Worker(broker.worker_port, **address) as worker:
            began = now_ms()
            worker.start(ready=False)
            until(lambda: store in worker.state().get("holding", {}), what=f"holding for {store}")  # type: ignore[operator]
            (told,) = slots(redis_log, now_ms=now_ms())
            assert began <= told.holding[store] <= now_ms()
            assert (told.connected, told.reading) == (False, False)
            words = slot_in_words(worker.state(), now_ms=began + 3_600_000)
            assert re.fullmatch(rf"starting, holding for 59m \d+s: {store}", words)
            said = metrics(client)
            assert f'holding_seconds{{slot="0",store="{store}"}}' in said
            assert 'ohmwatch_acquisition_connected{slot="0"} 0.0' in said
            assert "directory_age_seconds{" not in said, "it has none yet"
            client.force_login(operator)
            page = client.get("/readiness/", headers={"host": "localhost"}).content.decode()
            assert f"Waits for {store}; nothing is lost." in page
            way.mend()
            until(lambda: received() == 1)
            until(lambda: worker.state()["holding"] == {} and "starting" not in worker.state())
            assert worker.stop() == 0
    assert_closed()
    assert_counted()


@pytest.mark.usefixtures("kunlun", "empty_elasticsearch")
def test_the_lag_is_that_of_the_newest_reading_that_can_be_true(
    broker: mqtt.Mosquitto, redis_log: redis.Redis
) -> None:
    hour = 3_600_000
    now = now_ms()
    with (
        Slot(broker.worker_port),
        device(broker, "kunlun.tbox-1") as box,
        device(broker, "kunlun.tbox-2") as ahead,
    ):
        box.deliver(TBOX, [reading(now - 3 * hour), reading(now - 2 * hour)])
        until(lambda: received() == 2)
        ahead.deliver(topic("kunlun.tbox-2"), [reading(now + hour)])
        until(lambda: received() == 3)
    (kunlun,) = counts(redis_log)
    assert kunlun.lag_s is not None
    assert 7_200 <= kunlun.lag_s < 7_300


def test_without_redis_there_are_the_other_metrics(
    client: Client, db: None, settings: object
) -> None:
    settings.REDIS_LOG_URL = "redis://127.0.0.1:1/0"  # type: ignore[attr-defined]
    said = metrics(client)
    assert "python_info" in said
    assert "ohmwatch_readings" not in said
    assert "ohmwatch_detection" not in said


@pytest.mark.usefixtures("db")
def test_every_metric_of_acquisition_is_documented(client: Client, redis_log: redis.Redis) -> None:
    redis_log.hset("ow:counts:kunlun", mapping={"stored": 1, "quarantined:too_large": 1})
    redis_log.set("ow:acquisition:0", '{"at_ms": 1, "holding": {"redis": 1}}')
    pattern = r"^# TYPE (ohmwatch_(?:readings|messages|acquisition)\w*)"
    names = set(re.findall(pattern, metrics(client), re.M))
    assert len(names) == 13
    documented = DOCS.read_text()
    assert {name for name in names if f"`{name}`" not in documented} == set()


def test_the_operator_sees_slots_and_counts(
    operator: User, client: Client, redis_log: redis.Redis
) -> None:
    redis_log.hset(
        "ow:counts:kunlun",
        mapping={"received": 7, "stored": 4, "duplicate": 1, "quarantined:too_large": 2},
    )
    redis_log.set(
        "ow:acquisition:3", '{"connected": true, "waiting_messages": 5, "holding": {"redis": 1}}'
    )
    client.force_login(operator)
    shown = client.get("/readiness/", headers={"host": "localhost"}).content.decode()
    assert "Waits for redis; nothing is lost." in shown
    row = shown[shown.index("kunlun") :]
    numbers = re.findall(r'class="number"[^>]*>(\d+)<', row)
    assert numbers == ["7", "4", "1", "2", "0"]
