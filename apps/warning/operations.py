"""What changes rules; each change is a new version, so that a finding can name what judged it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import transaction

from apps.accounts.models import User
from apps.accounts.permissions import Permission
from apps.warning.models import Rule


def set_rule(
    *,
    user: User,
    detector: str,
    model_id: UUID | None,
    name: str,
    parameters: Mapping[str, Any],
    enabled: bool = True,
) -> Rule:
    """Makes or changes the one rule of a detector for a model. Raises PermissionDenied."""
    if not user.can(Permission.EDIT_RULES):
        raise PermissionDenied
    with transaction.atomic():
        rule = Rule.objects.select_for_update().filter(detector=detector, model_id=model_id).first()
        if rule is None:
            rule = Rule(detector=detector, model_id=model_id, version=0)
        rule.name, rule.parameters, rule.enabled = name, dict(parameters), enabled
        rule.version += 1
        rule.save()
    return rule
