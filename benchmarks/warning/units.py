"""The units of a set: each connector's own physics, use, climate, device and fault, drawn once.

All of a unit lies in one record of `UNIT`, which the kernel reads; a unit depends on the seed
and its number alone, so that a larger set holds the smaller one.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.warning.faults import Kind, Shape
from benchmarks.warning.models import MODELS
from benchmarks.warning.profiles import Profile
from ohmwatch.detector import Ratings

DAY_S = 86_400.0
COPPER_PER_K = 0.00393
"""Rise of bulk resistance for each kelvin, at 20 °C (IEC 60028)."""
CONTACT_PER_K = COPPER_PER_K * 2.0 / 3.0
"""Of a constriction: resistivity rises, hardness falls (Holm, Electric Contacts, § 16)."""
CONTACT_SHARE = 0.65
"""Of a new contact's resistance: the constriction; the rest is bulk, crimp and lug."""
FAST_SHARE = 0.4
"""Of a new contact's rise: between contact and lug; the rest between lug and air."""

POLES = 2
TEMPERATURES = ("temperature_pos_c", "temperature_neg_c")

QUANTITIES = (
    "current_a",
    "voltage_v",
    "temperature_pos_c",
    "temperature_neg_c",
    "ambient_c",
    "drop_pos_mv",
    "drop_neg_mv",
    "insulation_kohm",
    "interlock",
    "humidity_pct",
    "vibration_g",
    "mated",
    "mating_cycles",
)
"""The columns in which readings leave the kernel."""

CAR, TAXI, BUS = 0, 1, 2
INLET, TRACTION, INVERTER, AUXILIARY = 0, 1, 2, 3
_POSITIONS = {
    "charging_inlet": INLET,
    "traction": TRACTION,
    "inverter": INVERTER,
    "auxiliary": AUXILIARY,
}

_FLOATS = (
    # physics of the unit
    "rated_a", "rated_v", "limit_c", "contact_pos_ohm", "contact_neg_ohm", "bulk_pos_ohm",
    "bulk_neg_ohm", "g_fast", "g_slow", "g_between", "c_fast", "c_slow", "convection_k",
    "nominal_rise_k", "vehicle_cooling", "mating_spread", "ageing_a_day", "insulation_kohm",
    "insulation_minimum_kohm", "humidity_factor", "sun_k", "derating_from_c", "derating_a_k",
    # use and climate
    "load", "climate_c", "season_k", "daily_k", "weather_k", "humidity_pct", "bay_k", "hour_shift",
    "parked_week", "trips_a_day", "charge_level",
    # device
    "interval_s", "heartbeat_s", "phase_s", "offset_pos_k", "offset_neg_k", "offset_ambient_k",
    "noise_k", "step_k", "current_noise", "current_step_a", "self_heating", "loss", "late",
    "twice", "empty", "spike", "outages_a_day", "glitches_a_day",
    # fault
    "onset_s", "tau_s", "size", "power", "ramp_s",
)  # fmt: skip
_INTEGERS = ("kind", "shape", "pole", "sensor", "use", "position", "reports", "changes_only")

UNIT = np.dtype([(name, "<f8") for name in _FLOATS] + [(name, "<i8") for name in _INTEGERS])
"""One connector. `pole`: 0 positive, 1 negative, 2 both; `sensor`: 0, 1 the poles' temperature,
2 ambient; `reports`: a bit for each of `QUANTITIES`."""

Units = NDArray[np.void]


def draw(profile: Profile, seed: int, number: int) -> tuple[Units, Ratings]:
    """Unit `number` of a set: its record (UNIT, a scalar array) and its ratings."""
    random = np.random.default_rng((seed, number, 6))
    model = MODELS[int(random.integers(len(MODELS)))]
    unit = np.zeros((), dtype=UNIT)
    unit["position"] = _POSITIONS[model.position]
    unit["use"] = random.choice((CAR, TAXI, BUS), p=(0.6, 0.2, 0.2))
    _draw_body(unit, model, profile, random)
    _draw_use(unit, profile, random)
    _draw_device(unit, profile, random)
    _draw_fault(unit, profile, random)
    reports = tuple(name for bit, name in enumerate(QUANTITIES) if int(unit["reports"]) >> bit & 1)
    return unit, replace(model, reports=reports, interval_s=float(unit["interval_s"]))


