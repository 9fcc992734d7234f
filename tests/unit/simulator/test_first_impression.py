"""The demo's own fleet as the product's own detectors see it: quiet for days, then an alarm."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.platform.demo.fleet import AGEING_CAR, AGEING_CHANNEL, AURORA, KUNLUN, Manufacturer
from ohmwatch.detector import Batch, Ratings
from ohmwatch.detectors.defaults import default_detectors
from ohmwatch.findings import Finding, Severity
from ohmwatch.watch import Watch
from workers.simulator.fleet import Fleet, read_fleet
from workers.simulator.plant import Ageing, Plant, Sample
from workers.simulator.play import heavy

DAY_MS = 86_400_000
LIVE_MS = 1_795_420_800_000
STORY = "KL-T280"


def _model(manufacturer: Manufacturer, code: str) -> dict[str, Any]:
    return {"code": code, **manufacturer.models[code]}


def _device(manufacturer: Manufacturer, car: Any) -> dict[str, Any]:
    ages = manufacturer is KUNLUN and car.device == AGEING_CAR
    return {
        "identity": f"{manufacturer.slug}.{car.device}",
        "password": "",
        "vehicle": {"vin": car.vin},
        "channels": [
            {
                "channel": number,
                "connector": f"{car.device}/{number}/{code}",
                "serial": f"{car.device}-{number}",
                "position": manufacturer.models[code]["position"],
                "scenario": "ageing" if ages and number == AGEING_CHANNEL else None,
                "model": _model(manufacturer, code),
            }
            for number, code in enumerate(car.models)
        ],
    }


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """The fleet that seeding the demo writes, as far as it matters here."""
    path: Path = tmp_path_factory.mktemp("demo") / "devices.json"
    makers = (KUNLUN, AURORA)
    path.write_text(json.dumps([_device(maker, car) for maker in makers for car in maker.cars]))
    return read_fleet(path)


def ratings_of(fleet: Fleet) -> list[Ratings]:
    """The ratings as the core takes them, for each connector."""
    found = []
    for unit in fleet.units:
        code = unit.connector.rsplit("/", 1)[1]
        stated = {**KUNLUN.models, **AURORA.models}[code]
        known = {name: stated[name] for name in stated if name in Ratings.__dataclass_fields__}
        for name in ("derating", "thermal_time_constants_s", "reports"):
            known[name] = tuple(tuple(x) if isinstance(x, list) else x for x in known[name])
        found.append(Ratings(**known))
    return found


class Eyes:
    """The product's own detection over a simulated fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._names = [unit.connector for unit in fleet.units]
        self._ratings = ratings_of(fleet)
        self._reports = {
            name: np.array([name in unit.reports for unit in fleet.units])
            for name in {name for unit in fleet.units for name in unit.reports}
        }
        self._watch = Watch(default_detectors())

    def see(self, time_ms: int, sample: Sample) -> list[Finding]:
        n = len(self._names)
        times = np.full(n, time_ms)
        batch = Batch(
            connector=np.arange(n, dtype=np.int32),
            connectors=self._names,
            time_ms=times,
            arrived_ms=times,
            values=self._reported(sample),
        )
        judgement = self._watch.observe(batch, self._ratings)
        assert judgement.failed == {}
        return judgement.findings

    def _reported(self, sample: Sample) -> Sample:
        """What devices tell of it: an inlet counts its matings, a bolted connector doesn't."""
        return {
            name: np.where(told, sample[name], np.nan)
            for name, told in self._reports.items()
            if name in sample
        }


@pytest.mark.parametrize("hour", [0, 7, 15])
def test_the_first_alarm_comes_by_itself_within_four_minutes(demo: Fleet, hour: int) -> None:
    live_ms = LIVE_MS + hour * 3_600_000
    plant, watch = Plant(demo, seed=1), Eyes(demo)
    [story] = demo.named("demo")
    plant.scenario = Ageing(story, began_ms=live_ms - 30 * DAY_MS, live_ms=live_ms)
    history = [
        finding
        for time_ms in range(live_ms - DAY_MS, live_ms, 300_000)
        for finding in watch.see(time_ms, plant.advance(time_ms))
    ]
    assert history == [], "the past is no news"
    plant.held = {demo.units[story].vehicle: heavy(demo.units[story])}
    live = [
        finding
        for time_ms in range(live_ms, live_ms + 300_000, 1500)
        for finding in watch.see(time_ms, plant.advance(time_ms))
    ]
    assert {finding.connector for finding in live} == {f"{AGEING_CAR}/{AGEING_CHANNEL}/{STORY}"}
    first_s = (live[0].measured_ms - live_ms) / 1000
    worst_s = next(
        (each.measured_ms - live_ms) / 1000 for each in live if each.severity == Severity.CRITICAL
    )
    assert 60 <= first_s <= 200
    assert worst_s <= 240


def test_the_trend_is_in_the_history_for_who_looks(demo: Fleet) -> None:
    plant = Plant(demo, seed=1)
    [story] = demo.named("demo")
    plant.scenario = Ageing(story, began_ms=LIVE_MS - 30 * DAY_MS, live_ms=LIVE_MS)
    apart_k: dict[str, float] = {}
    for name, day in (("first week", 30), ("last week", 2)):
        begin_ms = LIVE_MS - day * DAY_MS
        samples = [plant.advance(begin_ms + step * 300_000) for step in range(288)]
        apart_k[name] = max(
            float(each["temperature_pos_c"][story] - each["temperature_neg_c"][story])
            for each in samples
        )
    assert apart_k["first week"] < 3.0
    assert 5.0 < apart_k["last week"] < 20.0


def test_a_healthy_fleet_says_nothing_all_day(demo: Fleet) -> None:
    """As dense as live: every 10 s, so that holds can be reached."""
    plant, watch = Plant(demo, seed=1), Eyes(demo)
    found = [
        finding
        for time_ms in range(LIVE_MS, LIVE_MS + 10 * 3_600_000, 10_000)
        for finding in watch.see(time_ms, plant.advance(time_ms))
    ]
    assert found == []
