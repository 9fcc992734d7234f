"""The catalogue of the benchmark: connector models with ratings as a manufacturer states them."""

from ohmwatch.detector import Ratings

_HOT_DERATING = ((40.0, 1.0), (70.0, 0.72), (85.0, 0.48), (105.0, 0.2))
"""Ambient in °C and the share of rated current that a hot-side connector may carry there."""
_COOL_DERATING = ((40.0, 1.0), (60.0, 0.6), (75.0, 0.25))


def _model(
    name: str,
    position: str,
    rated_a: float,
    rated_v: float,
    limit_c: float,
    rises_k: tuple[float, float],
    resistances_uohm: tuple[float, float],
    constants_s: tuple[float, float],
) -> Ratings:
    """Ratings whose thermal resistance is the one that gives the stated rise in 20 °C air."""
    hot_ohm = resistances_uohm[0] * 1e-6 * (1.0 + 0.0030 * rises_k[0])
    derating = _COOL_DERATING if limit_c < 100.0 else _HOT_DERATING
    return Ratings(
        model=name,
        position=position,
        rated_current_a=rated_a,
        rated_voltage_v=rated_v,
        temperature_limit_c=limit_c,
        derating=tuple((ambient_c, round(rated_a * share, 1)) for ambient_c, share in derating),
        temperature_rise_rated_k=rises_k[0],
        temperature_rise_limit_k=rises_k[1],
        contact_resistance_new_uohm=resistances_uohm[0],
        contact_resistance_end_uohm=resistances_uohm[1],
        thermal_resistance_k_per_w=round(rises_k[0] / (rated_a**2 * hot_ohm), 2),
        thermal_time_constants_s=constants_s,
        insulation_minimum_kohm=500.0,
        rated_mating_cycles=10_000.0 if position == "charging_inlet" else 200.0,
    )


MODELS: tuple[Ratings, ...] = (
    _model("inlet-250", "charging_inlet", 250, 800, 90, (32, 50), (180, 500), (80, 780)),
    _model("inlet-400", "charging_inlet", 400, 900, 95, (36, 52), (110, 310), (60, 640)),
    _model("traction-200", "traction", 200, 450, 120, (30, 55), (210, 600), (70, 900)),
    _model("traction-350", "traction", 350, 800, 125, (38, 60), (105, 300), (100, 1100)),
    _model("traction-500", "traction", 500, 750, 125, (42, 60), (75, 220), (140, 1500)),
    _model("inverter-180", "inverter", 180, 450, 125, (32, 55), (230, 640), (60, 650)),
    _model("inverter-300", "inverter", 300, 800, 125, (36, 58), (130, 370), (90, 840)),
    _model("auxiliary-40", "auxiliary", 40, 800, 105, (24, 45), (1600, 4600), (45, 420)),
)
"""What the set's connectors are units of; `reports` and `interval_s` are each unit's own."""
