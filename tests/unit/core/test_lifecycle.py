"""The life of an alarm, step by step, each with its named reason."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ohmwatch.conditions import Condition
from ohmwatch.findings import Finding, Severity
from ohmwatch.lifecycle import (
    CAUSES,
    Action,
    ClearedAlarm,
    Companion,
    Decision,
    OpenAlarm,
    Reason,
    decide,
    is_calm,
)

MEASURED_MS = 1_795_420_800_000
NOW = datetime.fromtimestamp(MEASURED_MS / 1000, tz=UTC) + timedelta(seconds=2)
FINDING = Finding(
    connector="inlet",
    condition="overtemperature",
    severity=Severity.WARNING,
    since_ms=MEASURED_MS - 30_000,
    measured_ms=MEASURED_MS,
    arrived_ms=MEASURED_MS + 500,
    detector="overtemperature",
    detector_version="1",
)
ENDED = replace(FINDING, severity=None)
KNOWN = OpenAlarm(
    severity=Severity.WARNING, since_ms=MEASURED_MS - 90_000, last_measured_ms=MEASURED_MS - 60_000
)
HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("alarm", "finding", "decision"),
    [
        (None, FINDING, Decision(Action.OPEN, Reason.FIRST_FINDING, tell=True)),
        (None, ENDED, Decision(Action.NOTHING, Reason.NOTHING_OPEN)),
        (
            KNOWN,
            replace(FINDING, severity=Severity.CRITICAL),
            Decision(Action.WORSEN, Reason.SEVERITY_ROSE, tell=True),
        ),
        (
            KNOWN,
            replace(FINDING, severity=Severity.NOTICE),
            Decision(Action.EASE, Reason.SEVERITY_FELL, tell=True),
        ),
        (KNOWN, ENDED, Decision(Action.CLEAR, Reason.ENDED_FOR_HOLD_TIME, tell=True)),
        (KNOWN, FINDING, Decision(Action.REFRESH, Reason.ALREADY_KNOWN)),
        (
            replace(KNOWN, last_measured_ms=MEASURED_MS),
            FINDING,
            Decision(Action.NOTHING, Reason.ALREADY_KNOWN),
        ),
        (
            replace(KNOWN, last_measured_ms=MEASURED_MS + 1),
            replace(FINDING, severity=Severity.CRITICAL),
            Decision(Action.NOTHING, Reason.OLDER_THAN_KNOWN),
        ),
    ],
    ids=["opens", "nothing to clear", "worsens", "eases", "clears", "known", "twice", "older"],
)
def test_step(alarm: OpenAlarm | None, finding: Finding, decision: Decision) -> None:
    assert decide(alarm, finding, now=NOW) == decision


def test_same_condition_within_a_day_is_the_same_alarm() -> None:
    cleared = ClearedAlarm(last_measured_ms=MEASURED_MS - 23 * HOUR_MS)
    assert decide(None, FINDING, now=NOW, cleared=cleared) == Decision(
        Action.REOPEN, Reason.CAME_BACK, tell=True
    )


def test_same_condition_after_a_day_is_a_new_alarm() -> None:
    cleared = ClearedAlarm(last_measured_ms=MEASURED_MS - 25 * HOUR_MS)
    assert decide(None, FINDING, now=NOW, cleared=cleared).action == Action.OPEN


def test_finding_from_before_the_clearing_reopens_nothing() -> None:
    cleared = ClearedAlarm(last_measured_ms=MEASURED_MS)
    assert decide(None, FINDING, now=NOW, cleared=cleared) == Decision(
        Action.NOTHING, Reason.OLDER_THAN_KNOWN
    )


def test_old_news_changes_the_alarm_and_wakes_nobody() -> None:
    decision = decide(None, FINDING, now=NOW + timedelta(hours=2))
    assert decision == Decision(Action.OPEN, Reason.FIRST_FINDING, tell=False)


def test_old_news_that_still_holds_wakes_somebody() -> None:
    untold = replace(KNOWN, told=False)
    assert decide(untold, FINDING, now=NOW) == Decision(
        Action.EVIDENCE, Reason.STILL_HOLDS_NOW, tell=True
    )
    assert decide(untold, FINDING, now=NOW + timedelta(hours=2)).tell is False


def test_nobody_hears_the_end_of_what_they_were_never_told() -> None:
    assert decide(replace(KNOWN, told=False), ENDED, now=NOW).tell is False


# --- one story --------------------------------------------------------------------------------


def told(condition: str, severity: Severity | None) -> Companion:
    return Companion(condition, severity)


@pytest.mark.parametrize(
    ("condition", "companion", "decision"),
    [
        (
            "overtemperature",
            told("contact_loose", Severity.WARNING),
            Decision(Action.OPEN, Reason.CONSEQUENCE),
        ),
        (
            "contact_resistance_rising",
            told("temperature_rise_high", Severity.CRITICAL),
            Decision(Action.OPEN, Reason.CAUSE_FOUND),
        ),
        (
            "overtemperature",
            told("contact_loose", Severity.NOTICE),
            Decision(Action.OPEN, Reason.FIRST_FINDING, tell=True),
        ),
        (
            "overtemperature",
            told("contact_loose", None),
            Decision(Action.OPEN, Reason.FIRST_FINDING, tell=True),
        ),
        (
            "overtemperature",
            told("insulation_low", Severity.CRITICAL),
            Decision(Action.OPEN, Reason.FIRST_FINDING, tell=True),
        ),
    ],
    ids=["consequence", "cause found later", "worse than known", "cause untold", "unrelated"],
)
def test_causes_and_consequences_are_told_once(
    condition: str, companion: Companion, decision: Decision
) -> None:
    finding = replace(FINDING, condition=condition)
    assert decide(None, finding, now=NOW, companions=[companion]) == decision


def test_consequence_that_outgrows_its_cause_is_told() -> None:
    worse = replace(FINDING, severity=Severity.CRITICAL)
    loose = [told("contact_loose", Severity.WARNING)]
    assert decide(KNOWN, worse, now=NOW, companions=loose).tell
    assert not decide(
        KNOWN, worse, now=NOW, companions=[told("contact_loose", worse.severity)]
    ).tell


def test_what_was_explained_is_told_once_its_cause_is_over() -> None:
    untold = replace(KNOWN, told=False)
    loose = [told("contact_loose", Severity.WARNING)]
    assert decide(untold, FINDING, now=NOW, companions=loose) == Decision(
        Action.REFRESH, Reason.CONSEQUENCE
    )
    assert decide(untold, FINDING, now=NOW) == Decision(
        Action.EVIDENCE, Reason.STILL_HOLDS_NOW, tell=True
    )
    twice = replace(untold, last_measured_ms=FINDING.measured_ms)
    assert decide(twice, FINDING, now=NOW, companions=loose).action == Action.NOTHING


def test_end_is_told_when_the_whole_story_is_over() -> None:
    loose = [told("contact_loose", Severity.WARNING)]
    assert decide(KNOWN, ENDED, now=NOW, companions=loose) == Decision(
        Action.CLEAR, Reason.ENDED_FOR_HOLD_TIME
    )
    assert decide(KNOWN, ENDED, now=NOW, companions=[told("contact_loose", None)]).tell
    assert decide(KNOWN, ENDED, now=NOW, companions=[told("overvoltage", Severity.WARNING)]).tell


def test_causes_are_known_conditions_and_no_circle() -> None:
    known = set(Condition)
    for consequence, causes in CAUSES.items():
        assert {consequence} | causes <= known
        for cause in causes:
            assert consequence not in CAUSES.get(cause, frozenset())


# --- flapping ---------------------------------------------------------------------------------


def opened(*minutes_ago: int) -> OpenAlarm:
    times = tuple(MEASURED_MS - 60_000 * each for each in minutes_ago)
    return replace(KNOWN, opened_ms=times)


def test_fourth_opening_within_hours_is_held_open_and_told() -> None:
    flapping = opened(300, 200, 100, 2)
    assert decide(flapping, ENDED, now=NOW) == Decision(
        Action.FLAP, Reason.COMES_AND_GOES, tell=True
    )
    assert decide(opened(500, 200, 100, 2), ENDED, now=NOW).action == Action.CLEAR
    assert decide(opened(200, 100, 2), ENDED, now=NOW).action == Action.CLEAR


def test_flapping_is_told_once_and_held_from_then_on() -> None:
    flapping = replace(opened(2), flaps=True)
    assert decide(flapping, ENDED, now=NOW) == Decision(Action.HOLD, Reason.COMES_AND_GOES)
    assert decide(flapping, FINDING, now=NOW).action == Action.REFRESH
    worse = replace(FINDING, severity=Severity.CRITICAL)
    assert decide(flapping, worse, now=NOW).tell


def test_flapping_of_long_ago_wakes_nobody() -> None:
    later = NOW + timedelta(hours=5)
    assert decide(opened(300, 200, 100, 2), ENDED, now=later).tell is False


def test_calm_is_two_hours() -> None:
    assert not is_calm(NOW, now=NOW + timedelta(minutes=119))
    assert is_calm(NOW, now=NOW + timedelta(hours=2))
