"""Sets of connectors with known faults: their readings as they arrive, and the truth.

    scenario = generate("nominal", seed=1, connectors=500)
    for batch in scenario.batches():      # ohmwatch.detector.Batch, some hours each
        ...
    scenario.truth()                      # after the last batch

Memory is bounded by the hours of a batch; the same profile, seed and unit give the same
readings whatever the number of connectors and the length of a batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from benchmarks.warning import world
from benchmarks.warning.faults import Kind, Shape
from benchmarks.warning.profiles import PROFILES, Profile
from benchmarks.warning.truth import Truth
from benchmarks.warning.units import QUANTITIES, UNIT, draw
from ohmwatch.backtest.installed import Installed
from ohmwatch.detector import Batch, Ratings

START_MS = 1_767_571_200_000
"""5 January 2026, 00:00 UTC."""
BATCH_HOURS = 6
RUN_OUT_DAYS = 25
"""How long beyond the last reading a limit is looked for: of a limit predicted on the last day
one should know whether it came."""

TUNING_SEEDS = (*range(1, 11), 301, 302, 303, 311, 321)
KIND_SEEDS = (*range(1001, 1008), *range(1101, 1105))
"""Of sets of some kinds of fault alone, for the intervals of the time left and for sensors that
changed places: one mixed set has too few.
"""
REPORT_SEEDS = (131, 132)
"""No parameter of any detector is chosen by looking at these."""
SPENT_SEEDS = (101, 102, 111, 112, 121, 122)
"""What earlier engines were reported on, two each. A report is made once for its seeds: an engine
that was changed after it is reported on fresh ones."""


@dataclass
class Scenario:
    """A set: who is in it, the readings in order of arrival, and the truth about each.

    `years`: connector-years of the recording, per connector, are `profile.days` / 365.25 but for
    those that burn (`Truth.heard_until_ms`).
    """

    profile: Profile
    seed: int
    first: int
    installed: dict[str, Installed]
    units: np.ndarray
    _truth: list[Truth] | None = field(default=None, repr=False)

    @property
    def connectors(self) -> list[str]:
        """Their names, in order."""
        return list(self.installed)

    @property
    def ratings(self) -> list[Ratings]:
        """Of each connector, in order: what `Watch.observe` takes beside a batch."""
        return [each.ratings for each in self.installed.values()]

    def batches(self, hours: int = BATCH_HOURS) -> Iterator[Batch]:
        """The readings that arrived in each stretch of `hours`, by connector, then time.

        All batches name all connectors. Twice-sent readings are there twice. Once through, the
        truth is known.
        """
        end_s = int(self.profile.days * world.DAY_S)
        step_s = hours * 3600
        states, sightings = _newborn(self.units, self.seed, self.first)
        names = self.connectors
        # Lived, not told: nobody hears the first hours.
        _advance(self.units, states, sightings, -world.WARM_UP_S, 0, 0)
        held: Batch | None = None
        for from_s in range(0, end_s, step_s):
            to_s = min(from_s + step_s, end_s)
            rows = _advance(self.units, states, sightings, from_s, to_s, end_s)
            known = _joined(held, _as_batch(names, rows))
            come = known.arrived_ms < START_MS + to_s * 1000
            held = known.rows(~come)
            yield known.rows(come)
        if held is not None and len(held):
            yield held
        world.run_out(self.units, states, end_s, end_s + RUN_OUT_DAYS * world.DAY_S)
        self._truth = _told(self, states, sightings)

    def truth(self) -> list[Truth]:
        """What is wrong with each connector, in order. Lives the set through if nobody has."""
        if self._truth is None:
            for _ in self.batches(hours=24):
                pass
        assert self._truth is not None
        return self._truth


def generate(profile: str | Profile, seed: int, connectors: int, *, first: int = 0) -> Scenario:
    """The set of a profile (a name of `PROFILES`, or one of your own) and seed.

    `first` leaves out the units before it: the rest, or a single one, as it is in the whole.
    """
    chosen = PROFILES[profile] if isinstance(profile, str) else profile
    units = np.zeros(connectors, dtype=UNIT)
    installed: dict[str, Installed] = {}
    for place in range(connectors):
        number = first + place
        units[place], ratings = draw(chosen, seed, number)
        name = f"{chosen.name}-{seed}-{number:05d}"
        batch = f"{ratings.model}-{number % 4 + 1}"
        installed[name] = Installed(name, ratings.model, batch, f"vehicle-{number:05d}", ratings)
    return Scenario(chosen, seed, first, installed, units)


def _newborn(units: np.ndarray, seed: int, first: int) -> tuple[np.ndarray, np.ndarray]:
    """The state of each connector hours before its first reading, and its empty sightings."""
    states = np.zeros(len(units), dtype=world.STATE)
    for place, state in enumerate(states):
        random = np.random.default_rng((seed, first + place, 7))
        state["random"] = random.integers(1, 2**63)
        state["charge"] = random.uniform(0.35, 0.9)
        state["weather"], state["damp"], state["wobble"] = random.normal(size=3)
        state["cycles"] = random.integers(20, 400)
        state["mode_end_s"] = -world.WARM_UP_S + random.uniform(0, 4 * 3600)
        state["due_s"] = units[place]["phase_s"] // world.STEP_S * world.STEP_S
    states["ambient_c"] = units["climate_c"]
    for name in (name for name in world.STATE.names or () if "fast_" in name or "slow_" in name):
        states[name] = units["climate_c"]
    states["cooling"] = states["mated_pos"] = states["mated_neg"] = 1.0
    states["flutter"] = 1.0
    states["limit_s"] = -1.0
    return states, np.full((len(units), world.SIGHTINGS), np.inf)


@dataclass(frozen=True, slots=True)
class _Rows:
    owner: np.ndarray
    time_ms: np.ndarray
    arrived_ms: np.ndarray
    values: np.ndarray


def _advance(
    units: np.ndarray,
    states: np.ndarray,
    sightings: np.ndarray,
    from_s: int,
    to_s: int,
    heard_until_s: int,
) -> _Rows:
    """A stretch of time; room for every reading twice."""
    a_unit = np.ceil((to_s - from_s) / units["interval_s"]).astype(np.int64) + 2
    trips = (to_s - from_s) // 300 + 2  # a start makes a reading due early
    room = int(2 * (a_unit + trips).sum())
    out = (
        np.empty(room, dtype=np.int64),
        np.empty(room, dtype=np.int64),
        np.empty((room, len(QUANTITIES))),
    )
    owner = np.empty(room, dtype=np.int32)
    count = world.advance(units, states, from_s, to_s, float(heard_until_s), out, owner, sightings)
    return _Rows(owner[:count], *(column[:count] for column in out))


def _as_batch(names: list[str], rows: _Rows) -> Batch:
    return Batch(
        connectors=names,
        connector=rows.owner,
        time_ms=rows.time_ms + START_MS,
        arrived_ms=rows.arrived_ms + START_MS,
        values={name: rows.values[:, at].copy() for at, name in enumerate(QUANTITIES)},
    )


def _joined(held: Batch | None, new: Batch) -> Batch:
    """Both, by connector, then time, then arrival."""
    if held is not None and len(held):
        columns = {
            name: np.concatenate([held.values[name], column]) for name, column in new.values.items()
        }
        new = Batch(
            connectors=new.connectors,
            connector=np.concatenate([held.connector, new.connector]),
            time_ms=np.concatenate([held.time_ms, new.time_ms]),
            arrived_ms=np.concatenate([held.arrived_ms, new.arrived_ms]),
            values=columns,
        )
    order = np.lexsort((new.arrived_ms, new.time_ms, new.connector))
    if (np.diff(order) == 1).all():
        return new
    return Batch(
        connectors=new.connectors,
        connector=new.connector[order],
        time_ms=new.time_ms[order],
        arrived_ms=new.arrived_ms[order],
        values={name: column[order] for name, column in new.values.items()},
    )


_SEEN_BY = {
    0: "",
    world.SEEN_TEMPERATURE: "temperature",
    world.SEEN_DROP: "drop",
    world.SEEN_INSULATION: "insulation",
    world.SEEN_INTERLOCK: "interlock",
}
_POLES = ("pos", "neg", "both")


def _told(scenario: Scenario, states: np.ndarray, sightings: np.ndarray) -> list[Truth]:
    end_ms = START_MS + int(scenario.profile.days * world.DAY_S) * 1000
    told = []
    for number, name in enumerate(scenario.installed):
        unit, state = scenario.units[number], states[number]
        kind = Kind(int(unit["kind"]))
        limit_ms = _ms(float(state["limit_s"])) if state["limit_s"] >= 0 else None
        burnt_ms = end_ms if limit_ms is None else limit_ms + world.AFTER_LIMIT_S * 1000
        told.append(
            Truth(
                connector=name,
                kind=kind,
                shape=Shape(int(unit["shape"])),
                pole=_pole(unit, kind),
                onset_ms=None if kind == Kind.HEALTHY else _ms(float(unit["onset_s"])),
                growth_s=float(unit["tau_s"]) if unit["shape"] else None,
                limit_ms=limit_ms,
                visible_ms=_visible_ms(kind, sightings[number]),
                visible_by=_SEEN_BY[int(state["seen_by"])],
                first_ms=START_MS,
                heard_until_ms=min(end_ms, burnt_ms),
            )
        )
    return told


def _visible_ms(kind: Kind, sightings: np.ndarray) -> int | None:
    """The information limit: the first opening of an interlock, the fifth of all else."""
    needed = 1 if kind in (Kind.INTERLOCK_OPEN, Kind.INTERLOCK_INTERMITTENT) else None
    nth = float(np.sort(sightings)[(needed or world.VISIBLE_READINGS) - 1])
    return None if np.isinf(nth) else _ms(nth)


def _pole(unit: np.ndarray, kind: Kind) -> str:
    if kind in (Kind.FRETTING, Kind.LOOSENING, Kind.ASSEMBLY, Kind.COOLING):
        return _POLES[int(unit["pole"])]
    return ""


def _ms(seconds: float) -> int:
    return START_MS + int(seconds * 1000.0)
