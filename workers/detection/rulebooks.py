"""Which detectors judge which connectors: every tenant's rules, as this process knows them.

A tenant's rules are read when the directory has read the tenant again: a change of a rule moves the
same counter in Redis, so it is known within seconds. While Postgres is away, or a tenant's rules
can't be read, the old rules go on. Tenants without rules share the detectors' own instances, so
that one batch of a thousand tenants is one turn of each detector.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import structlog
from django.db import DatabaseError, InterfaceError, connection
from django_tenants.utils import schema_context

from apps.devices.directory import Directory, TenantEntry
from apps.warning.detectors import fleet_detectors
from apps.warning.queries import core_rules
from ohmwatch.detector import Detector, Flags
from ohmwatch.findings import Finding
from ohmwatch.rules import Judge, Plan, Rule, Rulebook
from ohmwatch.watch import Judgement, Post
from workers.detection.gathering import key_of

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Known:
    """A tenant's rules with the state of the directory that they were read for."""

    entry: TenantEntry
    rules: list[Rule]
    book: Rulebook
    plans: dict[str, Plan] = field(default_factory=dict)


@dataclass(frozen=True)
class Lineup:
    """Who judges the connectors of one batch. `plans[i]` is connector i's."""

    posts: list[Post]
    plans: dict[str, Plan]

    def stated(self, judgement: Judgement) -> list[Finding]:
        """The findings in force, each with its rule's severity and its rule named."""
        return [self._stated(each, each.detector) for each in judgement.findings]

    def in_shadow(self, judgement: Judgement) -> list[Finding]:
        """The findings of shadows, which tell nobody, in order of measurement."""
        found = [
            self._stated(finding, key)
            for key, several in judgement.beside.items()
            for finding in several
        ]
        return sorted(found, key=lambda each: (each.measured_ms, each.connector, each.rule))

    def _stated(self, finding: Finding, key: str) -> Finding:
        judges = self.plans[finding.connector].judges
        judge = next((each for each in judges if each.key == key), None)
        return judge.state(finding) if judge is not None and judge.rule else finding


class Rulebooks:
    """One a process, for the thread that judges."""

    def __init__(self, directory: Directory, detectors: Sequence[Detector]) -> None:
        self._directory = directory
        self._detectors = tuple(detectors)
        self._known: dict[str, _Known] = {}
        self._nobody = Rulebook([], detectors)

    def lineup(self, names: Sequence[str]) -> Lineup:
        """Who judges the connectors of these names, each of them given once."""
        tenants = {key_of(name)[0] for name in names}
        for slug in tenants:
            self._refresh(slug)
        plans = [self._plan(name) for name in names]
        return Lineup(_posts(plans), dict(zip(names, plans, strict=True)))

    def is_gone(self, key: str) -> bool:
        """Whether a key is of a shadow that there is no more; not known is not gone."""
        slug = key.partition("@")[2].partition("/")[0]
        known = self._known.get(slug)
        if known is None:
            return self._directory.is_loaded and not self._directory.knows_tenant(slug)
        return key not in {judge.key for judge in known.book.judges() if judge.is_shadow}

    def _plan(self, name: str) -> Plan:
        slug, connector = key_of(name)
        known = self._known.get(slug)
        if known is None or not known.rules:
            return self._nobody.default
        plan = known.plans.get(connector)
        if plan is None:
            entry = known.entry.connectors.get(connector)
            plan = known.book.plan_for(connector, entry.dimensions if entry else {})
            known.plans[connector] = plan
        return plan

    def _refresh(self, slug: str) -> None:
        entry = self._directory.tenant(slug)
        known = self._known.get(slug)
        if entry is None or (known is not None and known.entry is entry):
            return
        try:
            with schema_context(entry.schema_name):
                rules = [each for each in core_rules() if each.detector not in fleet_detectors()]
        except (DatabaseError, InterfaceError) as error:
            logger.warning("rules_unread", tenant=slug, error=str(error))
            connection.close()
            return
        if known is not None and known.rules == rules:
            self._known[slug] = _Known(entry, rules, known.book)
            return
        book = Rulebook(rules, self._detectors, owner=slug)
        for rule, reason in book.unusable.items():
            logger.error("rule_unusable", tenant=slug, rule=rule, reason=reason)
        self._known[slug] = _Known(entry, rules, book)


def _posts(plans: Sequence[Plan]) -> list[Post]:
    """A post for each state and variant, with the connectors that it judges."""
    places: dict[Plan, list[int]] = {}
    for place, plan in enumerate(plans):
        places.setdefault(plan, []).append(place)
    watching: dict[tuple[str, int], tuple[Judge, list[int]]] = {}
    for plan, several in places.items():
        for judge in plan.judges:
            _, own = watching.setdefault((judge.key, id(judge.detector)), (judge, []))
            own.extend(several)
    return [
        Post(judge.key, judge.detector, _flags(own, len(plans))) for judge, own in watching.values()
    ]


def _flags(places: Sequence[int], size: int) -> Flags | None:
    if len(places) == size:
        return None
    flags = np.zeros(size, dtype=np.bool_)
    flags[np.asarray(places, dtype=np.int64)] = True
    return flags
