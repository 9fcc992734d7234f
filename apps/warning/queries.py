"""What detection asks: which detectors watch a model, and with which parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet

from apps.accounts.models import User
from apps.accounts.permissions import Permission
from apps.warning.models import Rule


@dataclass(frozen=True, slots=True)
class Setting:
    """What rules say about one detector. Without rules: enabled, its own defaults, version 0."""

    detector: str
    enabled: bool = True
    parameters: Mapping[str, Any] = field(default_factory=dict)
    version: int = 0


def settings_for(*, model_id: UUID | None) -> dict[str, Setting]:
    """By detector, what rules say for connectors of this model.

    A rule for the model stands before one for all models. Detectors that no rule names are not
    in the answer: they run with their defaults.
    """
    by_model = settings_by_model()
    return by_model.get(model_id, by_model[None])


def settings_by_model() -> dict[UUID | None, dict[str, Setting]]:
    """All rules of the tenant in one query: by model (None: models without own rules)."""
    general: dict[str, Setting] = {}
    found: dict[UUID | None, dict[str, Setting]] = {None: general}
    for rule in Rule.objects.order_by(F("model").asc(nulls_first=True)):
        target = found.setdefault(rule.model_id, dict(general))
        target[rule.detector] = Setting(
            rule.detector, rule.enabled, dict(rule.parameters), rule.version
        )
    return found


def enabled(setting: Mapping[str, Setting], detector: str) -> bool:
    """Whether the detector watches; without a rule it does."""
    return setting[detector].enabled if detector in setting else True


def rules(*, for_user: User) -> QuerySet[Rule]:
    """The tenant's rules, for its own staff."""
    if not (for_user.is_staff_of_tenant and for_user.can(Permission.VIEW_FLEET)):
        return Rule.objects.none()
    return Rule.objects.select_related("model")
