"""Refused messages replayed: stored by their own time of arrival, entered exactly once."""

import itertools
import json
from collections.abc import Callable

import pytest
import redis
from django.conf import settings
from django.utils import timezone
from django_tenants.utils import tenant_context

from apps.accounts.models import User
from apps.devices.directory import Directory
from apps.devices.models import Channel, Device
from apps.partitions.log import PartitionLog
from apps.quarantine import operations
from apps.quarantine.models import Replay
from apps.telemetry import cluster
from apps.telemetry.answers import AccountLine
from apps.telemetry.documents import PLATFORM
from apps.telemetry.quarantine import RefusedFilter, TenantQuarantine
from apps.telemetry.store import TelemetryStore, the_store
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.models import Tenant
from ohmwatch.refusals import Reason
from tests import cast
from tests.acquisition import (
    account,
    assert_closed,
    assert_counted,
    columns,
    elasticsearch_behind,
    now_ms,
    reading,
    stored_times,
    topic,
    until,
)
from tests.faults.nemesis import Liar
from workers.acquisition import faults, replaying, sampling, tasks
from workers.acquisition.batches import Batch, Message, first_number
from workers.acquisition.board import Board
from workers.acquisition.pipeline import Stores, take_in
from workers.acquisition.replaying import REPLAY_SLOT, batch_number
from workers.acquisition.turnstile import Turnstile

pytestmark = [
    pytest.mark.usefixtures("empty_elasticsearch"),
    pytest.mark.django_db(transaction=True),
]
Ask = Callable[..., Replay]
Deliver = Callable[..., None]


@pytest.fixture
def ask(kunlun: Tenant, anna: User) -> Ask:
    """Asks for a run in Kunlun, and works at it until it rests."""

    def run(*, work: bool = True, **filters: object) -> Replay:
        with tenant_context(kunlun):
            asked = operations.request_replay(
                by=anna,
                filters=RefusedFilter(**filters),  # type: ignore[arg-type]
                now=timezone.now(),
            )
            if work:
                tasks.work_at(asked, limit_s=60)
            asked.refresh_from_db()
            return asked

    return run


def work_on(run: Replay, kunlun: Tenant) -> Replay:
    with tenant_context(kunlun):
        tasks.work_at(run, limit_s=60)
        run.refresh_from_db()
    return run


def line() -> AccountLine:
    return account("kunlun")["kunlun"]


@pytest.fixture
def deliver(redis_log: redis.Redis) -> Deliver:
    """Messages of a device, as acquisition takes them in; no broker is needed for that."""
    batches = itertools.count(first_number(0, now_ms()))

    def send(
        *payloads: bytes, device_id: str = "kunlun.tbox-1", known: Tenant | None = None
    ) -> None:
        """`known`: the only tenant that acquisition has heard of."""
        stores = Stores(
            directory=Directory(),
            telemetry=the_store(),
            partition_log=PartitionLog(redis_log, wake=lambda partitions, delay_ms: None),
            board=Board(redis_log),
            turnstile=Turnstile(),
        )
        if known is None:
            stores.directory.load()
        else:
            stores.directory.load_only(known)
        messages = [Message(topic(device_id), payload) for payload in payloads]
        batch = Batch(next(batches), 0, now_ms(), messages)
        take_in(batch, stores=stores, now=timezone.now())
        the_store().refresh()

    return send


def enrol_stranger(kunlun: Tenant) -> None:
    with tenant_context(kunlun):
        box = Device.objects.create(identifier="stranger", password_hash=cast.DEVICE_HASH)
        Channel.objects.filter(connector=cast.BENS_SECOND_CONNECTOR).delete()
        Channel.objects.create(device=box, number=0, connector_id=cast.BENS_SECOND_CONNECTOR)


def map_channel_5(kunlun: Tenant) -> None:
    with tenant_context(kunlun):
        Channel.objects.filter(connector=cast.BENS_SECOND_CONNECTOR).update(number=5)


