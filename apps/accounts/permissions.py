"""What people may do, by role. The only place that says so."""

from enum import StrEnum

from django.db import models
from django.utils.translation import gettext_lazy as _


class Role(models.TextChoices):
    OPERATOR = "operator", _("Operator of the platform")
    ADMINISTRATOR = "administrator", _("Administrator")
    ENGINEER = "engineer", _("Engineer")
    SUPPORT = "support", _("Support")
    READONLY = "readonly", _("Read only")
    OWNER = "owner", _("Owner")
    DRIVER = "driver", _("Driver")


STAFF_ROLES = frozenset({Role.ADMINISTRATOR, Role.ENGINEER, Role.SUPPORT, Role.READONLY})
"""The tenant's own people: they belong to no organisation and see all of the tenant."""

ORGANISATION_ROLES = frozenset({Role.OWNER, Role.DRIVER})
"""The tenant's customers: they see their organisation and nothing else."""


class Permission(StrEnum):
    VIEW_FLEET = "view_fleet"
    EDIT_CATALOG = "edit_catalog"
    EDIT_FLEET = "edit_fleet"
    ENROL_DEVICE = "enrol_device"
    ACKNOWLEDGE = "acknowledge"
    SEE_QUARANTINE = "see_quarantine"
    REPLAY_QUARANTINE = "replay_quarantine"
    MANAGE_USERS = "manage_users"
    EDIT_RULES = "edit_rules"
    INSPECT = "inspect"


_P = Permission
PERMISSIONS: dict[str, frozenset[Permission]] = {
    Role.OPERATOR: frozenset(),
    Role.ADMINISTRATOR: frozenset(Permission),
    Role.ENGINEER: frozenset(Permission) - {_P.MANAGE_USERS},
    Role.SUPPORT: frozenset(
        {_P.VIEW_FLEET, _P.EDIT_FLEET, _P.ACKNOWLEDGE, _P.INSPECT, _P.SEE_QUARANTINE}
    ),
    Role.READONLY: frozenset({_P.VIEW_FLEET, _P.SEE_QUARANTINE}),
    Role.OWNER: frozenset({_P.VIEW_FLEET, _P.ACKNOWLEDGE, _P.INSPECT}),
    Role.DRIVER: frozenset({_P.VIEW_FLEET, _P.ACKNOWLEDGE}),
}
"""An operator holds none: the platform's people work in the public schema, not in a tenant."""
