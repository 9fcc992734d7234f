"""What findings and people make of an alarm."""

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.http import Http404

from apps.accounts.models import User
from apps.alarms import operations, queries
from apps.alarms.models import Alarm, AlarmEvent, Consumer, Kind, Outbox, Severity, State
from apps.tenants.models import Tenant
from ohmwatch.conditions import Pole
from tests import cast
from tests.conftest import Clock
from tests.findings import CRITICAL, NOTICE, OVER, WARNING, finding

pytestmark = pytest.mark.usefixtures("in_kunlun")


def judge(clock: Clock, *severities: object, **more: object) -> list[AlarmEvent]:
    """Each severity is stated by a reading of a minute later."""
    written = []
    for severity in severities:
        said = finding(severity, at=clock.now, **more)  # type: ignore[arg-type]
        written += operations.apply_findings([said], judged_at=clock.advance(seconds=2))
        clock.advance(minutes=1)
    return written


def kinds(events: list[AlarmEvent]) -> list[str]:
    return [event.kind for event in events]


def test_a_whole_story(clock: Clock, ben: User) -> None:
    began = clock.now
    opened = judge(clock, NOTICE)
    alarm = Alarm.objects.get()
    assert operations.acknowledge(user=ben, alarm=alarm, now=clock.now) is not None
    rest = judge(clock, CRITICAL, WARNING, OVER)

    assert kinds(opened + rest) == [Kind.OPENED, Kind.WORSENED, Kind.EASED, Kind.CLEARED]
    alarm.refresh_from_db()
    assert (alarm.state, alarm.severity, alarm.since) == (State.CLEARED, Severity.WARNING, began)
    story = list(AlarmEvent.objects.order_by("number"))
    assert [event.number for event in story] == [1, 2, 3, 4, 5]
    assert [event.reason for event in story] == [
        "first_finding",
        "by_person",
        "severity_rose",
        "severity_fell",
        "ended_for_hold_time",
    ]


def test_three_times_are_kept_apart(clock: Clock) -> None:
    measured = clock.now
    arrived, judged = measured + timedelta(seconds=40), measured + timedelta(seconds=45)
    said = finding(WARNING, at=measured, arrived=arrived, since=measured - timedelta(minutes=3))
    [event] = operations.apply_findings([said], judged_at=judged)
    assert (event.measured_at, event.arrived_at, event.judged_at) == (measured, arrived, judged)
    assert event.alarm.since == measured - timedelta(minutes=3)
    assert event.alarm.opened_at == judged


def test_the_same_findings_again_change_nothing(clock: Clock) -> None:
    said = [finding(WARNING, at=clock.now), finding(CRITICAL, at=clock.now + timedelta(seconds=9))]
    later = clock.advance(seconds=10)
    assert len(operations.apply_findings(said, judged_at=later)) == 2
    assert operations.apply_findings(said, judged_at=later) == []


def test_a_known_condition_refreshes_its_evidence_without_an_event(clock: Clock) -> None:
    judge(clock, WARNING)
    said = finding(WARNING, at=clock.now, evidence={"temperature_neg_c": 128.5}, pole=Pole.NEGATIVE)
    assert operations.apply_findings([said], judged_at=clock.now) == []
    alarm = Alarm.objects.get()
    assert alarm.evidence == {"temperature_neg_c": 128.5}
    assert (alarm.pole, alarm.last_measured_at) == ("neg", clock.now)


def test_it_comes_back_as_an_occurrence_of_the_same(clock: Clock) -> None:
    events = judge(clock, WARNING, OVER, WARNING)
    assert kinds(events) == [Kind.OPENED, Kind.CLEARED, Kind.REOPENED]
    alarm = Alarm.objects.get()
    assert (alarm.occurrences, alarm.state, alarm.cleared_at) == (2, State.OPEN, None)


def test_after_days_it_is_a_new_alarm(clock: Clock) -> None:
    judge(clock, WARNING, OVER)
    clock.advance(days=3)
    judge(clock, WARNING)
    assert Alarm.objects.count() == 2


def test_worsening_asks_for_a_new_acknowledgement(clock: Clock, ben: User) -> None:
    judge(clock, NOTICE)
    alarm = Alarm.objects.get()
    operations.acknowledge(user=ben, alarm=alarm, now=clock.now)
    judge(clock, CRITICAL)
    alarm.refresh_from_db()
    assert alarm.acknowledged_at is None


def test_what_is_not_finite_is_null(clock: Clock) -> None:
    said = finding(
        WARNING, at=clock.now, evidence={"rise_k": float("nan")}, time_left_s=float("inf")
    )
    [event] = operations.apply_findings([said], judged_at=clock.now)
    event.refresh_from_db()
    assert event.evidence == {"rise_k": None}
    assert event.alarm.time_left_s is None


def test_a_finding_of_no_connector_holds_nobody_up(clock: Clock) -> None:
    strangers = [
        finding(CRITICAL, at=clock.now, connector=cast.fixed_id(999)),
        finding(CRITICAL, at=clock.now, connector="no uuid"),  # type: ignore[arg-type]
    ]
    events = operations.apply_findings(
        [*strangers, finding(NOTICE, at=clock.now)], judged_at=clock.now
    )
    assert kinds(events) == [Kind.OPENED]


