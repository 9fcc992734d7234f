"""Back-tests over stored readings: the alarms of the live run, carried on after a kill."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import redis
from django.core.exceptions import PermissionDenied, ValidationError
from django.utils import timezone

from apps.accounts.models import User
from apps.alarms import operations as alarms
from apps.alarms import truth
from apps.alarms.models import Alarm, Outcome
from apps.alarms.truth import Found
from apps.fleet.models import Connector, ConnectorState
from apps.telemetry.errors import StoreUnavailable
from apps.telemetry.tenant import TenantTelemetry
from apps.warning import backtests, operations
from apps.warning.models import BackTest, Mode, Progress
from apps.warning.operations import Content
from apps.warning.plugins import Report, put
from ohmwatch.plugins.wire import Declared
from tests import cast, journal, packages
from tests.contacts import contact
from tests.findings import WARNING, finding
from workers.backtest import running, tasks
from workers.backtest.running import Runner

pytestmark = pytest.mark.usefixtures("elasticsearch", "in_kunlun")


@pytest.fixture
def stored(empty_elasticsearch: str) -> None:
    """The story's readings, as acquisition would have stored them."""
    journal.store(journal.story(late=False, repeated=False))


def asked(
    user: User,
    *,
    detector: str = "overtemperature",
    truth: backtests.TruthSet | None = None,
    **content: Any,
) -> BackTest:
    now = timezone.now()
    said = Content(**{"name": "Trial", "parameters": {"margin_k": 60.0}, **content})
    return backtests.request(
        user=user,
        detector=detector,
        content=said,
        start=now - timedelta(hours=2),
        end=now + timedelta(hours=1),
        now=now,
        truth=truth,
    )


def runner() -> Runner:
    return Runner(TenantTelemetry("kunlun"), clock=timezone.now)


def carried_on(row: BackTest, *, is_time_up: Callable[[], bool] = lambda: False) -> BackTest:
    claimed = backtests.claim(row.pk, now=timezone.now())
    assert claimed is not None
    runner().carry_on(claimed, is_time_up=is_time_up)
    return claimed


def summary_of(row: BackTest) -> Any:
    return BackTest.objects.get(pk=row.pk).result["summary"]


@pytest.mark.usefixtures("stored")
def test_both_sides_over_the_same_readings(anna: User) -> None:
    contact(name="Staff", address="staff@kunlun.example", minimum_severity="notice")
    row = carried_on(asked(anna))
    assert row.state == Progress.DONE
    assert (row.connectors_done, row.readings) == (3, 3 * journal.SECONDS)
    said = summary_of(row)
    assert said["seen"] == 3
    for side in ("tried", "in_force"):
        assert said[side]["alarms"] == said[side]["connectors"] == 3
        assert said[side]["by_severity"] == {"critical": 3}
        assert said[side]["messages"]["email"] >= 1
    # 60 K before the limit it is seen no later, at each connector, in its device's time.
    earlier, later = (
        {each["connector"]: each["since_ms"] for each in said[side]["rows"]}
        for side in ("tried", "in_force")
    )
    assert all(earlier[connector] <= later[connector] for connector in later)


@pytest.mark.usefixtures("stored")
def test_of_one_story_people_are_told_once(anna: User) -> None:
    """Who knows that it is hotter than its current explains is not told that it is too hot."""
    contact(name="Staff", address="staff@kunlun.example", minimum_severity="notice")
    mild = {"warning": "notice", "critical": "notice"}
    slow = {"warning_hold_s": 90.0, "critical_hold_s": 90.0}  # the cause is told meanwhile
    silenced = summary_of(carried_on(asked(anna, severities=mild, parameters=slow)))["tried"]
    operations.make_rule(
        user=anna,
        detector="temperature_rise_high",
        content=Content(name="Not by its rise", mode=Mode.OFF.value),
        now=timezone.now(),
    )
    alone = summary_of(carried_on(asked(anna, severities=mild, parameters=slow)))["tried"]
    assert alone["alarms"] == silenced["alarms"] == 3
    assert silenced["messages"].get("email", 0) == 0
    assert alone["messages"]["email"] >= 1


