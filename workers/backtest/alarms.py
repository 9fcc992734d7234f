"""The alarms of either side as plain values, so that a back-test can be carried on from its row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ohmwatch.backtest.run import AlarmEvent
from ohmwatch.backtest.sides import Side, split
from ohmwatch.findings import Severity
from ohmwatch.lifecycle import Reason

MOST_ALARMS = 5_000
"""Kept of each side; beyond it they are counted, and the result says so."""

MOST_STEPS = 50
"""Kept of one alarm."""

Row = dict[str, Any]
"""An alarm: connector, condition, opened_ms (arrival), since_ms, measured_ms (device), severity
(the worst), ended_ms or None, occurrences, told: [[arrival ms, kind, severity]], which are the
steps that people would have been told of."""


@dataclass
class Alarms:
    """What has been raised so far, by side. `seen`: connectors that had any reading."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {side.value: [] for side in Side})
    dropped: dict[str, int] = field(default_factory=lambda: {side.value: 0 for side in Side})
    seen: int = 0
    _open: dict[tuple[str, str, str], Row] = field(default_factory=dict)

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> "Alarms":
        """As `as_result` left them. Groups share no connector, so no alarm goes on."""
        if not result:
            return cls()
        return cls(rows=result["rows"], dropped=result["dropped"], seen=result["seen"])

    def as_result(self, *, after: str) -> dict[str, Any]:
        """Plain values for the row. `after` is the last connector that is through."""
        return {"rows": self.rows, "dropped": self.dropped, "seen": self.seen, "after": after}

    def take_in(self, event: AlarmEvent) -> None:
        side, connector = split(event.connector)
        key = (side.value, connector, event.condition)
        row = self._open.get(key)
        if row is None or event.reason == Reason.FIRST_FINDING:
            row = self._open[key] = self._begun(side, connector, event)
        elif event.event == "opened":
            row["occurrences"] += 1
        row["measured_ms"] = event.time_ms
        row["ended_ms"] = event.arrived_ms if event.event == "cleared" else None
        worst = max(Severity[row["severity"].upper()], event.severity)
        row["severity"] = worst.name.lower()
        if event.tell and len(row["told"]) < MOST_STEPS:
            row["told"].append([event.arrived_ms, event.event, event.severity.name.lower()])

    def _begun(self, side: Side, connector: str, event: AlarmEvent) -> Row:
        row: Row = {
            "connector": connector,
            "condition": event.condition,
            "opened_ms": event.arrived_ms,
            "since_ms": event.since_ms,
            "severity": event.severity.name.lower(),
            "occurrences": 1,
            "told": [],
        }
        if len(self.rows[side.value]) < MOST_ALARMS:
            self.rows[side.value].append(row)
        else:
            self.dropped[side.value] += 1
        return row