def _draw_body(unit: Units, model: Ratings, profile: Profile, random: np.random.Generator) -> None:
    """Resistances, thermal network and insulation, with the spread of units and poles."""
    for name in ("rated_current_a", "rated_voltage_v", "temperature_limit_c"):
        short = {"rated_current_a": "rated_a", "rated_voltage_v": "rated_v"}.get(name, "limit_c")
        unit[short] = getattr(model, name)
    resistance = _spread(random, profile.resistance_spread)
    for pole in ("pos", "neg"):
        ohm = model.contact_resistance_new_uohm * 1e-6 * resistance
        ohm *= _spread(random, profile.pole_spread)
        unit[f"contact_{pole}_ohm"] = CONTACT_SHARE * ohm
        unit[f"bulk_{pole}_ohm"] = (1.0 - CONTACT_SHARE) * ohm
    conductances = network(model)
    cooling = _spread(random, profile.cooling_spread)
    constants = [_spread(random, profile.constants_spread) for _ in range(2)]
    unit["g_fast"] = conductances[0] * _spread(random, profile.cooling_spread / 2)
    unit["g_slow"] = conductances[1] * cooling
    unit["g_between"] = 0.08 * conductances[1]
    unit["c_fast"] = model.thermal_time_constants_s[0] * conductances[0] * constants[0]
    unit["c_slow"] = model.thermal_time_constants_s[1] * conductances[1] * constants[1]
    unit["convection_k"] = 0.0015
    unit["nominal_rise_k"] = (1.0 - FAST_SHARE) * model.temperature_rise_rated_k
    unit["vehicle_cooling"] = profile.vehicle_cooling
    unit["sun_k"] = profile.sun_k * random.normal()
    unit["mating_spread"] = profile.mating_spread
    unit["ageing_a_day"] = profile.ageing * random.random() / profile.days
    unit["insulation_kohm"] = math.exp(random.uniform(math.log(9e3), math.log(45e3)))
    unit["insulation_minimum_kohm"] = model.insulation_minimum_kohm
    unit["humidity_factor"] = random.uniform(0.15, 0.35)
    points = model.derating
    unit["derating_from_c"] = points[0][0]
    unit["derating_a_k"] = (points[0][1] - points[1][1]) / (points[1][0] - points[0][0])


def network(model: Ratings) -> tuple[float, float]:
    """Conductances in W/K, contact to lug and lug to air, of a new contact of the model.

    Such that rated current in 20 °C air brings it to the rise that the model states.
    """
    rise_k, ohm = model.temperature_rise_rated_k, model.contact_resistance_new_uohm * 1e-6
    slow_k = (1.0 - FAST_SHARE) * rise_k
    square_a2 = model.rated_current_a**2
    contact_w = square_a2 * CONTACT_SHARE * ohm * (1.0 + CONTACT_PER_K * rise_k)
    bulk_w = square_a2 * (1.0 - CONTACT_SHARE) * ohm * (1.0 + COPPER_PER_K * slow_k)
    return contact_w / (FAST_SHARE * rise_k), (contact_w + bulk_w) / slow_k


def _draw_use(unit: Units, profile: Profile, random: np.random.Generator) -> None:
    """Who drives it, how hard, and in what weather."""
    use = int(unit["use"])
    unit["load"] = random.uniform(*((0.32, 0.55), (0.35, 0.6), (0.4, 0.65))[use])
    unit["trips_a_day"] = random.uniform(2.0, 5.0)
    unit["charge_level"] = random.uniform(0.6, 0.95)
    unit["parked_week"] = profile.parked_weeks if use == CAR else profile.parked_weeks / 10
    unit["hour_shift"] = random.uniform(0.0, 24.0)
    unit["climate_c"] = random.uniform(*profile.climate_c)
    unit["season_k"] = random.uniform(-7.0, 7.0)
    unit["daily_k"] = random.uniform(2.5, 7.0)
    unit["weather_k"] = random.uniform(1.5, 3.5)
    unit["humidity_pct"] = random.uniform(35.0, 70.0)
    unit["bay_k"] = (0.0, 4.0, 10.0, 8.0)[int(unit["position"])]


def _draw_device(unit: Units, profile: Profile, random: np.random.Generator) -> None:
    """What is measured how well, and how it comes to us."""
    unit["interval_s"] = random.choice(profile.intervals_s)
    asleep = random.random() < profile.asleep
    unit["heartbeat_s"] = random.choice((900.0, 1800.0, 3600.0)) if asleep else unit["interval_s"]
    unit["phase_s"] = random.uniform(0.0, float(unit["interval_s"]))
    for name in ("offset_pos_k", "offset_neg_k", "offset_ambient_k"):
        unit[name] = profile.offset_k * random.normal()
    unit["noise_k"] = random.uniform(*profile.noise_k)
    unit["step_k"] = random.choice(profile.steps_k)
    unit["current_noise"] = profile.current_noise
    unit["current_step_a"] = random.choice((0.1, 0.1, 0.5, 1.0)) * unit["rated_a"] / 250.0
    unit["self_heating"] = profile.self_heating * random.random()
    for name in ("loss", "late", "twice", "empty", "spike"):
        unit[name] = getattr(profile, name) * random.exponential()
    unit["outages_a_day"] = profile.outages_a_day * random.exponential()
    unit["glitches_a_day"] = profile.interlock_glitches_a_year / 365.0
    unit["changes_only"] = random.random() < profile.changes_only
    unit["reports"] = _reports(unit, profile, random)


