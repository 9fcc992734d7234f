"""What a detector states about one connector."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from ohmwatch.conditions import Pole

UNFORESEEN = (
    "",
    "too_few_points",
    "not_growing",
    "limit_unknown",
    "little_load",
    "out_of_reach",
)
"""Why no time left is told, in the order of the codes of `physics.estimate.outlook`; "": it is."""

TIME_LEFT_UNKNOWN = "time_left_unknown"
"""In a finding's evidence: one of UNFORESEEN, where it should have a time left and has none."""


class Severity(IntEnum):
    """How bad, by what a person should do; a larger number is worse."""

    NOTICE = 1  # look at it at the next service
    WARNING = 2  # limit the load, service within days
    CRITICAL = 3  # stop, disconnect, inspect now


@dataclass(frozen=True, slots=True)
class Finding:
    """One statement: since when a condition holds, how bad it is, and what shows it.

    All times are milliseconds since 1970 UTC. `since_ms` and `measured_ms` are the device's
    clock: when the condition began (where it ended: when it ended), and the newest reading that
    the statement needed. `arrived_ms` is when that reading came to us.

    `severity` None says that the condition has ended, after the detector's own hold time.
    The evidence holds numbers (the unit is in the key) and words, of one reading and its limits.
    `rule` and `rule_version` name the rule that judged; empty and 0: the detector's defaults.
    """

    connector: str
    condition: str
    severity: Severity | None
    since_ms: int
    measured_ms: int
    arrived_ms: int
    detector: str
    detector_version: str
    pole: Pole = Pole.NONE
    evidence: Mapping[str, float | str] = field(default_factory=dict)
    time_left_s: float | None = None
    rule: str = ""
    rule_version: int = 0

    @property
    def ended(self) -> bool:
        """True where the finding says that its condition is over."""
        return self.severity is None
