"""The load of a unit's duty: that which it exceeds for a hundredth of its days of use."""

import numpy as np
import pytest

from ohmwatch.physics.estimate.duty import end_day_of_use, note_duty, usual_load
from ohmwatch.physics.estimate.record import CONTACT_DTYPE

MINUTE_S = 60.0


def after_days(days: int, drive: np.ndarray, *, first: float = 0.9) -> np.ndarray:
    """What is told after each of so many days, each with these minutes of load, shuffled."""
    record = np.zeros(1, dtype=CONTACT_DTYPE)[0]
    record["day_peak"] = first
    chance, told = np.random.default_rng(3), []
    for _ in range(days):
        end_day_of_use(record)
        for load in chance.permutation(drive):
            note_duty(record, load, MINUTE_S)
        told.append(usual_load(record))
    return np.array(told)


def test_it_settles_where_a_quarter_of_an_hour_a_day_is_above() -> None:
    drive = np.linspace(0.05, 0.65, 121)  # two hours; for 14.4 minutes over 0.58
    told = after_days(60, drive, first=0.9)[-20:]
    assert np.median(told) == pytest.approx(0.58, rel=0.08)


@pytest.mark.parametrize("first", [0.1, 1.2])
def test_where_it_begins_is_forgotten(first: float) -> None:
    drive = np.linspace(0.05, 0.65, 121)
    assert after_days(60, drive, first=first)[-20:].mean() == pytest.approx(0.58, rel=0.1)


def test_who_drives_for_minutes_is_used_as_hard_as_its_peak_says() -> None:
    record = np.zeros(1, dtype=CONTACT_DTYPE)[0]
    record["duty"], record["peak"] = 0.03, 0.8
    assert usual_load(record) == pytest.approx(0.6)


def test_on_the_first_day_its_peak_is_all_that_is_known() -> None:
    record = np.zeros(1, dtype=CONTACT_DTYPE)[0]
    assert usual_load(record) == 0.0
    record["day_peak"] = 0.4
    assert usual_load(record) == pytest.approx(0.4)