@pytest.mark.usefixtures("stored")
def test_a_rule_that_is_off_raises_nothing_and_severities_count(anna: User) -> None:
    off = summary_of(carried_on(asked(anna, mode=Mode.OFF.value, parameters={})))
    assert (off["tried"]["alarms"], off["in_force"]["alarms"]) == (0, 3)
    mild = {"warning": "notice", "critical": "notice"}
    milder = summary_of(carried_on(asked(anna, severities=mild)))
    assert milder["tried"]["by_severity"] == {"notice": 3}
    assert milder["tried"]["false"] == 0


@pytest.mark.usefixtures("stored")
def test_what_is_in_force_is_the_rule_that_is(anna: User) -> None:
    """A rule in force is compared with what held without it; a changed one with itself."""
    one = {"connector": [str(cast.BENS_CONNECTOR)]}
    content = Content(name="Off", mode=Mode.OFF.value, selection=one)
    rule = operations.make_rule(
        user=anna, detector="overtemperature", content=content, now=timezone.now()
    )
    row = asked(anna, parameters={})
    assert summary_of(carried_on(row))["in_force"]["alarms"] == 2
    own = asked(anna, mode=Mode.OFF.value, selection=one, parameters={})
    BackTest.objects.filter(pk=own.pk).update(rule=rule, rule_version=1)
    said = summary_of(carried_on(own))
    assert (said["tried"]["alarms"], said["in_force"]["alarms"]) == (0, 1)


@pytest.mark.usefixtures("stored")
def test_ground_truth_says_what_is_caught_and_what_is_false(anna: User) -> None:
    now = timezone.now()
    connector = Connector.objects.get(pk=cast.BENS_CONNECTOR)
    found = Found(Outcome.FAULT.value, now, "terminal_loose", "pos", 2100.0)
    truth.record_failure(user=anna, connector=connector, found=found, now=now)
    said = summary_of(carried_on(asked(anna)))
    for side in ("tried", "in_force"):
        [caught] = said[side]["caught"]
        assert caught["connector"] == str(cast.BENS_CONNECTOR)
        assert 0 < caught["days_ahead"] < 0.02
        assert (said[side]["missed"], said[side]["false"]) == (0, 2)
        years = said["seen"] * said["days"] / 365.25
        assert said[side]["false_a_connector_year"] == pytest.approx(2 / years)


@pytest.mark.usefixtures("stored")
def test_a_set_of_ground_truth_is_judged_whole(anna: User) -> None:
    """Its connectors, replaced ones too: failures missed are named, nothings left in peace."""
    now = timezone.now()
    failed = Connector.objects.get(pk=cast.BENS_CONNECTOR)
    found = Found(Outcome.FAULT.value, now, "terminal_loose", "pos", 2100.0)
    truth.record_failure(user=anna, connector=failed, found=found, now=now)
    Connector.objects.filter(pk=failed.pk).update(state=ConnectorState.RETIRED)
    calm = alarm_at(cast.CLARAS_CONNECTOR, now)
    truth.record(user=anna, alarm=calm, found=Found(Outcome.NOTHING.value, now), now=now)
    confirmed = truth.confirmed(for_user=anna, model="HV-250", month=truth.month_of(now))
    assert [(each.connector, each.outcome) for each in confirmed] == [
        (cast.BENS_CONNECTOR, "fault"),
        (cast.CLARAS_CONNECTOR, "nothing"),
    ]
    assert truth.confirmed(for_user=anna, month="1999-01") == []
    chosen = backtests.TruthSet(
        (cast.BENS_CONNECTOR, cast.CLARAS_CONNECTOR), "HV-250", truth.month_of(now)
    )
    row = carried_on(asked(anna, truth=chosen))
    assert row.connectors_done == row.connectors_total == 2
    said = summary_of(row)
    assert (said["failures"], said["nothings"]) == (1, 1)
    assert (said["tried"]["missed_at"], said["tried"]["at_peace"]) == ([], 0)
    off = summary_of(carried_on(asked(anna, truth=chosen, mode=Mode.OFF.value, parameters={})))
    [missed] = off["tried"]["missed_at"]
    assert missed["connector"] == str(cast.BENS_CONNECTOR)
    assert (off["tried"]["missed"], off["tried"]["at_peace"]) == (1, 1)


