"""Promise 5: an alarm is never lost and never doubled, whoever dies in between."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.alarms import operations, outbox, signals
from apps.alarms.models import Alarm, AlarmEvent, Consumer, EventCounter, Outbox
from apps.live import relay
from apps.notifications import operations as notifications
from apps.notifications.models import Delivery
from apps.tenants.models import Tenant
from config.celery import app as celery
from tests import cast
from tests.browser import Page, page, session_of, web_server
from tests.contacts import contact
from tests.findings import CRITICAL, NOTICE, OVER, WARNING, finding
from tests.outside import MailServer, Scene, SmsGateway, mail_server, sms_gateway
from tests.workers import celery_worker, kill, until

pytestmark = pytest.mark.django_db(transaction=True)


def happens(tenant: Tenant, severity: object = WARNING, **more: object) -> list[AlarmEvent]:
    now = datetime.now(UTC)
    with tenant_context(tenant):
        said = finding(severity, at=now, **more)  # type: ignore[arg-type]
        return operations.apply_findings([said], judged_at=now)


def in_threads(tenant: Tenant, tasks: list[Callable[[], Any]]) -> list[Any]:
    """Each on a thread and a connection of its own, all let go at one moment."""
    gate = threading.Barrier(len(tasks))

    def run(task: Callable[[], Any]) -> Any:
        try:
            with tenant_context(tenant):
                gate.wait(timeout=20)
                return task()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(run, tasks))


# --- never doubled --------------------------------------------------------------------------------


def test_two_workers_at_once_open_one_alarm(kunlun: Tenant) -> None:
    now = datetime.now(UTC)
    for round_ in range(10):
        said = finding(WARNING, at=now, condition=f"plugin_{round_}")
        written = in_threads(
            kunlun, [lambda said=said: operations.apply_findings([said], judged_at=now)] * 2
        )
        assert sorted(len(events) for events in written) == [0, 1]
    with tenant_context(kunlun):
        assert Alarm.objects.count() == AlarmEvent.objects.count() == 10


def test_fifty_acknowledgements_at_once_are_one_event(kunlun: Tenant, ben: User) -> None:
    happens(kunlun)
    now = datetime.now(UTC)

    def acknowledge() -> AlarmEvent | None:
        return operations.acknowledge(user=ben, alarm=Alarm.objects.get(), now=now)

    outcomes: list[AlarmEvent | None] = []
    for _ in range(10):  # five at a time: the pool has eight connections
        outcomes += in_threads(kunlun, [acknowledge] * 5)
    assert len([event for event in outcomes if event is not None]) == 1
    with tenant_context(kunlun):
        assert AlarmEvent.objects.filter(kind="acknowledged").count() == 1


def test_numbers_appear_in_order_and_without_a_gap(kunlun: Tenant) -> None:
    """Whoever reads at any instant sees 1..n: so `after=n` never skips what commits later."""
    now = datetime.now(UTC)
    done = threading.Event()
    seen: list[list[int]] = []

    def write(worker: int) -> Callable[[], None]:
        def write_some() -> None:
            for number in range(8):
                said = finding(WARNING, at=now, condition=f"plugin_{worker}_{number}")
                with transaction.atomic():
                    operations.apply_findings([said], judged_at=now)
                    if number % 3 == 2:
                        transaction.set_rollback(True)

        return write_some

    def read() -> None:
        while not done.is_set():
            seen.append(list(AlarmEvent.objects.values_list("number", flat=True)))

    def write_all() -> None:
        try:
            with ThreadPoolExecutor(3) as pool:
                list(pool.map(lambda worker: in_threads(kunlun, [write(worker)]), range(3)))
        finally:
            done.set()

    in_threads(kunlun, [read, write_all])
    assert seen
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in seen)
    with tenant_context(kunlun):
        assert EventCounter.objects.get().last == AlarmEvent.objects.count() == 18


# --- never lost -----------------------------------------------------------------------------------


def test_what_is_rolled_back_was_never_said(kunlun: Tenant) -> None:
    heard: list[object] = []

    def listen(**event: object) -> None:
        heard.append(event)

    signals.events_written.connect(listen)
    try:
        with tenant_context(kunlun), transaction.atomic():
            happens(kunlun)
            transaction.set_rollback(True)
        assert heard == []
        with tenant_context(kunlun):
            assert not Alarm.objects.exists()
            assert not Outbox.objects.exists()
        happens(kunlun)
        assert len(heard) == 1
    finally:
        signals.events_written.disconnect(listen)


def test_alarm_and_outbox_stand_or_fall_together(
    kunlun: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Outbox.objects, "bulk_create", fail)
        with pytest.raises(OSError, match="disk"):
            happens(kunlun)
    with tenant_context(kunlun):
        assert not Alarm.objects.exists()
        assert not AlarmEvent.objects.exists()


def test_a_broker_that_is_away_delays_and_loses_nothing(
    kunlun: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise OSError("Redis is away")

    with monkeypatch.context() as patch:
        patch.setattr(celery, "send_task", away)
        patch.setattr(relay, "push", away)
        [event] = happens(kunlun)
    assert event.number == 1
    with tenant_context(kunlun):
        now = datetime.now(UTC)
        for consumer in Consumer:
            assert outbox.due(consumer, now=now).count() == 1


def test_a_crash_while_planning_plans_again(
    kunlun: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tenant_context(kunlun):
        contact()
    happens(kunlun)
    now = datetime.now(UTC)

    def dies(*_: object, **__: object) -> None:
        raise SystemExit

    with tenant_context(kunlun):
        with monkeypatch.context() as patch:
            patch.setattr(Delivery.objects, "bulk_create", dies)
            with pytest.raises(SystemExit):
                notifications.plan_due(now=now)
        assert notifications.plan_due(now=now) == 1
        assert Delivery.objects.count() == 1


# --- the notification worker, killed for real -----------------------------------------------------


@pytest.fixture
def mails() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def gateway() -> Iterator[SmsGateway]:
    with sms_gateway() as server:
        yield server


@pytest.fixture
def outside(mails: MailServer, gateway: SmsGateway) -> dict[str, str]:
    """What tells a worker process where the outside is."""
    return {
        "OHMWATCH_EMAIL_URL": f"smtp://127.0.0.1:{mails.port}",
        "OHMWATCH_SMS_GATEWAY_URL": gateway.url,
        "OHMWATCH_SMS_GATEWAY_TOKEN": gateway.token,
    }


def kill_and_start_again(
    kunlun: Tenant, scene: Scene, at: threading.Event, outside: dict[str, str], logs: Path
) -> None:
    """A worker dies at this point; what it held lapses; another one sweeps."""
    with celery_worker("notification", outside, log=logs / "first.log") as worker:
        happens(kunlun, CRITICAL)
        assert at.wait(30), (logs / "first.log").read_text()
        kill(worker)
    with tenant_context(kunlun):
        held = Delivery.objects.get()
        assert (held.state, held.attempt) == (Delivery.State.SENDING, 1)
        past = datetime.now(UTC) - timedelta(seconds=1)
        Delivery.objects.update(leased_until=past)  # rather than to wait for a minute
    scene.live_on()
    with celery_worker("notification", outside, log=logs / "second.log"):
        celery.send_task("notification.sweep", queue="notification")
        until(lambda: _states(kunlun) == ["sent"], 30, (logs / "second.log").read_text())


def _states(tenant: Tenant) -> list[str]:
    with tenant_context(tenant):
        return list(Delivery.objects.values_list("state", flat=True))


@pytest.mark.fault
@pytest.mark.parametrize("said_before", [0, 1], ids=["after the claim", "after the gateway"])
def test_a_killed_worker_loses_no_sms_and_repeats_under_one_key(
    kunlun: Tenant,
    gateway: SmsGateway,
    outside: dict[str, str],
    tmp_path: Path,
    said_before: int,
) -> None:
    scene = gateway.scene
    (scene.hang_after if said_before else scene.hang_before).set()
    with tenant_context(kunlun):
        contact("sms", "+4915112345678")
    at = scene.heard if said_before else scene.asked
    kill_and_start_again(kunlun, scene, at, outside, tmp_path)
    assert len(gateway.calls) == said_before + 1
    assert len(gateway.taken) == 1  # one message on the phone, in either case
    [key] = gateway.taken
    with tenant_context(kunlun):
        sent = Delivery.objects.get()
        assert (str(sent.pk), sent.attempt, sent.receipt) == (key, 2, f"sms-{key}")


@pytest.mark.fault
@pytest.mark.parametrize("said_before", [0, 1], ids=["after the claim", "after the server"])
def test_a_killed_worker_loses_no_mail_and_repeats_under_one_message_id(
    kunlun: Tenant,
    mails: MailServer,
    outside: dict[str, str],
    tmp_path: Path,
    said_before: int,
) -> None:
    scene = mails.scene
    (scene.hang_after if said_before else scene.hang_before).set()
    with tenant_context(kunlun):
        contact()
    at = scene.heard if said_before else scene.asked
    kill_and_start_again(kunlun, scene, at, outside, tmp_path)
    assert len(mails.mails) == said_before + 1
    assert len({mail["Message-ID"] for mail in mails.mails}) == 1


@pytest.mark.fault
def test_a_storm_through_a_real_worker_is_one_message_a_contact(
    kunlun: Tenant, mails: MailServer, gateway: SmsGateway, outside: dict[str, str], tmp_path: Path
) -> None:
    with tenant_context(kunlun):
        contact()
        contact("sms", "+4915112345678")
        now = datetime.now(UTC)
        storm = [finding(WARNING, at=now, condition=f"plugin_{n}") for n in range(1000)]
        operations.apply_findings(storm, judged_at=now)
    with celery_worker("notification", outside, log=tmp_path / "worker.log"):
        until(lambda: set(_states(kunlun)) == {"sent"}, 60, (tmp_path / "worker.log").read_text())
    assert len(_states(kunlun)) == 2000
    assert (len(mails.mails), len(gateway.calls)) == (1, 1)
    assert "999 more alarms" in gateway.calls[0]["text"]


def test_a_tenant_that_is_gone_ends_its_task(db: None) -> None:
    from workers.notification.deliver import deliver

    deliver(schema="t_gone", of_a_later_version=True)


# --- browsers -------------------------------------------------------------------------------------


class Browser:
    """What a page does with what it hears: fetches when its last number is behind."""

    def __init__(self, page: Page) -> None:
        self.page, self.last, self.got = page, 0, dict[int, str]()

    def take(self, message: dict[str, Any]) -> bool:
        number = message.get("number", 0)
        if message["type"] == "alarm" and message["previous"] <= self.last:
            self.got[number] = message["kind"]
            self.last = max(self.last, number)
        elif number > self.last:
            self.page.say({"after": self.last})
        return False

    def has_all(self, count: int) -> None:
        def all_there(message: dict[str, Any]) -> bool:
            self.take(message)
            return self.last >= count

        self.page.hear(all_there, within_s=20)


def test_a_browser_gets_every_event_through_a_layer_that_drops(
    kunlun: Tenant, ben: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.live import consumer

    monkeypatch.setattr(consumer, "CHECKED_EVERY_S", 0.5)
    dice, push, dropped = random.Random(5), relay.push, []

    def drops(schema: str, events: list[AlarmEvent]) -> None:
        if dice.random() < 0.6:
            dropped.append(len(events))
        else:
            push(schema, events)

    monkeypatch.setattr(relay, "push", drops)
    with web_server() as port, page(port, session=session_of(kunlun, ben)) as opened:
        browser = Browser(opened)
        for number in range(20):
            happens(kunlun, (NOTICE, WARNING, OVER)[number % 3])
        with tenant_context(kunlun):
            written = list(AlarmEvent.objects.order_by("number").values_list("number", "kind"))
        browser.has_all(len(written))
    assert dropped
    assert sorted(browser.got.items()) == written


def test_another_customers_events_are_no_hole(kunlun: Tenant, ben: User) -> None:
    with web_server() as port, page(port, session=session_of(kunlun, ben)) as opened:
        opened.hear_type("hello")
        for connector in (cast.BENS_CONNECTOR, cast.CLARAS_CONNECTOR, cast.BENS_SECOND_CONNECTOR):
            happens(kunlun, connector=connector)
        browser = Browser(opened)
        browser.has_all(3)
    assert sorted(browser.got) == [1, 3]
