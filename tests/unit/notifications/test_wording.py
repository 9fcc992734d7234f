"""Every condition and severity has its words; a plug-in's own condition is shown as it is."""

import pytest
from django.utils import translation

from apps.alarms.models import Severity
from apps.alarms.wording import ADVICE, NAMES, advice, condition_name, evidence_rows, unforeseen
from apps.notifications.registry import channels
from ohmwatch.conditions import Condition
from ohmwatch.findings import UNFORESEEN


@pytest.mark.parametrize("condition", list(Condition))
def test_each_condition_has_a_name_and_advice_by_severity(condition: Condition) -> None:
    assert condition in NAMES
    assert condition in ADVICE
    with translation.override("en"):
        assert len({advice(condition, severity) for severity in Severity}) == len(Severity)


def test_a_plug_ins_own_condition_keeps_its_name() -> None:
    assert condition_name("acme_arc_flash") == "acme arc flash"
    assert advice("acme_arc_flash", "critical")


def test_evidence_is_read_with_its_unit() -> None:
    with translation.override("en"):
        rows = evidence_rows(
            {"temperature_pos_c": 131.04, "insulation_kohm": 12.0, "note": "wet", "rise_k": None}
        )
    assert rows == [
        ("Temperature, positive pole", "131 °C"),
        ("Insulation resistance", "12 kΩ"),
        ("Note", "wet"),
        ("Temperature rise", "— K"),
    ]


def test_long_times_are_read_in_hours_and_days() -> None:
    with translation.override("en"):
        rows = evidence_rows({"time_left_from_s": 432_000.0, "held_s": 90.0, "last_silence_s": 9e3})
    assert [shown for _, shown in rows] == ["5 d", "90 s", "2.5 h"]


def test_trust_is_news_only_where_it_is_lost_and_reasons_are_words() -> None:
    with translation.override("en"):
        assert evidence_rows({"trust": 1.0}) == []
        rows = evidence_rows({"trust": 0.5, "time_left_unknown": "not_growing"})
    assert rows == [
        ("Trust in its sensors", "0.5"),
        ("Time left can't be said", "it is not getting worse"),
    ]


@pytest.mark.parametrize("reason", UNFORESEEN[1:])
def test_why_no_time_is_left_to_tell_is_said_in_both_languages(reason: str) -> None:
    said = set()
    for language in ("en", "zh-hans"):
        with translation.override(language):
            said.add(unforeseen(reason))
    assert len(said) == 2
    assert reason not in said


def test_severities_can_be_compared() -> None:
    assert [severity.rank for severity in Severity] == [1, 2, 3]


def test_the_channels_are_found_in_their_folders() -> None:
    assert {"email", "sms"} <= set(channels())