def alarm_at(connector: UUID, now: datetime) -> Alarm:
    alarms.apply_findings([finding(WARNING, at=now, connector=connector)], judged_at=now)
    return Alarm.objects.get(connector=connector)


# --- detectors of plug-ins ------------------------------------------------------------------------

DESCRIBED = Report(
    plugin="hot",
    state="ready",
    at=datetime(2026, 11, 23, tzinfo=UTC),
    version="1",
    condition="hot_hand_warm",
    detector="hot_hand",
    parameters=[Declared("limit_c", "float", 90.0, "°C", -60.0, 400.0)],
)


@pytest.mark.usefixtures("stored")
def test_a_plug_ins_detector_is_judged_in_its_own_process(
    anna: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_log: redis.Redis
) -> None:
    put(redis_log, DESCRIBED)
    packages.lay(tmp_path, monkeypatch, module=packages.ADJUSTABLE)
    row = carried_on(asked(anna, detector="hot_hand", parameters={"limit_c": 60.0}))
    said = summary_of(row)
    for side in ("tried", "in_force"):
        assert said[side]["by_severity"] == {"notice": 3}
        assert {each["condition"] for each in said[side]["rows"]} == {"hot_hand_warm"}
    with pytest.raises(ValidationError):
        asked(anna, detector="hot_hand", parameters={"limit_c": 9999.0})


def test_a_plug_in_that_is_not_here_fails_the_back_test_and_nothing_else(
    anna: User, redis_log: redis.Redis
) -> None:
    put(redis_log, DESCRIBED)
    row = asked(anna, detector="hot_hand", parameters={})
    tasks.work(schema="t_kunlun", back_test=str(row.pk))
    row.refresh_from_db()
    assert row.state == Progress.FAILED
    assert "no installed package names it" in row.error


# --- carried on, overtaken, cancelled -------------------------------------------------------------