def test_the_database_refuses_a_second_open_alarm(clock: Clock) -> None:
    judge(clock, WARNING)
    twin = Alarm.objects.get()
    twin.pk = cast.fixed_id(777)
    with pytest.raises(IntegrityError, match="one_open_alarm"), transaction.atomic():
        twin.save(force_insert=True)


def test_numbers_have_no_gap_after_a_rollback(clock: Clock) -> None:
    judge(clock, NOTICE)
    with transaction.atomic():
        judge(clock, CRITICAL)
        transaction.set_rollback(True)  # as when the checkpoint is fenced off
    judge(clock, WARNING)
    assert list(AlarmEvent.objects.values_list("number", "severity")) == [
        (1, "notice"),
        (2, "warning"),
    ]


def test_every_event_is_in_the_outbox_of_each_consumer_it_concerns(clock: Clock) -> None:
    judge(clock, WARNING, NOTICE)  # eased: for those who look, nobody is woken
    assert sorted(Outbox.objects.values_list("event__kind", "consumer")) == [
        (Kind.EASED, Consumer.INDEX),
        (Kind.EASED, Consumer.LIVE),
        (Kind.OPENED, Consumer.INDEX),
        (Kind.OPENED, Consumer.LIVE),
        (Kind.OPENED, Consumer.NOTIFY),
    ]


def test_acknowledging_twice_is_one_event(clock: Clock, ben: User, dora: User) -> None:
    judge(clock, WARNING)
    alarm = Alarm.objects.get()
    assert operations.acknowledge(user=ben, alarm=alarm, now=clock.now) is not None
    assert operations.acknowledge(user=dora, alarm=alarm, now=clock.now) is None
    assert Alarm.objects.get().acknowledged_by == ben


def test_what_is_over_can_not_be_acknowledged(clock: Clock, ben: User) -> None:
    judge(clock, WARNING, OVER)
    with pytest.raises(operations.NotOpen):
        operations.acknowledge(user=ben, alarm=Alarm.objects.get(), now=clock.now)


def test_who_only_reads_acknowledges_nothing(clock: Clock, rita: User) -> None:
    judge(clock, WARNING)
    alarm = Alarm.objects.get()
    for change in (
        lambda: operations.acknowledge(user=rita, alarm=alarm, now=clock.now),
        lambda: operations.note(user=rita, alarm=alarm, text="hm", now=clock.now),
        lambda: operations.clear(user=rita, alarm=alarm, now=clock.now),
    ):
        with pytest.raises(PermissionDenied):
            change()
    assert AlarmEvent.objects.count() == 1


def test_a_note_and_clearing_by_hand(clock: Clock, ben: User, anna: User) -> None:
    judge(clock, WARNING)
    alarm = Alarm.objects.get()
    note = operations.note(user=ben, alarm=alarm, text=" terminal loose ", now=clock.now)
    assert (note.kind, note.note) == (Kind.NOTED, "terminal loose")
    with pytest.raises(PermissionDenied):
        operations.clear(user=ben, alarm=alarm, now=clock.now)
    assert operations.clear(user=anna, alarm=alarm, now=clock.now) is not None
    assert operations.clear(user=anna, alarm=alarm, now=clock.now) is None


def test_who_sees_what(clock: Clock, anna: User, ben: User, clara: User) -> None:
    judge(clock, WARNING)
    judge(clock, NOTICE, connector=cast.CLARAS_CONNECTOR)
    bens, claras = Alarm.objects.order_by("opened_at")
    assert queries.alarms(for_user=anna).count() == 2
    assert list(queries.alarms(for_user=ben)) == [bens]
    assert queries.alarm_for(user=ben, pk=str(bens.pk)) == bens
    for pk in (claras.pk, cast.fixed_id(5), "no uuid"):
        with pytest.raises(Http404):
            queries.alarm_for(user=ben, pk=pk)
    assert [event.number for event in queries.events_after(for_user=clara, number=0)] == [2]
    assert queries.latest_number(for_user=ben) == 1
    assert not queries.events_of(for_user=clara, alarm=bens).exists()
    assert list(queries.alarms(for_user=ben, state="cleared")) == []


def test_who_is_disabled_sees_nothing(clock: Clock, anna: User) -> None:
    judge(clock, WARNING)
    anna.is_active = False
    assert not queries.alarms(for_user=anna).exists()
    assert queries.latest_number(for_user=anna) == 0


def test_health_is_the_worst_of_the_open_ones(clock: Clock) -> None:
    judge(clock, WARNING)
    judge(clock, CRITICAL, condition="insulation_low")
    judge(clock, CRITICAL, OVER, condition="pole_imbalance")
    health = queries.health_of([cast.BENS_CONNECTOR, cast.CLARAS_CONNECTOR])
    assert health[cast.BENS_CONNECTOR] == queries.Health("critical", 2, "insulation_low")
    assert health[cast.CLARAS_CONNECTOR] == queries.Health("ok", 0, "")


def test_equal_keys_at_another_tenant_stay_apart(clock: Clock, aurora: Tenant, otto: User) -> None:
    from django_tenants.utils import tenant_context

    judge(clock, WARNING)
    alarm = Alarm.objects.get()
    with tenant_context(aurora):
        assert not queries.alarms(for_user=otto).exists()
        with pytest.raises(Http404):
            queries.alarm_for(user=otto, pk=alarm.pk)
        judge(clock, NOTICE)
        assert AlarmEvent.objects.get().number == 1
