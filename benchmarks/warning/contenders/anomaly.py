"""An online anomaly detector from river: it learns each connector and says what is unusual.

For each connector a linear model, learned online, says what rise and difference of poles belong
to the load of this hour and the one before (`river.anomaly.PredictiveAnomalyDetection` over
`StandardScaler | LinearRegression`); the score is how far off an hour is against the errors so
far. Hours without load teach nothing. An alarm needs several unusual hours among the last ones,
for single ones are weather.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from river import anomaly, linear_model, optim, preprocessing

from benchmarks.warning.contenders.alarms import Alarms
from benchmarks.warning.contenders.hours import Hour, hours
from benchmarks.warning.events import Event
from ohmwatch.backtest.installed import Installed
from ohmwatch.detector import Batch, Ratings

LOADED_SHARE = 0.02
"""Of rated current squared, in the mean of an hour, from which on it teaches something."""
WARM_UP_HOURS = 20
DEVIATIONS = 3.0
"""Standard deviations at which the score is 1 and the hour unusual."""
LAST_HOURS = 8
UNUSUAL_HOURS = (3, 5, 7)
"""Of the last ones, for notice, warning and critical; chosen on the tuning seeds."""
CONDITION = "river_anomaly"


def river_anomaly(batches: Iterable[Batch], installed: Mapping[str, Installed]) -> Iterator[Event]:
    """Unusual rise or difference of poles for the load."""
    alarms = Alarms(CONDITION, needed=1)
    known = {name: _Pupil(each.ratings) for name, each in installed.items()}
    for batch in batches:
        for hour in hours(batch):
            yield from _hour(alarms, known, hour)


def _hour(alarms: Alarms, known: Mapping[str, "_Pupil"], hour: Hour) -> Iterator[Event]:
    level = np.full(len(hour.connectors), -1)
    rated_a2 = np.array([known[name].rated_a2 for name in hour.connectors])
    with np.errstate(invalid="ignore"):
        load = hour.load_a2 / rated_a2
    for at in np.flatnonzero(load >= LOADED_SHARE).tolist():
        level[at] = known[hour.connectors[at]].level(hour, at, float(load[at]))
    here = np.flatnonzero(level >= 0)
    batch = Batch(
        connectors=hour.connectors,
        connector=here.astype(np.int32),
        time_ms=hour.time_ms[here],
        arrived_ms=hour.arrived_ms[here],
        values={},
    )
    yield from alarms.follow(batch, level[here], np.full(len(here), 2))


def _model() -> anomaly.PredictiveAnomalyDetection:
    return anomaly.PredictiveAnomalyDetection(
        predictive_model=preprocessing.StandardScaler()
        | linear_model.LinearRegression(optimizer=optim.SGD(0.05)),
        n_std=DEVIATIONS,
        warmup_period=WARM_UP_HOURS,
    )


@dataclass
class _Pupil:
    """One connector: its two models, and which of its last hours were unusual."""

    ratings: Ratings
    before: float = 0.0
    rise: anomaly.PredictiveAnomalyDetection = field(default_factory=_model)
    difference: anomaly.PredictiveAnomalyDetection = field(default_factory=_model)
    last: deque[bool] = field(default_factory=lambda: deque(maxlen=LAST_HOURS))

    @property
    def rated_a2(self) -> float:
        return self.ratings.rated_current_a**2

    def level(self, hour: Hour, at: int, load: float) -> int:
        """The severity after this hour; learns it."""
        features = {"load": load, "before": self.before, "ambient": _or_zero(hour.ambient_c[at])}
        self.before = load
        scores = [
            _scored(model, features, float(target))
            for model, target in (
                (self.rise, hour.rise_k[at]),
                (self.difference, hour.difference_k[at]),
            )
            if target == target
        ]
        self.last.append(any(score >= 1.0 for score in scores))
        return sum(sum(self.last) >= needed for needed in UNUSUAL_HOURS)


def _scored(
    model: anomaly.PredictiveAnomalyDetection, features: dict[str, float], target: float
) -> float:
    score: float = model.score_one(features, target)
    # What is unusual is not learned, or a fault would soon be usual.
    if score < 1.0:
        model.learn_one(features, target)
    return score


def _or_zero(value: float) -> float:
    return float(value) if value == value else 0.0
