"""How warm a contact may be for the current that flows: rise, derating, thermal lag.

A contact of resistance R in air of temperature Tₐ that carries I is heated by I²·R and cooled
through its thermal resistance, so its steady rise over ambient is proportional to I²; it nears
that rise with the time constants of its thermal network. This is the model behind the current
temperature curves of IEC 60512-5-2 (derating: rise at several currents, drawn as current over
ambient); the dependence of R on temperature is left out here (copper: +0.4 %/K).
"""

from collections.abc import Sequence

import numpy as np

from ohmwatch.detector import Flags, Floats, Indices, Ratings
from ohmwatch.rated import once

Curve = tuple[tuple[float, float], ...]


def column(ratings: Sequence[Ratings], rating: str) -> Floats:
    """One rating of each connector, float64[connectors], NaN where the model doesn't say."""

    def of_each() -> Floats:
        values = np.array([getattr(each, rating) for each in ratings], dtype=np.float64)
        values.flags.writeable = False
        return values

    return once(ratings, rating, of_each)


def derated_current_a(ratings: Sequence[Ratings], connector: Indices, ambient_c: Floats) -> Floats:
    """The current in A that the derating curve allows at each reading's ambient, float64[n].

    Straight between the curve's points, level beyond its ends; the rated current without a curve.

    >>> model = Ratings(rated_current_a=250.0, derating=((40.0, 250.0), (70.0, 180.0)))
    >>> derated_current_a([model], np.zeros(3, np.int32), np.array([20.0, 55.0, 90.0])).tolist()
    [250.0, 215.0, 180.0]
    """
    current_a = column(ratings, "rated_current_a")[connector]
    for curve, member in once(ratings, "curves", lambda: _curves(ratings)):
        here = member[connector]
        points_c, points_a = zip(*curve, strict=True)
        current_a[here] = np.interp(ambient_c[here], points_c, points_a)
    return current_a


def _curves(ratings: Sequence[Ratings]) -> list[tuple[Curve, Flags]]:
    """Every derating curve, and which connectors (bool[connectors]) it is of."""
    members: dict[Curve, Flags] = {}
    for position, each in enumerate(ratings):
        if each.derating:
            if each.derating not in members:
                members[each.derating] = np.zeros(len(ratings), dtype=np.bool_)
            members[each.derating][position] = True
    return list(members.items())


def allowed_rise_per_a2(
    ratings: Sequence[Ratings], connector: Indices, ambient_c: Floats
) -> Floats:
    """The allowed steady rise of a contact per square of its current, K/A², float64[n].

    The stricter of two limits: the model's rise limit at rated current, and the rise that
    brings a contact to its temperature limit at the edge of the derating curve at this ambient.
    NaN where the model gives neither.

    >>> model = Ratings(rated_current_a=200.0, temperature_rise_limit_k=50.0)
    >>> float(allowed_rise_per_a2([model], np.zeros(1, np.int32), np.array([20.0]))[0]) * 200.0**2
    50.0
    """
    rated_a = column(ratings, "rated_current_a")[connector]
    by_rise = column(ratings, "temperature_rise_limit_k")[connector] / rated_a**2
    room_k = column(ratings, "temperature_limit_c")[connector] - ambient_c
    derated_a = derated_current_a(ratings, connector, ambient_c)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_limit = np.where(derated_a > 0, np.maximum(room_k, 0.0) / derated_a**2, np.nan)
    return np.fmin(by_rise, by_limit)


def time_constants_s(
    ratings: Sequence[Ratings], *, default: tuple[float, float]
) -> tuple[Floats, Floats]:
    """The shortest and the longest thermal time constant in s of each connector's model."""

    def of_each() -> tuple[Floats, Floats]:
        constants = [each.thermal_time_constants_s or default for each in ratings]
        return (
            np.array([min(each) for each in constants], dtype=np.float64),
            np.array([max(each) for each in constants], dtype=np.float64),
        )

    return once(ratings, ("time_constants", default), of_each)
