"""Silences: those in use are counted, a parked vehicle's are not, and a gap is no time."""

from collections.abc import Sequence

import numpy as np
import pytest

from ohmwatch.checks.detectors import observed
from ohmwatch.detector import Batch, Ratings
from ohmwatch.detectors.device_silent import DeviceSilent
from ohmwatch.findings import Severity

START_MS = 1_795_420_800_000
MODEL = Ratings(rated_current_a=200.0, interval_s=60.0)
DAY = 1_440


def minutes(chosen: Sequence[int], current_a: Sequence[float] | np.ndarray) -> Batch:
    times = [START_MS + 60_000 * each for each in chosen]
    return Batch.of_one("c", times, current_a=current_a)


def drives(*, silences: int, apart: int = 60, length: int = 20, current_a: float = 120.0) -> Batch:
    """A drive with some silences in it, one every `apart` minutes."""
    gaps = {apart * (number + 1) + each for number in range(silences) for each in range(length)}
    chosen = [minute for minute in range(apart * (silences + 2)) if minute not in gaps]
    return minutes(chosen, [current_a] * len(chosen))


@pytest.mark.parametrize(("silences", "said"), [(2, set()), (3, {Severity.NOTICE})])
def test_third_silence_in_use_is_a_notice(silences: int, said: set[Severity]) -> None:
    findings = observed(DeviceSilent(), drives(silences=silences), MODEL)
    assert {finding.severity for finding in findings} == said


def test_parked_vehicles_sleep() -> None:
    asleep = drives(silences=20, apart=300, length=200, current_a=0.0)
    assert observed(DeviceSilent(), asleep, MODEL) == []


def test_dead_spots_of_a_network_are_no_silence() -> None:
    assert observed(DeviceSilent(), drives(silences=20, length=8), MODEL) == []


def test_charging_is_use() -> None:
    assert observed(DeviceSilent(), drives(silences=4, current_a=-80.0), MODEL)


def test_long_silence_counts_no_more_than_a_short_one() -> None:
    findings = observed(DeviceSilent(), drives(silences=1, apart=30 * DAY, length=29 * DAY), MODEL)
    assert findings == []


def test_it_is_forgotten() -> None:
    quiet = drives(silences=3)
    quiet.values["current_a"][-1] = 0.0  # parked for weeks
    later = minutes(range(20 * DAY, 20 * DAY + 60), [120.0] * 60)
    both = Batch.of_one(
        "c",
        np.concatenate([quiet.time_ms, later.time_ms]),
        current_a=np.concatenate([quiet.values["current_a"], later.values["current_a"]]),
    )
    assert observed(DeviceSilent(), both, MODEL)[-1].severity is None
