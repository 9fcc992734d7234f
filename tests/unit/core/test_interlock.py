"""The interlock: open for good, open for moments, and open because a hand unplugged it."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ohmwatch.checks.detectors import EXAMPLE, observed
from ohmwatch.detector import Batch, Ratings
from ohmwatch.detectors.interlock_intermittent import InterlockIntermittent
from ohmwatch.detectors.interlock_open import InterlockOpen
from ohmwatch.findings import Finding, Severity

START_MS = 1_795_420_800_000
ONE = Ratings(interval_s=60.0)
NOTICE, WARNING, CRITICAL = Severity.NOTICE, Severity.WARNING, Severity.CRITICAL


def minutes(interlock: Sequence[float] | np.ndarray, **values: Sequence[float]) -> Batch:
    """A reading a minute."""
    times = START_MS + 60_000 * np.arange(len(interlock))
    return Batch.of_one("c", times, interlock=interlock, **values)


def rises(findings: Sequence[Finding]) -> list[Severity | None]:
    said = [finding.severity for finding in findings]
    return [each for number, each in enumerate(said) if number == 0 or said[number - 1] != each]


def opened(*, at: Sequence[int], of: int) -> np.ndarray:
    loop = np.ones(of)
    loop[list(at)] = 0.0
    return loop


def test_open_loop_under_voltage_is_critical_and_ends() -> None:
    loop = [1.0] * 5 + [0.0] * 5 + [1.0] * 5
    findings = observed(InterlockOpen(), minutes(loop, voltage_v=[400.0] * 15), ONE)
    assert rises(findings) == [CRITICAL, None]
    assert findings[0].since_ms == START_MS + 5 * 60_000
    assert findings[0].measured_ms == START_MS + 6 * 60_000


def test_open_loop_of_a_dead_circuit_is_a_warning() -> None:
    quiet = {"voltage_v": [3.0] * 10, "current_a": [0.2] * 10}
    assert rises(observed(InterlockOpen(), minutes([0.0] * 10, **quiet), ONE)) == [WARNING]
    assert rises(observed(InterlockOpen(), minutes([0.0] * 10), ONE)) == [WARNING]


def test_one_odd_reading_is_not_open() -> None:
    assert observed(InterlockOpen(), minutes(opened(at=[5, 9], of=15)), ONE) == []


def test_unplugged_is_open_without_a_fault() -> None:
    loop = [1.0] * 5 + [0.0] * 20 + [1.0] * 5
    mated = [1.0] * 5 + [0.0] * 20 + [1.0] * 5
    for detector in (InterlockOpen(), InterlockIntermittent()):
        assert observed(detector, minutes(loop, mated=mated), ONE) == []


def test_reading_that_does_not_say_keeps_what_the_last_one_said() -> None:
    mated = [1.0] * 5 + [0.0] + [np.nan] * 19
    loop = [1.0] * 5 + [0.0] * 20
    assert observed(InterlockOpen(), minutes(loop, mated=mated), ONE) == []


def test_loop_closes_a_moment_after_the_plug_is_in() -> None:
    seconds = START_MS + 1000 * np.arange(60)
    loop, mated = [0.0] * 40 + [1.0] * 20, [0.0] * 20 + [1.0] * 40
    batch = Batch.of_one("c", seconds, interlock=loop, mated=mated)
    assert observed(InterlockOpen(), batch, ONE) == []
    assert observed(InterlockIntermittent(), batch, ONE) == []


def test_second_opening_within_ten_days_is_a_warning() -> None:
    day = 1_440
    findings = observed(
        InterlockIntermittent(), minutes(opened(at=[100, 10 * day], of=11 * day)), ONE
    )
    assert rises(findings) == [NOTICE, WARNING]
    assert next(f for f in findings if f.severity == WARNING).measured_ms == (
        START_MS + 10 * day * 60_000
    )


def test_two_openings_a_month_apart_are_two_notices() -> None:
    day = 1_440
    loop = minutes(opened(at=[100, 31 * day], of=32 * day))
    assert rises(observed(InterlockIntermittent(), loop, ONE)) == [NOTICE, None, NOTICE]


def test_openings_beside_a_mating_count_nothing() -> None:
    cycles = [10.0] * 20 + [11.0] * 20
    loop = opened(at=[21, 24, 27], of=40)
    assert observed(InterlockIntermittent(), minutes(loop, mating_cycles=cycles), ONE) == []
    assert rises(observed(InterlockIntermittent(), minutes(loop), ONE)) == [NOTICE, WARNING]


def test_a_loop_that_is_open_under_the_current_of_a_charge_is_a_warning_at_once() -> None:
    mated = np.concatenate([np.zeros(20), np.ones(60)])
    charge = {"mated": mated, "current_a": np.where(mated > 0, 120.0, 0.0)}
    for at in (20, 25, 60):
        loop = mated.copy()
        loop[at] = 0.0
        findings = observed(InterlockIntermittent(), minutes(loop, **charge), ONE)
        assert rises(findings) == [WARNING]
        idle = minutes(loop, mated=mated, current_a=[0.0] * 80)
        assert rises(observed(InterlockIntermittent(), idle, ONE)) == ([NOTICE] if at > 30 else [])


def test_a_current_long_after_the_mating_is_a_drive_s() -> None:
    mated = np.concatenate([np.zeros(20), np.ones(1_600)])
    loop = mated.copy()
    loop[1_600] = 0.0
    drive = minutes(loop, mated=mated, current_a=[120.0] * 1_620)
    assert rises(observed(InterlockIntermittent(), drive, ONE)) == [NOTICE]


def test_jolt_that_opens_sound_contacts_counts_half() -> None:
    rough = np.full(400, 0.5)
    rough[[100, 200]] = 9.0
    loop = minutes(opened(at=[100, 200], of=400), vibration_g=rough)
    assert rises(observed(InterlockIntermittent(), loop, ONE)) == [NOTICE]


def test_loop_that_stays_open_has_opened_once() -> None:
    findings = observed(InterlockIntermittent(), minutes([1.0] * 5 + [0.0] * 500), ONE)
    assert rises(findings) == [NOTICE]


@settings(max_examples=30, deadline=None)
@given(
    glitch=st.integers(0, 20_000),
    plugs=st.lists(st.tuples(st.integers(0, 19_000), st.integers(30, 900)), max_size=6),
)
def test_a_glitch_and_any_plugging_never_warn(glitch: int, plugs: list[tuple[int, int]]) -> None:
    mated = np.ones(20_001)
    for since, lasts in plugs:
        mated[since : since + lasts] = 0.0
    loop = mated.copy()
    loop[glitch] = 0.0
    batch = minutes(loop, mated=mated, voltage_v=np.full(20_001, 400.0))
    assert observed(InterlockOpen(), batch, EXAMPLE) == []
    assert WARNING not in rises(observed(InterlockIntermittent(), batch, EXAMPLE))


@pytest.mark.parametrize("detector", [InterlockOpen(), InterlockIntermittent()])
def test_without_an_interlock_nothing_is_said(detector: InterlockOpen) -> None:
    batch = Batch.of_one("c", [START_MS, START_MS + 1000], voltage_v=[1.0, 1.0])
    assert observed(detector, batch, ONE) == []
