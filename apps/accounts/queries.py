"""Who works here and for whom, as far as the person who asks may know."""

from django.db.models import QuerySet

from apps.accounts.models import Organisation, User
from apps.accounts.permissions import ORGANISATION_ROLES, Permission
from apps.tenants.lookups import find_or_404


def organisations(*, for_user: User) -> QuerySet[Organisation]:
    """All of the tenant's for its staff; for customers their own and no other."""
    if not for_user.can(Permission.VIEW_FLEET):
        return Organisation.objects.none()
    if for_user.is_staff_of_tenant:
        return Organisation.objects.all()
    return Organisation.objects.filter(people=for_user)


def organisation_for(*, user: User, pk: object) -> Organisation:
    """Raises Http404 where it doesn't exist or is not this person's to see."""
    return find_or_404(organisations(for_user=user), pk)


def users(*, for_user: User) -> QuerySet[User]:
    """Everybody for who manages users, the own organisation for its people, else oneself."""
    people = User.objects.select_related("organisation")
    if for_user.can(Permission.MANAGE_USERS):
        return people
    if for_user.is_active and for_user.role in ORGANISATION_ROLES:
        return people.filter(organisation=for_user.organisation_id)
    return people.filter(pk=for_user.pk)


def user_for(*, user: User, pk: object) -> User:
    """Raises Http404 where there is no such person or they are not this one's to see."""
    return find_or_404(users(for_user=user), pk)
