"""A connector over time, as its charts want it: columns, the derated limit, alarms as spans."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from django.db.models import Q

from apps.accounts.models import User
from apps.alarms.queries import alarms
from apps.alarms.wording import condition_name
from apps.catalog.models import ConnectorModel
from apps.fleet.models import Connector
from apps.telemetry.answers import Bucket, Series
from ohmwatch.detector import Ratings
from ohmwatch.physics.heat import derated_current_a

QUANTITIES = (
    "temperature_pos_c",
    "temperature_neg_c",
    "ambient_c",
    "current_a",
    "voltage_v",
    "insulation_kohm",
)
LONGEST = timedelta(days=400)
SHORTEST = timedelta(seconds=10)
POINTS = 600
LEAST_GAP_S = 15
"""Without readings for less than this, a line goes on, however often a device reports."""


@dataclass(frozen=True)
class Range:
    """From `start` until before `end`, both aware."""

    start: datetime
    end: datetime

    @classmethod
    def asked(cls, start: str | None, end: str | None, *, now: datetime) -> "Range":
        """From milliseconds since 1970 as text. Raises ValueError for what is no such range."""
        try:
            until = _moment(end) if end else now
            since = _moment(start) if start else until - timedelta(days=1)
        except (OverflowError, OSError) as error:
            raise ValueError("out of time") from error
        if not SHORTEST <= until - since <= LONGEST:
            raise ValueError("the range is too short or too long")
        return cls(since, until)

    @property
    def points(self) -> int:
        """Six seconds a point over an hour, an hour over a month: no finer than a chart shows."""
        minutes = (self.end - self.start).total_seconds() / 60
        if minutes <= 6 * 60:
            return POINTS
        return 288 if minutes <= 48 * 60 else 720


def _moment(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, tz=UTC)


def chart_of(series: Series, *, connector: Connector, user: User, span: Range) -> dict[str, Any]:
    """The whole answer of /series/<id>.json."""
    columns = {name: _column(series.buckets, name) for name in QUANTITIES}
    known = {name: column for name, column in columns.items() if column}
    return {
        "connector": str(connector.pk),
        "start_ms": series.start_ms,
        "end_ms": series.end_ms,
        "interval_ms": series.interval_ms,
        "gap_ms": _gap_ms(connector.model, series.interval_ms),
        "time_ms": [bucket.start_ms + series.interval_ms // 2 for bucket in series.buckets],
        "columns": known,
        "derated_current_a": _derated(connector.model, known),
        "alarms": _spans(connector, user, span),
    }


def _column(buckets: Sequence[Bucket], name: str) -> dict[str, list[float | None]]:
    """mean, min and max of a quantity in each bucket; nothing where it was never reported."""
    found = [bucket.values.get(name) for bucket in buckets]
    if not any(found):
        return {}
    return {
        "mean": [_rounded(each.mean) if each else None for each in found],
        "min": [_rounded(each.minimum) if each else None for each in found],
        "max": [_rounded(each.maximum) if each else None for each in found],
    }


def _rounded(value: float) -> float:
    return round(value, 2)


def _gap_ms(model: ConnectorModel, interval_ms: int) -> int:
    reported_s = max(3 * (model.interval_s or 0), LEAST_GAP_S)
    return int(max(reported_s * 1000, 2.5 * interval_ms))


def _derated(model: ConnectorModel, columns: dict[str, Any]) -> list[float | None] | None:
    """What the model allows at the ambient of each bucket, A; None without a derating curve."""
    if not model.derating or "ambient_c" not in columns:
        return None
    ambient_c = np.array(columns["ambient_c"]["mean"], dtype=np.float64)
    curve = tuple((float(ambient), float(current)) for ambient, current in model.derating)
    ratings = Ratings(rated_current_a=model.rated_current_a, derating=curve)
    which = np.zeros(len(ambient_c), dtype=np.int32)
    allowed = derated_current_a([ratings], which, ambient_c)
    return [None if np.isnan(value) else _rounded(float(value)) for value in allowed]


def _spans(connector: Connector, user: User, span: Range) -> list[dict[str, Any]]:
    """Alarms that were open within the range, by the device's clock, to be shaded."""
    open_within = Q(cleared_at__isnull=True) | Q(cleared_at__gte=span.start)
    rows = alarms(for_user=user).filter(open_within, connector=connector, since__lt=span.end)
    return [
        {
            "id": str(alarm.pk),
            "title": condition_name(alarm.condition),
            "severity": alarm.severity,
            "since_ms": int(alarm.since.timestamp() * 1000),
            "until_ms": int(alarm.cleared_at.timestamp() * 1000) if alarm.cleared_at else None,
        }
        for alarm in rows[:200]
    ]
