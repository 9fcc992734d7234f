"""The high-voltage system is badly insulated against the chassis."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ohmwatch.conditions import Condition, Pole
from ohmwatch.detector import Batch, Flags, Ratings, State
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.hold import Level, as_findings, hold_dtype, judge
from ohmwatch.physics.insulation import insulation_minimum_kohm
from ohmwatch.physics.sequence import Runs, elapsed_ms


@dataclass(frozen=True)
class InsulationLow:
    """The insulation resistance against the least that the model, or the standard, allows.

    Fault: moisture, carbonised tracks, damaged seals or cables: a person who touches the chassis
    is in the circuit, and a second fault is a short.

    Physics: a comparison. Without the model's own minimum, ISO 6469-3's 100 Ω/V at rated
    voltage counts (DC).

    Damp air and a wet start lower the insulation for hours without a fault, so above the minimum
    a wet reading says nothing of the margin; it is believed where it stays. Below the minimum
    no weather excuses it: the danger is the same.

    Inputs: `insulation_kohm` (kΩ). Of use: `humidity_pct`. Ratings: `insulation_minimum_kohm`,
    else `rated_voltage_v`; silent without both.

    Parameters:
        warning_factor: times the minimum at which the safety margin is spent.
        wet_pct: relative humidity in the housing from which on a reading is wet: water condenses
            on what is colder than the air by 2 to 3 K then.
        start_s, pause_s: without a humidity sensor, the time after a pause that is taken as wet:
            dew of a night is gone after two hours; a pause of an hour is a parked vehicle.
        wet_hold_s: how long the margin must be spent, whatever the weather, to count.
        hysteresis_share: of the minimum, by which a level must be left: at 500 kΩ, 100 kΩ.
            An insulation monitor's own error is ±15 %.
        hold_s, release_s: a monitor injects a slow signal and settles in some 10 s when loads
            switch; water dries in minutes.

    Can't see: where along the high-voltage system the insulation is weak; how fast it falls
    (see insulation_falling); a monitor that is stuck.

    Cost: 0.02 µs a reading in batches; state: 52 bytes a connector.

    >>> model = Ratings(insulation_minimum_kohm=500.0)
    >>> detector = InsulationLow()
    >>> state = np.zeros(1, detector.state_dtype)
    >>> times = [1_795_420_800_000 + 1000 * second for second in range(90)]
    >>> wet = Batch.of_one("inlet", times, insulation_kohm=[420.0] * 90)
    >>> [each.severity.name for each in detector.observe(wet, [model], state)]
    ['CRITICAL']
    """

    warning_factor: float = 2.0
    hysteresis_share: float = 0.2
    hold_s: float = 60.0
    release_s: float = 300.0
    wet_pct: float = 85.0
    start_s: float = 7_200.0
    pause_s: float = 3_600.0
    wet_hold_s: float = 10_800.0

    name = "insulation_low"
    version = "2"
    condition: str = Condition.INSULATION_LOW
    needs: frozenset[str] = frozenset({"insulation_kohm"})

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is how far below the level's limit, as a share of the minimum."""
        low = -self.hysteresis_share
        return (
            Level(Severity.WARNING, 0.0, low, self.wet_hold_s, self.release_s),
            Level(Severity.WARNING, 0.0, low, self.hold_s, self.release_s),
            Level(Severity.CRITICAL, 0.0, low, self.hold_s, self.release_s),
        )

    @property
    def state_dtype(self) -> np.dtype[Any]:
        return np.dtype([("hold", hold_dtype(self.levels)), ("woken_ms", "<i8")])

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        minimum_kohm = insulation_minimum_kohm(ratings)[batch.connector]
        usable = ~np.isnan(batch.column("insulation_kohm") + minimum_kohm)
        batch, minimum_kohm = batch.rows(usable), minimum_kohm[usable]
        share = batch.column("insulation_kohm") / minimum_kohm
        spent = self.warning_factor - share
        # Between on and off: a wet reading above the minimum neither raises nor settles the level.
        undecided = np.full(len(batch), -self.hysteresis_share / 2)
        excuse = self._is_wet(batch, state) & (spent > -self.hysteresis_share)
        excess = [spent, np.where(excuse, undecided, spent), 1.0 - share]
        said = judge(batch.connector, batch.time_ms, excess, self.levels, ratings, state["hold"])
        if not said:
            return []
        return as_findings(
            self,
            batch,
            said,
            pole=lambda index: Pole.NONE,
            evidence={
                "insulation_kohm": batch.column("insulation_kohm"),
                "insulation_minimum_kohm": minimum_kohm,
                "voltage_v": batch.column("voltage_v"),
                "humidity_pct": batch.column("humidity_pct"),
            },
        )

    def _is_wet(self, batch: Batch, state: State) -> Flags:
        """Whether a reading is of damp air or, unmeasured, soon after a pause; notes the pause."""
        runs = Runs.of(batch.connector)
        elapsed = elapsed_ms(runs, batch.time_ms, state["hold"]["last_ms"], batch.connector)
        began = runs.latest(elapsed >= int(self.pause_s * 1000))
        carried_ms = np.repeat(state["woken_ms"][runs.owner], runs.ends - runs.starts + 1)
        since_ms = np.where(began >= 0, batch.time_ms[began], carried_ms)
        state["woken_ms"][runs.owner] = since_ms[runs.ends]
        humidity_pct = batch.column("humidity_pct")
        starting = batch.time_ms - since_ms < int(self.start_s * 1000)
        return np.where(np.isnan(humidity_pct), starting, humidity_pct >= self.wet_pct)
