"""How hard a set is: what share of its connectors has which fault, and how poor the data are."""

from dataclasses import dataclass, replace
from types import MappingProxyType

from benchmarks.warning.faults import Kind

Shares = MappingProxyType[Kind, float]

_MIXED: Shares = MappingProxyType(
    {
        Kind.HEALTHY: 0.30,
        Kind.FRETTING: 0.19,
        Kind.LOOSENING: 0.07,
        Kind.ASSEMBLY: 0.05,
        Kind.COOLING: 0.06,
        Kind.INSULATION_DRY: 0.05,
        Kind.INSULATION_WET: 0.04,
        Kind.INTERLOCK_OPEN: 0.02,
        Kind.INTERLOCK_INTERMITTENT: 0.05,
        Kind.STUCK: 0.03,
        Kind.DRIFTING: 0.03,
        Kind.OFFSET: 0.025,
        Kind.NOISY: 0.025,
        Kind.SWAPPED: 0.02,
        Kind.SCALE: 0.02,
        Kind.CLOCK: 0.02,
    }
)
_HEALTHY: Shares = MappingProxyType({Kind.HEALTHY: 1.0})


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of set. Spreads are standard deviations; shares and probabilities 0 … 1.

    `days` of readings, of which faults begin after `onset_from_days`. `*_spread` are relative,
    of units of one model; `pole_spread` that of one pole against its unit. `offset_k`,
    `noise_k` and `steps_k` are those of temperature sensors, `sun_k` what the sun does to one
    pole and not the other. `loss`, `late`, `twice`, `empty`, `spike` are probabilities of a
    reading (of a value: `empty`, `spike`), `outages_a_day` of a device. `bare_*` is the share
    of units that don't measure a quantity; `changes_only` the share whose devices send
    temperatures only when they changed; `asleep` the share that is silent while parked but
    for a heartbeat. `vehicle_cooling` is how much better a moving vehicle cools.
    """

    name: str
    shares: Shares
    days: float = 35.0
    onset_from_days: float = 6.0
    onset_to_days: float = 18.0
    resistance_spread: float = 0.10
    pole_spread: float = 0.04
    cooling_spread: float = 0.07
    constants_spread: float = 0.10
    mating_spread: float = 0.015
    ageing: float = 0.02
    offset_k: float = 0.5
    noise_k: tuple[float, float] = (0.1, 0.4)
    steps_k: tuple[float, ...] = (0.1, 0.5, 1.0)
    current_noise: float = 0.005
    sun_k: float = 0.5
    vehicle_cooling: float = 0.05
    self_heating: float = 0.02
    intervals_s: tuple[float, ...] = (30.0, 60.0, 60.0, 60.0, 120.0)
    loss: float = 0.005
    late: float = 0.002
    twice: float = 0.002
    empty: float = 0.002
    spike: float = 1e-6
    outages_a_day: float = 0.03
    bare_drop: float = 0.60
    bare_ambient: float = 0.08
    bare_negative: float = 0.08
    bare_humidity: float = 0.30
    changes_only: float = 0.0
    asleep: float = 0.7
    parked_weeks: float = 0.02
    climate_c: tuple[float, float] = (-5.0, 28.0)
    growth_days: tuple[float, float] = (1.5, 6.0)
    interlock_glitches_a_year: float = 0.0


NOMINAL = Profile("nominal", _MIXED)
HARD = Profile(
    "hard",
    _MIXED,
    onset_from_days=2.5,
    resistance_spread=0.18,
    pole_spread=0.08,
    cooling_spread=0.14,
    constants_spread=0.20,
    mating_spread=0.04,
    ageing=0.05,
    offset_k=1.5,
    noise_k=(0.3, 1.2),
    steps_k=(0.5, 1.0, 1.0, 2.0),
    current_noise=0.015,
    sun_k=1.5,
    vehicle_cooling=0.15,
    self_heating=0.06,
    intervals_s=(30.0, 60.0, 60.0, 120.0, 240.0),
    loss=0.03,
    late=0.02,
    twice=0.01,
    empty=0.02,
    spike=3e-5,
    outages_a_day=0.15,
    bare_ambient=0.20,
    bare_negative=0.15,
    bare_humidity=0.50,
    changes_only=0.15,
    asleep=0.8,
    parked_weeks=0.04,
    climate_c=(-15.0, 34.0),
    growth_days=(1.0, 4.0),
    interlock_glitches_a_year=0.05,
)
HEALTHY = replace(NOMINAL, name="healthy", shares=_HEALTHY)
HEALTHY_HARD = replace(HARD, name="healthy-hard", shares=_HEALTHY)

PROFILES = {each.name: each for each in (NOMINAL, HARD, HEALTHY, HEALTHY_HARD)}
