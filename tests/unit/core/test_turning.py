"""Sensors that changed places are told from contacts that grow past where those stand."""

from collections.abc import Callable

import numpy as np
import pytest

from ohmwatch.checks.detectors import EXAMPLE, START_MS
from ohmwatch.conditions import Pole
from ohmwatch.detector import Batch
from ohmwatch.detectors.sensor_implausible import SensorImplausible
from ohmwatch.findings import Severity
from ohmwatch.physics.estimate.follow import PREFIX
from ohmwatch.physics.estimate.outlook import add_point
from ohmwatch.physics.estimate.record import APART, CONTACT_DTYPE, DROP_NEG, DROP_POS
from ohmwatch.physics.estimate.turning import has_turned
from ohmwatch.physics.known import trust_of, with_known

BASE = -0.08
"""What the poles differ by from the first day, in rated rises."""

TURN_DAY = 8.0
TURNED = {"turned": 1.0, "news": 1.0, "apart_base": BASE, "apart_newest": -2.0 * BASE}
TRUSTED = dict.fromkeys(("trust_pos", "trust_neg", "trust_air"), 1.0)

Course = Callable[[np.ndarray], np.ndarray]


def after(
    course: Course, *, days: float, doubt: float = 0.0, drop_log: float = 0.0, grows: float = 20.0
) -> bool:
    """Whether the poles are seen as turned after a course of their difference over so many days."""
    record = np.zeros(1, dtype=CONTACT_DTYPE)[0]
    channels = record["channels"]
    channels["base"][APART], channels["up"][APART] = BASE, grows
    channels["count"][[DROP_POS, DROP_NEG]] = 20.0
    channels["level"][DROP_POS] = drop_log
    record["over_turn"] = doubt
    chance = np.random.default_rng(5)
    at_days = np.arange(0.0, days, 0.2)
    for day, apart in zip(at_days, course(at_days), strict=True):
        add_point(record, day, apart + 0.012 * chance.normal(), 0.0)
        record["turned"] = has_turned(record)
    return bool(record["turned"])


def exchanged(days: np.ndarray) -> np.ndarray:
    return np.where(days < TURN_DAY, 0.0, -2.0 * BASE)


def growing(days: np.ndarray) -> np.ndarray:
    """A contact that comes by where exchanged sensors would stand."""
    return np.maximum(days - TURN_DAY, 0.0) / 6.0 * -2.0 * BASE


def leaping(days: np.ndarray) -> np.ndarray:
    return np.where(days < TURN_DAY, 0.0, -4.0 * BASE)


def test_sensors_that_changed_places_are_known_once_it_has_stood() -> None:
    assert not after(exchanged, days=TURN_DAY + 1.0)
    assert after(exchanged, days=TURN_DAY + 3.0)
    assert after(exchanged, days=TURN_DAY + 40.0)


@pytest.mark.parametrize("course", [growing, leaping])
def test_what_grows_is_no_exchange(course: Course) -> None:
    assert not any(after(course, days=TURN_DAY + each) for each in np.arange(1.0, 12.0, 0.5))


def test_no_exchange_without_evidence_or_against_it() -> None:
    assert not after(exchanged, days=14.0, grows=6.0)
    assert not after(exchanged, days=14.0, doubt=4.0)
    assert not after(exchanged, days=14.0, drop_log=0.15)


def turned_batch(**told: float) -> Batch:
    times = START_MS + np.arange(4) * 60_000
    batch = Batch.of_one("inlet", times, current_a=[150.0] * 4)
    columns = {PREFIX + name: np.full(4, value) for name, value in {**TRUSTED, **told}.items()}
    return with_known(batch, columns)


def test_exchanged_sensors_are_a_notice_on_both_poles_and_less_to_be_trusted() -> None:
    batch, detector = turned_batch(**TURNED), SensorImplausible()
    (finding,) = detector.observe(batch, [EXAMPLE], np.zeros(1, detector.state_dtype))
    assert (finding.severity, finding.pole) == (Severity.NOTICE, Pole.BOTH)
    assert finding.evidence["between_poles_before_of_rated_rise"] == BASE
    assert finding.evidence["between_poles_of_rated_rise"] == pytest.approx(-BASE)
    assert (trust_of(batch) == 0.5).all()
    assert (trust_of(turned_batch(**{**TURNED, "turned": 0.0})) == 1.0).all()
