"""The demo's story as the product's own detectors see it: quiet for a month, then an alarm."""

import numpy as np
import pytest

from ohmwatch.detector import Batch, Detector, Ratings
from ohmwatch.detectors.insulation_low import InsulationLow
from ohmwatch.detectors.overtemperature import Overtemperature
from ohmwatch.detectors.pole_imbalance import PoleImbalance
from ohmwatch.detectors.temperature_rise_high import TemperatureRiseHigh
from ohmwatch.findings import Finding, Severity
from tests.unit.simulator.conftest import MODEL
from workers.simulator.duty import Mode
from workers.simulator.fleet import Fleet
from workers.simulator.plant import Ageing, Plant, Sample

DAY_MS = 86_400_000
LIVE_MS = 1_795_420_800_000
RATINGS = Ratings(
    **{name: rating for name, rating in MODEL.items() if name in Ratings.__dataclass_fields__}
    | {
        "derating": tuple(tuple(pair) for pair in MODEL["derating"]),
        "thermal_time_constants_s": tuple(MODEL["thermal_time_constants_s"]),
        "thermal_resistance_k_per_w": float("nan"),
    }
)


class Watch:
    """Four detectors over a simulated fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._names = [unit.connector for unit in fleet.units]
        self._detectors: list[Detector] = [
            Overtemperature(),
            TemperatureRiseHigh(),
            PoleImbalance(),
            InsulationLow(),
        ]
        self._states = [np.zeros(len(self._names), each.state_dtype) for each in self._detectors]

    def see(self, time_ms: int, sample: Sample) -> list[Finding]:
        n = len(self._names)
        times = np.full(n, time_ms)
        batch = Batch(
            connector=np.arange(n, dtype=np.int32),
            connectors=self._names,
            time_ms=times,
            arrived_ms=times,
            values=sample,
        )
        return [
            finding
            for detector, state in zip(self._detectors, self._states, strict=True)
            for finding in detector.observe(batch, [RATINGS] * n, state)
        ]


@pytest.mark.parametrize("hour", [0, 5, 11, 17])
def test_the_first_alarm_comes_by_itself_within_four_minutes(fleet: Fleet, hour: int) -> None:
    live_ms = LIVE_MS + hour * 3_600_000
    plant, watch = Plant(fleet, seed=1), Watch(fleet)
    plant.scenario = Ageing(0, began_ms=live_ms - 2 * DAY_MS, live_ms=live_ms)
    history = [
        finding
        for time_ms in range(live_ms - 2 * DAY_MS, live_ms, 300_000)
        for finding in watch.see(time_ms, plant.advance(time_ms))
    ]
    assert history == [], "the past is no news"
    plant.held = {0: Mode.CHARGING_HARD}
    live = [
        finding
        for time_ms in range(live_ms, live_ms + 300_000, 1500)
        for finding in watch.see(time_ms, plant.advance(time_ms))
    ]
    assert {finding.connector for finding in live} == {"inlet-1"}
    first_s = (live[0].measured_ms - live_ms) / 1000
    assert 60 <= first_s <= 240
    assert max(finding.severity or 0 for finding in live) == Severity.CRITICAL


def test_the_trend_is_in_the_history_for_who_looks(fleet: Fleet) -> None:
    plant = Plant(fleet, seed=1)
    plant.scenario = Ageing(0, began_ms=LIVE_MS - 30 * DAY_MS, live_ms=LIVE_MS)
    apart_k: dict[str, float] = {}
    for name, day in (("first week", 30), ("last week", 2)):
        begin_ms = LIVE_MS - day * DAY_MS
        samples = [plant.advance(begin_ms + step * 300_000) for step in range(288)]
        apart_k[name] = max(
            float(each["temperature_pos_c"][0] - each["temperature_neg_c"][0]) for each in samples
        )
    assert apart_k["first week"] < 3.0
    assert 6.0 < apart_k["last week"] < 20.0
