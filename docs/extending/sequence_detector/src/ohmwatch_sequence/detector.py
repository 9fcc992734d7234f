"""A contact that gets warmer than a network of healthy contacts expects for its load.

The fault: any that adds heat where current flows, a contact that ages or is loose, a bad
assembly, cooling that is lost. It can't tell one from the other, and names no cause.

The model: a gated recurrent unit of 16 cells (Cho et al. 2014, arXiv:1406.1078), trained on
healthy connectors of the benchmark's generator to say the rise over ambient, as a share of the
rated one, from load, ambient and time constants in slots of five minutes. What exceeds it, beyond
the unit's own gain and its sensors' offset, is what is judged (`residual.py`).

Inputs: `current_a`, and of `temperature_pos_c`, `temperature_neg_c` and `ambient_c` any two;
ratings `rated_current_a` and `temperature_rise_rated_k`, of help `thermal_time_constants_s`.

It can't see: insulation and interlock; what both poles and the model share from the first day,
below a rise 2.6 times the rated one; faults of a unit that is hardly loaded; a current sensor that
is off. It needs three days to know a unit. A re-mated plug is no new beginning to it.

Cost: half a million to a million readings/s of one core in the benchmark, the more connectors in
a batch the better; 547 bytes of state a connector.
"""

from collections.abc import Sequence

import numpy as np

from ohmwatch.conditions import Pole
from ohmwatch.detector import Batch, Floats, Ratings, State
from ohmwatch.findings import Finding, Severity
from ohmwatch_sequence.features import features, observed
from ohmwatch_sequence.network import Network
from ohmwatch_sequence.residual import CHANNELS, RESIDUAL, Excess, follow
from ohmwatch_sequence.slots import OPEN_SLOT, SLOT_MS, Slots, take_in

LEVELS = (0.8, 1.0)
"""Of the allowed excess: notice, warning."""
CRITICAL_GAIN = 2.0
"""Excess at which the rise has more than trebled."""
OVER = 0.5
NEEDED, NEEDED_OVER = 4, 36
"""Slots in a row that show a level, and its end; slots without load don't count. Three hours of
load, since what both poles show comes and goes with the weather."""
ONE_POLE = 0.5
"""Of the largest excess: what the difference of the poles must show to accuse one of them."""
ALARM = [("level", "<i2"), ("runs", "<i2", (4,)), ("began", "<i8", (4,))]
"""Slots in a row at notice, warning, critical, and below OVER; and the slot each run began with."""


class SequenceModel:
    """Implements `ohmwatch.detector.Detector`. `version` is the network's own."""

    name = "sequence_model"
    condition = "sequence_model_excess_heat"
    needs = frozenset({"current_a"})

    def __init__(self) -> None:
        self._network = Network()
        self.version = self._network.version
        memory = ("memory", "<f4", (self._network.hidden,))
        self.state_dtype = np.dtype([*OPEN_SLOT, memory, *RESIDUAL, *ALARM])

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        """Findings are stated at the reading that completes a slot."""
        slots = take_in(batch, ratings, state)
        shown, seen = features(slots, ratings), observed(slots, ratings)
        findings: list[Finding] = []
        for at in _by_rank(slots):
            records = state[slots.who[at]]
            rise, records["memory"] = self._network.step(shown[at], records["memory"])
            predicted = rise.astype(np.float64)
            excess = follow(records, slots.slot[at], slots.empty[at], predicted, seen[at])
            for place in _move(records, slots.slot[at], excess):
                reading = int(slots.closed_by[at[place]])
                rated = ratings[int(slots.who[at[place]])]
                evidence = _evidence(slots.means[at[place]], predicted[place], rated, excess, place)
                gain = excess.gain[place]
                findings.append(self._finding(batch, reading, records[place], gain, evidence))
            state[slots.who[at]] = records
        return findings

    def _finding(
        self,
        batch: Batch,
        reading: int,
        record: np.void,
        gain: Floats,
        evidence: dict[str, float | str],
    ) -> Finding:
        level = int(record["level"])
        measured_ms = int(batch.time_ms[reading])
        return Finding(
            connector=batch.connectors[int(batch.connector[reading])],
            condition=self.condition,
            severity=Severity(level) if level else None,
            since_ms=int(record["began"][level - 1]) * SLOT_MS,
            measured_ms=measured_ms,
            arrived_ms=int(batch.arrived_ms[reading]),
            detector=self.name,
            detector_version=self.version,
            pole=_pole(gain) if level else Pole.NONE,
            evidence=evidence,
        )


def _by_rank(slots: Slots) -> list[np.ndarray]:
    """The first slots of all connectors, then the second ones, and so on."""
    order = np.argsort(slots.rank, kind="stable")
    return np.split(order, np.cumsum(np.bincount(slots.rank))[:-1]) if len(order) else []


def _move(records: State, slot: np.ndarray, excess: Excess) -> list[int]:
    """Carries the alarm's level on; the places at which it changed."""
    share = excess.share
    tells = np.isfinite(share)
    gain = np.where(np.isfinite(excess.gain[:, :2]), excess.gain[:, :2], -np.inf).max(axis=1)
    is_warning = share >= LEVELS[1]
    holds = np.stack(
        [share >= LEVELS[0], is_warning, is_warning & (gain >= CRITICAL_GAIN), share < OVER], axis=1
    )
    runs = np.where(tells[:, None], np.where(holds, records["runs"] + 1, 0), records["runs"])
    records["began"] = np.where(holds & (runs == 1), slot[:, None], records["began"])
    records["runs"] = np.minimum(runs, NEEDED_OVER)
    before = records["level"].copy()
    reached = (runs[:, :3] >= NEEDED) @ np.ones(3, dtype=np.int64)
    over = runs[:, 3] >= NEEDED_OVER
    records["level"] = np.where(tells, np.where(over, 0, np.maximum(before, reached)), before)
    return np.flatnonzero(records["level"] != before).tolist()


def _pole(gain: Floats) -> Pole:
    """Which pole gets too warm; both where the difference of the poles doesn't show it."""
    most = np.nanmax(np.append(gain[:2], abs(gain[2])))
    if abs(gain[2]) >= ONE_POLE * most:
        return Pole.POSITIVE if gain[2] > 0 else Pole.NEGATIVE
    known = np.isfinite(gain[:2])
    if known.all():
        return Pole.BOTH
    return Pole.POSITIVE if known[0] else Pole.NEGATIVE


def _evidence(
    means: Floats, predicted: float, ratings: Ratings, excess: Excess, place: int
) -> dict[str, float | str]:
    """Of the slot, what is known: rises, the one that the network expects, and the excess."""
    numbers = {
        "rise_pos_k": means[2],
        "rise_neg_k": means[3],
        "expected_rise_k": predicted * ratings.temperature_rise_rated_k,
        "allowed_share": excess.share[place],
    }
    names = ("excess_pos", "excess_neg", "excess_difference")
    numbers.update({names[at]: excess.gain[place, at] for at in range(CHANNELS)})
    return {name: round(float(each), 3) for name, each in numbers.items() if np.isfinite(each)}
