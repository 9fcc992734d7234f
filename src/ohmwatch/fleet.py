"""A connector against its like: which ages ahead of its model and batch.

Pure: estimates of many connectors in, findings out. Who calls it chooses the connectors (of one
tenant), and how often; an hour is enough, for a fleet's statistics don't change faster.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ohmwatch.conditions import Condition
from ohmwatch.detector import Batch, Floats, Ratings, State
from ohmwatch.findings import Finding, Severity

LEAST_FELLOWS = 12
"""Connectors of a group below which its median says nothing."""

LEAST_DAYS = 1.0
"""Known for less, a unit's rate of change is its noise."""

MANY = 200
"""Of a group from this size on, one member more or less moves no median worth speaking of."""

SPREAD_OF_MAD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

LEAST_SPREAD = 0.03
"""No group is so even that less than this between two of it means anything."""

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Standing:
    """One connector's estimate. `change` is how much the worse pole's heating has grown over the
    unit's own base, as a share of the model's typical rise, with its standard deviation;
    `age_days` since it was first seen. `measured_ms` and `arrived_ms` are those of the newest
    reading that the estimate rests on."""

    connector: str
    model: str
    batch: str
    change: float
    change_sd: float
    age_days: float
    measured_ms: int = 0
    arrived_ms: int = 0


@dataclass(frozen=True, slots=True)
class Compared:
    """A connector among its fellows: the newest change over theirs at its age.

    `deviations` is in robust standard deviations of the group, its own uncertainty included;
    `group` says which: `batch` or `model`. `place` among it counts from 1, the furthest ahead.
    """

    connector: str
    change: float
    expected: float
    deviations: float
    group: str
    fellows: int
    place: int


def compared(
    standings: Sequence[Standing], *, least_fellows: int = LEAST_FELLOWS
) -> list[Compared]:
    """Each connector that can be compared, in the order given.

    The group is the batch within the model where it has `least_fellows` members beside the
    connector, else the model; without either nothing is said. The yardstick is the group's median
    rate of change, carried to the connector's own age, so that an old connector is not an outlier
    among new ones; medians bear a group in which some are bad (Rousseeuw and Croux 1993).
    """
    known = [
        each
        for each in standings
        if np.isfinite(each.change) and np.isfinite(each.change_sd) and each.age_days >= LEAST_DAYS
    ]
    change = np.array([each.change for each in known], dtype=np.float64)
    age = np.array([each.age_days for each in known], dtype=np.float64)
    groups = _groups(known)
    rates = change / age if len(known) else change
    whole: dict[tuple[str, str | None], _Yardstick] = {}
    found = []
    for at, each in enumerate(known):
        keys: tuple[tuple[str, str | None], ...] = ((each.model, each.batch), (each.model, None))
        key = next((key for key in keys if len(groups.get(key, ())) > least_fellows), None)
        if key is None:
            continue
        members = groups[key]
        if len(members) <= MANY:
            fellows = members[members != at]
            yardstick = _Yardstick.of(change[fellows], age[fellows])
        else:
            if key not in whole:
                whole[key] = _Yardstick.of(change[members], age[members])
            yardstick = whole[key]
        expected = yardstick.rate * each.age_days
        away = (each.change - expected) / float(np.hypot(yardstick.spread, each.change_sd))
        found.append(
            Compared(
                connector=each.connector,
                change=each.change,
                expected=expected,
                deviations=away,
                group="model" if key[1] is None else "batch",
                fellows=len(members) - 1,
                place=int((rates[members] > rates[at]).sum()) + 1,
            )
        )
    return found


def outliers(
    standings: Sequence[Standing],
    *,
    deviations: float = 5.0,
    least_fellows: int = LEAST_FELLOWS,
) -> list[Compared]:
    """The connectors whose change is beyond their group's, the furthest first.

    >>> fleet = [Standing(f"c{n}", "m", "b", 0.01, 0.01, 100.0) for n in range(20)]
    >>> fleet.append(Standing("old", "m", "b", 0.40, 0.02, 100.0))
    >>> [(each.connector, each.group, each.fellows) for each in outliers(fleet)]
    [('old', 'batch', 20)]
    """
    found = compared(standings, least_fellows=least_fellows)
    beyond = [each for each in found if each.deviations >= deviations]
    return sorted(beyond, key=lambda outlier: (-outlier.deviations, outlier.connector))