def test_a_device_is_enrolled_and_its_batches_are_readings(
    deliver: Deliver, kunlun: Tenant, ask: Ask, redis_log: redis.Redis
) -> None:
    start = now_ms() - 3_600_000
    deliver(columns(start, 50), device_id="kunlun.stranger")
    assert line().quarantined == {Reason.UNKNOWN_DEVICE: 1}
    (refused,) = TenantTelemetry("kunlun").quarantine().messages
    enrol_stranger(kunlun)
    redis_log.flushdb()
    run = ask(reason="unknown_device")
    assert (run.state, run.total, run.replayed, run.stored) == ("done", 1, 1, 50)
    assert (line().received, line().stored, line().quarantined) == (50, 50, {})
    assert redis_log.hgetall("ow:counts:kunlun") == {
        b"received": b"49",  # flushed above: it had counted as one
        b"stored": b"50",
        b"released:unknown_device": b"1",
    }
    assert_closed()
    assert len(stored_times(cast.BENS_SECOND_CONNECTOR)) == 50
    page = TenantTelemetry("kunlun").readings(
        cast.BENS_SECOND_CONNECTOR, start=refused.arrived_at.replace(year=2020), end=timezone.now()
    )
    assert {each.arrived_ms for each in page.readings} == {refused.arrived_ms}
    log = PartitionLog(redis_log)
    chunks = [
        c
        for p in range(log.partitions)
        for e in log.read(p, "0-0", count=9).entries
        for c in e.chunks or ()
    ]
    assert sum(len(chunk.time_ms) for chunk in chunks) == 50
    assert {chunk.arrived_ms for chunk in chunks} == {refused.arrived_ms}
    (kept,) = TenantTelemetry("kunlun").quarantine().messages
    assert (kept.count, kept.replay_state, kept.replayed) == (0, "replayed", 50)
    assert TenantTelemetry("kunlun").quarantine(state="waiting").messages == []


def test_only_the_rows_that_were_refused_are_moved(
    deliver: Deliver, kunlun: Tenant, ask: Ask
) -> None:
    start = now_ms() - 3_600_000
    rows = [
        {"time": start + n, "current_a": 1e9 if n == 3 else 1, "channel": 5 if n % 2 else 0}
        for n in range(10)
    ]
    deliver(json.dumps({"readings": rows}).encode())
    assert line().quarantined == {Reason.UNKNOWN_CHANNEL: 4, Reason.OUT_OF_RANGE: 1}
    map_channel_5(kunlun)
    run = ask()
    assert (run.total, run.replayed, run.refused, run.stored) == (2, 1, 1, 4)
    assert (line().received, line().stored) == (10, 9)
    assert line().quarantined == {Reason.OUT_OF_RANGE: 1}
    assert_closed()


def test_what_a_whole_message_turns_out_to_hold(deliver: Deliver, kunlun: Tenant, ask: Ask) -> None:
    """It counted as one; now its readings count, the good ones and the bad ones."""
    start = now_ms() - 3_600_000
    rows = [{"time": start + n, "current_a": 1e9 if n < 2 else 1} for n in range(10)]
    deliver(json.dumps({"readings": rows}).encode(), device_id="kunlun.stranger")
    enrol_stranger(kunlun)
    assert ask().replayed == 1
    assert (line().received, line().stored) == (10, 8)
    assert line().quarantined == {Reason.OUT_OF_RANGE: 2}
    assert_closed()
    again = ask()
    assert (again.total, again.refused, again.stored) == (1, 1, 0)
    assert line().quarantined == {Reason.OUT_OF_RANGE: 2}
    assert_closed()


