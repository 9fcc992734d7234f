"""A device falls silent again and again while its connector carries current."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ohmwatch.conditions import Condition, Pole
from ohmwatch.detector import Batch, Ratings, State
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.heat import column
from ohmwatch.physics.hold import Level, as_findings, hold_dtype, judge
from ohmwatch.physics.recurrence import RECURRENCE_DTYPE, recent
from ohmwatch.physics.sequence import Runs, elapsed_ms, gap_limits_ms

_DAY_S = 86_400.0


@dataclass(frozen=True)
class DeviceSilent:
    """Silences that began under load, counted over a week.

    Fault: a device, its power or its reception that fails while the connector is in use: nobody
    watches it then. A vehicle that parks and sleeps is silent too, for weeks, and that is none:
    so only a silence counts before which the last reading showed current.

    Physics: none. A silence shows in the reading that ends it, so this says that a device is
    unreliable, never that it is gone: for that a clock is needed, and the running product has
    one (its devices' page). A gap is no time over any limit, here neither: each counts 1,
    however long, and is forgotten with a time constant.

    Inputs: `current_a` (A). Ratings: `rated_current_a` (A), silent without; `interval_s`.

    Parameters:
        silent_s: how long a silence must last; as in the product, 10 min. Dead spots of a
            mobile network are shorter, and what a device stores meanwhile comes later in order.
        loaded_share: of the rated current, over which the connector was in use.
        memory_days: time constant over which silences are forgotten.
        notice_count: silences not forgotten that are a notice: the third within two days.

    Can't see: a device that stays silent; a silence of a device that sends what it missed.

    Cost: about 1 µs a reading in batches; state: 38 bytes a connector.

    >>> detector = DeviceSilent()
    >>> state = np.zeros(1, detector.state_dtype)
    >>> minutes = [minute for minute in range(300) if minute % 60 < 40]  # 20 of 60 are missing
    >>> drive = Batch.of_one("inverter", [1_795_420_800_000 + 60_000 * each for each in minutes],
    ...     current_a=[120.0] * len(minutes))
    >>> model = Ratings(rated_current_a=200.0, interval_s=60.0)
    >>> first = detector.observe(drive, [model], state)[0]
    >>> first.severity.name, first.evidence["last_silence_s"]
    ('NOTICE', 1260.0)
    """

    silent_s: float = 600.0
    loaded_share: float = 0.1
    memory_days: float = 7.0
    notice_count: float = 2.5

    name = "device_silent"
    version = "1"
    condition: str = Condition.DEVICE_SILENT
    needs: frozenset[str] = frozenset({"current_a"})

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is the count of silences."""
        return (Level(Severity.NOTICE, self.notice_count, self.notice_count / 3, 0.0, 0.0),)

    @property
    def state_dtype(self) -> np.dtype[Any]:
        seen = np.dtype([("current_a", "<f8"), ("silence_ms", "<i8")])
        return np.dtype(
            [("hold", hold_dtype(self.levels)), ("seen", seen), ("recent", RECURRENCE_DTYPE)]
        )

    def observe(self, batch: Batch, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        rated_a = column(ratings, "rated_current_a")[batch.connector]
        usable = ~np.isnan(batch.column("current_a")) & (rated_a > 0)
        batch, rated_a = batch.rows(usable), rated_a[usable]
        if not len(batch):
            return []
        seen, runs = state["seen"], Runs.of(batch.connector)
        current_a = np.abs(batch.column("current_a"))
        last_ms = state["hold"]["last_ms"]
        elapsed = elapsed_ms(runs, batch.time_ms, last_ms, batch.connector)
        limit_ms = np.maximum(gap_limits_ms(ratings), int(self.silent_s * 1000))[batch.connector]
        loaded = runs.previous(current_a, seen["current_a"]) > self.loaded_share * rated_a
        silence = loaded & (elapsed > limit_ms)
        memory_s = self.memory_days * _DAY_S
        count = recent(batch, silence.astype(float), memory_s, state["recent"], last_ms)
        last = runs.latest(silence)
        carried_ms = np.repeat(seen["silence_ms"][runs.owner], runs.ends - runs.starts + 1)
        silence_ms = np.where(last >= 0, elapsed[last], carried_ms)
        for name, values in (("current_a", current_a), ("silence_ms", silence_ms)):
            seen[name][runs.owner] = values[runs.ends]
        said = judge(batch.connector, batch.time_ms, [count], self.levels, ratings, state["hold"])
        return as_findings(
            self,
            batch,
            said,
            pole=lambda index: Pole.NONE,
            evidence={"recent_silences": count, "last_silence_s": silence_ms / 1000.0},
        )
