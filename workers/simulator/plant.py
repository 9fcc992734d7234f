"""The whole simulated fleet at work: what every connector's sensors say at an instant."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.simulator import duty
from workers.simulator.duty import Mode
from workers.simulator.faults import Effects, Fault, effects_of
from workers.simulator.fleet import Fleet, Unit
from workers.simulator.physics import Contacts, thermal_resistance_of

Floats = NDArray[np.float64]
Sample = dict[str, Floats]
"""A quantity's value at each connector; NaN is "not measured"."""

LONGEST_STEP_S = 60.0
SCENARIO_AGED = 1.7
"""How much the scenario's contact has aged when live running begins: visible, not yet alarming."""
SCENARIO_WORST = 5.0
SCENARIO_DOUBLES_S = 45.0


_MOVING = (Mode.DRIVING, Mode.DRIVING_HARD)
_PLUGGED_IN = (Mode.CHARGING, Mode.CHARGING_HARD)


@dataclass(frozen=True)
class Truth:
    """How it is at an instant, before any sensor: arrays over the fleet's connectors."""

    modes: NDArray[np.int8]
    current_a: Floats
    ambient_c: Floats
    temperature_c: Floats
    effects: Effects


class Plant:
    """Contacts, load and sensors of a fleet. Deterministic for one seed and one row of steps."""

    def __init__(self, fleet: Fleet, *, seed: int) -> None:
        self.fleet = fleet
        self.seed = seed
        self.time_ms = 0
        self.faults: list[Fault] = []
        self.held: dict[int, Mode] = {}
        """Vehicles kept at a mode while a fault is shown."""
        self.scenario: Ageing | None = None
        self._index = {unit.connector: place for place, unit in enumerate(fleet.units)}
        self._rng = np.random.default_rng([seed, 1])
        self._contacts = _contacts(fleet.units, seed=seed)
        self._rated_a = np.array([unit.ratings.rated_current_a for unit in fleet.units])
        self._rated_v = np.array([unit.ratings.rated_voltage_v for unit in fleet.units])
        self._insulation_kohm = self._rng.uniform(9_000, 20_000, len(fleet.units))
        self._cycles = self._rng.integers(40, 900, len(fleet.units)).astype(float)
        self._stuck_c = np.full((len(fleet.units), 2), np.nan)

    def advance(self, to_ms: int) -> Sample:
        """Let time pass until `to_ms` and read all sensors there."""
        if not self.time_ms or to_ms - self.time_ms > 7_200_000:
            self._warm_up(to_ms)
        while self.time_ms < to_ms - 1000 * LONGEST_STEP_S:
            self._heat(self.time_ms + int(1000 * LONGEST_STEP_S))
        return self._read(self._heat(to_ms))

    def renew(self, index: int) -> None:
        """A repair: a new contact, cold."""
        self._contacts.renew(index)
        self._stuck_c[index] = np.nan

    def index_of(self, connector: str) -> int:
        return self._index[connector]

    def _warm_up(self, to_ms: int) -> None:
        self.time_ms = to_ms - 5_400_000

    def _heat(self, to_ms: int) -> "Truth":
        """Let the contacts warm up or cool down until `to_ms`, one step of physics."""
        seconds, self.time_ms = (to_ms - self.time_ms) / 1000, to_ms
        effects = effects_of(self.faults, index=self._index, now_ms=to_ms, rng=self._rng)
        if self.scenario is not None:
            effects.resistance_factor[self.scenario.index, 0] *= self.scenario.factor(to_ms)
        modes, loads = self._duty(to_ms / 1000)
        current_a = loads * self._rated_a * effects.load_factor
        ambient = np.full(len(loads), duty.ambient_c(to_ms / 1000, seed=self.seed))
        temperature_c = self._contacts.step(
            current_a=current_a,
            ambient_c=ambient,
            seconds=seconds,
            resistance_factor=effects.resistance_factor,
            cooling_factor=effects.cooling_factor,
        )
        return Truth(modes, current_a, ambient, temperature_c, effects)

    def _duty(self, time_s: float) -> tuple[NDArray[np.int8], Floats]:
        """Mode and share of rated current of each connector."""
        doing = [self._vehicle(vehicle, time_s) for vehicle in range(self.fleet.vehicles)]
        modes = np.array([doing[unit.vehicle][0] for unit in self.fleet.units], dtype=np.int8)
        loads = [
            duty.share_through(unit.position, doing[unit.vehicle][1], doing[unit.vehicle][0])
            for unit in self.fleet.units
        ]
        return modes, np.array(loads)

    def _vehicle(self, vehicle: int, time_s: float) -> tuple[Mode, float]:
        mode, since_s = duty.mode_at(seed=self.seed, vehicle=vehicle, time_s=time_s)
        mode = self.held.get(vehicle, mode)
        return mode, duty.load_of(mode, since_s=since_s, time_s=time_s, vehicle=vehicle)

    def _read(self, truth: "Truth") -> Sample:
        """What imperfect sensors make of the truth: noise, drift, stuck values."""
        noise, n, effects = self._rng.normal, len(truth.current_a), truth.effects
        drop_mv = self._drop_mv(truth) + noise(0, 0.05, (n, 2))
        measured_c = truth.temperature_c + effects.drift_k + noise(0, 0.15, (n, 2))
        measured_c = self._hold_stuck(measured_c, effects.stuck)
        sagging_v = self._rated_v * (0.80 - 0.05 * truth.current_a / self._rated_a)
        shaking_g = np.where(np.isin(truth.modes, _MOVING), 1.4, 0.02)
        insulation_kohm = self._insulation_kohm * effects.insulation_factor
        sample = {
            "current_a": truth.current_a + noise(0, 0.002, n) * self._rated_a,
            "voltage_v": sagging_v * effects.voltage_factor + noise(0, 0.4, n),
            "temperature_pos_c": measured_c[:, 0],
            "temperature_neg_c": measured_c[:, 1],
            "ambient_c": truth.ambient_c + noise(0, 0.1, n),
            "drop_pos_mv": drop_mv[:, 0],
            "drop_neg_mv": drop_mv[:, 1],
            "insulation_kohm": insulation_kohm * np.exp(noise(0, 0.01, n)),
            "interlock": effects.interlock,
            "humidity_pct": 55 + 10 * np.sin(self.time_ms / 3e7) + noise(0, 0.5, n),
            "vibration_g": shaking_g * np.abs(1 + noise(0, 0.2, n)),
            "mated": np.isin(truth.modes, _PLUGGED_IN).astype(float),
            "mating_cycles": self._cycles,
        }
        return _without_silent(sample, effects.silent)

    def _drop_mv(self, truth: "Truth") -> Floats:
        """Voltage over each contact, with the sign of the current."""
        ohm = self._contacts.hot_ohm(truth.ambient_c, truth.effects.resistance_factor)
        return 1000.0 * truth.current_a[:, None] * ohm

    def _hold_stuck(self, measured_c: Floats, stuck: NDArray[np.bool_]) -> Floats:
        first = stuck & np.isnan(self._stuck_c)
        self._stuck_c = np.where(first, measured_c, np.where(stuck, self._stuck_c, np.nan))
        return np.where(stuck, self._stuck_c, measured_c)


