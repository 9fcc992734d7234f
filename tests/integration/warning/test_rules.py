"""What rules change, that none are needed, and that nothing of them is ever lost."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.management import call_command
from django.db import connection

from apps.accounts.models import User
from apps.telemetry.slices import to_ms
from apps.tenants.models import Tenant
from apps.warning import operations, queries, shadows
from apps.warning.models import Mode, Rule, ShadowAlarm, ShadowStep
from apps.warning.operations import Content
from tests import cast
from tests.findings import CRITICAL, OVER, WARNING, finding

pytestmark = pytest.mark.usefixtures("in_kunlun")
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def made(user: User, *, detector: str = "overtemperature", **content: Any) -> Rule:
    said = Content(**{"name": "Earlier", "parameters": {"margin_k": 20.0}, **content})
    return operations.make_rule(user=user, detector=detector, content=said, now=NOW)


# --- versions -------------------------------------------------------------------------------------


def test_every_change_is_a_version_with_who_and_when(anna: User, ada: User) -> None:
    rule = made(anna)
    later = NOW + timedelta(hours=1)
    changed = Content(name="Earlier", parameters={"margin_k": 15.0})
    operations.change_rule(user=ada, rule=rule, content=changed, now=later)
    rule.refresh_from_db()
    assert (rule.version, rule.parameters) == (2, {"margin_k": 15.0})
    told = queries.versions_of(for_user=anna, rule=rule)
    assert [(row.number, row.changed_by, row.changed_at, row.parameters) for row in told] == [
        (2, ada, later, {"margin_k": 15.0}),
        (1, anna, NOW, {"margin_k": 20.0}),
    ]


def test_the_same_again_is_no_version(anna: User) -> None:
    rule = made(anna)
    operations.change_rule(user=anna, rule=rule, content=Content.of(rule), now=NOW)
    assert Rule.objects.get().version == 1


def test_who_edits_an_old_version_is_told(anna: User) -> None:
    rule = made(anna)
    operations.set_mode(user=anna, rule=rule, mode=Mode.SHADOW.value, now=NOW)
    with pytest.raises(ValidationError, match="changed this rule meanwhile"):
        operations.change_rule(
            user=anna, rule=rule, content=Content(name="Other"), now=NOW, seen_version=1
        )


def test_taking_back_restores_what_was_before_and_goes_on_back(anna: User) -> None:
    rule = made(anna)
    for margin_k in (15.0, 10.0):
        content = Content(name="Earlier", parameters={"margin_k": margin_k})
        operations.change_rule(user=anna, rule=rule, content=content, now=NOW)
    said = []
    for _ in range(4):
        rule = operations.take_back(user=anna, rule=rule, now=NOW)
        said.append((rule.version, rule.parameters["margin_k"], rule.mode))
    assert said[:3] == [(4, 15.0, "live"), (5, 20.0, "live"), (6, 20.0, "disabled")]


def test_a_removed_rule_judges_nobody_and_stays_readable(anna: User) -> None:
    rule = made(anna)
    operations.remove_rule(user=anna, rule=rule, now=NOW)
    assert not queries.rules(for_user=anna).exists()
    assert queries.core_rules() == []
    assert queries.rule_for(user=anna, pk=rule.pk).versions.count() == 2
    made(anna)  # its name is free again


# --- refusals -------------------------------------------------------------------------------------


def test_every_fault_is_named_at_its_field(anna: User) -> None:
    with pytest.raises(ValidationError) as refused:
        made(
            anna,
            name=" ",
            mode="sideways",
            share_pct=101.0,
            selection={"colour": ["red"], "batch": []},
            parameters={"margin_k": 9999, "heat": 1},
            severities={"warning": "awful"},
        )
    assert set(refused.value.message_dict) == {
        "name",
        "mode",
        "share_pct",
        "selection",
        "batch",
        "parameter-margin_k",
        "parameter-heat",
        "severities",
    }
    assert refused.value.message_dict["parameter-margin_k"] == ["Allowed is 0 to 300."]


def test_an_unknown_detector_and_a_taken_name_are_refused(anna: User) -> None:
    with pytest.raises(ValidationError, match="There is no detector guesswork"):
        made(anna, detector="guesswork")
    made(anna)
    with pytest.raises(ValidationError, match="Another rule has this name"):
        made(anna)


def test_customers_neither_see_nor_change_rules(anna: User, ben: User, sam: User) -> None:
    rule = made(anna)
    for user in (ben, sam):
        for change in (operations.take_back, operations.remove_rule):
            with pytest.raises(PermissionDenied):
                change(user=user, rule=rule, now=NOW)
        with pytest.raises(PermissionDenied):
            made(user)
    assert not queries.rules(for_user=ben).exists()
    assert queries.rules(for_user=sam).get() == rule


# --- selection ------------------------------------------------------------------------------------


def test_a_selection_finds_the_connectors_that_detection_would(anna: User) -> None:
    by = {
        "model": ["HV-250"],
        "batch": ["2026-03"],
        "position": ["traction"],
        "organisation": [str(cast.HARBOUR)],
        "vehicle": [str(cast.BENS_VEHICLE)],
        "connector": [str(cast.BENS_CONNECTOR), "not a key"],
    }
    counts = {name: queries.selected({name: values}).count() for name, values in by.items()}
    assert counts == {
        "model": 3,
        "batch": 3,
        "position": 3,
        "organisation": 2,
        "vehicle": 2,
        "connector": 1,
    }
    assert queries.selected(by).get().pk == cast.BENS_CONNECTOR
    assert queries.selected({}).count() == 3


# --- shadows --------------------------------------------------------------------------------------


def said(rule: Rule, severity: Any, *, minute: int, **more: Any) -> Any:
    return finding(
        severity,
        at=NOW + timedelta(minutes=minute),
        rule=str(rule.pk),
        rule_version=rule.version,
        **more,
    )


def test_a_shadow_keeps_what_would_have_been_an_alarm(anna: User) -> None:
    rule = made(anna, mode=Mode.SHADOW.value)
    story = [said(rule, WARNING, minute=0), said(rule, CRITICAL, minute=2)]
    assert shadows.note_findings(story, judged_at=NOW) == 2
    assert shadows.note_findings(story, judged_at=NOW) == 0  # the same again changes nothing
    row = ShadowAlarm.objects.get()
    assert (row.severity, row.worst_severity, row.ended_at) == ("critical", "critical", None)
    shadows.note_findings([said(rule, OVER, minute=9)], judged_at=NOW)
    shadows.note_findings([said(rule, WARNING, minute=30)], judged_at=NOW)
    row = ShadowAlarm.objects.get()
    assert (row.severity, row.worst_severity, row.occurrences) == ("warning", "critical", 2)
    assert queries.shadow_counts(for_user=anna) == {rule.pk: 1}


def test_a_shadow_of_what_is_gone_is_left_out(anna: User) -> None:
    rule = made(anna, mode=Mode.SHADOW.value)
    lost = said(rule, WARNING, minute=0, connector=cast.fixed_id(999))
    assert shadows.note_findings([lost], judged_at=NOW) == 0
    assert shadows.note_findings([], judged_at=NOW) == 0


def counted() -> list[tuple[Any, ...]]:
    rows = ShadowAlarm.objects.order_by("since").values_list(
        "since", "last_measured_at", "severity", "worst_severity", "occurrences", "evidence"
    )
    return [(*row, ended) for row, ended in zip(rows, _ended(), strict=True)]


def _ended() -> list[bool]:
    return [row.ended_at is not None for row in ShadowAlarm.objects.order_by("since")]


def retold(rule: Rule, *story: Any, since: int) -> int:
    """What the rule states after a minute, by all readings that there are."""
    told = shadows.Retold(
        connector=str(cast.BENS_CONNECTOR),
        since_ms=to_ms(NOW + timedelta(minutes=since)),
        findings=[each for each in story if each.measured_ms > to_ms(NOW) + 60_000 * since],
        rules={str(rule.pk): "overtemperature"},
    )
    return shadows.retell([told], judged_at=NOW + timedelta(hours=1))


@pytest.mark.parametrize("since", [-10, 5, 25])
@pytest.mark.parametrize("left_out", range(6))
def test_late_readings_correct_what_a_shadow_has_counted(
    anna: User, left_out: int, since: int
) -> None:
    """Whatever nobody had judged, and from wherever it is judged again."""
    rule = made(anna, mode=Mode.SHADOW.value)
    severities = (WARNING, CRITICAL, OVER, WARNING, OVER, CRITICAL)
    minutes = (0, 10, 20, 30, 40, 3000)  # once more, and one of its own
    story = [
        said(rule, severity, minute=minute)
        for severity, minute in zip(severities, minutes, strict=True)
    ]
    shadows.note_findings(story, judged_at=NOW)
    truth = counted()
    assert len(truth) == 2
    ShadowAlarm.objects.all().delete()
    known = [each for at, each in enumerate(story) if at != left_out]
    shadows.note_findings(known, judged_at=NOW)
    begun = {row.since: row.opened_at for row in ShadowAlarm.objects.all()}
    is_within = minutes[left_out] > since
    assert retold(rule, *story, since=since) == is_within
    assert (counted() == truth) == is_within
    assert retold(rule, *story, since=since) == 0
    kept = ShadowAlarm.objects.filter(since__lte=NOW + timedelta(minutes=since))
    assert all(row.opened_at == begun[row.since] for row in kept)


def test_a_shadows_story_of_which_the_beginning_was_not_kept_stays(anna: User) -> None:
    rule = made(anna, mode=Mode.SHADOW.value)
    shadows.note_findings([said(rule, WARNING, minute=0)], judged_at=NOW)
    ShadowStep.objects.all().delete()
    assert retold(rule, said(rule, CRITICAL, minute=0), since=-10) == 0
    shadows.note_findings([said(rule, CRITICAL, minute=3)], judged_at=NOW)
    assert retold(rule, since=-10) == 0
    assert ShadowAlarm.objects.get().severity == "critical"


def test_steps_that_nothing_reaches_back_to_are_dropped_but_one(anna: User) -> None:
    rule = made(anna, mode=Mode.SHADOW.value)
    story = [said(rule, WARNING if at % 2 else CRITICAL, minute=1440 * at) for at in range(9)]
    shadows.note_findings(story, judged_at=NOW)
    days = [(each.measured_at - NOW).days for each in ShadowStep.objects.all()]
    assert days == [4, 5, 6, 7, 8]


# --- the migration --------------------------------------------------------------------------------


def migrate(tenant: Tenant, name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    call_command("migrate_schemas", "warning", name, schema_name=tenant.schema_name, verbosity=0)
    connection.set_tenant(tenant)  # type: ignore[attr-defined]


def test_the_migration_carries_rules_over_and_back(in_kunlun: Tenant, anna: User) -> None:
    """And the version before can go on writing while the new table stands."""
    made(anna, selection={"model": ["HV-250"]})
    made(anna, name="Off", detector="pole_imbalance", mode=Mode.OFF.value, parameters={})
    made(anna, name="Of a batch", selection={"batch": ["2026-03"]})
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO warning_rule (id, name, detector, enabled, parameters, version, model_id)"
            " VALUES (%s, 'Old', 'insulation_low', true, '{}', 1, NULL)",
            [cast.fixed_id(900)],
        )
    assert Rule.objects.get(name="Old").mode == Mode.LIVE
    migrate(in_kunlun, "0001")
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, enabled, model_id FROM warning_rule ORDER BY name")
        assert cursor.fetchall() == [
            ("Earlier", True, cast.MODEL),
            ("Off", False, None),
            ("Old", True, None),
        ]
    migrate(in_kunlun, "0002")
    rows = {row.name: (row.mode, row.selection) for row in Rule.objects.all()}
    assert rows == {
        "Earlier": ("live", {"model": ["HV-250"]}),
        "Off": ("off", {}),
        "Old": ("live", {}),
    }
    assert Rule.objects.get(name="Earlier").versions.get().parameters == {"margin_k": 20.0}
