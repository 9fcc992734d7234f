"""Linear prediction as monitoring systems do it: `predict_linear(max_over_time(t[1d])[3d], …)`.

The day's highest temperature, looked at each hour, over some days: a straight line by least
squares, carried forward; an alarm where it crosses the limit. The same for the logarithm of the
day's least insulation. No knowledge of current or air.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from benchmarks.warning.contenders.alarms import Alarms
from benchmarks.warning.contenders.hours import Hour, hours
from benchmarks.warning.contenders.thresholds import floors
from benchmarks.warning.events import Event
from ohmwatch.backtest.installed import Installed
from ohmwatch.detector import Batch

DAY_H = 24
WINDOW_H = 72
AHEAD_H = (96, 48, 4)
"""Hours to the crossing for notice, warning, critical; chosen on the tuning seeds."""
LEAST_H = 36
"""Hours with a value below which there is no line."""


def linear_prediction(
    batches: Iterable[Batch], installed: Mapping[str, Installed]
) -> Iterator[Event]:
    """Warns two days before the line crosses the limit of temperature or insulation."""
    hot, wet = Alarms("overtemperature"), Alarms("insulation_low")
    loop, floor = Alarms("interlock_open", needed=1), Alarms("insulation_low")
    heat, leak = _Course(len(installed)), _Course(len(installed))
    for batch in batches:
        limit_c = _rating(installed, "temperature_limit_c")
        least = np.log(_rating(installed, "insulation_minimum_kohm"))
        for hour in hours(batch):
            predicted = heat.follow(hour.hottest_c)
            yield from _told(hot, hour, [each - limit_c for each in predicted])
            predicted = leak.follow(-np.log(np.maximum(hour.insulation_kohm, 1.0)))
            yield from _told(wet, hour, [each + least for each in predicted])
        yield from (each for each in floors(batch, installed, floor, loop) if _is_loop(each))


def _is_loop(event: Event) -> bool:
    return event.condition == "interlock_open"


class _Course:
    """Hourly values of each connector, their maximum over a day, and the line through those."""

    def __init__(self, connectors: int) -> None:
        self._hourly = np.full((connectors, DAY_H), np.nan)
        self._daily = np.full((connectors, WINDOW_H), np.nan)
        self._at = 0

    def follow(self, values: np.ndarray) -> list[np.ndarray]:
        """What the line says for each of AHEAD_H, float64[connectors]; NaN: no line."""
        self._hourly[:, self._at % DAY_H] = values
        self._daily = np.roll(self._daily, -1, axis=1)
        self._daily[:, -1] = np.fmax.reduce(self._hourly, axis=1)
        self._at += 1
        known = ~np.isnan(self._daily)
        count = known.sum(axis=1)
        x = np.where(known, np.arange(1 - WINDOW_H, 1), 0.0)
        y = np.where(known, self._daily, 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            middle_x, middle_y = x.sum(axis=1) / count, y.sum(axis=1) / count
            square = (x * x).sum(axis=1) - count * middle_x**2
            slope = ((x * y).sum(axis=1) - count * middle_x * middle_y) / square
        slope[count < LEAST_H] = np.nan
        return [middle_y + slope * (ahead_h - middle_x) for ahead_h in AHEAD_H]


def _told(alarms: Alarms, hour: Hour, excess: list[np.ndarray]) -> Iterator[Event]:
    levels = sum((each >= 0.0).astype(int) for each in excess)
    levels = np.where(np.isnan(excess[0]) | (hour.time_ms == 0), -1, levels)
    here = np.flatnonzero(hour.time_ms > 0)
    batch = Batch(
        connectors=hour.connectors,
        connector=here.astype(np.int32),
        time_ms=hour.time_ms[here],
        arrived_ms=hour.arrived_ms[here],
        values={},
    )
    yield from alarms.follow(batch, levels[here], np.full(len(here), 2))


def _rating(installed: Mapping[str, Installed], rating: str) -> np.ndarray:
    return np.array([getattr(each.ratings, rating) for each in installed.values()])
