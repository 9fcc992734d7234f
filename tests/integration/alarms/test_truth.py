"""What workshops find is tied to alarms, and says how right detectors and rules were."""

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from apps.accounts.models import User
from apps.alarms import operations, queries, truth
from apps.alarms.models import Alarm, AlarmEvent, Consumer, Inspection, Kind, Outbox
from apps.alarms.truth import CAUGHT_WITHIN, Found
from apps.alarms.unwatched import clear_unwatched
from apps.fleet.models import Connector
from apps.warning.operations import Content, make_rule
from apps.warning.queries import schemas_switching_off
from tests import cast
from tests.conftest import Clock
from tests.findings import CRITICAL, WARNING, finding
from workers.upkeep.unwatched import unwatched

pytestmark = pytest.mark.usefixtures("in_kunlun")


def raised(clock: Clock, **more: object) -> Alarm:
    events = operations.apply_findings(
        [finding(WARNING, at=clock.now, **more)],
        judged_at=clock.now,  # type: ignore[arg-type]
    )
    return events[0].alarm


def fault(clock: Clock, **more: object) -> Found:
    said = {"outcome": "fault", "found_at": clock.now, "cause": "terminal_loose", **more}
    return Found(**said)  # type: ignore[arg-type]


def test_what_was_found_is_part_of_the_story(clock: Clock, ben: User) -> None:
    alarm = raised(clock)
    clock.advance(minutes=60)
    found = fault(clock, pole="pos", resistance_uohm=2100.0, text=" terminal loose ")
    row = truth.record(user=ben, alarm=alarm, found=found, now=clock.now)
    assert (row.connector_id, row.text) == (alarm.connector_id, "terminal loose")
    event = AlarmEvent.objects.get(kind=Kind.INSPECTED)
    assert (event.note, event.reason, event.actor) == ("terminal loose", "found_fault", ben)
    assert event.evidence == {
        "outcome": "fault",
        "cause": "terminal_loose",
        "pole": "pos",
        "resistance_uohm": 2100.0,
    }
    told = Outbox.objects.filter(event=event).values_list("consumer", flat=True)
    assert set(told) == {Consumer.LIVE, Consumer.INDEX}
    assert queries.alarm_for(user=ben, pk=alarm.pk).state == "open"
    assert truth.inspections_of(for_user=ben, alarm=alarm).get() == row


def test_who_may_not(clock: Clock, dora: User, rita: User, ben: User) -> None:
    alarm = raised(clock)
    for user in (dora, rita):
        with pytest.raises(PermissionDenied):
            truth.record(user=user, alarm=alarm, found=fault(clock), now=clock.now)
    connector = Connector.objects.get(pk=cast.BENS_CONNECTOR)
    with pytest.raises(PermissionDenied):
        truth.record_failure(user=ben, connector=connector, found=fault(clock), now=clock.now)
    assert truth.verdicts(for_user=ben) == truth.all_failures(for_user=ben) == []


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("outcome", {"outcome": "perhaps", "cause": ""}),
        ("cause", {"cause": "magic"}),
        ("cause", {"outcome": "nothing"}),
        ("pole", {"pole": "north"}),
        ("resistance_uohm", {"resistance_uohm": -1.0}),
        ("found_at", {"found_at": None}),
    ],
)
def test_what_can_not_be_is_refused_at_its_field(
    clock: Clock, anna: User, field: str, wrong: dict[str, object]
) -> None:
    if field == "found_at":
        wrong = {"found_at": clock.now + timedelta(days=1)}
    with pytest.raises(ValidationError) as refused:
        truth.record(user=anna, alarm=raised(clock), found=fault(clock, **wrong), now=clock.now)
    assert list(refused.value.message_dict) == [field]
    assert not Inspection.objects.exists()


def test_without_an_alarm_only_a_fault(clock: Clock, anna: User) -> None:
    connector = Connector.objects.get(pk=cast.BENS_CONNECTOR)
    found = Found("nothing", clock.now)
    with pytest.raises(ValidationError):
        truth.record_failure(user=anna, connector=connector, found=found, now=clock.now)


