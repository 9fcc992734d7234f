"""Changes of people and organisations, in the schema that is set."""

from datetime import datetime

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from apps.accounts import second_factor
from apps.accounts.models import Organisation, OrganisationKind, User
from apps.accounts.permissions import ORGANISATION_ROLES, Permission, Role
from apps.tenants.schema import in_public


def create_organisation(*, name: str, kind: str = OrganisationKind.FLEET) -> Organisation:
    """Raises ValidationError for an empty or taken name."""
    organisation = Organisation(name=name.strip(), kind=kind)
    organisation.full_clean()
    organisation.save()
    return organisation


def create_user(
    *,
    username: str,
    email: str,
    role: str,
    now: datetime,
    password: str | None = None,
    organisation: Organisation | None = None,
    first_name: str = "",
    last_name: str = "",
    language: str = "en",
    timezone: str = "UTC",
    phone: str = "",
) -> User:
    """A person who can sign in at once, or, without a password, after setting one by email.

    Raises ValidationError for a weak password, a taken name or address, or a role that does not
    fit the organisation or the realm.
    """
    _check_role(role, organisation)
    user = User(
        username=username,
        email=email.lower(),
        role=role,
        organisation=organisation,
        first_name=first_name,
        last_name=last_name,
        language=language,
        timezone=timezone,
        phone=phone,
        date_joined=now,
    )
    if password is None:
        user.set_unusable_password()
    else:
        validate_password(password, user)
        user.set_password(password)
    user.full_clean()
    user.save()
    return user


def change_role(
    *, by: User, user: User, role: str, organisation: Organisation | None = None
) -> User:
    """Give a person another role; it holds from their next request on.

    Raises PermissionDenied where `by` doesn't manage users, ValidationError where role and
    organisation don't fit, or where nobody would be left to manage users.
    """
    _check_manager(by)
    _check_role(role, organisation)
    with transaction.atomic():
        if role != Role.ADMINISTRATOR:
            _check_not_the_last_administrator(user)
        user.role, user.organisation = role, organisation
        user.save(update_fields=["role", "organisation"])
    return user


def disable_user(*, by: User, user: User) -> User:
    """End a person's access: no sign-in, and open sessions end at their next request.

    Raises PermissionDenied and, for the last administrator, ValidationError.
    """
    _check_manager(by)
    with transaction.atomic():
        _check_not_the_last_administrator(user)
        user.is_active = False
        user.save(update_fields=["is_active"])
    return user


def enable_user(*, by: User, user: User) -> User:
    """Let a disabled person in again. Raises PermissionDenied."""
    _check_manager(by)
    user.is_active = True
    user.save(update_fields=["is_active"])
    return user


def forget_second_factor(*, by: User, user: User) -> None:
    """For a lost phone: the person signs in by password alone, and sets a new one up where they
    must have one. Raises PermissionDenied.
    """
    _check_manager(by)
    second_factor.forget(user)


def set_password(*, user: User, password: str) -> None:
    """A new password; every session of the person ends. Raises ValidationError for a weak one."""
    validate_password(password, user)
    user.set_password(password)
    user.save(update_fields=["password"])


def _check_manager(by: User) -> None:
    if not by.can(Permission.MANAGE_USERS):
        raise PermissionDenied


def _check_role(role: str, organisation: Organisation | None) -> None:
    if (role == Role.OPERATOR) != in_public():
        raise ValidationError({"role": _("This role does not exist here.")})
    if role in ORGANISATION_ROLES and organisation is None:
        raise ValidationError({"organisation": _("Owners and drivers belong to an organisation.")})
    if role not in ORGANISATION_ROLES and organisation is not None:
        raise ValidationError({"organisation": _("Staff belong to no organisation.")})


def _check_not_the_last_administrator(user: User) -> None:
    """Locks the administrators, so that two can't each remove the other at the same moment."""
    administrators = User.objects.select_for_update().filter(
        role=Role.ADMINISTRATOR, is_active=True
    )
    if [administrator.pk for administrator in administrators] == [user.pk]:
        raise ValidationError(_("Somebody must be left who manages users."))
