"""Rules: which detectors judge which connectors, with which parameters and severities.

Without a rule every detector judges every connector with its defaults, which take their limits
from the model's ratings. A rule changes one detector for the connectors that it selects, and for
a share of them only while it is rolled out. In shadow it judges beside the rule in force, and
tells nobody. Pure: the product keeps rules in its database, a file holds them as well.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ohmwatch.detector import Detector
from ohmwatch.findings import Finding, Severity
from ohmwatch.parameters import with_parameters

DIMENSIONS = ("model", "batch", "organisation", "vehicle", "position", "connector")
"""What connectors can be selected by. Each value is text as telemetry carries it."""


class Mode(StrEnum):
    """What a rule does."""

    LIVE = "live"  # judges in place of the defaults
    SHADOW = "shadow"  # judges beside them, counted, telling nobody
    OFF = "off"  # these connectors are not judged by this detector
    DISABLED = "disabled"  # the rule does nothing


SILENT = "none"
"""In place of a severity: what would be stated at that severity is not stated."""


@dataclass(frozen=True)
class Rule:
    """One version of a rule. `selection` is by dimension the values that fit; empty fits all.

    `severities` is by severity that the detector states (lower case) the one to be stated
    instead, or SILENT. `share_pct` of the selected connectors are judged by it (0 to 100).
    """

    id: str
    version: int
    detector: str
    mode: Mode = Mode.LIVE
    share_pct: float = 100.0
    selection: Mapping[str, frozenset[str]] = field(default_factory=dict)
    parameters: Mapping[str, float | int | bool] = field(default_factory=dict)
    severities: Mapping[str, str] = field(default_factory=dict)

    def selects(self, connector: str, dimensions: Mapping[str, str]) -> bool:
        """Whether the connector, with what telemetry is sliced by, is among its connectors."""
        own = {**dimensions, "connector": connector}
        fits = all(own.get(name, "") in values for name, values in self.selection.items() if values)
        return fits and share_of(self.id, connector) < self.share_pct

    @property
    def narrowness(self) -> tuple[int, str]:
        """The larger stands before the smaller: more dimensions named, then the younger rule."""
        return sum(1 for values in self.selection.values() if values), self.id


def share_of(rule: str, connector: str) -> float:
    """Where a connector lies between 0 and 100 for a rule: the same at any time, anywhere.

    A connector that a rule reached at 10 % is among those that it reaches at 20 %.

    >>> share_of("r", "c") == share_of("r", "c")
    True
    >>> 0 <= share_of("r", "c") < 100
    True
    """
    digest = hashlib.blake2b(f"{rule}/{connector}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 * 100


@dataclass(frozen=True, eq=False)
class Judge:
    """A detector as a rule wants it. Without a rule `rule` is empty and `version` 0.

    `key` names the state that it carries on: all judges in force of one detector share it, for
    each connector has one of them, so that a change of a rule begins nothing anew.
    """

    key: str
    detector: Detector
    rule: str = ""
    version: int = 0
    severities: Mapping[str, str] = field(default_factory=dict)
    is_shadow: bool = False

    def state(self, finding: Finding) -> Finding:
        """The finding with the severity that the rule gives it, naming the rule."""
        severity = finding.severity
        if severity is not None:
            meant = self.severities.get(severity.name.lower())
            severity = severity if meant is None else severity_of(meant)
        return replace(finding, severity=severity, rule=self.rule, rule_version=self.version)


@dataclass(frozen=True, eq=False)
class Plan:
    """Who judges a connector: at most one judge in force a detector, and any in shadow."""

    judges: tuple[Judge, ...]


class Rulebook:
    """The rules of one tenant, asked for each connector. Equal plans are one object.

    A rule of a detector that is not here, or with parameters that it doesn't take any more, is
    left out and named in `unusable`, with the reason: the defaults go on judging. `owner` tells
    apart the shadows of tenants that share a watch: their key is `<detector>@<owner>/<rule>`.
    """

    def __init__(
        self, rules: Sequence[Rule], detectors: Sequence[Detector], *, owner: str = ""
    ) -> None:
        self._owner = owner
        self.unusable: dict[str, str] = {}
        self._plans: dict[tuple[int, ...], Plan] = {}
        self._defaults = {each.name: Judge(each.name, each) for each in detectors}
        self._judges: list[tuple[Rule, Judge | None]] = []
        for rule in sorted(rules, key=lambda each: each.narrowness, reverse=True):
            if rule.mode is not Mode.DISABLED:
                self._admit(rule)

    @property
    def default(self) -> Plan:
        """The plan of a connector that no rule selects."""
        return self._plan(())

    def plan_for(self, connector: str, dimensions: Mapping[str, str]) -> Plan:
        """Who judges this connector. Of two rules of a detector the narrower is in force."""
        chosen: list[int] = []
        ruled: set[str] = set()
        for place, (rule, _judge) in enumerate(self._judges):
            if rule.mode is not Mode.SHADOW and rule.detector in ruled:
                continue
            if rule.selects(connector, dimensions):
                chosen.append(place)
                ruled |= {rule.detector} if rule.mode is not Mode.SHADOW else set()
        return self._plan(tuple(chosen))

    def judges(self) -> list[Judge]:
        """All judges that a connector may have."""
        return [*self._defaults.values(), *(judge for _, judge in self._judges if judge)]

    def _admit(self, rule: Rule) -> None:
        default = self._defaults.get(rule.detector)
        if default is None:
            self.unusable[rule.id] = f"there is no detector {rule.detector}"
            return
        try:
            detector = with_parameters(default.detector, rule.parameters)
        except ValueError as refusal:
            self.unusable[rule.id] = str(refusal)
            return
        if detector.state_dtype != default.detector.state_dtype:
            self.unusable[rule.id] = "these parameters need a record of another shape"
            return
        self._judges.append((rule, self._judge(rule, detector)))

    def _judge(self, rule: Rule, detector: Detector) -> Judge | None:
        if rule.mode is Mode.OFF:
            return None
        shadow = rule.mode is Mode.SHADOW
        key = f"{detector.name}@{self._owner}/{rule.id}" if shadow else detector.name
        return Judge(key, detector, rule.id, rule.version, dict(rule.severities), shadow)

    def _plan(self, chosen: tuple[int, ...]) -> Plan:
        plan = self._plans.get(chosen)
        if plan is None:
            in_force: dict[str, Judge | None] = dict(self._defaults)
            shadows: list[Judge] = []
            for rule, judge in (self._judges[place] for place in chosen):
                if judge is not None and judge.is_shadow:
                    shadows.append(judge)
                else:
                    in_force[rule.detector] = judge
            own = [judge for judge in in_force.values() if judge is not None]
            plan = self._plans[chosen] = Plan((*own, *shadows))
        return plan


def severity_of(word: str) -> Severity | None:
    """A severity by its name in lower case; None for SILENT. Raises KeyError for another word."""
    return None if word == SILENT else Severity[word.upper()]
