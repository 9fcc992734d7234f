"""Healthy connectors of the benchmark's generator, as the sequences that the network learns from.

The seeds are nobody else's: neither the detectors' tuning seeds nor the report's.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ohmwatch_sequence.features import features, observed
from ohmwatch_sequence.slots import OPEN_SLOT, take_in

from benchmarks.warning.profiles import Profile
from benchmarks.warning.scenarios import generate

Set = tuple[str | Profile, int, int]
"""Profile, seed, connectors."""
SETS: tuple[Set, ...] = (("healthy", 701, 100), ("healthy-hard", 702, 60))


@dataclass(frozen=True, slots=True)
class Sequence:
    """One connector's slots in order: `shown` float32[n, 6], `seen` float64[n, 2] of the poles."""

    shown: np.ndarray
    seen: np.ndarray


def sequences(sets: tuple[Set, ...] = SETS) -> Iterator[Sequence]:
    """Of every connector that measures a rise."""
    for profile, seed, connectors in sets:
        for each in _of_set(profile, seed, connectors):
            if np.isfinite(each.seen).any():
                yield each


def _of_set(profile: str | Profile, seed: int, connectors: int) -> Iterator[Sequence]:
    scenario = generate(profile, seed, connectors)
    ratings = scenario.ratings
    state = np.zeros(connectors, dtype=OPEN_SLOT)
    shown: list[list[np.ndarray]] = [[] for _ in ratings]
    seen: list[list[np.ndarray]] = [[] for _ in ratings]
    clock_ms = np.zeros(connectors, dtype=np.int64)
    for batch in scenario.batches(hours=24):
        newer = np.append(True, np.diff(batch.time_ms) > 0) | np.append(
            True, np.diff(batch.connector) != 0
        )
        newer &= batch.time_ms > clock_ms[batch.connector]  # late ones reach no detector
        batch = batch.rows(newer)
        np.maximum.at(clock_ms, batch.connector, batch.time_ms)
        slots = take_in(batch, ratings, state)
        x, y = features(slots, ratings), observed(slots, ratings)[:, :2]
        for who in np.unique(slots.who):
            shown[who].append(x[slots.who == who])
            seen[who].append(y[slots.who == who])
    for x_parts, y_parts in zip(shown, seen, strict=True):
        if x_parts:
            yield Sequence(np.concatenate(x_parts), np.concatenate(y_parts))