class Ageing:
    """The demo's story: one contact ages over the history, and runs away once somebody watches.

    Live time is quicker than life: what takes months between a trend and a fire takes minutes.
    """

    def __init__(self, index: int, *, began_ms: int, live_ms: int) -> None:
        self.index = index
        self._began_ms = began_ms
        self._live_ms = live_ms

    def factor(self, now_ms: int) -> float:
        """Contact resistance against new."""
        if now_ms < self._live_ms:
            share = (now_ms - self._began_ms) / max(1, self._live_ms - self._began_ms)
            return 1 + (SCENARIO_AGED - 1) * float(np.clip(share, 0, 1)) ** 1.6
        live_s = (now_ms - self._live_ms) / 1000
        # The exponent is bounded, or a demo of some weeks would overflow it.
        doubled = 2.0 ** min(live_s / SCENARIO_DOUBLES_S, 10.0)
        return min(SCENARIO_AGED * doubled, SCENARIO_WORST)


def _contacts(units: tuple[Unit, ...], *, seed: int) -> Contacts:
    """No two contacts are alike: each pole's resistance is a few per cent off its rating."""
    rng = np.random.default_rng([seed, 2])
    new_uohm = np.array([unit.ratings.contact_resistance_new_uohm for unit in units])
    spread = np.clip(rng.normal(1.0, 0.025, (len(units), 2)), 0.94, 1.06)
    return Contacts(
        resistance_uohm=new_uohm[:, None] * spread,
        thermal_resistance_k_per_w=np.array(
            [
                thermal_resistance_of(
                    rise_rated_k=unit.ratings.temperature_rise_rated_k,
                    rated_current_a=unit.ratings.rated_current_a,
                    resistance_uohm=unit.ratings.contact_resistance_new_uohm,
                )
                for unit in units
            ]
        ),
        time_constants_s=np.array([unit.ratings.thermal_time_constants_s for unit in units]),
    )


def _without_silent(sample: Sample, silent: NDArray[np.bool_]) -> Sample:
    if not silent.any():
        return sample
    return {name: np.where(silent, np.nan, column) for name, column in sample.items()}