def test_scores(clock: Clock, anna: User) -> None:
    """Ben's alarm was right ten days ahead, Clara's was nothing, and one failure came untold."""
    mine = raised(clock)
    hers = raised(clock, connector=cast.CLARAS_CONNECTOR)
    clock.now += timedelta(days=10)
    truth.record(user=anna, alarm=mine, found=Found("nothing", clock.now), now=clock.now)
    truth.record(user=anna, alarm=mine, found=fault(clock), now=clock.now)  # corrects it
    truth.record(user=anna, alarm=hers, found=Found("nothing", clock.now), now=clock.now)
    untold = Connector.objects.get(pk=cast.BENS_SECOND_CONNECTOR)
    truth.record_failure(user=anna, connector=untold, found=fault(clock), now=clock.now)

    told, failures = truth.verdicts(for_user=anna), truth.all_failures(for_user=anna)
    assert {each.connector for each in failures} == {cast.BENS_CONNECTOR, untold.pk}
    [score] = truth.scores(told, failures, by=lambda each: each.detector)
    assert (score.name, score.confirmed, score.nothing) == ("overtemperature", 1, 1)
    assert (score.precision, score.recall) == (0.5, 0.5)
    assert score.lead_days == pytest.approx(10)
    by_model = truth.scores(told, failures, by=lambda e: e.model, of=lambda e: e.model)
    assert [(each.name, each.recall) for each in by_model] == [("HV-250", 0.5)]


def test_a_failure_is_found_once_and_announced_not_too_long_before(
    clock: Clock, anna: User
) -> None:
    alarm = raised(clock)
    clock.now += CAUGHT_WITHIN + timedelta(days=1)
    truth.record(user=anna, alarm=alarm, found=fault(clock), now=clock.now)
    other = raised(clock, condition="pole_imbalance")
    clock.now += timedelta(days=2)
    truth.record(user=anna, alarm=other, found=fault(clock), now=clock.now)
    [failure] = truth.all_failures(for_user=anna)
    assert failure.found_at == clock.now - timedelta(days=2)
    scores = truth.scores(truth.verdicts(for_user=anna), [failure], by=lambda each: each.detector)
    assert scores[0].recall == 1.0  # the other alarm, at the same moment
    assert scores[0].lead_days == 0.0


def test_an_alarm_names_who_judged(clock: Clock) -> None:
    alarm = raised(clock)
    assert (alarm.detector, alarm.detector_version, alarm.rule_id) == ("overtemperature", "1", None)
    clock.advance(minutes=1)
    ruled = finding(CRITICAL, at=clock.now, rule=str(cast.fixed_id(7)), rule_version=3)
    [event] = operations.apply_findings([ruled], judged_at=clock.now)
    assert (event.rule_id, event.rule_version) == (cast.fixed_id(7), 3)


def test_switched_off_its_alarms_end(clock: Clock, anna: User) -> None:
    """Of the connectors that the rule selects, and of no other detector."""
    mine, hers = raised(clock), raised(clock, connector=cast.CLARAS_CONNECTOR)
    assert clear_unwatched(now=clock.now) == []
    one = {"vehicle": [str(cast.BENS_VEHICLE)]}
    off = Content(name="Off", mode="off", selection=one)
    make_rule(user=anna, detector="overtemperature", content=off, now=clock.now)
    [event] = clear_unwatched(now=clock.advance(seconds=20))
    assert (event.alarm, event.kind, event.reason) == (mine, Kind.CLEARED, "rule_switched_off")
    assert Outbox.objects.filter(event=event, consumer=Consumer.NOTIFY).exists()
    assert clear_unwatched(now=clock.now) == []
    hers.refresh_from_db()
    assert hers.state == "open"
    assert schemas_switching_off(["t_kunlun", "t_aurora"]) == ["t_kunlun"]


def test_the_task_ends_them_in_every_tenant(clock: Clock, anna: User) -> None:
    alarm = raised(clock)
    off = Content(name="Off", mode="off")
    make_rule(user=anna, detector="overtemperature", content=off, now=clock.now)
    unwatched()
    alarm.refresh_from_db()
    assert alarm.state == "cleared"
