"""A connector against its like: which ages ahead of its model and batch.

Pure: estimates of many connectors in, outliers out. Who calls it chooses the connectors (of one
tenant), and how often; a day is enough, for a fleet's statistics don't change faster.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ohmwatch.detector import Floats

LEAST_FELLOWS = 12
"""Connectors of a group below which its median says nothing."""

SPREAD_OF_MAD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

LEAST_SPREAD = 0.03
"""No group is so even that less than this between two of it means anything."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One connector's estimate. `change` is how much the worse pole's heating has grown over the
    unit's own base, as a share of the model's typical rise, with its standard deviation;
    `age_days` since it was first seen."""

    connector: str
    model: str
    batch: str
    change: float
    change_sd: float
    age_days: float


@dataclass(frozen=True, slots=True)
class Outlier:
    """A connector that ages ahead of its fellows: the newest change over theirs at its age.

    `deviations` is in robust standard deviations of the group, its own uncertainty included;
    `group` says which: `batch` or `model`.
    """

    connector: str
    change: float
    expected: float
    deviations: float
    group: str
    fellows: int


def outliers(standings: Sequence[Standing], *, deviations: float = 5.0) -> list[Outlier]:
    """The connectors whose change is beyond their group's, the furthest first.

    The group is the batch within the model where it has LEAST_FELLOWS members beside the
    connector, else the model; without either nothing is said. The yardstick is the group's median
    rate of change, carried to the connector's own age, so that an old connector is not an outlier
    among new ones; medians bear a group in which some are bad (Rousseeuw and Croux 1993).

    >>> fleet = [Standing(f"c{n}", "m", "b", 0.01, 0.01, 100.0) for n in range(20)]
    >>> fleet.append(Standing("old", "m", "b", 0.40, 0.02, 100.0))
    >>> [(each.connector, each.group, each.fellows) for each in outliers(fleet)]
    [('old', 'batch', 20)]
    """
    known = [each for each in standings if np.isfinite(each.change) and each.age_days > 0]
    change = np.array([each.change for each in known], dtype=np.float64)
    age = np.array([each.age_days for each in known], dtype=np.float64)
    groups = _groups(known)
    found = []
    for at, each in enumerate(known):
        for group, key in (("batch", (each.model, each.batch)), ("model", (each.model, None))):
            fellows = groups[key][groups[key] != at]
            if len(fellows) < LEAST_FELLOWS:
                continue
            expected, spread = _expected(change[fellows], age[fellows], each.age_days)
            away = (each.change - expected) / float(np.hypot(spread, each.change_sd))
            if away >= deviations:
                found.append(
                    Outlier(each.connector, each.change, expected, away, group, len(fellows))
                )
            break
    return sorted(found, key=lambda outlier: (-outlier.deviations, outlier.connector))


def _groups(known: Sequence[Standing]) -> dict[tuple[str, str | None], np.ndarray]:
    """The positions of each batch's and each model's members."""
    members: dict[tuple[str, str | None], list[int]] = {}
    for at, each in enumerate(known):
        members.setdefault((each.model, each.batch), []).append(at)
        members.setdefault((each.model, None), []).append(at)
    return {key: np.array(positions) for key, positions in members.items()}


def _expected(change: Floats, age_days: Floats, own_days: float) -> tuple[float, float]:
    """What the fellows' median rate makes of this age, and their spread about it."""
    rate = float(np.median(change / age_days))
    apart = np.abs(change - rate * age_days)
    return rate * own_days, max(SPREAD_OF_MAD * float(np.median(apart)), LEAST_SPREAD)
