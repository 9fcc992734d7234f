"""Readings as hours of arrival, for contenders that look at a course and not at a reading."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.warning.contenders.thresholds import believed, hotter_c
from ohmwatch.detector import Batch

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of all connectors of a batch, float64[connectors] each; NaN: nothing measured.

    `load_a2`: mean square of current; `difference_k`: mean of positive minus negative pole;
    `rise_k`: mean of the hotter pole over ambient; `time_ms`, `arrived_ms`: the newest reading,
    0 where there was none.
    """

    connectors: list[str]
    hottest_c: np.ndarray
    ambient_c: np.ndarray
    rise_k: np.ndarray
    difference_k: np.ndarray
    load_a2: np.ndarray
    insulation_kohm: np.ndarray
    time_ms: np.ndarray
    arrived_ms: np.ndarray


def hours(batch: Batch) -> Iterator[Hour]:
    """The hours of arrival that the batch has readings of, in order.

    An hour that is cut by the batch's end comes twice; the set's batches end on whole hours.
    """
    hour = batch.arrived_ms // HOUR_MS
    for each in np.unique(hour):
        yield _hour(batch.rows(hour == each))


def _hour(batch: Batch) -> Hour:
    count = len(batch.connectors)
    hottest_c, _ = hotter_c(batch)
    ambient_c = believed(batch.column("ambient_c"))
    pos_c = believed(batch.column("temperature_pos_c"))
    neg_c = believed(batch.column("temperature_neg_c"))
    time_ms = np.zeros(count, dtype=np.int64)
    arrived_ms = np.zeros(count, dtype=np.int64)
    np.maximum.at(time_ms, batch.connector, batch.time_ms)
    np.maximum.at(arrived_ms, batch.connector, batch.arrived_ms)
    return Hour(
        connectors=list(batch.connectors),
        hottest_c=_most(batch.connector, hottest_c, count),
        ambient_c=_mean(batch.connector, ambient_c, count),
        rise_k=_mean(batch.connector, hottest_c - ambient_c, count),
        difference_k=_mean(batch.connector, pos_c - neg_c, count),
        load_a2=_mean(batch.connector, batch.column("current_a") ** 2, count),
        insulation_kohm=-_most(batch.connector, -batch.column("insulation_kohm"), count),
        time_ms=time_ms,
        arrived_ms=arrived_ms,
    )


def _mean(owner: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    good = ~np.isnan(values)
    sums = np.bincount(owner[good], weights=values[good], minlength=count)
    numbers = np.bincount(owner[good], minlength=count)
    return np.where(numbers > 0, sums / np.maximum(numbers, 1), np.nan)


def _most(owner: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    most = np.full(count, np.nan)
    np.fmax.at(most, owner, values)
    return most
