"""Whether devices are silent, or we deaf: slots, backlogs, and a whole fleet at once."""

import json

import numpy as np
import pytest

from workers.detection.listening import (
    INTERRUPTED_MS,
    LEAST_DEVICES,
    MISSED_FOR_MS,
    Listening,
    all_well,
    is_deaf,
)

NOW_MS = 1_795_420_800_000
MINUTE_MS = 60_000


def report(**said: object) -> bytes:
    """A slot that is well, but for what is said."""
    return json.dumps({"connected": True, "reading": True, "holding": {}, **said}).encode()


def test_slots_that_take_in_what_comes_are_well() -> None:
    assert all_well({0: report(), 3: report(oldest_ms=NOW_MS - 200)}, {}, now_ms=NOW_MS)


@pytest.mark.parametrize(
    "reports",
    [
        {},
        {0: report(), 1: report(connected=False)},
        {0: report(reading=False)},
        {0: report(holding={"elasticsearch": NOW_MS})},
        {0: report(oldest_ms=NOW_MS - 5 * MINUTE_MS)},
        {0: b"{"},
    ],
)
def test_what_waits_somewhere_is_no_silence(reports: dict[int, bytes]) -> None:
    assert not all_well(reports, {}, now_ms=NOW_MS)


def test_slot_that_has_gone_is_missed_for_a_day() -> None:
    reports = {0: report()}
    assert not all_well(reports, {0: NOW_MS, 1: NOW_MS - MINUTE_MS}, now_ms=NOW_MS)
    assert all_well(reports, {0: NOW_MS, 1: NOW_MS - MISSED_FOR_MS}, now_ms=NOW_MS)


def test_listening_begins_anew_after_each_break() -> None:
    listening = Listening()
    listening.note(is_open=True, now_ms=NOW_MS)
    listening.note(is_open=True, now_ms=NOW_MS + MINUTE_MS)
    assert listening.since_ms == NOW_MS
    listening.note(is_open=False, now_ms=NOW_MS + 2 * MINUTE_MS)
    assert listening.since_ms is None
    listening.note(is_open=True, now_ms=NOW_MS + 3 * MINUTE_MS)
    assert listening.since_ms == NOW_MS + 3 * MINUTE_MS


def test_who_did_not_look_does_not_know() -> None:
    listening = Listening()
    listening.note(is_open=True, now_ms=NOW_MS)
    later_ms = NOW_MS + INTERRUPTED_MS + 1
    listening.note(is_open=True, now_ms=later_ms)
    assert listening.since_ms == later_ms


def test_a_fleet_that_falls_silent_as_one_is_not_its_devices_doing() -> None:
    ago = np.full(LEAST_DEVICES, NOW_MS - 11 * MINUTE_MS)
    assert is_deaf(ago, now_ms=NOW_MS)
    ago[0] = NOW_MS - MINUTE_MS
    assert not is_deaf(ago, now_ms=NOW_MS)


def test_of_few_devices_nothing_can_be_said() -> None:
    assert not is_deaf(np.full(LEAST_DEVICES - 1, NOW_MS - 11 * MINUTE_MS), now_ms=NOW_MS)
    assert not is_deaf(np.zeros(100, dtype=np.int64), now_ms=NOW_MS)
