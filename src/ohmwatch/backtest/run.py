"""Readings in, alarm events out: the way of production without its stores.

The same reorder window, watch, detectors and alarm lifecycle as `workers.detection` and
`apps.alarms`; the judge's clock is the arrival of the reading.
"""

import csv
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ohmwatch.backtest.fellows import Fellows
from ohmwatch.backtest.installed import Installed
from ohmwatch.conditions import Pole
from ohmwatch.detector import Batch, Detector, Flags
from ohmwatch.findings import Finding, Severity
from ohmwatch.fleet import AgeingOutlier
from ohmwatch.instants import text_of
from ohmwatch.lifecycle import (
    CALM_S,
    FLAPS,
    Action,
    ClearedAlarm,
    Companion,
    Decision,
    OpenAlarm,
    Reason,
    decide,
    ends_story,
    is_calm,
    is_fresh,
)
from ohmwatch.reorder import in_order
from ohmwatch.watch import Watch

REORDER_WINDOW_MS = 300
"""As in production (apps.partitions.wakeups)."""

EVENTS = {
    Action.OPEN: "opened",
    Action.REOPEN: "opened",
    Action.WORSEN: "worsened",
    Action.EASE: "eased",
    Action.CLEAR: "cleared",
}
NOTES = {Action.EVIDENCE: "evidence", Action.FLAP: "evidence"}
"""What people are told without a step of the alarm: that it still holds, that it comes and goes."""

COLUMNS = (
    "connector",
    "time",
    "arrived",
    "severity",
    "condition",
    "pole",
    "event",
    "resistance_uohm",
    "margin_k",
    "limit_from",
    "limit_to",
)


@dataclass(frozen=True, slots=True)
class AlarmEvent:
    """A step of an alarm. Times: ms since 1970 UTC.

    `time_ms` is the newest reading that the statement needed, `since_ms` the device time from
    which on it holds. `limit_from_ms` and `limit_to_ms` are between which, four times of five,
    the limit is reached. A cleared alarm keeps the severity and the pole that it had. `tell`:
    whether anybody would have been told of it.
    """

    connector: str
    time_ms: int
    arrived_ms: int
    severity: Severity
    condition: str
    pole: str
    event: str
    resistance_uohm: float | None
    margin_k: float | None
    limit_from_ms: int | None
    limit_to_ms: int | None
    evidence: Mapping[str, float | str]
    since_ms: int = 0
    reason: str = ""
    tell: bool = False


@dataclass
class Omissions:
    """Readings of connectors that nobody described, and detectors that failed, by name."""

    readings: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def run(
    batches: Iterable[Batch],
    installed: Mapping[str, Installed],
    detectors: Sequence[Detector],
    *,
    omissions: Omissions | None = None,
    with_notes: bool = False,
    fleet: AgeingOutlier | None = None,
) -> Iterator[AlarmEvent]:
    """The alarms over readings that come in order of arrival, as production would have had them.

    How the readings are cut into batches makes no difference. Readings of connectors that are
    not installed, and detectors that raise, are noted in `omissions` and left out. With
    `with_notes` what is told without a step of the alarm comes too, as events "evidence". With
    `fleet` the connectors are compared with their batch and model, once all readings are through.
    """
    omissions = omissions if omissions is not None else Omissions()
    watch, waiting, alarms = Watch(detectors), _Waiting(), _Alarms(with_notes=with_notes)
    fellows = None if fleet is None else Fellows(installed, fleet)
    newest_ms = 0
    for batch in batches:
        ripe = waiting.take(_of_installed(batch, installed, omissions))
        yield from alarms.take_in(_judge(watch, ripe, installed, omissions, fellows))
        newest_ms = max(newest_ms, int(batch.arrived_ms.max(initial=0)))
    yield from alarms.take_in(_judge(watch, waiting.rest(), installed, omissions, fellows))
    if fellows is not None:
        yield from alarms.take_in(fellows.compare())
    yield from alarms.rest(newest_ms)


def write(path: Path, events: Iterable[AlarmEvent]) -> None:
    """Writes alarms.csv: COLUMNS, times as RFC 3339 in UTC. The events come in order of arrival."""
    with path.open("w", encoding="utf-8", newline="") as lines:
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(_row(event) for event in events)


def in_order_of_arrival(event: AlarmEvent) -> tuple[int, int, str, str]:
    """A key to sort by that doesn't depend on how the readings were cut."""
    return event.arrived_ms, event.time_ms, event.connector, event.condition


def _row(event: AlarmEvent) -> list[str]:
    return [
        event.connector,
        text_of(event.time_ms),
        text_of(event.arrived_ms),
        event.severity.name.lower(),
        event.condition,
        event.pole,
        event.event,
        "" if event.resistance_uohm is None else f"{event.resistance_uohm:.1f}",
        "" if event.margin_k is None else f"{event.margin_k:.1f}",
        "" if event.limit_from_ms is None else text_of(event.limit_from_ms),
        "" if event.limit_to_ms is None else text_of(event.limit_to_ms),
    ]


