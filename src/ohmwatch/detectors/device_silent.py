"""A device falls silent while its connector carries current: again and again, or for good."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ohmwatch.conditions import Condition, Pole
from ohmwatch.detector import Batch, Floats, Ratings, Silence, State, Times
from ohmwatch.findings import Finding, Severity
from ohmwatch.physics.heat import column
from ohmwatch.physics.hold import (
    Level,
    as_findings,
    hold_dtype,
    is_stated,
    judge,
    state_lowest,
)
from ohmwatch.physics.recurrence import RECURRENCE_DTYPE, recent
from ohmwatch.physics.sequence import Runs, elapsed_ms, gap_limits_ms

_DAY_S = 86_400.0
_LONGEST_MS = 20 * 86_400_000
"""A silence is told up to this, to be kept in four bytes."""


@dataclass(frozen=True)
class DeviceSilent:
    """Silences that began under load: counted over a week, and one that doesn't end.

    Fault: a device, its power or its reception that fails while the connector is in use: nobody
    watches it then. A vehicle that parks and sleeps is silent too, for weeks, and that is none:
    so only a silence counts before which the last reading showed current.

    Physics: none. That silences recur shows in the readings that end them. A gap is no time over
    any limit, here neither: each counts 1, however long, and is forgotten with a time constant.
    That a device is gone shows in no reading: a clock says so (`lapse`), where one runs, and the
    next reading ends it. A will of "offline" is what a vehicle leaves behind that parks below
    ground as well as a device without power: it gets a day. One that says it is online and
    reports nothing gets an hour.

    Two clocks: what recurs is told by the readings, in device time, so readings that come late and
    fill a gap take its silence back. What `lapse` states is told by arrival: nobody was watched for
    an hour, whatever a device sends of that hour later. That stands, and so does the count as it
    was known then.

    Inputs: `current_a` (A). Ratings: `rated_current_a` (A), silent without; `interval_s`.

    Parameters:
        silent_s: how long a silence must last; as in the product, 10 min. Dead spots of a
            mobile network are shorter, and what a device stores meanwhile comes later in order.
        loaded_share: of the rated current, over which the connector was in use.
        memory_days: time constant over which silences are forgotten.
        notice_count: silences not forgotten that are a notice: the third within two days.
        gone_s: how long a silence lasts of a device that says it is online until it is a notice
            by itself; longer than any order to report less often.
        lost_s: the same of a device that says it is offline, or nothing of itself: a weekend's
            garage without reception has ended, or is worth a look.

    Can't see: a silence of a device that sends what it missed; the end of a device that was
    silent at rest before.

    Cost: 0.03 µs a reading in batches; state: 38 bytes a connector.

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
    gone_s: float = 3_600.0
    lost_s: float = 86_400.0

    name = "device_silent"
    version = "2"
    condition: str = Condition.DEVICE_SILENT
    needs: frozenset[str] = frozenset({"current_a"})

    @property
    def levels(self) -> tuple[Level, ...]:
        """Excess is the count of silences."""
        return (Level(Severity.NOTICE, self.notice_count, self.notice_count / 3, 0.0, 0.0),)

    @property
    def state_dtype(self) -> np.dtype[Any]:
        # gone_ms: the instant at which it was stated that the device is gone, negative once it is
        # back; 0 while it never was.
        seen = np.dtype([("gone_ms", "<i8"), ("current_a", "<f4"), ("silence_ms", "<i4")])
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
        # As the record keeps it: a batch that is cut must not differ in the last digit.
        current_a = np.abs(batch.column("current_a")).astype(np.float32).astype(np.float64)
        last_ms = state["hold"]["last_ms"]
        elapsed = elapsed_ms(runs, batch.time_ms, last_ms, batch.connector)
        limit_ms = np.maximum(gap_limits_ms(ratings), int(self.silent_s * 1000))[batch.connector]
        loaded = runs.previous(current_a, seen["current_a"]) > self.loaded_share * rated_a
        silence = loaded & (elapsed > limit_ms)
        memory_s = self.memory_days * _DAY_S
        count = recent(batch, silence.astype(float), memory_s, state["recent"], last_ms)
        last = runs.latest(silence)
        carried_ms = np.repeat(seen["silence_ms"][runs.owner], runs.ends - runs.starts + 1)
        silence_ms = np.where(last >= 0, np.minimum(elapsed[last], _LONGEST_MS), carried_ms)
        for name, values in (("current_a", current_a), ("silence_ms", silence_ms)):
            seen[name][runs.owner] = values[runs.ends]
        excess = self._with_return(runs, batch.time_ms, count, seen)
        said = judge(batch.connector, batch.time_ms, [excess], self.levels, ratings, state["hold"])
        if not said:
            return []
        return as_findings(
            self,
            batch,
            said,
            pole=lambda index: Pole.NONE,
            evidence={"recent_silences": count, "last_silence_s": silence_ms / 1000.0},
        )

    def _with_return(self, runs: Runs, time_ms: Times, count: Floats, seen: State) -> Floats:
        """The count, as what is stated of devices that were gone wants it.

        It stands while they send what they had kept from before the statement; the first reading
        after that ends it, unless silences recur so often that they are a notice by themselves.
        """
        gone_ms = np.repeat(seen["gone_ms"][runs.owner], runs.ends - runs.starts + 1)
        back = (gone_ms > 0) & (time_ms > gone_ms)
        first = back & ~runs.previous(back, np.zeros(len(seen), dtype=np.bool_))
        seen["gone_ms"][runs.owner[back[runs.ends]]] *= -1
        excess = np.where((gone_ms > 0) & ~back, np.fmax(count, self.notice_count), count)
        return np.where(first & (count < self.notice_count), 0.0, excess)

    def lapse(self, silence: Silence, ratings: Sequence[Ratings], state: State) -> list[Finding]:
        seen, last_ms = state["seen"], state["hold"]["last_ms"]
        limit_ms = (np.where(silence.online, self.gone_s, self.lost_s) * 1000).astype(np.int64)
        limit_ms = np.maximum(limit_ms, gap_limits_ms(ratings))
        since_ms = np.maximum(last_ms, silence.heard_ms)
        # What it might have sent while nobody listened, it had time to send once more.
        listened_ms = silence.listening_ms + int(self.silent_s * 1000)
        gone_ms = np.maximum(since_ms + limit_ms, listened_ms)
        rated_a = column(ratings, "rated_current_a")
        # A parked vehicle may sleep.
        was_in_use = (last_ms > 0) & (seen["current_a"] > self.loaded_share * rated_a)
        unsaid = (seen["gone_ms"] <= 0) & ~is_stated(state["hold"])
        gone = was_in_use & unsaid & (gone_ms <= silence.now_ms)
        chosen = np.flatnonzero(gone)
        seen["gone_ms"][chosen] = gone_ms[chosen]
        state_lowest(state["hold"], chosen, since_ms[chosen])
        return [self._gone(silence, at, int(since_ms[at]), state) for at in chosen.tolist()]

    def lapsed_ms(self, state: State) -> Times:
        return np.asarray(np.abs(state["seen"]["gone_ms"]), dtype=np.int64)

    def _gone(self, silence: Silence, at: int, since_ms: int, state: State) -> Finding:
        seen, gone_ms = state["seen"][at], int(state["seen"]["gone_ms"][at])
        return Finding(
            connector=silence.connectors[at],
            condition=self.condition,
            severity=Severity.NOTICE,
            since_ms=since_ms,
            measured_ms=gone_ms,
            arrived_ms=gone_ms,
            detector=self.name,
            detector_version=self.version,
            evidence={
                "silent_for_s": round((gone_ms - since_ms) / 1000, 3),
                "current_a": round(float(seen["current_a"]), 3),
                "recent_silences": round(float(state["recent"]["count"][at]), 3),
            },
        )
