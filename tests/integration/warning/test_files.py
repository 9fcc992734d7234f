"""Rules as a file: what goes out comes back the same, and every fault has its line."""

from datetime import UTC, datetime

import orjson
import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from apps.accounts.models import User
from apps.warning import files, operations
from apps.warning.models import Change, Rule
from apps.warning.operations import Content
from tests import cast

pytestmark = pytest.mark.usefixtures("in_kunlun")
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HEAD = "format: ohmwatch-rules/1\nrules:\n"
GOOD = (
    HEAD
    + """- name: Taxis earlier
  detector: overtemperature
  mode: shadow
  share_pct: 25
  selection:
    organisation: [Harbour Taxi]
    vehicle: [LSVAU2A34N2183294]
    connector: [SN-0001]
    batch: [2026-03-01]
  parameters:
    margin_k: 20
  severities:
    warning: notice
- name: Not the inlets
  detector: pole_imbalance
  mode: off
"""
)


@pytest.fixture
def rule(anna: User) -> Rule:
    content = Content(
        name="Earlier",
        share_pct=50.0,
        selection={"organisation": [str(cast.HARBOUR)], "model": ["HV-250"]},
        parameters={"margin_k": 20.0},
        severities={"critical": "warning"},
    )
    return operations.make_rule(user=anna, detector="overtemperature", content=content, now=NOW)


def problems(text: str) -> list[tuple[int, str]]:
    with pytest.raises(files.FileRefused) as refused:
        files.read(text)
    assert all(str(each).startswith(f"Line {each.line}") for each in refused.value.problems)
    return [(each.line, each.where) for each in refused.value.problems]


def test_what_goes_out_comes_back_and_changes_nothing(rule: Rule, anna: User) -> None:
    text = files.as_yaml(user=anna)
    assert "Harbour Taxi" in text
    for written in (text, orjson.dumps(files.as_document(user=anna)).decode()):
        [found] = files.compare(files.read(written), user=anna)
        assert not found.is_change
        assert found.rule == rule


def test_names_become_keys_and_words_stay_words(anna: User) -> None:
    first, second = files.read(GOOD)
    assert first.content.selection == {
        "organisation": [str(cast.HARBOUR)],
        "vehicle": [str(cast.BENS_VEHICLE)],
        "connector": [str(cast.BENS_CONNECTOR)],
        "batch": ["2026-03-01"],
    }
    assert first.content.parameters == {"margin_k": 20}
    assert (second.content.mode, second.line) == ("off", 16)


def test_applied_as_one_change_with_its_author(rule: Rule, anna: User) -> None:
    seen = files.fingerprint(user=anna)
    text = GOOD + "- {name: Earlier, detector: overtemperature, parameters: {margin_k: 5}}\n"
    changed = files.apply(text, user=anna, seen=seen, now=NOW)
    assert len(changed) == 3
    rule.refresh_from_db()
    assert (rule.version, rule.parameters, rule.selection) == (2, {"margin_k": 5}, {})
    assert {row.versions.first().change for row in Rule.objects.all()} == {Change.IMPORTED}
    assert files.apply(text, user=anna, seen=files.fingerprint(user=anna), now=NOW) == []


def test_who_compared_with_older_rules_compares_again(rule: Rule, anna: User) -> None:
    seen = files.fingerprint(user=anna)
    operations.take_back(user=anna, rule=rule, now=NOW)
    with pytest.raises(ValidationError, match="have changed since you looked"):
        files.apply(GOOD, user=anna, seen=seen, now=NOW)
    assert Rule.objects.count() == 1


def test_a_fault_in_one_rule_applies_none(rule: Rule, anna: User) -> None:
    other = (
        HEAD
        + "- {name: New, detector: pole_imbalance}\n- {name: Earlier, detector: insulation_low}\n"
    )
    with pytest.raises(files.FileRefused, match="keeps its detector"):
        files.apply(other, user=anna, seen=files.fingerprint(user=anna), now=NOW)


def test_who_may_not_edit_applies_nothing(rule: Rule, sam: User) -> None:
    with pytest.raises(PermissionDenied):
        files.apply(GOOD, user=sam, seen=files.fingerprint(user=sam), now=NOW)


def test_every_fault_is_named_with_its_line() -> None:
    wrong = (
        HEAD
        + """- name: One
  detector: overtemperature
  share_pct: many
  colour: red
- name: Two
  detector: overtemperature
  parameters:
    margin_k: 9999
    heat: 3
  selection:
    vehicle: [WRONG]
- name: Three
  detector: guesswork
- name: Two
  detector: pole_imbalance
- just text
"""
    )
    assert problems(wrong) == [
        (5, "share_pct"),
        (6, "colour"),
        (10, "parameters.margin_k"),
        (11, "parameters.heat"),
        (15, "detector"),
        (18, ""),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("rules: [}", 1),
        ("format: other\nrules: []", 1),
        ("format: ohmwatch-rules/1\nrules: yes", 2),
        ("a: &x [1]\nb: [*x, *x]", 2),
        (HEAD + "- name: A\n  detector: overtemperature\n  name: B\n", 5),
        (HEAD + "- {name: A, detector: overtemperature, mode: sideways}\n", 3),
        (HEAD + "- {name: A, detector: overtemperature, parameters: {margin_k: [1]}}\n", 3),
        ("[" * 200_000, 1),
        ("{a: " * 50_000, 1),
        ("x" * 300_000, 1),
        (HEAD + "- {name: A, detector: overtemperature, selection: {batch: x}}\n", 3),
        (HEAD + "- !!python/object/apply:os.system ['true']\n", 3),
    ],
)
def test_a_file_that_is_none_is_refused_with_a_line(text: str, line: int) -> None:
    assert problems(text)[0][0] == line


def test_two_rules_of_one_name_are_one_too_many() -> None:
    twice = "- {name: A, detector: overtemperature}\n"
    assert problems(HEAD + twice + twice) == [(4, "name")]
