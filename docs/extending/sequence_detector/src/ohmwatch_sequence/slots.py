"""Readings as slots of five minutes: the steps at which the network looks.

Sums are kept as whole numbers (thousandths of a kelvin, millionths of rated load), because those
don't depend on how readings were cut into batches, as sums of floats do.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ohmwatch.detector import Batch, Floats, Ratings, State

SLOT_MS = 300_000
BELIEVED_C = (-40.0, 200.0)
"""Outside, both ends included, a thermistor is torn off or shorted."""
MOST_LOAD = 4.0
"""Of rated current squared: what is more was never measured."""
QUANTITIES = ("load", "ambient", "pos", "neg", "difference")
"""Summed in each slot: current squared over rated, ambient, rise of the poles over it, and the
positive pole minus the negative."""
_UNITS = np.array([1e6, 1e3, 1e3, 1e3, 1e3])

OPEN_SLOT = [
    ("slot", "<i8"),  # since 1970; 0: none yet
    ("previous", "<i8"),  # the last one that is complete
    ("last_load", "<i8"),
    ("sums", "<i8", (len(QUANTITIES),)),
    ("counts", "<i8", (len(QUANTITIES),)),
]
"""What is kept of a connector between batches; fields of a detector's record."""


@dataclass(frozen=True, slots=True)
class Slots:
    """Complete slots, by connector, then time; arrays of one length n.

    `who`: position of the connector in the batch; `rank`: 0 for its first slot here, then 1 …;
    `empty`: slots without a reading before it, −1 before the first of all; `means` float64[n, 5]:
    QUANTITIES, NaN where nothing was measured; `last_load`: at the slot's last reading;
    `closed_by`: the reading of the batch with which it was complete.
    """

    who: np.ndarray
    rank: np.ndarray
    slot: np.ndarray
    empty: np.ndarray
    means: Floats
    last_load: Floats
    closed_by: np.ndarray


def take_in(batch: Batch, ratings: Sequence[Ratings], state: State) -> Slots:
    """Adds the readings to the open slots in `state` (fields OPEN_SLOT); the slots that closed.

    A slot is closed by the first reading after it. Readings without current are left out.
    """
    kept, parts = _readings(batch, ratings)
    begun, parts = _with_begun(state, parts)
    # Stable: what was begun stays before the readings that go on with it.
    order = np.lexsort((parts.slot, parts.who))
    if not len(order):
        return _none()
    parts, starts = _by_slot(parts, order)
    is_open = np.append(np.diff(parts.who) != 0, True)
    _keep_open(state, parts, is_open)
    done = np.flatnonzero(~is_open)
    closed_by = kept[order[starts[done + 1]] - begun]
    return _complete(state, parts.chosen(done), closed_by)


@dataclass(frozen=True, slots=True)
class _Parts:
    """Of slots: readings, or what is summed of them; arrays of one length."""

    who: np.ndarray
    slot: np.ndarray
    last_load: np.ndarray
    sums: np.ndarray
    counts: np.ndarray

    def chosen(self, at: np.ndarray) -> "_Parts":
        return _Parts(
            self.who[at], self.slot[at], self.last_load[at], self.sums[at], self.counts[at]
        )


def _readings(batch: Batch, ratings: Sequence[Ratings]) -> tuple[np.ndarray, _Parts]:
    """Which readings of the batch tell a load, and each of them as a slot of its own."""
    rated_a = np.array([each.rated_current_a for each in ratings], dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        load = (batch.column("current_a") / rated_a[batch.connector]) ** 2
    kept = np.flatnonzero(np.isfinite(load))
    sums, counts = _whole(batch, np.minimum(load, MOST_LOAD), kept)
    who = batch.connector[kept].astype(np.int64)
    return kept, _Parts(who, batch.time_ms[kept] // SLOT_MS, sums[:, 0], sums, counts)


def _with_begun(state: State, new: _Parts) -> tuple[int, _Parts]:
    """The open slots of the connectors that were heard, and how many, before what is new."""
    present = np.unique(new.who)
    begun = present[state["slot"][present] > 0]
    return len(begun), _Parts(
        np.concatenate([begun, new.who]),
        np.concatenate([state["slot"][begun], new.slot]),
        np.concatenate([state["last_load"][begun], new.last_load]),
        np.concatenate([state["sums"][begun], new.sums]),
        np.concatenate([state["counts"][begun], new.counts]),
    )


def _by_slot(parts: _Parts, order: np.ndarray) -> tuple[_Parts, np.ndarray]:
    """The sums of each slot, and where in `order` its readings begin."""
    parts = parts.chosen(order)
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (np.diff(parts.who) != 0) | (np.diff(parts.slot) != 0)
    starts = np.flatnonzero(first)
    last = np.append(starts[1:], len(order)) - 1
    summed = _Parts(
        parts.who[starts],
        parts.slot[starts],
        parts.last_load[last],
        np.add.reduceat(parts.sums, starts),
        np.add.reduceat(parts.counts, starts),
    )
    return summed, starts


def _whole(batch: Batch, load: Floats, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each reading that is kept: the quantities in whole numbers, 0 for none, and whether."""
    ambient_c, pos_c, neg_c = (
        _believed(batch.column(name)[kept])
        for name in ("ambient_c", "temperature_pos_c", "temperature_neg_c")
    )
    values = np.column_stack(
        [load[kept], ambient_c, pos_c - ambient_c, neg_c - ambient_c, pos_c - neg_c]
    )
    is_known = np.isfinite(values)
    whole = np.rint(np.where(is_known, values, 0.0) * _UNITS).astype(np.int64)
    return whole, is_known.astype(np.int64)


def _believed(temperature_c: Floats) -> Floats:
    low_c, high_c = BELIEVED_C
    return np.where((temperature_c > low_c) & (temperature_c < high_c), temperature_c, np.nan)


def _keep_open(state: State, parts: _Parts, is_open: np.ndarray) -> None:
    last = parts.chosen(np.flatnonzero(is_open))
    for name in ("slot", "last_load", "sums", "counts"):
        state[name][last.who] = getattr(last, name)


def _complete(state: State, parts: _Parts, closed_by: np.ndarray) -> Slots:
    who, slot, places = parts.who, parts.slot, np.arange(len(parts.who))
    begins = np.append(True, np.diff(who) != 0)[: len(who)]
    rank = places - np.maximum.accumulate(np.where(begins, places, 0))
    before = np.where(begins, state["previous"][who], np.append(0, slot[:-1])[: len(who)])
    state["previous"][who] = slot  # the last one of each stays
    with np.errstate(invalid="ignore", divide="ignore"):
        means = parts.sums / parts.counts / _UNITS
    empty = np.where(before > 0, slot - before - 1, -1)
    return Slots(who, rank, slot, empty, means, parts.last_load / _UNITS[0], closed_by)


def _none() -> Slots:
    nothing = np.zeros(0, dtype=np.int64)
    return Slots(
        nothing, nothing, nothing, nothing, np.zeros((0, len(QUANTITIES))), np.zeros(0), nothing
    )
