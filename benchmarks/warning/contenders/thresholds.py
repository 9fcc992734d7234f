"""What is bought today: a measured value is compared with its limit.

Temperature, insulation and interlock each have one. The second variant watches the rise over
ambient at 85 % of what the model allows, which is the best that a fixed threshold can do for a
contact that gets warm.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from benchmarks.warning.contenders.alarms import Alarms
from benchmarks.warning.events import Event
from ohmwatch.backtest.installed import Installed
from ohmwatch.detector import Batch
from ohmwatch.findings import Severity

ALLOWED_SHARE = 0.85
NOTICE_SHARE = 0.70
BELIEVED_C = (-40.0, 200.0)
"""Outside, both ends included, a thermistor is torn off or shorted."""


def fixed_limit(batches: Iterable[Batch], installed: Mapping[str, Installed]) -> Iterator[Event]:
    """The temperature limit, the insulation minimum, the open interlock: critical, each."""
    alarms = {name: Alarms(name) for name in ("overtemperature", "insulation_low")}
    loop = Alarms("interlock_open", needed=1)
    for batch in batches:
        limit_c = _rating(batch, installed, "temperature_limit_c")
        hottest_c, pole = hotter_c(batch)
        over = level(hottest_c, hottest_c >= limit_c)
        yield from alarms["overtemperature"].follow(batch, over, pole)
        yield from floors(batch, installed, alarms["insulation_low"], loop)


def rise_share(batches: Iterable[Batch], installed: Mapping[str, Installed]) -> Iterator[Event]:
    """85 % of the allowed rise: warning; all of it: critical; 70 %: notice."""
    rising, insulation = Alarms("temperature_rise_high"), Alarms("insulation_low")
    loop = Alarms("interlock_open", needed=1)
    for batch in batches:
        allowed_k = _rating(batch, installed, "temperature_rise_limit_k")
        hottest_c, pole = hotter_c(batch)
        share = (hottest_c - believed(batch.column("ambient_c"))) / allowed_k
        levels = (share >= NOTICE_SHARE).astype(int) + (share >= ALLOWED_SHARE) + (share >= 1.0)
        levels[np.isnan(share)] = -1
        yield from rising.follow(batch, levels, pole)
        yield from floors(batch, installed, insulation, loop)


def floors(
    batch: Batch, installed: Mapping[str, Installed], insulation: Alarms, loop: Alarms
) -> Iterator[Event]:
    """The thresholds that have no slope: least insulation, and the loop of a mated plug."""
    nowhere = np.full(len(batch), 2)
    kohm = batch.column("insulation_kohm")
    least_kohm = _rating(batch, installed, "insulation_minimum_kohm")
    yield from insulation.follow(batch, level(kohm, kohm < least_kohm), nowhere)
    closed = np.where(batch.column("mated") == 0.0, np.nan, batch.column("interlock"))
    yield from loop.follow(batch, level(closed, closed == 0.0), nowhere)


def hotter_c(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """The hotter pole's temperature, and which it is."""
    pos_c = believed(batch.column("temperature_pos_c"))
    neg_c = believed(batch.column("temperature_neg_c"))
    return np.fmax(pos_c, neg_c), np.where(np.isnan(neg_c) | (pos_c >= neg_c), 0, 1)


def believed(temperature_c: np.ndarray) -> np.ndarray:
    """NaN where the sensor says what it says when it is broken."""
    low_c, high_c = BELIEVED_C
    good = (temperature_c > low_c) & (temperature_c < high_c)
    return np.where(good, temperature_c, np.nan)


def level(measured: np.ndarray, holds: np.ndarray) -> np.ndarray:
    """Critical where it holds, −1 where nothing was measured."""
    return np.where(np.isnan(measured), -1, np.where(holds, int(Severity.CRITICAL), 0))


def _rating(batch: Batch, installed: Mapping[str, Installed], rating: str) -> np.ndarray:
    each = [getattr(installed[name].ratings, rating) for name in batch.connectors]
    return np.array(each, dtype=np.float64)[batch.connector]
