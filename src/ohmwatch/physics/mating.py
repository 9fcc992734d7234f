"""Whether a plug is in, and since when: what is unplugged is open without a fault."""

from dataclasses import dataclass

import numpy as np

from ohmwatch.detector import Batch, Flags, State, Times
from ohmwatch.physics.sequence import Runs

MATING_DTYPE = np.dtype([("unmated", "?"), ("cycles", "<f4"), ("mating_ms", "<i8")])
"""State of a connector's mating. Zeros: taken as mated, and never seen to be plugged."""


@dataclass(frozen=True, slots=True)
class Mating:
    """At each reading: whether the plug is in (bool[n]), and ms since it went in or out (int64[n]).

    The latter is very large where neither was ever seen.
    """

    mated: Flags
    since_ms: Times


def follow_mating(batch: Batch, state: State) -> Mating:
    """The mating at each reading; carries `state` (MATING_DTYPE[connectors]) forward.

    A reading that doesn't say keeps what the connector's last one said. A count of mating cycles
    that has risen is a mating too, for devices that report nothing else of it.
    """
    runs = Runs.of(batch.connector)
    said = batch.column("mated")
    unmated = _kept(runs, said == 0.0, ~np.isnan(said), state["unmated"])
    cycles = _kept(
        runs,
        batch.column("mating_cycles"),
        ~np.isnan(batch.column("mating_cycles")),
        state["cycles"],
    )
    before = runs.previous(cycles, state["cycles"])
    moved = unmated != runs.previous(unmated, state["unmated"])
    moved |= (cycles > before) & (before > 0)
    moved_at = runs.latest(moved)
    counts = runs.ends - runs.starts + 1
    carried_ms = np.repeat(state["mating_ms"][runs.owner], counts)
    mating_ms = np.where(moved_at >= 0, batch.time_ms[moved_at], carried_ms)
    for name, values in (("unmated", unmated), ("cycles", cycles), ("mating_ms", mating_ms)):
        state[name][runs.owner] = values[runs.ends]
    return Mating(mated=~unmated, since_ms=batch.time_ms - mating_ms)


def _kept(runs: Runs, values: np.ndarray, known: Flags, before: np.ndarray) -> np.ndarray:
    """Each reading's value, or the last known one of its connector."""
    if known.all():
        return values
    at = runs.latest(known)
    carried = np.repeat(before[runs.owner], runs.ends - runs.starts + 1)
    return np.where(at >= 0, values[at], carried)
