"""What vehicles do all day: drive, charge fast, stand. And how warm it is.

Everything here follows from (seed, vehicle, time) alone, so that history and live running agree
and a restart goes on where it was.
"""

from bisect import bisect_right
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DAY_S = 86_400
HOUR_S = 3_600
ZONE_S = 8 * HOUR_S
"""The fleet lives eight hours east of Greenwich."""


class Mode(IntEnum):
    """What a vehicle is doing."""

    PARKED = 0
    DRIVING = 1
    CHARGING = 2
    DRIVING_HARD = 3
    """A long climb: a steady high load, played while a fault is shown."""
    CHARGING_HARD = 4
    """Fast charging that doesn't taper, played while a fault is shown."""


@lru_cache(maxsize=4096)
def day_plan(seed: int, vehicle: int, day: int) -> tuple[tuple[float, Mode], ...]:
    """Beginnings (s after local midnight) and modes of a vehicle's day, in order."""
    rng = np.random.default_rng([seed, vehicle, day])
    at = rng.uniform(4.5, 7.5) * HOUR_S
    plan: list[tuple[float, Mode]] = [(0.0, Mode.PARKED)]
    while at < rng.uniform(22.0, 23.5) * HOUR_S:
        plan.append((at, Mode.DRIVING))
        at += rng.uniform(40, 110) * 60
        plan.append((at, Mode.CHARGING))
        at += rng.uniform(18, 35) * 60
        plan.append((at, Mode.PARKED))
        at += rng.uniform(3, 20) * 60
    return tuple(plan)


def mode_at(*, seed: int, vehicle: int, time_s: float) -> tuple[Mode, float]:
    """What the vehicle does at this Unix time, and for how many seconds already."""
    day, second = divmod(time_s + ZONE_S, DAY_S)
    plan = day_plan(seed, vehicle, int(day))
    begun_s, mode = plan[bisect_right(plan, second, key=lambda part: part[0]) - 1]
    return mode, second - begun_s


def load_of(mode: Mode, *, since_s: float, time_s: float, vehicle: int) -> float:
    """Share of rated current; negative into the battery (recuperation, charging)."""
    if mode is Mode.DRIVING:
        return _traffic(time_s, vehicle)
    if mode is Mode.DRIVING_HARD:
        return 0.88 + 0.02 * float(np.sin(time_s / 7))
    if mode is Mode.CHARGING:
        return -0.82 * float(np.clip(1.25 - since_s / 2_400, 0.25, 1.0))
    if mode is Mode.CHARGING_HARD:
        return -0.88 - 0.01 * float(np.sin(time_s / 13))
    return 0.0


def _traffic(time_s: float, vehicle: int) -> float:
    """Accelerating, rolling, braking: waves whose periods never meet."""
    phase = vehicle * 1.7
    busy = 0.34 + 0.10 * np.sin(time_s / 611 + phase)
    waves = (
        0.20 * np.sin(time_s / 15.4 + phase)
        + 0.16 * np.sin(time_s / 4.9 + 2 * phase)
        + 0.08 * np.sin(time_s / 1.8 + 3 * phase)
    )
    return float(np.clip(busy + waves, -0.3, 0.85))


def share_through(position: str, load: float, mode: Mode) -> float:
    """How much of the vehicle's load goes through a connector in this place."""
    charging = mode in (Mode.CHARGING, Mode.CHARGING_HARD)
    if position == "charging_inlet":
        return load if charging else 0.0
    if position == "inverter":
        return 0.0 if charging else load
    if position == "auxiliary":
        return 0.0 if mode is Mode.PARKED else 0.35 + 0.05 * load
    return load


def ambient_c(time_s: float, *, seed: int) -> float:
    """Air at the connectors: coolest at five, warmest at three, and weather from day to day."""
    local_s = time_s + ZONE_S
    daily = 6.0 * np.sin(2 * np.pi * (local_s / DAY_S - 9 / 24))
    weather = 2.5 * np.sin(local_s / DAY_S / 2.3 + seed) + 1.5 * np.sin(local_s / DAY_S / 0.9)
    return float(23.0 + daily + weather)