def _reports(unit: Units, profile: Profile, random: np.random.Generator) -> int:
    """Which quantities the unit's device measures, a bit each."""
    missing: set[str] = set()
    for names, share in (
        (("drop_pos_mv", "drop_neg_mv"), profile.bare_drop),
        (("ambient_c",), profile.bare_ambient),
        (("temperature_neg_c", "drop_neg_mv"), profile.bare_negative),
        (("humidity_pct",), profile.bare_humidity),
        (("vibration_g",), 0.6),
        (("insulation_kohm",), 0.1),
        (("interlock",), 0.15),
    ):
        if random.random() < share:
            missing.update(names)
    if int(unit["position"]) != INLET:
        missing.update(("mated", "mating_cycles"))
    return sum(1 << bit for bit, name in enumerate(QUANTITIES) if name not in missing)


def _draw_fault(unit: Units, profile: Profile, random: np.random.Generator) -> None:
    kinds = list(profile.shares)
    shares = np.array([profile.shares[kind] for kind in kinds])
    kind = kinds[int(random.choice(len(kinds), p=shares / shares.sum()))]
    unit["kind"] = kind
    unit["onset_s"] = DAY_S * random.uniform(profile.onset_from_days, profile.onset_to_days)
    unit["tau_s"] = DAY_S * math.exp(random.uniform(*np.log(profile.growth_days)))
    unit["pole"] = 2 if kind in (Kind.HEALTHY, Kind.COOLING) else random.integers(POLES)
    unit["sensor"] = random.choice((0, 1, 2), p=(0.4, 0.4, 0.2))
    if kind in (Kind.FRETTING, Kind.LOOSENING, Kind.ASSEMBLY):
        _draw_growth(unit, kind, random)
    elif kind == Kind.COOLING:
        unit["size"] = random.uniform(0.35, 0.62)
        unit["ramp_s"] = random.choice((60.0, 0.5 * DAY_S, 4 * DAY_S))
    elif kind >= Kind.STUCK:
        _draw_lie(unit, kind, random)
    if kind in (Kind.INSULATION_DRY, Kind.INSULATION_WET):
        unit["reports"] |= 1 << QUANTITIES.index("insulation_kohm")
    if kind in (Kind.INTERLOCK_OPEN, Kind.INTERLOCK_INTERMITTENT):
        unit["reports"] |= 1 << QUANTITIES.index("interlock")
        unit["size"] = random.uniform(0.3, 1.5)  # openings a day at first


def _draw_growth(unit: Units, kind: Kind, random: np.random.Generator) -> None:
    """`size`: what the excess of contact resistance over new starts with, as a share of new."""
    if kind == Kind.ASSEMBLY:
        unit["onset_s"] = -DAY_S
        unit["size"] = random.uniform(1.2, 4.0)
        unit["tau_s"] *= 3.0
        growing = random.random() < 0.35
        unit["shape"] = Shape.EXPONENTIAL if growing else Shape.NONE
    elif kind == Kind.LOOSENING:
        unit["shape"] = Shape.STEPS
        unit["size"] = random.uniform(0.3, 1.2)
    else:
        shapes = (Shape.LINEAR, Shape.POWER, Shape.EXPONENTIAL, Shape.STEPS)
        unit["shape"] = random.choice(shapes, p=(0.2, 0.25, 0.35, 0.2))
        unit["size"] = random.uniform(0.08, 0.3)
        unit["power"] = random.uniform(1.5, 3.0)


def _draw_lie(unit: Units, kind: Kind, random: np.random.Generator) -> None:
    """`size`: K, K a day, K of noise, a factor of current, or seconds of clock."""
    either = random.choice((-1.0, 1.0))
    if kind == Kind.DRIFTING:
        unit["size"] = either * random.uniform(0.6, 3.0)
    elif kind == Kind.OFFSET:
        unit["size"] = either * random.uniform(6.0, 25.0)
    elif kind == Kind.NOISY:
        unit["size"] = random.uniform(4.0, 12.0)
    elif kind == Kind.SCALE:
        unit["size"] = random.uniform(1.25, 1.6) ** either
    elif kind == Kind.CLOCK:
        unit["size"] = -math.exp(random.uniform(math.log(1800.0), math.log(3 * DAY_S)))


def _spread(random: np.random.Generator, relative: float) -> float:
    """A factor around 1, log-normal, no further off than three standard deviations."""
    return math.exp(relative * float(np.clip(random.normal(), -3.0, 3.0)))
