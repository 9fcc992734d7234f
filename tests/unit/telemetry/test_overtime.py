"""Quantities over time: columns say what objects would say one by one."""

import numpy as np
import pytest

from apps.telemetry.levels import HOUR, RAW
from apps.telemetry.overtime import Gathered, Grid, tidied, tidy

NAMES = ["temperature_pos_c", "x_oil"]


def test_a_column_is_tidied_as_its_values_are() -> None:
    random = np.random.default_rng(5)
    sent = random.uniform(-1, 1, 20_000) * 10.0 ** random.integers(-9, 9, 20_000)
    sent = np.concatenate([sent, sent.round(1), [0.0, 61.2, -0.0, 123_456.7, 1e6, 9_999_999.0]])
    kept = sent.astype(np.float32).astype(np.float64)

    column = tidied("temperature_pos_c", kept)

    assert column == [tidy("temperature_pos_c", value) for value in kept.tolist()]
    assert tidied("x_oil", np.array([0.123456789012])) == [0.123456789012]
    assert np.isnan(tidied("temperature_pos_c", np.array([np.nan]))).all()


def test_a_bucket_that_two_levels_tell_of_is_one() -> None:
    gathered = Gathered()
    gathered.take(_of_hours(start_ms=0, newest_ms=40, low=1.5, high=3.0, mean=2.0), HOUR, NAMES)
    gathered.take(
        _of_readings(start_ms=0, newest_ms=90, low=-4.0, high=2.5, total=-1.0), RAW, NAMES
    )
    gathered.take(
        _of_readings(start_ms=100, newest_ms=150, low=7.0, high=8.0, total=15.0), RAW, NAMES
    )

    series = gathered.series("c", NAMES, Grid(0, 100), (0, 200))

    first, second = series.buckets
    assert (first.start_ms, first.count, first.newest_ms, first.level) == (0, 6, 90, "raw")
    heat = first.values["temperature_pos_c"]
    assert (heat.minimum, heat.maximum, heat.count) == (-4.0, 3.0, 6)
    assert heat.mean == pytest.approx((2.0 * 4 - 1.0) / 6, rel=1e-6)
    assert first.values.keys() == {"temperature_pos_c"}  # no reading has the other
    assert (second.start_ms, second.values["temperature_pos_c"].mean) == (100, 7.5)
    assert gathered.series("d", NAMES, Grid(0, 100), (0, 200)).buckets == []


def _answer(bucket: dict[str, object]) -> dict[str, object]:
    connector = {"key": "c", "time": {"buckets": [bucket]}}
    return {"aggregations": {"connectors": {"buckets": [connector]}}}


def _of_readings(
    *, start_ms: int, newest_ms: int, low: float, high: float, total: float
) -> dict[str, object]:
    """Two readings."""
    none = {"count": 0, "min": None, "max": None, "sum": 0.0}
    return _answer(
        {
            "key": start_ms,
            "doc_count": 2,
            "newest": {"value": float(newest_ms)},
            "0s": {"count": 2, "min": low, "max": high, "sum": total},
            "1s": none,
        }
    )


def _of_hours(
    *, start_ms: int, newest_ms: int, low: float, high: float, mean: float
) -> dict[str, object]:
    """Two hours with four readings in all."""
    values = {
        "0l": low,
        "0h": high,
        "0a": mean,
        "0n": 4,
        "1l": None,
        "1h": None,
        "1a": None,
        "1n": 0,
    }
    return _answer(
        {
            "key": start_ms,
            "doc_count": 2,
            "readings": {"value": 4.0},
            "newest": {"value": float(newest_ms)},
            **{key: {"value": value} for key, value in values.items()},
        }
    )