@pytest.mark.usefixtures("stored")
def test_carried_on_group_by_group_it_comes_to_the_same(
    anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = summary_of(carried_on(asked(anna)))
    monkeypatch.setattr(running, "GROUP", 1)
    row, states = asked(anna), []
    BackTest.objects.filter(pk=row.pk).update(
        start=BackTest.objects.last().start,
        end=BackTest.objects.last().end,  # type: ignore[union-attr]
    )
    while not states or states[-1] == Progress.WAITING:
        states.append(carried_on(row, is_time_up=lambda: True).state)
    assert Counter(states) == {"waiting": 3, "done": 1}
    assert summary_of(row) == whole


@pytest.mark.usefixtures("stored")
def test_who_lost_the_claim_writes_nothing(anna: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was thought dead comes back: another one has gone on meanwhile."""
    monkeypatch.setattr(running, "GROUP", 1)
    row = asked(anna)
    now = timezone.now()
    asleep = backtests.claim(row.pk, now=now)
    assert asleep is not None
    assert backtests.claim(row.pk, now=now) is None
    later = now + backtests.LEASE + timedelta(seconds=1)
    assert backtests.to_wake(["t_kunlun", "t_aurora"], now=later) == [("t_kunlun", row.pk)]
    other = backtests.claim(row.pk, now=later)
    assert other is not None
    runner().carry_on(other, is_time_up=lambda: False)
    with pytest.raises(backtests.Overtaken):
        runner().carry_on(asleep, is_time_up=lambda: False)
    assert BackTest.objects.get(pk=row.pk).state == Progress.DONE


@pytest.mark.usefixtures("stored")
def test_cancelled_while_it_runs_it_ends(anna: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "GROUP", 1)
    row = asked(anna)
    claimed = backtests.claim(row.pk, now=timezone.now())
    assert claimed is not None

    def cancel_now() -> bool:
        return backtests.cancel(user=anna, back_test=row, now=timezone.now()) and False

    with pytest.raises(backtests.Overtaken):
        runner().carry_on(claimed, is_time_up=cancel_now)
    row.refresh_from_db()
    assert (row.state, row.connectors_done) == (Progress.CANCELLED, 1)
    assert not backtests.cancel(user=anna, back_test=row, now=timezone.now())


def test_who_dies_of_it_each_time_has_failed(anna: User) -> None:
    row, now = asked(anna), timezone.now()
    for _ in range(backtests.ATTEMPTS):
        assert backtests.claim(row.pk, now=now) is not None
        now += backtests.LEASE + timedelta(seconds=1)
    assert backtests.claim(row.pk, now=now) is None
    row.refresh_from_db()
    assert (row.state, row.error) == (Progress.FAILED, "worker_died")


def test_a_detector_that_is_gone_is_told(anna: User) -> None:
    row = asked(anna)
    BackTest.objects.filter(pk=row.pk).update(detector="of a plug-in")
    claimed = backtests.claim(row.pk, now=timezone.now())
    assert claimed is not None
    with pytest.raises(running.DetectorGone):
        runner().carry_on(claimed, is_time_up=lambda: False)


def test_what_may_not_be_asked(anna: User, sam: User, ben: User) -> None:
    with pytest.raises(PermissionDenied):
        asked(sam)
    with pytest.raises(ValidationError):
        asked(anna, parameters={"margin_k": 9999})
    now = timezone.now()

    def over(start: datetime, end: datetime) -> BackTest:
        said = Content(name="Trial")
        return backtests.request(
            user=anna, detector="overtemperature", content=said, start=start, end=end, now=now
        )

    for start, end in ((now, now), (now - timedelta(days=500), now)):
        with pytest.raises(ValidationError):
            over(start, end)
    for _ in range(backtests.UNDONE_AT_ONCE):
        asked(anna)
    with pytest.raises(ValidationError, match="Five back-tests are under way"):
        asked(anna)
    assert not backtests.back_tests(for_user=ben).exists()


# --- the tasks ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("stored")
def test_a_task_carries_it_through_and_a_second_one_finds_nothing_to_do(anna: User) -> None:
    row = asked(anna)
    for _ in range(2):  # Redis delivers twice at times
        tasks.work(schema="t_kunlun", back_test=str(row.pk))
    row.refresh_from_db()
    assert (row.state, row.attempt, row.connectors_done) == (Progress.DONE, 1, 3)


def test_a_task_that_cannot_tells_why(anna: User) -> None:
    row = asked(anna)
    BackTest.objects.filter(pk=row.pk).update(detector="of a plug-in")
    tasks.work(schema="t_kunlun", back_test=str(row.pk))
    row.refresh_from_db()
    assert (row.state, row.error) == (Progress.FAILED, "DetectorGone: of a plug-in")


def test_a_store_that_is_away_is_waited_for(anna: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: object, **_more: object) -> None:
        raise StoreUnavailable

    row = asked(anna)
    monkeypatch.setattr(TenantTelemetry, "replay", away)
    tasks.work(schema="t_kunlun", back_test=str(row.pk))
    row.refresh_from_db()
    assert (row.state, row.is_undone) == (Progress.RUNNING, True)
    later = timezone.now() + backtests.LEASE + timedelta(seconds=1)
    assert backtests.to_wake(["t_kunlun"], now=later) == [("t_kunlun", row.pk)]


def test_the_sweep_wakes_what_waits(anna: User, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[tuple[str, object]] = []
    monkeypatch.setattr(backtests, "work_soon", lambda schema, pk: woken.append((schema, pk)))
    row = asked(anna)
    tasks.sweep()
    assert woken == [("t_kunlun", row.pk)]