def _of_installed(batch: Batch, installed: Mapping[str, Installed], omissions: Omissions) -> Batch:
    known = np.array([name in installed for name in batch.connectors], dtype=np.bool_)
    if known.all():
        return batch
    counts = np.bincount(batch.connector, minlength=len(known))
    for home in np.flatnonzero(~known).tolist():
        name = batch.connectors[home]
        omissions.readings[name] = omissions.readings.get(name, 0) + int(counts[home])
    kept = np.cumsum(known) - 1
    chosen = batch.rows(known[batch.connector])
    return Batch(
        connectors=[name for name in batch.connectors if name in installed],
        connector=kept[chosen.connector].astype(np.int32),
        time_ms=chosen.time_ms,
        arrived_ms=chosen.arrived_ms,
        values=chosen.values,
    )


def _judge(
    watch: Watch,
    batch: Batch,
    installed: Mapping[str, Installed],
    omissions: Omissions,
    fellows: Fellows | None,
) -> list[Finding]:
    ratings = [installed[name].ratings for name in batch.connectors]
    judgement = watch.observe(batch, ratings)
    for name, error in judgement.failed.items():
        omissions.failed.setdefault(name, repr(error))
    if fellows is not None:
        fellows.note(judgement, ratings)
    return judgement.findings


class _Waiting:
    """Readings behind which others of their connector may still come within the window."""

    def __init__(self) -> None:
        self._held = _EMPTY

    def take(self, batch: Batch) -> Batch:
        """The readings that are ripe now that these came as well."""
        batch = _joined(self._held, batch)
        newest_ms = np.zeros(len(batch.connectors), dtype=np.int64)
        np.maximum.at(newest_ms, batch.connector, batch.arrived_ms)
        # Strictly: another reading may come in the same millisecond as the newest.
        mature = batch.arrived_ms < newest_ms[batch.connector] - REORDER_WINDOW_MS
        return self._release(batch, mature)

    def rest(self) -> Batch:
        """What still waits, when no more will come."""
        held, self._held = self._held, _EMPTY
        return self._release(held, np.ones(len(held), dtype=np.bool_))

    def _release(self, batch: Batch, mature: Flags) -> Batch:
        choice = in_order(batch, mature=mature, window_ms=REORDER_WINDOW_MS)
        self._held = _compact(batch.rows(~mature))
        return _compact(batch.rows(choice.released))


_EMPTY = Batch.of_one("", []).rows(np.zeros(0, dtype=np.bool_))


def _joined(held: Batch, batch: Batch) -> Batch:
    if not len(held):
        return batch
    names = {name: home for home, name in enumerate(held.connectors)}
    homes = [names.setdefault(name, len(names)) for name in batch.connectors]
    moved = np.array(homes, dtype=np.int32)[batch.connector]
    quantities = dict.fromkeys([*held.values, *batch.values])
    return Batch(
        connectors=list(names),
        connector=np.concatenate([held.connector, moved]),
        time_ms=np.concatenate([held.time_ms, batch.time_ms]),
        arrived_ms=np.concatenate([held.arrived_ms, batch.arrived_ms]),
        values={
            name: np.concatenate([held.column(name), batch.column(name)]) for name in quantities
        },
    )


def _compact(batch: Batch) -> Batch:
    """The same readings; only connectors that have one are named."""
    present = np.unique(batch.connector)
    homes = np.zeros(len(batch.connectors), dtype=np.int32)
    homes[present] = np.arange(len(present), dtype=np.int32)
    return Batch(
        connectors=[batch.connectors[home] for home in present.tolist()],
        connector=homes[batch.connector],
        time_ms=batch.time_ms,
        arrived_ms=batch.arrived_ms,
        values=batch.values,
    )


@dataclass
class _Alarm:
    """An open alarm. `told`: the severity that people would have heard; `held`: by which finding
    it would be over, did it not flap."""

    severity: Severity
    pole: Pole
    finding: Finding
    since_ms: int
    told: Severity | None = None
    flaps: bool = False
    held: Finding | None = None

    def as_open(self, opened_ms: Sequence[int]) -> OpenAlarm:
        return OpenAlarm(
            severity=self.severity,
            since_ms=self.since_ms,
            last_measured_ms=self.finding.measured_ms,
            told=self.told is not None and self.told >= self.severity,
            opened_ms=tuple(opened_ms),
            flaps=self.flaps,
        )


