"""People and the organisations they belong to: one set in public, one in each tenant's schema."""

from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _
from phonenumber_field.modelfields import PhoneNumberField

from apps.accounts.permissions import (
    ORGANISATION_ROLES,
    PERMISSIONS,
    STAFF_ROLES,
    Permission,
    Role,
)
from apps.tenants.identifiers import new_id


class OrganisationKind(models.TextChoices):
    FLEET = "fleet", _("Fleet")
    WORKSHOP = "workshop", _("Workshop")
    PERSON = "person", _("Private person")


class Organisation(models.Model):
    """A customer of the tenant that owns vehicles."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(_("name"), max_length=120, unique=True)
    kind = models.CharField(
        _("kind"), max_length=10, choices=OrganisationKind.choices, default=OrganisationKind.FLEET
    )

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="organisation_kind_known", condition=models.Q(kind__in=OrganisationKind.values)
            ),
            models.CheckConstraint(
                name="organisation_has_name", condition=~models.Q(name__regex=r"^\s*$")
            ),
        ]

    def __str__(self) -> str:
        return self.name


class User(AbstractUser):
    """A person who signs in. The role decides alone what they may do."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    role = models.CharField(_("role"), max_length=15, choices=Role.choices)
    organisation = models.ForeignKey(
        Organisation, on_delete=models.PROTECT, null=True, blank=True, related_name="people"
    )
    language = models.CharField(_("language"), max_length=10, default="en")
    timezone = models.CharField(_("time zone"), max_length=40, default="UTC")
    phone = PhoneNumberField(_("phone"), blank=True, default="")

    REQUIRED_FIELDS: ClassVar[list[str]] = ["email", "role"]

    class Meta:
        ordering = ["username"]
        constraints = [
            models.CheckConstraint(
                name="user_role_known", condition=models.Q(role__in=Role.values)
            ),
            models.CheckConstraint(
                name="user_role_fits_organisation",
                condition=models.Q(role__in=sorted(ORGANISATION_ROLES), organisation__isnull=False)
                | (
                    ~models.Q(role__in=sorted(ORGANISATION_ROLES))
                    & models.Q(organisation__isnull=True)
                ),
            ),
            models.UniqueConstraint(
                Lower("email"), name="user_email_unique", condition=~models.Q(email="")
            ),
            models.UniqueConstraint(Lower("username"), name="user_username_unique_any_case"),
        ]

    @property
    def is_staff_of_tenant(self) -> bool:
        """True for the manufacturer's own people, who see all of the tenant."""
        return self.role in STAFF_ROLES

    def can(self, permission: Permission) -> bool:
        """Whether this person, if active, holds the permission by their role."""
        return self.is_active and permission in PERMISSIONS.get(self.role, frozenset())