def test_one_document_that_spoils_its_request_blocks_no_other(
    deliver: Deliver, kunlun: Tenant, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = now_ms() - 3_600_000
    deliver(columns(start, 50), columns(start + 60_000, 50), device_id="kunlun.stranger")
    enrol_stranger(kunlun)
    with Liar() as liar:
        liar.mode, liar.poison = "picky", b'"@timestamp":%d,' % (start + 7_000)
        behind = TelemetryStore(client=cluster.client_of(elasticsearch_behind(liar.port)))
        with monkeypatch.context() as through:
            through.setattr(tasks, "the_store", lambda: behind)
            run = ask()
        assert liar.lied > 2
    assert (run.replayed, run.stored) == (2, 99)
    assert line().stored == 99
    assert line().quarantined == {Reason.STORE_REFUSED: 1}
    assert_closed()
    again = ask(reason="store_refused")
    assert (again.replayed, again.stored) == (1, 1)
    assert stored_times(cast.BENS_SECOND_CONNECTOR)[7] == start + 7_000
    assert_closed()


def test_what_is_refused_again_keeps_its_place(deliver: Deliver, kunlun: Tenant, ask: Ask) -> None:
    deliver(b"rubbish", reading(now_ms() + 600_000), reading(now_ms(), channel=9))
    before = line()
    run = ask()
    assert (run.total, run.refused, run.replayed) == (3, 3, 0)
    assert line() == before
    assert_closed()
    for message in TenantTelemetry("kunlun").quarantine().messages:
        assert message.replay_state == "refused"
        assert str(message.reason) in message.replay_detail


def test_time_limits_are_of_the_original_arrival(
    deliver: Deliver, kunlun: Tenant, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was too far ahead then stays so, though its time has come; what was open then, is."""
    start = now_ms() - 3_600_000
    deliver(reading(now_ms() + 301_500), reading(start, channel=5))
    map_channel_5(kunlun)
    # A week later that hour is no longer open to what arrives then.
    asked: list[int] = []
    real = TelemetryStore.open_range_ms

    def open_range(self: TelemetryStore, now: object) -> tuple[int, int]:
        asked.append(int(now.timestamp() * 1000))  # type: ignore[attr-defined]
        return real(self, now)  # type: ignore[arg-type]

    monkeypatch.setattr(TelemetryStore, "open_range_ms", open_range)
    until(lambda: now_ms() > start + 3_600_000 + 2_000)
    run = ask()
    assert (run.replayed, run.refused) == (1, 1)
    arrivals = {m.arrived_ms for m in TenantTelemetry("kunlun").quarantine().messages}
    assert set(asked) == arrivals
    assert_closed()


def test_what_was_stored_meanwhile_is_a_duplicate_and_twice_changes_nothing(
    deliver: Deliver, kunlun: Tenant, ask: Ask
) -> None:
    start = now_ms() - 3_600_000
    deliver(columns(start, 20, channel=5))
    map_channel_5(kunlun)
    deliver(columns(start, 5, channel=5))
    run = ask()
    assert (run.stored, run.duplicate) == (15, 5)
    again = ask()
    assert (again.state, again.total, again.stored) == ("done", 0, 0)
    assert (line().received, line().stored, line().duplicate) == (25, 20, 5)
    assert line().quarantined == {}
    assert_closed()


def test_a_single_message_what_came_later_and_a_run_that_is_cancelled(
    deliver: Deliver, kunlun: Tenant, ask: Ask
) -> None:
    start = now_ms() - 3_600_000
    deliver(*(reading(start + n, channel=5) for n in range(3)))
    map_channel_5(kunlun)
    single = ask(message=TenantTelemetry("kunlun").quarantine().messages[1].id)
    assert (single.total, single.stored) == (1, 1)
    cancelled, early = ask(work=False), ask(work=False)
    with tenant_context(kunlun):
        assert operations.cancel_replay(replay=cancelled)
        Channel.objects.filter(number=5).update(number=6)
    assert work_on(cancelled, kunlun).state == "cancelled"
    deliver(reading(start + 9, channel=5))
    map_channel_5(kunlun)
    assert work_on(early, kunlun).stored == 2
    assert line().quarantined == {Reason.UNKNOWN_CHANNEL: 1}
    assert_closed()


class PowerCut(BaseException):
    """The worker is gone here."""


POINTS = (
    "replay_after_readings",
    "replay_after_ledger",
    "replay_after_counting",
    "replay_after_settling",
)


@pytest.mark.parametrize("point", POINTS)
def test_killed_in_the_middle_it_is_finished_by_the_next(
    deliver: Deliver, kunlun: Tenant, ask: Ask, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    start = now_ms() - 3_600_000
    whole = json.dumps(
        {
            "readings": [
                {"time": start + 100 + n, "current_a": 1e9 if n < 2 else 1} for n in range(9)
            ]
        }
    ).encode()
    deliver(whole, device_id="kunlun.stranger")
    deliver(columns(start, 30, channel=5))
    with tenant_context(kunlun):
        Channel.objects.filter(connector=cast.CLARAS_CONNECTOR).delete()
        enrol_stranger(kunlun)
        box = Device.objects.get(pk=cast.BENS_DEVICE)
        Channel.objects.create(device=box, number=5, connector_id=cast.CLARAS_CONNECTOR)
    run = ask(work=False)

    def cut(name: str) -> None:
        if name == point:
            raise PowerCut

    with monkeypatch.context() as patched:
        patched.setattr(faults, "point", cut)
        with pytest.raises(PowerCut):
            work_on(run, kunlun)
    done = work_on(run, kunlun)
    assert (done.state, done.replayed, done.refused) == ("done", 2, 0)
    assert (line().received, line().stored) == (39, 37)
    assert line().quarantined == {Reason.OUT_OF_RANGE: 2}
    assert_closed()
    assert_counted()


def test_two_workers_at_one_run_take_turns(deliver: Deliver, kunlun: Tenant, ask: Ask) -> None:
    start = now_ms() - 60_000
    deliver(*(reading(start + n, channel=5) for n in range(5)))
    map_channel_5(kunlun)
    run = ask(work=False)
    with tenant_context(kunlun), redis.Redis.from_url(settings.REDIS_LOG_URL) as client:
        desk = tasks._desk(client, run)
        stale = desk.quarantine.to_replay(RefusedFilter(), run=run.number, size=9)
        assert work_on(run, kunlun).stored == 5
        assert desk.quarantine.claim(stale, run=run.number, first_batch=batch_number(1, 900)) == []
    assert_closed()


def test_aurora_has_no_part_in_it(
    deliver: Deliver, kunlun: Tenant, aurora: Tenant, ask: Ask
) -> None:
    start = now_ms() - 3_600_000
    deliver(reading(start, channel=5))
    deliver(reading(start, channel=5), device_id="aurora.tbox-1")
    map_channel_5(kunlun)
    with tenant_context(aurora):
        Channel.objects.filter(connector=cast.BENS_SECOND_CONNECTOR).update(number=5)
    theirs = TenantTelemetry("aurora").quarantine().messages[0]
    assert ask(message=theirs.id).total == 0
    assert ask().stored == 1
    assert account("aurora")["aurora"].quarantined == {Reason.UNKNOWN_CHANNEL: 1}
    assert_closed()


def test_a_flood_that_kept_no_bytes_is_not_replayed(
    deliver: Deliver, kunlun: Tenant, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "BURST", 3)
    monkeypatch.setattr(sampling, "_of_this_process", sampling.Allowances())
    start = now_ms() - 3_600_000
    deliver(*(reading(start + n, channel=5) for n in range(10)))
    map_channel_5(kunlun)
    run = ask()
    assert (run.total, run.stored) == (3, 3)
    assert line().quarantined == {Reason.UNKNOWN_CHANNEL: 7}
    assert_closed()


def test_a_slice_that_is_gone_leaves_the_message_where_it_is(
    deliver: Deliver, kunlun: Tenant, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(reading(now_ms() - 60_000, channel=5))
    map_channel_5(kunlun)
    gone = f"{the_store().prefix}readings-30d-20200106"
    monkeypatch.setattr(TelemetryStore, "reading_index", lambda *_: gone)
    run = ask()
    assert (run.refused, run.stored) == (1, 0)
    (kept,) = TenantTelemetry("kunlun").quarantine().messages
    assert "index_not_found" in kept.replay_detail
    assert_closed()


def test_replays_have_numbers_that_no_slot_has() -> None:
    assert first_number(REPLAY_SLOT + 1, 0) == 2**53
    last = batch_number((1 << 21) - 1, (1 << 20) - 1)
    assert first_number(REPLAY_SLOT, 0) < batch_number(1, 0) < last < 2**53
    assert replaying._tried_by(batch_number(77, 5)) == {"replay_run": 77}
    of_nobody = batch_number(1, 0, unclaimed=True), batch_number((1 << 21) - 1, 5, unclaimed=True)
    assert last < of_nobody[0] < of_nobody[1] < 2**53
    assert replaying._tried_by(of_nobody[1]) == {}


def test_a_download_holds_every_message(deliver: Deliver, kunlun: Tenant) -> None:
    bodies = [f"rubbish {n}".encode() for n in range(120)]
    deliver(*bodies)
    found = TenantQuarantine("kunlun").messages(RefusedFilter())
    assert sorted(each.payload for each in found) == sorted(bodies)


# --- what came before the platform knew the tenant --------------------------------------------


def claim(kunlun: Tenant, *, work: bool = True, **filters: object) -> Replay:
    """An operator has Kunlun's messages of before taken in."""
    with tenant_context(kunlun):
        run = operations.request_unclaimed(
            filters=RefusedFilter(**filters),  # type: ignore[arg-type]
            now=timezone.now(),
        )
        if work:
            tasks.work_at(run, limit_s=60)
        run.refresh_from_db()
    return run


@pytest.fixture
def of_nobody(deliver: Deliver, kunlun: Tenant, aurora: Tenant) -> int:
    """Two batches, one of them with a bad reading, and rubbish, while Kunlun was not known; and one
    of a maker that nobody knows yet. When the first was measured."""
    start = now_ms() - 3_600_000
    rows: list[object] = [{"time": start + 100_000 + n, "current_a": 1} for n in range(9)]
    rows[4] = {"time": start, "current_a": 9_999}
    mixed = json.dumps({"readings": rows}).encode()
    deliver(columns(start, 50), mixed, b"rubbish", known=aurora)
    deliver(columns(start, 50), device_id="kunlun-two.tbox-1", known=aurora)
    assert account(PLATFORM)[PLATFORM].quarantined == {Reason.UNKNOWN_TENANT: 4}
    return start


def test_messages_of_nobody_become_readings_once_their_tenant_is_there(
    of_nobody: int, kunlun: Tenant, redis_log: redis.Redis
) -> None:
    run = claim(kunlun)
    assert (run.replayed, run.refused, run.stored) == (2, 1, 58)
    assert len(stored_times(cast.BENS_CONNECTOR)) == 58
    ours, nobodys = line(), account(PLATFORM)[PLATFORM]
    assert (ours.received, ours.stored, ours.quarantined) == (59, 58, {Reason.OUT_OF_RANGE: 1})
    assert nobodys.quarantined == {Reason.UNKNOWN_TENANT: 2}, "rubbish, and another maker's"
    assert_closed()
    counts = redis_log.hgetall(f"ow:counts:{PLATFORM}")
    assert counts[b"received"] == b"4", "a counter only rises"
    assert counts[b"released:unknown_tenant"] == b"2"


def test_claimed_twice_they_are_there_once(of_nobody: int, kunlun: Tenant) -> None:
    claim(kunlun)
    again = claim(kunlun)
    assert (again.replayed, again.refused, again.stored) == (0, 1, 0)
    assert len(stored_times(cast.BENS_CONNECTOR)) == 58
    assert_closed()


def test_only_what_fits_is_claimed(of_nobody: int, kunlun: Tenant, ask: Ask) -> None:
    assert claim(kunlun, words="nothing like it").total == 0
    assert claim(kunlun, reason="undecodable").total == 0
    assert claim(kunlun, words="kunlun.tbox-1 readings").total == 3
    assert ask().total == 1, "the refused reading is Kunlun's own now, and tried by its own run"


@pytest.mark.parametrize(
    "step", ["replay_after_readings", "replay_after_ledger", "replay_after_settling"]
)
def test_a_claim_that_was_cut_short_is_finished(
    step: str, of_nobody: int, kunlun: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCut(Exception):
        pass

    def die(name: str, times: int = 1) -> None:
        if name == step:
            raise PowerCut

    with monkeypatch.context() as cut:
        cut.setattr(faults, "point", die)
        run = claim(kunlun, work=False)
        with tenant_context(kunlun), pytest.raises(PowerCut):
            tasks.work_at(run, limit_s=60)
    work_on(run, kunlun)
    assert run.is_over
    assert len(stored_times(cast.BENS_CONNECTOR)) == 58
    assert line().quarantined == {Reason.OUT_OF_RANGE: 1}
    assert_closed()


def test_runs_of_two_tenants_keep_apart_in_the_platforms_account(
    deliver: Deliver, kunlun: Tenant, aurora: Tenant
) -> None:
    """Both are their tenant's first run; the platform's ledger has one entry for each number."""
    start = now_ms() - 3_600_000
    deliver(columns(start, 10), known=aurora)
    deliver(columns(start, 20), device_id="aurora.tbox-1", known=kunlun)
    first, second = claim(kunlun), claim(aurora)
    assert first.number == second.number == 1
    assert first.claim != second.claim
    assert (first.stored, second.stored) == (10, 20)
    assert account(PLATFORM)[PLATFORM].quarantined in ({}, {Reason.UNKNOWN_TENANT: 0})
    assert_closed()
