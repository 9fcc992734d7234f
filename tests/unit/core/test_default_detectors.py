"""Every detector that watches by default passes the suite, and healthy noise moves none of them."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ohmwatch.checks.detectors import CHECKS, EXAMPLE, START_MS
from ohmwatch.detector import Batch, Detector
from ohmwatch.detectors.defaults import default_detectors
from ohmwatch.findings import Severity
from ohmwatch.watch import Watch

DETECTORS = default_detectors()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
def test_detector_passes_the_suite(detector: Detector, check: Any) -> None:
    check(detector, EXAMPLE)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
def test_data_sheet_tells_what_it_keeps(detector: Detector) -> None:
    said = re.search(r"state: (\d+) bytes", type(detector).__doc__ or "")
    assert said
    assert int(said[1]) == detector.state_dtype.itemsize


def healthy(
    seed: int, *, interval_s: int, load: float, ambient_c: float, step: float, lost: float
) -> Batch:
    """Twelve hours of a sound connector in one thermal node, as a poor device reports it."""
    chance = np.random.default_rng(seed)
    count = 43_200 // interval_s
    phase = np.arange(count) * interval_s / 1_800
    current_a = 250.0 * load * np.sin(phase + seed) ** 2 * (np.sin(phase / 5) > -0.5)
    air_c = ambient_c + 5 * np.sin(phase / 8)
    gain = 1 - np.exp(-interval_s / 400)
    rise_k = np.zeros(count)
    for at in range(1, count):
        steady_k = 30.0 * (current_a[at] / 250.0) ** 2
        rise_k[at] = rise_k[at - 1] + gain * (steady_k - rise_k[at - 1])

    def told(values: np.ndarray, noise: float) -> np.ndarray:
        read = np.round((values + chance.normal(0, noise, count)) / step) * step
        return np.where(chance.random(count) < lost, np.nan, read)

    kept = chance.random(count) > lost
    times = START_MS + 1000 * interval_s * np.arange(count)
    return Batch.of_one(
        "c",
        times,
        current_a=told(current_a, 2.0),
        voltage_v=told(np.full(count, 760.0), 3.0),
        temperature_pos_c=told(air_c + rise_k, 0.4),
        temperature_neg_c=told(air_c + rise_k, 0.4),
        ambient_c=told(air_c, 0.3),
        insulation_kohm=np.exp(np.log(9_000) + chance.normal(0, 0.1, count)),
        humidity_pct=np.clip(told(np.full(count, 55.0), 2.0), 0, 100),
        interlock=np.ones(count),
        vibration_g=np.abs(chance.normal(0.5, 0.4, count)),
        mating_cycles=np.full(count, 300.0),
    ).rows(kept)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    interval_s=st.sampled_from([1, 5, 30, 60, 120]),
    load=st.floats(0.0, 1.0),
    ambient_c=st.floats(-25.0, 35.0),
    step=st.sampled_from([0.1, 0.5, 1.0, 2.0]),
    lost=st.floats(0.0, 0.2),
)
def test_no_healthy_connector_is_warned_of(
    seed: int, interval_s: int, load: float, ambient_c: float, step: float, lost: float
) -> None:
    batch = healthy(
        seed, interval_s=interval_s, load=load, ambient_c=ambient_c, step=step, lost=lost
    )
    model = replace(EXAMPLE, interval_s=float(interval_s))
    judgement = Watch(DETECTORS).observe(batch, [model])
    assert judgement.failed == {}
    worse = [each for each in judgement.findings if (each.severity or 0) > Severity.NOTICE]
    assert worse == []
