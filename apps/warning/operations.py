"""What changes rules; each change is a new version, so that a finding can name what judged it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from apps.accounts.models import User
from apps.accounts.permissions import Permission
from apps.tenants.changes import Rows, announce
from apps.warning.detectors import known_detectors
from apps.warning.models import Change, Mode, Rule, RuleContent, RuleVersion
from ohmwatch.detector import Detector
from ohmwatch.findings import Severity
from ohmwatch.parameters import Fault, faults_in, with_parameters
from ohmwatch.rules import DIMENSIONS, SILENT

SEVERITIES = tuple(severity.name.lower() for severity in Severity)
VALUES_A_DIMENSION = 1_000
PARAMETER = "parameter-"
"""Before a parameter's name, where an error is about it: forms name their fields so."""


@dataclass(frozen=True)
class Content:
    """What a rule says, as a person wrote it. `selection` without empty lists."""

    name: str
    mode: str = Mode.LIVE.value
    share_pct: float = 100.0
    selection: Mapping[str, Sequence[str]] = field(default_factory=dict)
    parameters: Mapping[str, float | int | bool] = field(default_factory=dict)
    severities: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, row: RuleContent) -> "Content":
        """What a row says."""
        return cls(
            name=row.name,
            mode=str(row.mode),
            share_pct=row.share_pct,
            selection=row.selection,
            parameters=row.parameters,
            severities=row.severities,
        )


def check(detector: str, content: Content) -> None:
    """Raises ValidationError with every fault, by field; a parameter's is `parameter-<name>`."""
    errors: dict[str, list[str]] = {}
    known = known_detectors().get(detector)
    if known is None and content.mode == Mode.DISABLED:
        pass  # of a plug-in that is away: what does nothing may be said of it
    elif known is None:
        errors["detector"] = [_("There is no detector %(name)s.") % {"name": detector}]
    else:
        for fault in faults_in(known, content.parameters):
            errors.setdefault(PARAMETER + fault.parameter, []).append(describe(fault))
        errors |= _errors_in_state(known, content) if not errors else {}
    if not content.name.strip() or len(content.name) > 120:
        errors["name"] = [_("A name has 1 to 120 characters.")]
    if content.mode not in Mode.values:
        errors["mode"] = [_("Choose one of %(words)s.") % {"words": ", ".join(Mode.values)}]
    if isinstance(content.share_pct, bool) or not 0 <= content.share_pct <= 100:
        errors["share_pct"] = [_("A share is a number from 0 to 100.")]
    errors |= _errors_in_selection(content.selection)
    errors |= _errors_in_severities(content.severities)
    if errors:
        raise ValidationError(errors)


def describe(fault: Fault) -> str:
    """A parameter's fault in the active language."""
    if fault.code == "unknown":
        return _("The detector has no parameter %(name)s.") % {"name": fault.parameter}
    if fault.code == "wrong_type":
        return _("This is not a number of the right kind.")
    return _("Allowed is %(minimum)s to %(maximum)s.") % {
        "minimum": f"{fault.minimum:.10g}",
        "maximum": f"{fault.maximum:.10g}",
    }


def make_rule(
    *,
    user: User,
    detector: str,
    content: Content,
    now: datetime,
    change: Change = Change.MADE,
) -> Rule:
    """A new rule, known to detection within seconds. Raises PermissionDenied, ValidationError."""
    _may_edit(user)
    check(detector, content)
    with transaction.atomic():
        _refuse_taken_name(content.name)
        rule = Rule(detector=detector, version=0)
        _write(rule, content, change=change, user=user, now=now)
    return rule


def change_rule(
    *,
    user: User,
    rule: Rule,
    content: Content,
    now: datetime,
    change: Change = Change.CHANGED,
    seen_version: int | None = None,
) -> Rule:
    """The rule's next version; none where nothing is changed.

    Raises PermissionDenied; ValidationError also where the rule is no longer at `seen_version`.
    """
    _may_edit(user)
    check(rule.detector, content)
    with transaction.atomic():
        rule = _locked(rule)
        if seen_version is not None and rule.version != seen_version:
            raise ValidationError(
                _("Somebody changed this rule meanwhile. Look at the newest version first.")
            )
        _refuse_taken_name(content.name, but=rule)
        if asdict(content) != asdict(Content.of(rule)):
            _write(rule, content, change=change, user=user, now=now)
    return rule