@dataclass(frozen=True)
class AgeingOutlier:
    """A connector ages ahead of its batch or model, long before any limit of its own is near.

    Fault: what its like do not have: a bad crimp, a wet housing, another duty. Whole batches that
    age early stand out against their model where they are small, and on the fleet's pages else.

    Physics: the growth of the worse pole's heating over the unit's own base, as the contacts'
    estimates have it (`ohmwatch.physics.estimate`), against the median rate of its fellows at its
    age, in robust standard deviations (Rousseeuw and Croux 1993).

    Inputs: one estimate a connector (`Standing`), not readings: `observe` states nothing. Asked
    once an hour for a tenant's whole fleet, and at the end of a recording.

    Parameters:
        deviations: beyond which it is a notice. Of a thousand units that age alike by chance
            one is beyond 3; 5 leaves room for fellows that are not quite normal.
        release_deviations: below which it is over.
        least_fellows: members of a group beside the unit, below which its median says nothing.

    Can't see: a fleet that ages alike; units without a group, or known for less than a day.

    Cost: about 60 µs a connector a run; no state.

    >>> fleet = [Standing(f"c{n}", "m", "b", 0.01, 0.01, 100.0) for n in range(20)]
    >>> fleet.append(Standing("old", "m", "b", 0.40, 0.02, 100.0, 1_795_420_800_000))
    >>> (finding,) = AgeingOutlier().compare(fleet, stated=())
    >>> finding.connector, finding.evidence["growth_pct"], finding.evidence["place"]
    ('old', 40.0, 1)
    """

    deviations: float = 5.0
    release_deviations: float = 3.5
    least_fellows: float = float(LEAST_FELLOWS)

    name = "ageing_outlier"
    version = "1"
    condition: str = Condition.AGEING_OUTLIER
    needs: frozenset[str] = frozenset({"current_a"})

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return np.dtype([])

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        return []

    def compare(self, standings: Sequence[Standing], *, stated: Collection[str]) -> list[Finding]:
        """Findings about connectors that are outliers, and ends of those that were `stated`.

        Of who was stated and can't be compared now nothing is said: no news is not good news.
        """
        known = {each.connector: each for each in standings}
        findings = []
        for each in compared(standings, least_fellows=int(self.least_fellows)):
            was = each.connector in stated
            if each.deviations >= (self.release_deviations if was else self.deviations):
                findings.append(self._finding(each, known[each.connector], Severity.NOTICE))
            elif was:
                findings.append(self._finding(each, known[each.connector], None))
        return findings

    def _finding(self, found: Compared, standing: Standing, severity: Severity | None) -> Finding:
        return Finding(
            connector=found.connector,
            condition=self.condition,
            severity=severity,
            since_ms=standing.measured_ms,
            measured_ms=standing.measured_ms,
            arrived_ms=standing.arrived_ms,
            detector=self.name,
            detector_version=self.version,
            evidence={
                "growth_pct": round(100.0 * found.change, 1),
                "growth_sd_pct": round(100.0 * standing.change_sd, 1),
                "expected_growth_pct": round(100.0 * found.expected, 1),
                "deviations": round(found.deviations, 1),
                f"{found.group}_fellows": found.fellows,
                "place": found.place,
                "known_for_s": round(standing.age_days * _DAY_S),
            },
        )


def _groups(known: Sequence[Standing]) -> dict[tuple[str, str | None], np.ndarray]:
    """The positions of each batch's and each model's members."""
    members: dict[tuple[str, str | None], list[int]] = {}
    for at, each in enumerate(known):
        if each.batch:
            members.setdefault((each.model, each.batch), []).append(at)
        members.setdefault((each.model, None), []).append(at)
    return {key: np.array(positions) for key, positions in members.items()}


@dataclass(frozen=True, slots=True)
class _Yardstick:
    """The fellows' median rate of change a day, and their spread about it."""

    rate: float
    spread: float

    @classmethod
    def of(cls, change: Floats, age_days: Floats) -> Self:
        rate = float(np.median(change / age_days))
        apart = np.abs(change - rate * age_days)
        return cls(rate, max(SPREAD_OF_MAD * float(np.median(apart)), LEAST_SPREAD))
