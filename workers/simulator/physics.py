"""The physics of simulated contacts: heat from current over contact resistance.

This is on purpose not the core's physics: a detector that is judged on readings made by its own
formulas would only be agreeing with itself. Two thermal nodes in a Foster chain for each pole
(the contact's own mass, and housing with cable), copper's temperature coefficient, no radiation.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

COPPER_PER_K = 0.00393
"""Rise of copper's resistance for each kelvin, at 20 °C (IEC 60028)."""
REFERENCE_C = 20.0
FAST_SHARE = 0.4
"""Share of the whole rise that the fast node takes, the contact itself."""
MELTED_C = 350.0
"""No contact gets hotter: by then the housing has given way."""


def thermal_resistance_of(
    *, rise_rated_k: float, rated_current_a: float, resistance_uohm: float
) -> float:
    """K/W that make a new contact rise by `rise_rated_k` at rated current in 20 °C air."""
    hot_ohm = resistance_uohm * 1e-6 * (1 + COPPER_PER_K * rise_rated_k)
    return rise_rated_k / (rated_current_a**2 * hot_ohm)


@dataclass
class Contacts:
    """Positive and negative pole of n connectors, as they are heated and cooled.

    `resistance_uohm` float64[n, 2] of a new contact at 20 °C, `thermal_resistance_k_per_w`
    float64[n], `time_constants_s` float64[n, 2], the fast node first. The state is `rise_k`
    float64[n, 2 poles, 2 nodes] above ambient.
    """

    resistance_uohm: Floats
    thermal_resistance_k_per_w: Floats
    time_constants_s: Floats
    rise_k: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.rise_k = np.zeros((len(self.resistance_uohm), 2, 2))

    def step(
        self,
        *,
        current_a: Floats,
        ambient_c: Floats,
        seconds: float,
        resistance_factor: Floats | float = 1.0,
        cooling_factor: Floats | float = 1.0,
    ) -> Floats:
        """Let `seconds` pass at this current; the temperatures of both poles, °C, float64[n, 2].

        `resistance_factor` [n, 2]: how much worse than new; `cooling_factor` [n]: how much
        harder heat gets away. Exact for constant heat, so a step may be longer than a time
        constant.
        """
        heat_w = current_a[:, None] ** 2 * self.hot_ohm(ambient_c, resistance_factor)
        worse = np.broadcast_to(np.asarray(cooling_factor, dtype=float), current_a.shape)
        target_k = heat_w * (self.thermal_resistance_k_per_w * worse)[:, None]
        shares = np.array([FAST_SHARE, 1 - FAST_SHARE])
        passed = -np.expm1(-seconds / (self.time_constants_s * worse[:, None]))
        self.rise_k += passed[:, None, :] * (target_k[:, :, None] * shares - self.rise_k)
        return self.temperature_c(ambient_c)

    def hot_ohm(self, ambient_c: Floats, resistance_factor: Floats | float = 1.0) -> Floats:
        """Contact resistance at the present temperature, Ω, float64[n, 2]."""
        above_k = self.temperature_c(ambient_c) - REFERENCE_C
        return self.resistance_uohm * 1e-6 * resistance_factor * (1 + COPPER_PER_K * above_k)

    def temperature_c(self, ambient_c: Floats) -> Floats:
        """°C at both poles, float64[n, 2]."""
        return np.minimum(ambient_c[:, None] + self.rise_k.sum(axis=2), MELTED_C)

    def renew(self, index: int) -> None:
        """A new, cold contact in this place."""
        self.rise_k[index] = 0.0