def set_mode(
    *, user: User, rule: Rule, mode: str, share_pct: float | None = None, now: datetime
) -> Rule:
    """Puts a rule into force, into shadow or out of it, for a share of its connectors."""
    share = rule.share_pct if share_pct is None else share_pct
    content = replace(Content.of(rule), mode=mode, share_pct=share)
    return change_rule(user=user, rule=rule, content=content, now=now)


def take_back(*, user: User, rule: Rule, now: datetime) -> Rule:
    """What the rule said before its last change, as a new version; before the first: nothing.

    Once more takes the change before that back as well. Raises PermissionDenied.
    """
    _may_edit(user)
    with transaction.atomic():
        rule = _locked(rule)
        newest = rule.versions.get(number=rule.version)
        stands_for = newest.restores or newest.number
        earlier = rule.versions.filter(number__lt=stands_for).first()
        if earlier is None:
            disabled = replace(Content.of(rule), mode=Mode.DISABLED.value)
            _write(rule, disabled, change=Change.TAKEN_BACK, user=user, now=now)
            return rule
        restores = earlier.restores or earlier.number
        content = replace(Content.of(earlier), name=rule.name)
        _write(rule, content, change=Change.TAKEN_BACK, user=user, now=now, restores=restores)
    return rule


def remove_rule(*, user: User, rule: Rule, now: datetime) -> None:
    """The rule judges nobody any more; its versions stay readable. Raises PermissionDenied."""
    _may_edit(user)
    with transaction.atomic():
        rule = _locked(rule)
        rule.removed_at = now
        content = replace(Content.of(rule), mode=Mode.DISABLED.value)
        _write(rule, content, change=Change.REMOVED, user=user, now=now)


def _may_edit(user: User) -> None:
    if not user.can(Permission.EDIT_RULES):
        raise PermissionDenied


def _locked(rule: Rule) -> Rule:
    return Rule.objects.select_for_update().get(pk=rule.pk, removed_at__isnull=True)


def _refuse_taken_name(name: str, *, but: Rule | None = None) -> None:
    taken = Rule.objects.filter(name=name, removed_at__isnull=True)
    if but is not None:
        taken = taken.exclude(pk=but.pk)
    if taken.exists():
        raise ValidationError({"name": [_("Another rule has this name.")]})


def _write(
    rule: Rule,
    content: Content,
    *,
    change: Change,
    user: User,
    now: datetime,
    restores: int | None = None,
) -> None:
    says = asdict(content)
    for name, value in says.items():
        setattr(rule, name, value)
    rule.version += 1
    rule.save()
    RuleVersion.objects.create(
        rule=rule,
        number=rule.version,
        change=change,
        changed_at=now,
        changed_by=user,
        restores=restores,
        **says,
    )
    announce(Rows())  # none of those that workers know; the rules are read with each change


def _errors_in_state(detector: Detector, content: Content) -> dict[str, list[str]]:
    """The state of a connector goes on when a rule changes, so its shape must be the same."""
    if with_parameters(detector, content.parameters).state_dtype == detector.state_dtype:
        return {}
    return {"parameters": [_("The detector can't change these parameters while it runs.")]}


def _errors_in_selection(selection: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    for name, values in selection.items():
        if name not in DIMENSIONS:
            found = _("Connectors are not selected by %(name)s.") % {"name": name}
        elif not values or not all(isinstance(each, str) and each for each in values):
            found = _("Give at least one value, each of them text.")
        elif len(values) > VALUES_A_DIMENSION:
            found = _("At most %(most)d values.") % {"most": VALUES_A_DIMENSION}
        else:
            continue
        errors.setdefault(name if name in DIMENSIONS else "selection", []).append(found)
    return errors


def _errors_in_severities(severities: Mapping[str, Any]) -> dict[str, list[str]]:
    allowed = (*SEVERITIES, SILENT)
    if all(said in SEVERITIES and meant in allowed for said, meant in severities.items()):
        return {}
    words = {"words": ", ".join(allowed)}
    return {"severities": [_("A severity is one of %(words)s.") % words]}