class _Alarms:
    """The open and the newest cleared alarm of each connector and condition."""

    def __init__(self, *, with_notes: bool) -> None:
        self._names = {**EVENTS, **NOTES} if with_notes else EVENTS
        self._open: dict[str, dict[str, _Alarm]] = {}
        self._cleared: dict[tuple[str, str], ClearedAlarm] = {}
        self._opened_ms: dict[tuple[str, str], deque[int]] = {}

    def take_in(self, findings: Iterable[Finding]) -> Iterator[AlarmEvent]:
        for finding in findings:
            yield from self._release(finding.connector, _instant_of(finding.arrived_ms))
            yield from self._apply(finding)

    def rest(self, until_ms: int) -> Iterator[AlarmEvent]:
        """What is held open and has stayed quiet until the recording's end."""
        for connector in list(self._open):
            yield from self._release(connector, _instant_of(until_ms))

    def _apply(self, finding: Finding) -> Iterator[AlarmEvent]:
        key = finding.connector, finding.condition
        own = self._open.setdefault(finding.connector, {})
        alarm = own.get(finding.condition)
        opened_ms = self._opened_ms.setdefault(key, deque(maxlen=FLAPS))
        decision = decide(
            alarm.as_open(opened_ms) if alarm else None,
            finding,
            now=_instant_of(finding.arrived_ms),
            cleared=self._cleared.get(key),
            companions=self._companions(*key),
        )
        if decision.action is Action.NOTHING:
            return
        if decision.action in (Action.OPEN, Action.REOPEN):
            opened_ms.append(finding.measured_ms)
        tell = self._tells(alarm, finding, decision)
        alarm = self._changed(alarm, finding, decision)
        if decision.action in self._names:
            yield self._event(finding, alarm, decision, tell=tell)

    def _companions(self, connector: str, condition: str) -> list[Companion]:
        """The connector's other open alarms."""
        own = self._open.get(connector, {})
        return [Companion(name, each.told) for name, each in own.items() if name != condition]

    def _tells(self, alarm: _Alarm | None, finding: Finding, decision: Decision) -> bool:
        """Whether people are told, as `apps.alarms` does: of an end, whoever heard of it at all."""
        if decision.action is Action.EASE:
            return False
        if decision.action is not Action.CLEAR:
            return decision.tell
        heard = alarm is not None and alarm.told is not None
        fresh = is_fresh(finding, now=_instant_of(finding.arrived_ms))
        return heard and fresh and self._ends_story(finding)

    def _ends_story(self, finding: Finding) -> bool:
        return ends_story(finding.condition, self._companions(finding.connector, finding.condition))

    def _changed(self, alarm: _Alarm | None, finding: Finding, decision: Decision) -> _Alarm:
        own = self._open[finding.connector]
        if alarm is None:
            assert finding.severity is not None
            alarm = _Alarm(finding.severity, finding.pole, finding, finding.since_ms)
            own[finding.condition] = alarm
        alarm.finding, alarm.held = finding, None
        if finding.severity is not None:
            alarm.severity, alarm.pole = finding.severity, finding.pole
        if decision.tell and decision.action not in (Action.EASE, Action.CLEAR):
            alarm.told = alarm.severity
        if decision.action in (Action.FLAP, Action.HOLD):
            alarm.flaps, alarm.held = True, finding
        if decision.action is Action.CLEAR:
            self._end(finding)
        return alarm

    def _release(self, connector: str, now: datetime) -> Iterator[AlarmEvent]:
        """Clears what was held open and has stayed quiet for long enough."""
        for alarm in list(self._open.get(connector, {}).values()):
            held = alarm.held
            if held is not None and is_calm(_instant_of(held.arrived_ms), now=now):
                known_ms = held.arrived_ms + int(CALM_S * 1000)
                tell = alarm.told is not None and self._ends_story(held)
                self._end(held)
                quiet = Decision(Action.CLEAR, Reason.STAYED_QUIET)
                event = self._event(held, alarm, quiet, tell=tell)
                yield replace(event, arrived_ms=known_ms)

    def _end(self, finding: Finding) -> None:
        del self._open[finding.connector][finding.condition]
        key = finding.connector, finding.condition
        self._cleared[key] = ClearedAlarm(finding.measured_ms)

    def _event(
        self, finding: Finding, alarm: _Alarm, decision: Decision, *, tell: bool
    ) -> AlarmEvent:
        evidence = finding.evidence
        return AlarmEvent(
            connector=finding.connector,
            time_ms=finding.measured_ms,
            arrived_ms=finding.arrived_ms,
            severity=alarm.severity,
            condition=finding.condition,
            pole=str(alarm.pole),
            event=self._names[decision.action],
            resistance_uohm=_number(evidence, "resistance_uohm"),
            margin_k=_number(evidence, "margin_k"),
            limit_from_ms=_instant(finding, "time_left_from_s"),
            limit_to_ms=_instant(finding, "time_left_to_s"),
            evidence=evidence,
            since_ms=finding.since_ms,
            reason=str(decision.reason),
            tell=tell,
        )


def _instant_of(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _number(evidence: Mapping[str, float | str], name: str) -> float | None:
    value = evidence.get(name)
    return value if isinstance(value, float | int) else None


def _instant(finding: Finding, name: str) -> int | None:
    """The instant that lies so many seconds after the finding's newest reading."""
    seconds = _number(finding.evidence, name)
    return None if seconds is None else finding.measured_ms + round(seconds * 1000)
