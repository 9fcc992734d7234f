"""The life of an alarm, step by step, each with its named reason."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ohmwatch.findings import Finding, Severity
from ohmwatch.lifecycle import (
    Action,
    ClearedAlarm,
    Decision,
    OpenAlarm,
    Reason,
    decide,
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
